"""Text to tokens. One regular expression, no backtracking: time is linear in the length of the text.

Grammar: CEL's language definition, "Syntax" (github.com/google/cel-spec, doc/langdef.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flo.core.expression.errors import ExpressionSyntaxError
from flo.core.expression.syntax import EXPRESSION_LENGTH_MAX, position

_TOKEN = re.compile(
    r"""
    (?P<space>(?:[ \t\n\r\f]|//[^\n]*)+)
  | (?P<text>(?:[bB][rR]?|[rR])?(?:'''|\"\"\"|'|"))
  | (?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<integer>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
  | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
  | (?P<quoted>`[a-zA-Z0-9_./ -]+`)
  | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.ASCII,
)

# The rest of a string literal after its opening quote, by (quote, raw). Alternatives exclude each other, so a greedy
# `*` finds the same as a possessive one; where there is a lookahead it must be greedy: Python before 3.11.5 (Debian 12
# has 3.11.2) loses its place in possessive groups that backtrack (gh-106052).
_REST = {
    ("'", False): re.compile(r"((?:[^'\\\n\r]|\\.)*+)'", re.DOTALL),
    ('"', False): re.compile(r'((?:[^"\\\n\r]|\\.)*+)"', re.DOTALL),
    ("'''", False): re.compile(r"((?:[^'\\]|\\.|'(?!''))*)'''", re.DOTALL),
    ('"""', False): re.compile(r'((?:[^"\\]|\\.|"(?!""))*)"""', re.DOTALL),
    ("'", True): re.compile(r"([^'\n\r]*+)'"),
    ('"', True): re.compile(r'([^"\n\r]*+)"'),
    ("'''", True): re.compile(r"((?:[^']|'(?!''))*)'''"),
    ('"""', True): re.compile(r'((?:[^"]|"(?!""))*)"""'),
}

_SIMPLE_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "?": "?",
    '"': '"',
    "'": "'",
    "`": "`",
}
_ESCAPE = re.compile(
    r"\\(?:([xX])([0-9a-fA-F]{2})|(u)([0-9a-fA-F]{4})|(U)([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is `name`, `quoted`, `integer`, `double`, `string`, `bytes`, `sign` or `end`; `value` its
    meaning.
    """

    kind: str
    value: str | bytes
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """All tokens of a text, with an `end` token last. Raises ExpressionSyntaxError."""
    if len(text) > EXPRESSION_LENGTH_MAX:
        raise ExpressionSyntaxError(
            f"the expression has {len(text):,} characters; at most {EXPRESSION_LENGTH_MAX:,} are allowed",
            1,
            1,
            "move constants into the data, or split the rule",
        )
    tokens: list[Token] = []
    offset = 0
    while True:
        token = next_token(text, offset)
        tokens.append(token)
        if token.kind == "end":
            return tokens
        offset = token.end


def next_token(text: str, offset: int) -> Token:
    """The token at or after an offset, at last an `end` token. Raises ExpressionSyntaxError."""
    while offset < len(text):
        found = _TOKEN.match(text, offset)
        if found is None:
            raise failure(
                text, offset, f"unexpected character {text[offset]!r}", _character_hint(text, offset)
            )
        kind = found.lastgroup or ""
        if kind == "text":
            return _string(text, found)
        if kind == "quoted":
            return Token(kind, found.group()[1:-1], offset, found.end())
        if kind != "space":
            return Token(kind, found.group(), offset, found.end())
        offset = found.end()
    return Token("end", "", len(text), len(text))


def failure(text: str, offset: int, message: str, hint: str | None = None) -> ExpressionSyntaxError:
    """The error for something wrong at an offset."""
    line, column = position(text, offset)
    return ExpressionSyntaxError(message, line, column, hint)


def _character_hint(text: str, offset: int) -> str | None:
    return {
        "&": "and is written &&",
        "|": "or is written ||",
        "=": "equality is written ==",
    }.get(text[offset])


def _string(text: str, opening: re.Match[str]) -> Token:
    prefix = opening.group().lower()
    quote = prefix.lstrip("br")
    raw = "r" in prefix
    found = _REST[quote, raw].match(text, opening.end())
    if found is None:
        raise failure(text, opening.start(), "string without its closing quote", f"close it with {quote}")
    body = found.group(1)
    at = opening.end()
    if prefix.startswith("b"):
        value: str | bytes = body.encode() if raw else _unescape_bytes(text, body, at)
        return Token("bytes", value, opening.start(), found.end())
    return Token("string", body if raw else _unescape(text, body, at), opening.start(), found.end())


def _unescape(text: str, body: str, at: int) -> str:
    if "\\" not in body:
        return body
    pieces: list[str] = []
    last = 0
    for found in _ESCAPE.finditer(body):
        pieces.append(body[last : found.start()])
        pieces.append(_escaped(text, found, at))
        last = found.end()
    pieces.append(body[last:])
    return "".join(pieces)


def _unescape_bytes(text: str, body: str, at: int) -> bytes:
    pieces: list[bytes] = []
    last = 0
    for found in _ESCAPE.finditer(body):
        pieces.append(body[last : found.start()].encode())
        _, octet, small, _, large, _, octal, _ = found.groups()
        if small or large:
            raise failure(
                text, at + found.start(), "bytes take no \\u and no \\U", "write the octets with \\x"
            )
        if octet or octal:
            pieces.append(bytes([int(octet, 16) if octet else int(octal, 8)]))
        else:
            pieces.append(_escaped(text, found, at).encode())
        last = found.end()
    pieces.append(body[last:].encode())
    return b"".join(pieces)


def _escaped(text: str, found: re.Match[str], at: int) -> str:
    _, octet, _, small, _, large, octal, other = found.groups()
    if other is not None:
        if other not in _SIMPLE_ESCAPES:
            message = f"unknown escape \\{other}"
            raise failure(
                text, at + found.start(), message, 'write \\\\ for a backslash, or r"..." for raw text'
            )
        return _SIMPLE_ESCAPES[other]
    code = int(octal, 8) if octal else int(octet or small or large, 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise failure(text, at + found.start(), f"{found.group()} is no Unicode character")
    return chr(code)
