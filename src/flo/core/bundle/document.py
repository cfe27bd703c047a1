"""One YAML file as nodes that know where they stand.

The YAML read here is the plain core of YAML 1.2: `on`, `yes` and `no` are texts, not booleans; keys are
texts as written; no tags, no merge keys, one document a file. PyYAML (libyaml where it is built in)
delivers parse events and we build the nodes, so no object is ever constructed, and every limit is checked
while the input is being read: an alias counts as often as it expands, which is what stops a "billion
laughs".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from flo.core.bundle.report import Report
from flo.core.loop.definition import Place

FILE_BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
NODES_MAX = 20_000
CHARS_PER_NODE = 32
"""A text counts once more for every 32 characters: else 200 kB of text under 10,000 aliases would pass as few
nodes and take minutes to walk.
"""

INT_DIGITS_MAX = 40
"""Python raises on integers of more than 4,300 digits; nothing here needs more than 20. Longer: a text."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""As libyaml counts lines."""

_BOOLS = {
    word: value
    for value, words in ((True, "true True TRUE"), (False, "false False FALSE"))
    for word in words.split()
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One scalar. `text` is what it says, `value` what that is under the core schema (quoted: a text)."""

    text: str
    value: str | int | float | bool | None
    place: Place
    style: str  # "" plain, or one of ' " | >
    start: int  # index of its first character in the source, quotes and block headers included
    source: Source


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list of the YAML, with where it stands."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class MapNode:
    """A map, in the order written. A duplicate key was reported and left out."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    place: Place

    def get(self, name: str) -> Node | None:
        return next((node for key, node in self.entries if key.text == name), None)


Node: TypeAlias = ScalarNode | ListNode | MapNode


class _Refused(Exception):
    """The rest of the file cannot be read; carries the one problem that says why."""

    def __init__(self, place: Place, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.place, self.message, self.hint = place, message, hint


def read_document(file: str, content: bytes, report: Report) -> Node | None:
    """The root node of a file; None, and what is wrong in the report, where it cannot be read at all.

    What can be read around (a duplicate key, a merge key) is reported and the rest is still read.
    """
    text = ""
    try:
        text = _decoded(file, content)
        return _Builder(Source(file, text), report).document()
    except _Refused as refused:
        report.add(refused.place, refused.message, refused.hint)
    except yaml.MarkedYAMLError as error:
        _report_syntax(file, text, error, report)
    except yaml.YAMLError as error:
        report.add(Place(file, 1, 1), f"not YAML: {' '.join(str(error).split())[:200]}")
    return None


def _decoded(file: str, content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise _Refused(Place(file, 1, 1), f"the file has {len(content)} bytes, at most {FILE_BYTES_MAX}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        raise _Refused(_end_of(file, before), "not UTF-8", "save the file as UTF-8") from None
    match = _UNPRINTABLE.search(text)
    if match:
        place = _end_of(file, text[: match.start()])
        raise _Refused(
            place,
            f"character U+{ord(match[0]):04X} may not stand in YAML",
            "delete it, or escape it in a quoted text",
        )
    return text


def _end_of(file: str, before: str) -> Place:
    lines = _LINE_BREAK.split(before)
    return Place(file, len(lines), len(lines[-1]) + 1)


def _place_of(mark: Any, end: Place) -> Place:
    """A mark of libyaml's as a place of the text, which it ends with a line break of its own."""
    if mark.line + 1 > end.line:
        return end
    return Place(end.file, mark.line + 1, mark.column + 1)


def plain_value(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar is under the YAML 1.2 core schema."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text) and len(text) <= INT_DIGITS_MAX:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text) and not _INT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class _Builder:
    """Builds nodes from parse events, within the limits."""

    def __init__(self, source: Source, report: Report) -> None:
        self._source, self._report = source, report
        self._end = _end_of(source.file, source.text)
        self._events: Iterator[Any] = iter(yaml.parse(source.text, Loader=_LOADER))
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._open_anchors: set[str] = set()
        self._nodes = 0

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(
                        self._place(event),
                        "a second document starts here",
                        "one document a file: remove the `---`",
                    )
                root = self._node(next(self._events), 1)
        return root

    def _place(self, event: Any) -> Place:
        return _place_of(event.start_mark, self._end)

    def _count(self, place: Place, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise _Refused(
                place,
                f"more than {NODES_MAX} values, counting aliases as often as they expand",
                "write less in one file",
            )

    def _node(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        if depth > DEPTH_MAX:
            raise _Refused(place, f"nested more than {DEPTH_MAX} levels deep", "nest less")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        self._refuse_tag(event, place)
        before = self._nodes
        self._count(
            place, 1 + len(event.value) // CHARS_PER_NODE if isinstance(event, yaml.ScalarEvent) else 1
        )
        if event.anchor is not None:
            self._open_anchors.add(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(place, depth)
        else:
            node = self._map(place, depth)
        if event.anchor is not None:
            self._open_anchors.discard(event.anchor)
            self._anchors[event.anchor] = (node, self._nodes - before)
        return node

    def _alias(self, anchor: str, place: Place) -> Node:
        if anchor in self._open_anchors:
            raise _Refused(
                place, f"`*{anchor}` stands inside what it names", "an alias may not contain itself"
            )
        if anchor not in self._anchors:
            raise _Refused(place, f"`*{anchor}` names no anchor above it", "quote a text that starts with *")
        node, size = self._anchors[anchor]
        self._count(place, size)
        return node

    def _refuse_tag(self, event: Any, place: Place) -> None:
        tag = event.tag
        if tag is None or (tag == "!" and isinstance(event, yaml.ScalarEvent)):
            return
        shown = tag.replace("tag:yaml.org,2002:", "!!")[:60]
        raise _Refused(
            place,
            f"`{shown}` is a YAML tag, and FLO reads none",
            "quote the whole text if it is an expression that starts with !",
        )

    def _scalar(self, event: Any, place: Place) -> ScalarNode:
        style = event.style or ""
        if style == "" and event.tag is None:
            value = plain_value(event.value)
        else:
            value = event.value
        return ScalarNode(event.value, value, place, style, event.start_mark.index, self._source)

    def _list(self, place: Place, depth: int) -> ListNode:
        items = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, depth + 1))
        return ListNode(tuple(items), place)

    def _map(self, place: Place, depth: int) -> MapNode:
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            if not isinstance(key, ScalarNode):
                self._report.add(
                    key.place, "a key must be a plain text", "quote it, or move the `{` to the value"
                )
            elif key.text == "<<" and not key.style:
                self._report.add(
                    key.place,
                    "`<<` merge keys are not read",
                    "write the keys out, or use an alias as a value",
                )
            elif key.text in entries:
                first = entries[key.text][0].place
                self._report.add(
                    key.place, f"key `{key.text[:60]}` stands twice: first at line {first.line}", "keep one"
                )
            else:
                entries[key.text] = (key, node)
        return MapNode(tuple(entries.values()), place)


_SYNTAX_HINTS = (
    ("mapping values are not allowed", "quote a text that holds `: `, and mind the indentation"),
    ("cannot start any token", "indent with spaces, not tabs; quote a text that starts with @, ` or %"),
    (
        "expected <block end>",
        "mind the indentation; quote the whole of an expression that starts with a quote",
    ),
    (
        "did not find expected key",
        "mind the indentation; quote the whole of an expression that starts with a quote",
    ),
    ("expected ',' or '}'", "close the `{`, and quote a text that holds `,`, `{` or `}`"),
    ("expected ',' or ']'", "close the `[`, and quote a text that holds `,`, `[` or `]`"),
    ("unexpected end of stream", "a quote or bracket is not closed"),
    ("could not find expected ':'", "a key needs `: ` after it"),
)


def _report_syntax(file: str, text: str, error: yaml.MarkedYAMLError, report: Report) -> None:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "cannot be read"
    place = _place_of(mark, _end_of(file, text)) if mark else Place(file, 1, 1)
    hint = next((hint for start, hint in _SYNTAX_HINTS if start in problem), None)
    report.add(place, f"not YAML: {' '.join(problem.split())[:200]}", hint)
