"""Patterns: which of them Python's `re` may search, and that it then says what the linear engine says."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flo.core.contract.pattern import REGEX_OPTIONS, pattern_problem, python_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "^[A-Z]{3}$",
        "^tx_[0-9a-f]+$",
        "^[A-Z]+-[0-9]+$",
        "^\\d{4}-\\d{2}-\\d{2}$",
        "abc",
        "^c",
        "x$",
        "^[a-z0-9_.-]*$",
        "",
    ],
)
def test_patterns_of_everyday_contracts_go_to_the_fast_way(pattern: str) -> None:
    assert python_pattern(pattern) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "^(a+)+$",
            "^a*a*$",
            "a+b",
            "^a+a+$",
            "^[a-z]+[0-9]*x$",
            "a|b",
            ".",
            "^[^a]$",
            "(?i)a",
            "\\s",
            "\\bx",
            "é",
        ),
        *(
            "^a+?$",
            "^a{2}{3}$",
            "a$b",
            "^a^b",
            "[a",
            "a{65}",
            "\\",
            "[A-z]",
            "[\\d-z]",
            "a{3,2}",
            "^\\p{L}$",
            "[]",
            "\\$$",
        ),
    ],
)
def test_patterns_that_could_backtrack_or_mean_something_else_do_not(pattern: str) -> None:
    if pattern == "\\$$":
        assert python_pattern(pattern) == "[\\$]\\Z"
    else:
        assert python_pattern(pattern) is None


PIECES = (
    *("a", "b", "_", "-", "\\.", "\\d", "\\w", "[a-c]", "[0-9_]", "[.-]", "[\\d-]", "\\$", "x?", "a*", "b+"),
    *("[a-c]{2}", "\\d{1,3}", "-{2,}", "[", "(", "a{0}"),
)
pieces = st.sampled_from(PIECES)


@settings(max_examples=400, deadline=None, print_blob=True)
@given(
    st.booleans(),
    st.lists(pieces, max_size=4),
    st.booleans(),
    st.lists(st.text("abcx019_-.$\n٣é", max_size=8)),
)
def test_both_engines_agree_wherever_python_is_let_in(
    anchored: bool, parts: list[str], ended: bool, texts: list[str]
) -> None:
    pattern = ("^" if anchored else "") + "".join(parts) + ("$" if ended else "")
    translated = python_pattern(pattern)
    if translated is None or pattern_problem(pattern) is not None:
        return
    linear = jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=REGEX_OPTIONS)
    for text in (*texts, "aa\n", "a-1", "bb.", "٣"):
        assert (re.search(translated, text) is not None) == linear.is_valid(text), (pattern, translated, text)
