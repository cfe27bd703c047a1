"""One way to declare a key of the bundle: its type, default, unit, limit and help.

Validation, messages and the reference page all read these declarations, for FLO's own keys (`tables.py`)
and for the keys an engine's kind adds. `default`, `minimum` and `maximum` are written as a bundle would
write them (`"30s"`, not nanoseconds), so the page shows what a user can type; they are checked when
declared.

What a value of each type becomes:

    text      str                         url       str, or Secret where it holds ${env:..} / ${file:..}
    secret    Secret (a literal is refused)          bool      bool
    duration  int, nanoseconds            rate      float, per second
    size      int, bytes                  int       int
    number    float                       probability float, 0 to 1     fraction  float, between 0 and 1
    choice    str, one of `choices`       name      str, a name (letters, digits, _ and -)
    plain     str that holds no `${`
    texts     tuple of str, from one text or a list of them
    list      list of plain values        map       dict of plain values, secrets as Secret
    expression, template, section, sections, rows    only in FLO's own tables
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from flo.core.bundle import quantities
from flo.core.secret import Secret, references

TEXT_CHARS_MAX = 16_384
LIST_ITEMS_MAX = 1_000
INT_ABS_MAX = (1 << 63) - 1

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
NAME_HELP = "a name starts with a letter and holds letters, digits, _ and -, at most 64"

READ_BY_SECTIONS = frozenset({"expression", "template", "section", "sections", "rows"})
"""Types whose values need the place of what is written; `section.py` reads them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the bundle. `table` names the table of the keys inside (section, sections, rows).

    `later` holds choices of later releases, with what to use instead.
    """

    type: str
    required: bool = False
    default: Any = None
    help: str = ""
    unit: str = ""
    minimum: Any = None
    maximum: Any = None
    choices: tuple[str, ...] = ()
    table: str = ""
    later: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.type not in _PARSERS and self.type not in READ_BY_SECTIONS:
            raise ValueError(
                f"`{self.type}` is not a type of setting; the types are {', '.join(sorted(_PARSERS))}"
            )
        if self.type == "choice" and not self.choices:
            raise ValueError("a choice needs its choices")
        if self.default is not None and self.type not in READ_BY_SECTIONS:
            parse_value(self, self.default)

    def default_value(self) -> Any:
        """The default as a value of its type; None where there is none."""
        if self.default is None or self.type in READ_BY_SECTIONS:
            return self.default
        return parse_value(self, self.default)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """A kind of engine: the verbs it carries out and the keys it adds to those all engines have."""

    name: str
    verbs: frozenset[str]
    settings: Mapping[str, Setting] = field(default_factory=dict)


def parse_value(setting: Setting, value: Any, written: str | None = None) -> Any:
    """`value`, as YAML gives it, as a value of the setting's type. `written` is a scalar's own text, where
    known.

    Raises `ValueError` with what is wrong with it; a secret's text is never part of the message.
    """
    parsed = _PARSERS[setting.type](setting, value, str(value) if written is None else written)
    _check_limits(setting, parsed)
    return parsed


def _check_limits(setting: Setting, parsed: Any) -> None:
    for limit, beyond, word in ((setting.minimum, -1, "at least"), (setting.maximum, 1, "at most")):
        if limit is None:
            continue
        bound = _PARSERS[setting.type](setting, limit, str(limit))
        if (parsed - bound) * beyond > 0:
            raise ValueError(f"{describe(setting, parsed)} is out of range: {word} {limit}")


def describe(setting: Setting, parsed: Any) -> str:
    """A parsed value as a bundle would write it, for messages and the reference page."""
    if setting.type == "duration":
        return quantities.format_duration(parsed)
    if setting.type == "size":
        return quantities.format_size(parsed)
    if setting.type == "rate":
        return quantities.format_rate(parsed)
    return shown(parsed)


def shown(value: Any) -> str:
    """A value for a message: short, and never a secret's text."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, Secret):
        return str(value)
    text = str(value)
    return f"`{text[:40]}{'…' if len(text) > 40 else ''}`"


def _text(setting: Setting, value: Any, written: str) -> str:
    if not isinstance(value, str):
        hint = f'; quote it to make it one: "{written[:40]}"' if isinstance(value, (bool, int, float)) else ""
        raise ValueError(f"{shown(value)} is not a text{hint}")
    if len(value) > TEXT_CHARS_MAX:
        raise ValueError(f"the text has {len(value)} characters, at most {TEXT_CHARS_MAX}")
    return value


def _secret_bearing(value: str) -> str | Secret:
    return Secret(value) if references(value) else value


def _setting_text(setting: Setting, value: Any, written: str) -> str | Secret:
    return _secret_bearing(_text(setting, value, written))


def _plain_text(setting: Setting, value: Any, written: str) -> str:
    text = _text(setting, value, written)
    if "${" in text:
        raise ValueError("nothing is filled in here: write the text without `${`")
    return text


def _url(setting: Setting, value: Any, written: str) -> str | Secret:
    text = _text(setting, value, written)
    schemes = setting.choices or ("http", "https")
    if references(text):
        return Secret(text)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("it is not a URL: its host or port cannot be read") from None
    if "@" in (
        parts.netloc or text
    ):  # not echoed: what stands before it may be a password, however the rest reads
        raise ValueError("the URL carries a user or password: write them as ${env:NAME}")
    if parts.scheme not in schemes or not parts.hostname or re.search(r"[\s\x00-\x1f\\]", text):
        raise ValueError(f"{shown(text)} is not a URL like {schemes[0]}://host:port/path")
    return text


def _secret(setting: Setting, value: Any, written: str) -> Secret:
    refused = "a secret stands in a bundle only as a reference: write ${env:NAME} or ${file:PATH}"
    if not isinstance(value, str) or not re.fullmatch(r"\$\{(env|file):[^}]*\}", value):
        raise ValueError(refused)
    return Secret(value)


def _duration(setting: Setting, value: Any, written: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{shown(value)} is not a duration; write it like 250ms, 10m or 1h30m")
    return quantities.duration_ns(written)


def _rate(setting: Setting, value: Any, written: str) -> float:
    return quantities.rate_per_s(written if isinstance(value, (str, int, float)) else shown(value))


def _size(setting: Setting, value: Any, written: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{shown(value)} is not a size; write it like 64MiB")
    return quantities.size_bytes(written)


def _int(setting: Setting, value: Any, written: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(value)} is not a whole number")
    if abs(value) > INT_ABS_MAX:
        raise ValueError("the number does not fit 64 bits")
    return value


def _number(setting: Setting, value: Any, written: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{shown(value)} is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("the number does not fit a double") from None
    if number - number != 0:
        raise ValueError(f"{shown(value)} is not a finite number")
    return number


def _probability(setting: Setting, value: Any, written: str) -> float:
    number = _number(setting, value, written)
    if not 0 <= number <= 1:
        raise ValueError(f"{shown(value)} is not a share: from 0 to 1, so 5 % is 0.05")
    return number


def _fraction(setting: Setting, value: Any, written: str) -> float:
    number = _number(setting, value, written)
    if not 0 < number < 1:
        raise ValueError(f"{shown(value)} is not between 0 and 1, both excluded: 99 % is 0.99")
    return number


def _bool(setting: Setting, value: Any, written: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false")
    return value


def _choice(setting: Setting, value: Any, written: str) -> str:
    for word, instead in setting.later.items():
        if written.split()[:1] == [word]:
            raise ValueError(f"{shown(value)} is not in this release: {instead}")
    if written not in setting.choices or not isinstance(value, (str, bool)):
        raise ValueError(f"{shown(value)} is none of {', '.join(setting.choices)}")
    return written


def _name(setting: Setting, value: Any, written: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a name: {NAME_HELP}")
    return value


def _texts(setting: Setting, value: Any, written: str) -> tuple[str, ...]:
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(items) > LIST_ITEMS_MAX:
        raise ValueError(f"the list has {len(items)} items, at most {LIST_ITEMS_MAX}")
    texts = tuple(_text(setting, item, str(item)) for item in items)
    for text in texts:
        if not text:
            raise ValueError("an empty text stands in the list")
        if texts.count(text) > 1:
            raise ValueError(f"{shown(text)} stands twice in the list")
    return texts


def _list(setting: Setting, value: Any, written: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is not a list: write [a, b]")
    return [_plain(item) for item in value]


def _map(setting: Setting, value: Any, written: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is not a map: write {{name: value}}")
    return {name: _plain(item) for name, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _secret_bearing(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


_PARSERS: dict[str, Callable[[Setting, Any, str], Any]] = {
    "text": _setting_text,
    "plain": _plain_text,
    "url": _url,
    "secret": _secret,
    "duration": _duration,
    "rate": _rate,
    "size": _size,
    "int": _int,
    "number": _number,
    "probability": _probability,
    "fraction": _fraction,
    "bool": _bool,
    "choice": _choice,
    "name": _name,
    "texts": _texts,
    "list": _list,
    "map": _map,
}
