import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flo.core.bundle.quantities import (
    DURATION_NS_MAX,
    SIZE_BYTES_MAX,
    duration_ns,
    format_duration,
    format_rate,
    format_size,
    rate_per_s,
    size_bytes,
)

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "value_ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("10m", 600 * S),
        ("1h30m", 5400 * S),
        ("250ms", 250_000_000),
        ("1d", 86_400 * S),
        ("1.5h", 5400 * S),
        ("0.1s", 100_000_000),
        ("2w", 14 * 86_400 * S),
        ("7ns", 7),
        ("1us", 1000),
    ],
)
def test_a_duration_is_read_in_nanoseconds(text: str, value_ns: int) -> None:
    assert duration_ns(text) == value_ns


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("10", "write 10s for seconds"),
        ("-5s", "negative"),
        ("", "nothing is written"),
        ("ten minutes", "not a duration"),
        ("10 m", "not a duration"),
        ("30m1h", "large to small"),
        ("1m1m", "large to small"),
        ("0.1ns", "whole number of nanoseconds"),
        ("101w99999d", "longer than a hundred years"),
        ("9" * 70 + "s", "too long"),
        ("1M", "not a duration"),
        ("١s", "not a duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_value_and_the_rule(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        duration_ns(text)


@given(st.integers(0, DURATION_NS_MAX))
@settings(print_blob=True)
def test_every_duration_is_written_so_that_it_reads_back(value_ns: int) -> None:
    text = format_duration(value_ns)
    if len(text) <= 64:
        assert duration_ns(text) == value_ns


@pytest.mark.parametrize(
    ("text", "rate"),
    [("20/s", 20.0), ("500/m", 500 / 60), ("1/h", 1 / 3600), ("0.5/s", 0.5), ("20 / s", 20.0)],
)
def test_a_rate_is_read_per_second(text: str, rate: float) -> None:
    assert rate_per_s(text) == rate


@pytest.mark.parametrize("text", ["20", "20/min", "0/s", "-1/s", "/s", "1e3/s", "9" * 12 + "/s", ""])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        rate_per_s(text)


@given(st.integers(1, 10**6), st.sampled_from("smhd"))
@settings(print_blob=True)
def test_every_rate_is_written_so_that_it_reads_back(count: int, unit: str) -> None:
    rate = rate_per_s(f"{count}/{unit}")
    assert rate_per_s(format_rate(rate)) == rate


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("512B", 512), ("10kB", 10_000), ("10KiB", 10_240), ("64MiB", 64 << 20), ("1.5GiB", 3 << 29)],
)
def test_a_size_is_read_in_bytes(text: str, value: int) -> None:
    assert size_bytes(text) == value


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("64", "write 64B"),
        ("64MB/s", "not a size"),
        ("1mb", "not a unit"),
        ("0.1B", "whole"),
        ("9999TiB999", "not a size"),
        ("9999999TiB", "more than"),
    ],
)
def test_what_is_no_size_is_refused(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        size_bytes(text)


@given(st.integers(0, SIZE_BYTES_MAX))
@settings(print_blob=True)
def test_every_size_is_written_so_that_it_reads_back(value: int) -> None:
    assert size_bytes(format_size(value)) == value
