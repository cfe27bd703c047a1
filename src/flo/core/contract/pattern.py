"""Regular expressions of contracts: matched in linear time, or refused.

A `pattern` is searched, unanchored, by Rust's `regex` engine inside jsonschema-rs (an ECMA-262 pattern
translated, no back-tracking, so no lookaround and no back-reference). msgspec can only search with Python's
`re`, which back-tracks and differs in meaning (`\\d` is Unicode, `$` also matches before a final newline). So
a pattern goes to msgspec only where both engines provably agree and `re` provably cannot back-track more than
linearly:

- atoms are ASCII literals, escaped punctuation, `\\d`, `\\w`, and classes of those; no groups, no
  alternatives, no dot;
- an atom of varying length is followed by one that must match at least once and shares no character with it,
  except for the last of them, whose tail has a fixed length;
- a pattern that does not start with `^` has no atom of varying length;
- fixed parts are at most REPEATS_MAX characters long.

Every other pattern is left to the full validator.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

import jsonschema_rs

# Of one match attempt: what `re` may have to try again at each position of the text.
REPEATS_MAX = 64

REGEX_OPTIONS = jsonschema_rs.RegexOptions()

_DIGITS = frozenset(string.digits)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_ESCAPED = frozenset("^$\\.*+?()[]{}|/-")
_LITERAL = frozenset(string.ascii_letters + string.digits + " _-:;,@#%&=!~/<>\"'")
_COUNTS = re.compile(r"\{([0-9]{1,3})(?:(,)([0-9]{1,3})?)?\}")


def pattern_problem(pattern: str) -> str | None:
    """Why the pattern cannot be used in a contract, or None."""
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=REGEX_OPTIONS, offline=True)
    except (ValueError, jsonschema_rs.ReferencingError):
        if re.search(r"\(\?(?:[=!]|<[=!])", pattern):
            return "uses lookaround, which cannot be matched in linear time"
        if re.search(r"\\(?:[1-9]|k<)", pattern):
            return "uses a back-reference, which cannot be matched in linear time"
        return "is not a regular expression that can be matched in linear time"
    return None


@dataclass(frozen=True, slots=True)
class _Atom:
    chars: frozenset[str]
    least: int
    most: int | None

    @property
    def varies(self) -> bool:
        return self.least != self.most


def python_pattern(pattern: str) -> str | None:
    """The pattern for Python's `re.search` with the same verdicts in linear time, or None where that is not
    proven."""
    anchored = pattern.startswith("^")
    ended = pattern.endswith("$") and not pattern.endswith("\\$")
    body = pattern[1 if anchored else 0 : -1 if ended else None]
    atoms = _atoms(body)
    if atoms is None or not _linear(atoms, anchored):
        return None
    return ("^" if anchored else "") + "".join(map(_written, atoms)) + (r"\Z" if ended else "")


def _linear(atoms: list[_Atom], anchored: bool) -> bool:
    if sum(atom.least for atom in atoms) > REPEATS_MAX:
        return False
    varying = [index for index, atom in enumerate(atoms) if atom.varies]
    if varying and not anchored:
        return False
    return all(
        atoms[index + 1].least >= 1 and not atoms[index].chars & atoms[index + 1].chars
        for index in varying[:-1]
    )


def _written(atom: _Atom) -> str:
    chars = "".join(re.escape(char) for char in sorted(atom.chars))
    counts = f"{{{atom.least},{'' if atom.most is None else atom.most}}}"
    return f"[{chars}]{'' if (atom.least, atom.most) == (1, 1) else counts}"


def _atoms(body: str) -> list[_Atom] | None:
    atoms: list[_Atom] = []
    offset = 0
    while offset < len(body):
        read = _class(body, offset) if body[offset] == "[" else _single(body, offset)
        if read is None:
            return None
        chars, offset = read
        counted = _counts(body, offset)
        if counted is None:
            return None
        least, most, offset = counted
        atoms.append(_Atom(chars, least, most))
    return atoms


def _single(body: str, offset: int) -> tuple[frozenset[str], int] | None:
    char = body[offset]
    if char == "\\":
        following = body[offset + 1 : offset + 2]
        if following == "d":
            return _DIGITS, offset + 2
        if following == "w":
            return _WORD, offset + 2
        return (frozenset(following), offset + 2) if following and following in _ESCAPED else None
    return (frozenset(char), offset + 1) if char in _LITERAL else None


def _class(body: str, offset: int) -> tuple[frozenset[str], int] | None:
    """A class such as `[A-Za-z0-9_.-]`: single characters, escapes and ranges within one kind of ASCII
    character."""
    offset += 1
    chars: set[str] = set()
    if body[offset : offset + 1] == "^":
        return None
    while offset < len(body) and body[offset] != "]":
        start = offset
        read = (
            (frozenset(body[offset]), offset + 1) if body[offset] in ".+*$(){}|?" else _single(body, offset)
        )
        if read is None:
            return None
        found, offset = read
        if body[offset : offset + 1] == "-" and body[offset + 1 : offset + 2] not in ("]", ""):
            low, high = body[start], body[offset + 1]
            if offset != start + 1 or not _one_kind(low, high):
                return None
            found, offset = frozenset(map(chr, range(ord(low), ord(high) + 1))), offset + 2
        chars |= found
    return (frozenset(chars), offset + 1) if chars and offset < len(body) else None


def _one_kind(low: str, high: str) -> bool:
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    return low <= high and any(low in kind and high in kind for kind in kinds)


def _counts(body: str, offset: int) -> tuple[int, int | None, int] | None:
    char = body[offset : offset + 1]
    if char in ("?", "*", "+"):
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[char]
        offset += 1
    elif char == "{":
        match = _COUNTS.match(body, offset)
        if match is None:
            return None
        least = int(match[1])
        most = least if match[2] is None else int(match[3]) if match[3] else None
        offset = match.end()
        if most is not None and most < least:
            return None
    else:
        return 1, 1, offset
    # A lazy or possessive quantifier, or a quantifier of a quantifier.
    return None if body[offset : offset + 1] in ("?", "+", "*", "{") else (least, most, offset)
