"""A JSON document together with where everything in it stands, so that a problem can name line and column.

Strict: RFC 8259 and no more (no NaN, no byte order mark), no key twice in one object, no number a double
cannot hold. A contract is small; this reads about a megabyte a second, and the loader is its only reader.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

Pointer = tuple[str | int, ...]

DEPTH_MAX = 128
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = json.JSONDecoder()
_SCALAR_START = re.compile(r'["\-0-9]|true|false|null')


class JsonProblem(Exception):
    """The text is not a JSON document FLO reads; `offset` is the character where that shows."""

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@dataclass(slots=True)
class PlacedJson:
    """The document's value, and the character offsets of every value and every key in it by pointer."""

    text: str
    value: Any = None
    value_offsets: dict[Pointer, int] = field(default_factory=dict)
    key_offsets: dict[Pointer, int] = field(default_factory=dict)

    def value_place(self, pointer: Pointer) -> tuple[int, int]:
        """Line and column (from 1) of the value at `pointer`, or of the nearest value around it."""
        while pointer and pointer not in self.value_offsets:
            pointer = pointer[:-1]
        return line_and_column(self.text, self.value_offsets.get(pointer, 0))

    def key_place(self, pointer: Pointer) -> tuple[int, int]:
        """Line and column (from 1) of the key that introduces the value at `pointer`."""
        offset = self.key_offsets.get(pointer)
        return self.value_place(pointer) if offset is None else line_and_column(self.text, offset)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both count from 1, columns in characters."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1


def read_placed_json(text: str) -> PlacedJson:
    """The document in `text`; raises JsonProblem at the first thing wrong."""
    placed = PlacedJson(text)
    reader = _Reader(placed)
    placed.value, end = reader.value(_skip(text, 0), ())
    end = _skip(text, end)
    if end != len(text):
        raise JsonProblem("text follows the end of the JSON document", end)
    return placed


def _skip(text: str, offset: int) -> int:
    match = _SPACE.match(text, offset)
    return offset if match is None else match.end()


class _Reader:
    def __init__(self, placed: PlacedJson) -> None:
        self.placed = placed
        self.text = placed.text

    def value(self, start: int, pointer: Pointer) -> tuple[Any, int]:
        if len(pointer) > DEPTH_MAX:
            raise JsonProblem(f"the document is nested deeper than {DEPTH_MAX} levels", start)
        self.placed.value_offsets[pointer] = start
        opening = self.text[start : start + 1]
        if opening == "{":
            return self.object(start, pointer)
        if opening == "[":
            return self.array(start, pointer)
        return self.scalar(start)

    def scalar(self, start: int) -> tuple[Any, int]:
        if not _SCALAR_START.match(self.text, start):
            found = repr(self.text[start]) if start < len(self.text) else "the end of the file"
            raise JsonProblem(f"a JSON value is expected here, not {found}", start)
        try:
            value, end = _SCALAR.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            raise JsonProblem(f"not JSON: {error.msg}", error.pos) from error
        except ValueError as error:  # an integer of more digits than Python converts
            raise JsonProblem(f"the number has too many digits: {error}", start) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise JsonProblem("the number is beyond what a double holds", start)
        if (
            isinstance(value, str)
            and not value.isascii()
            and any("\ud800" <= char <= "\udfff" for char in value)
        ):
            raise JsonProblem("the string holds half a surrogate pair, which is no character", start)
        return value, end

    def array(self, start: int, pointer: Pointer) -> tuple[list[Any], int]:
        items: list[Any] = []
        offset = _skip(self.text, start + 1)
        if self.text.startswith("]", offset):
            return items, offset + 1
        while True:
            item, offset = self.value(offset, (*pointer, len(items)))
            items.append(item)
            offset = _skip(self.text, offset)
            if self.text.startswith("]", offset):
                return items, offset + 1
            offset = self.expect(",", offset, "between the items of an array, or ']' after the last")

    def object(self, start: int, pointer: Pointer) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        offset = _skip(self.text, start + 1)
        if self.text.startswith("}", offset):
            return members, offset + 1
        while True:
            key_offset = offset
            if not self.text.startswith('"', offset):
                raise JsonProblem("a key in double quotes is expected here", offset)
            key, offset = self.scalar(offset)
            if key in members:
                raise JsonProblem(
                    f"the key {key!r} stands twice in one object",
                    key_offset,
                    "only one of the two would count",
                )
            self.placed.key_offsets[(*pointer, key)] = key_offset
            offset = self.expect(":", _skip(self.text, offset), "after a key")
            members[key], offset = self.value(offset, (*pointer, key))
            offset = _skip(self.text, offset)
            if self.text.startswith("}", offset):
                return members, offset + 1
            offset = self.expect(",", offset, "between the members of an object, or '}' after the last")

    def expect(self, char: str, offset: int, where: str) -> int:
        if not self.text.startswith(char, offset):
            raise JsonProblem(f"{char!r} is expected {where}", offset)
        return _skip(self.text, offset + 1)
