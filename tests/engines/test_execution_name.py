"""Names of executions: legal, stable, and never one for two keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flo.engines.execution_name import NAME_CHARS_MAX, execution_name

KEYS = st.text(st.characters(), max_size=120) | st.text("a/_x5F-", max_size=120)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("card-risk/4711/3/block/0", "card-risk__4711__3__block__0"),
        ("l/a_b/1/r/0", "l__a_5Fb__1__r__0"),
        ("l/é/1/r/0", "l___C3_A9__1__r__0"),
        (
            "l/" + "k" * 80,
            "l__" + "k" * 11 + "_x8039bf54d9648fa37f0aad7a9003d5509a3132d157552dabc7f45e7da6ca0af2",
        ),
    ],
)
def test_names_stay_what_they_were(key: str, name: str) -> None:
    """FLO asks after an upgrade under the names it sent before it."""
    assert execution_name(key) == name


@given(KEYS)
@example("")
@example("\ud800")
def test_a_name_is_one_that_aws_and_its_logs_take(key: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", execution_name(key), re.ASCII)


@given(KEYS, KEYS)
@example("a/b", "a__b")
@example("a_b", "a_5Fb")
@example("", "_xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
def test_two_keys_never_share_a_name(one: str, two: str) -> None:
    assert (one == two) == (execution_name(one) == execution_name(two))


@given(st.text("a_/x0é", min_size=NAME_CHARS_MAX + 1, max_size=200))
@example("/" * 7 + "x" * 100)
def test_what_a_long_key_is_named_is_no_short_keys_name(key: str) -> None:
    """A short name is made of these pieces alone, and a long one never is."""
    assert not re.fullmatch(r"(?:[A-Za-z0-9-]|__|_[0-9A-F]{2})*", execution_name(key))
