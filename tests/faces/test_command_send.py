"""`flo send`: batches, pace, patience, and a true summary."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from tests.faces.commands import background, flo
from tests.faces.conftest import line

from flo.core.errors import Overloaded, StorageUnavailable
from flo.faces.cli.client import Client
from flo.faces.cli.failure import CommandFailed
from flo.faces.cli.sending import Sender, batches


def signals(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "signals.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_a_file_is_sent_and_counted_and_a_second_time_counts_as_duplicates(tmp_path: Path) -> None:
    path = signals(tmp_path, *(line(number) for number in range(25)))
    with background() as served:
        first = flo("send", path, "--to", served.url, "--batch", 10, "--json")
        assert (first.code, first.json["accepted"], first.json["rejected"]) == (0, 25, 0)
        second = flo("send", path, "--to", served.url, "--json")
        assert (second.code, second.json["accepted"], second.json["duplicates"]) == (0, 0, 25)
        assert len(served.service.raws) == 25
        assert "25 duplicates" in flo("send", path, "--to", served.url).out


def test_what_is_rejected_is_named_by_its_line_in_the_file_and_the_answer_is_no(tmp_path: Path) -> None:
    path = signals(tmp_path, line(1), b"", line(2, data=5), b"{broken", line(3))
    with background() as served:
        result = flo("send", path, "--to", served.url, "--batch", 2, "--json")
        assert result.code == 1
        assert result.json["accepted"] == 2
        assert [(row["line"], row["reason"]) for row in result.json["first_rejected"]] == [
            (3, "contract"),
            (4, "json"),
        ]
        shown = flo("send", path, "--to", served.url, "--batch", 2)
        assert "line 4: json" in shown.out
        assert "flo dead list" in shown.out


def test_a_batch_of_garbage_alone_is_rejected_not_a_failure(tmp_path: Path) -> None:
    with background() as served:
        result = flo("send", signals(tmp_path, b"{", b"nonsense"), "--to", served.url, "--json")
    assert (result.code, result.json["rejected"], result.json["reasons"]) == (1, 2, {"json": 2})


def test_stdin_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line(1) + b"\n" + line(2))))
    with background() as served:
        result = flo("send", "-", "--to", served.url, "--json")
    assert (result.code, result.json["accepted"]) == (0, 2)


def test_a_full_flo_is_asked_again_after_the_time_it_says(tmp_path: Path) -> None:
    with background() as served:
        served.service.fail_next = [Overloaded("full", 3.0), StorageUnavailable("disk", 2.0)]
        waits: list[float] = []
        sender = Sender(Client(served.url), patience_s=60, sleep=waits.append, now_s=lambda: 0.0)
        for batch in batches(io.BytesIO(line(1)), 10):
            sender.send(batch)
        sender.close()
        assert waits == [3.0, 2.0]
        assert (sender.sent.accepted, sender.sent.retries) == (1, 2)


def test_patience_ends_with_what_to_do_next(tmp_path: Path) -> None:
    with background() as served:
        served.service.fail_next = [Overloaded("the intake is full", 50.0)]
        result = flo("send", signals(tmp_path, line(1)), "--to", served.url, "--patience", "1s")
    assert result.code == 1
    assert "the intake is full (gave up after 1 s" in result.err
    assert "try again in 50 s" in result.err


def test_nobody_there_is_tried_for_a_bounded_time(tmp_path: Path) -> None:
    result = flo("send", signals(tmp_path, line(1)), "--to", "http://127.0.0.1:9", "--patience", "300ms")
    assert result.code == 1
    assert "no FLO answers at http://127.0.0.1:9" in result.err
    assert "flo run DIR" in result.err


def test_a_rate_spreads_the_batches() -> None:
    with background() as served:
        waits: list[float] = []
        sender = Sender(
            Client(served.url), patience_s=1, rate_per_s=10.0, sleep=waits.append, now_s=lambda: 100.0
        )
        stream = io.BytesIO(b"\n".join(line(number) for number in range(15)))
        for batch in batches(stream, 5):
            sender.send(batch)
        sender.close()
    assert waits == [0.5, 1.0]  # the clock stands still, so each wait counts from the start


def test_batches_keep_every_line_and_its_number() -> None:
    stream = io.BytesIO(b"a\n\n  \nb\r\nc\nd")
    found = list(batches(stream, 2))
    assert [batch.lines for batch in found] == [[b"a", b"b"], [b"c", b"d"]]
    assert [batch.numbers for batch in found] == [[1, 4], [5, 6]]
    assert sum(batch.read_bytes for batch in found) == len(stream.getvalue())


def test_an_endless_line_does_not_fill_the_memory() -> None:
    found = list(batches(io.BytesIO(b"x" * (9 << 20) + b"\n" + line(2)), 10))
    assert [number for batch in found for number in batch.numbers] == [1, 2]
    assert max(len(text) for batch in found for text in batch.lines) == 4 << 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "fast"], "not a rate"),
        (["--batch", "0"], "--batch"),
        (["--to", "ftp://x"], "not an address"),
        (["--to", "http://x:99999"], "not an address"),
        (["--patience", "5"], "no unit"),
    ],
)
def test_wrong_options_are_wrong_use(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = flo("send", signals(tmp_path, line(1)), *arguments)
    assert (result.code, says in result.err) == (2, True), result.err


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = flo("send", tmp_path / "none.ndjson", "--json")
    assert result.code == 1
    assert "none.ndjson" in json.loads(result.err)["error"]


def test_an_answer_that_is_not_flos_is_a_failure() -> None:
    with background() as served:
        served.service.fail_next = [ValueError("inside")]
        sender = Sender(Client(served.url), patience_s=1)
        with pytest.raises(CommandFailed, match="server's log"):
            sender.send(next(batches(io.BytesIO(line(1)), 1)))
        sender.close()
