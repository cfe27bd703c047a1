"""Where each character of a scalar stands in its file.

An expression may be written plain, quoted or as a block, with escapes and folded lines; a type error inside
it must still name the right line and column. The scalar's text and its source are walked side by side:
characters that are not white space come in the same order in both, so wherever the distance between the two
changes, a *turn* is noted.
"""

from __future__ import annotations

from flo.core.bundle.document import ScalarNode
from flo.core.loop.definition import Place, Turn

_BREAKS = "\n\r\x85\u2028\u2029"
_BLANKS = " \t" + _BREAKS
_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}
_BLANK_ESCAPES = "nrt_NLP \tve"  # escapes that stand for white space, or that no expression holds


def text_place(node: ScalarNode) -> tuple[Place, tuple[Turn, ...]]:
    """Where the scalar's first character stands, and the turns; they end where source and text part ways."""
    turns = _Walk(node).turns()
    if not turns:
        return node.place, ()
    offset, line, column = turns[0]
    return Place(node.place.file, line, max(1, column - offset)), turns


class _Walk:
    def __init__(self, node: ScalarNode) -> None:
        self._node = node
        self._text = node.source.text
        self._at = node.start
        self._line, self._column = node.place.line, node.place.column

    def turns(self) -> tuple[Turn, ...]:
        self._skip_head()
        found: list[Turn] = []
        for offset, character in enumerate(self._node.text):
            if character.isspace():
                continue
            self._skip_blanks()
            width = self._width_of(character)
            if width == 0:
                break
            if (
                not found
                or found[-1][1] != self._line
                or found[-1][2] + offset - found[-1][0] != self._column
            ):
                found.append((offset, self._line, self._column))
            self._step(width)
        return tuple(found)

    def _skip_head(self) -> None:
        while self._peek() == "&" or (self._peek() == "!" and self._node.style):
            while self._peek() not in _BLANKS:
                self._step(1)
            self._skip_blanks()
        if self._node.style in ("'", '"'):
            self._step(1)
        elif self._node.style:
            while self._peek() not in _BREAKS:
                self._step(1)

    def _peek(self) -> str:
        """The current character; a line break past the end, which ends every loop."""
        return self._text[self._at] if self._at < len(self._text) else "\n"

    def _step(self, width: int) -> None:
        for character in self._text[self._at : self._at + width]:
            pair = character == "\r" and self._text[self._at + 1 : self._at + 2] == "\n"
            self._at += 1
            if character in _BREAKS and not pair:
                self._line, self._column = self._line + 1, 1
            else:
                self._column += 1

    def _skip_blanks(self) -> None:
        while self._at < len(self._text):
            if self._text[self._at].isspace():
                self._step(1)
            elif (
                self._node.style == '"'
                and self._text[self._at] == "\\"
                and self._next() in _BLANKS + _BLANK_ESCAPES
            ):
                self._step(2)
            else:
                return

    def _next(self) -> str:
        return self._text[self._at + 1 : self._at + 2] or "\0"

    def _width_of(self, character: str) -> int:
        """How many characters of the source write this one; 0 where it is not what stands there."""
        here = self._text[self._at : self._at + 1]
        if self._node.style == '"' and here == "\\":
            return _ESCAPE_LENGTHS.get(self._next(), 2)
        if here != character:
            return 0
        return 2 if self._node.style == "'" and character == "'" else 1
