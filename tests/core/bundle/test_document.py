"""YAML as FLO reads it: the plain core of version 1.2, bounded, and never an exception."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flo.core.bundle.document import (
    FILE_BYTES_MAX,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    plain_value,
    read_document,
)
from flo.core.bundle.report import Report
from flo.core.bundle.section import plain_of


def read(text: str | bytes) -> tuple[Node | None, list[str]]:
    report = Report()
    node = read_document("x.yaml", text.encode() if isinstance(text, str) else text, report)
    return node, [str(problem) for problem in report.problems()]


def value(text: str) -> object:
    node, problems = read(text)
    assert not problems
    assert node is not None
    return plain_of(node)


def test_on_yes_and_no_are_texts_as_in_yaml_1_2() -> None:
    assert value("on: tx\noff: yes\nno: NO\ny: n\n") == {"on": "tx", "off": "yes", "no": "NO", "y": "n"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-05", "2026-01-05"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", float("inf")),
        ("1.", 1.0),
        ("0b1", "0b1"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_an_unquoted_scalar_is_what_the_core_schema_says(text: str, expected: object) -> None:
    assert plain_value(text) == expected
    assert type(plain_value(text)) is type(expected)


def test_a_quoted_scalar_is_always_a_text() -> None:
    assert value("a: \"1\"\nb: 'true'\nc: |-\n  null\n") == {"a": "1", "b": "true", "c": "null"}


def test_a_duplicate_key_is_refused_and_names_the_first() -> None:
    assert read("a: 1\nb: 2\na: 3\n")[1] == ["x.yaml:3:1: key `a` stands twice: first at line 1 (keep one)"]


@pytest.mark.parametrize(
    ("text", "where", "part"),
    [
        ("a:\n\t- b\n", "x.yaml:2:1:", "indent with spaces"),
        ("when: a: b\n", "x.yaml:1:8:", "quote a text that holds `: `"),
        ("a: [1, 2\nb: 3\n", "x.yaml:2:", "not YAML"),
        ('a: "b\n', "x.yaml:2:1:", "not closed"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1:", "second document"),
        ("a: !!python/object/apply:os.system ['true']\n", "x.yaml:1:4:", "is a YAML tag"),
        ("when: !data.test\n", "x.yaml:1:7:", "quote the whole text"),
        ("a: *b\n", "x.yaml:1:4:", "names no anchor"),
        ("a: &b [*b]\n", "x.yaml:1:8:", "stands inside what it names"),
        ("a: &b {x: 1}\nc:\n  <<: *b\n", "x.yaml:3:3:", "merge keys are not read"),
        ("? [a]\n: b\n", "x.yaml:1:3:", "a key must be a plain text"),
        ("{a: {b: c}: d}\n", "x.yaml:1:", ""),
        ("a: \x00\n", "x.yaml:1:4:", "U+0000"),
        ("é: \x07\n", "x.yaml:1:4:", "U+0007"),
        (b"a: 1\nb: \xff\n", "x.yaml:2:4:", "not UTF-8"),
        ("%YAML 1.3\n%YAML 1.3\n---\na: 1\n", "x.yaml:", "not YAML"),
        ("a: " + "[" * 40, "x.yaml:1:", "32 levels"),
        ("[" * 100_000, "x.yaml:1:33:", "32 levels"),
        ("- " * 100_000, "x.yaml:1:65:", "32 levels"),
        ("{a: " * 60_000, "x.yaml:1:", "32 levels"),
        ("x" * (FILE_BYTES_MAX + 1), "x.yaml:1:1:", "at most"),
        ("[" + "a," * 30_000 + "]", "x.yaml:1:", "more than 20000 values"),
    ],
)
def test_what_cannot_be_read_is_named_with_line_and_column(text: str | bytes, where: str, part: str) -> None:
    problems = read(text)[1]
    assert len(problems) == 1, problems
    assert problems[0].startswith(where)
    assert part in problems[0]


def test_a_billion_laughs_is_refused_before_it_expands() -> None:
    lines = ["a0: &a0 [" + ",".join(["lol"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ",".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 10)]
    node, problems = read("\n".join(lines))
    assert node is None
    assert "more than 20000 values" in problems[0]


def test_a_long_text_under_many_aliases_is_refused_before_it_is_walked() -> None:
    rules = "".join(f"  - {{id: r{n}, when: *e}}\n" for n in range(3000))
    problems = read("e: &e " + "x" * 100_000 + "\nrules:\n" + rules)[1]
    assert len(problems) == 1
    assert "counting aliases as often as they expand" in problems[0]


def test_an_alias_stands_for_its_anchor() -> None:
    assert value("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    node, problems = read(b"\xef\xbb\xbfa: 1\r\nb: {c: d}\r\n")
    assert not problems
    assert isinstance(node, MapNode)
    inner = node.get("b")
    assert isinstance(inner, MapNode)
    leaf = inner.get("c")
    assert isinstance(leaf, ScalarNode)
    assert (leaf.place.line, leaf.place.column) == (2, 8)


LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for YAML, and so in its error messages."""

SAYS_NOTHING = re.compile(r"[ \t]*(#.*)?$|\.\.\.|%")


def check_any(content: bytes) -> None:
    """What any text must give: a document, every part of it where it says, or problems that a person can find."""
    report = Report()
    node = read_document("x.yaml", content, report)
    problems = report.problems()
    lines = LINE_BREAK.split(content.decode("utf-8-sig", "replace"))

    def inside(file: str, line: int, column: int) -> bool:
        return file == "x.yaml" and 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1

    for problem in problems:
        assert inside(problem.file, problem.line, problem.column), problem
        assert problem.message.strip(), problem
        assert "\n" not in str(problem), problem
    if node is None:
        assert problems or all(SAYS_NOTHING.match(line) for line in lines), "neither read nor refused"
        return
    for part in parts_of(node):
        assert inside(part.place.file, part.place.line, part.place.column), part
        if isinstance(part, ScalarNode) and part.text and part.style == "":
            line = lines[part.place.line - 1]
            assert line[part.place.column - 1] in (part.text[0], "&", "!"), (
                part
            )  # an anchor or a `!` before it


def parts_of(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, ListNode):
        for item in node.items:
            yield from parts_of(item)
    elif isinstance(node, MapNode):
        for key, value in node.entries:
            yield key
            yield from parts_of(value)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
@settings(print_blob=True, max_examples=400)
def test_any_bytes_give_a_node_or_a_problem(content: bytes) -> None:
    check_any(content)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`,?# \n\t<~0", max_size=120))
@settings(print_blob=True, max_examples=600)
def test_any_arrangement_of_yaml_signs_gives_a_node_or_a_problem(text: str) -> None:
    check_any(text.encode())
