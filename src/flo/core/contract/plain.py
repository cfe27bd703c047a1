"""Bytes to plain JSON values, and plain values to what a shape promises. The slow way and the judge of the
fast one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from flo.core.contract.positions import DEPTH_MAX, Pointer
from flo.core.contract.shape import ListShape, MapShape, Nullable, ObjectShape, Scalar, Shape

Fitter = Callable[[Any], Any]

# Nesting one level deeper than DEPTH_MAX takes two brackets a level.
SURELY_SHALLOW_BYTES_MAX = 2 * DEPTH_MAX
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
# A number beyond a double has an exponent of three digits or very many digits: 200 of them with an exponent
# of two still stay below 1e308. Every digit is made a 0 to look for either: a third of a regex search's time.
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789E", b"000000000e")
_EXPONENT_OF_THREE = b"e000"
_DIGITS_MAX = 200
_MANY_DIGITS = b"0" * _DIGITS_MAX


class NotJson(Exception):
    """Bytes that are no JSON value FLO takes. `rule` is `json`, `utf-8`, `depth` or `number`."""

    def __init__(self, rule: str, detail: str, path: Pointer = ()) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail
        self.path = path


def decode_plain(raw: bytes) -> Any:
    """The JSON value in `raw`; raises NotJson for anything but one UTF-8 JSON text, at most DEPTH_MAX deep,
    whose numbers a double (or, for integers, Python's 4,300 digits) can hold. A key that stands twice counts
    the last time."""
    try:
        value = msgspec.json.decode(str(raw, "utf-8"))
    except UnicodeDecodeError as error:
        raise NotJson(
            "utf-8", f"the bytes are not UTF-8 text: {error.reason} at byte {error.start}"
        ) from error
    except msgspec.ValidationError as error:
        raise NotJson("number", "holds a number that is out of range") from error
    except msgspec.DecodeError as error:
        raise NotJson("json", f"the bytes are not one JSON value: {error}") from error
    except RecursionError as error:
        raise NotJson("depth", f"the JSON is nested deeper than {DEPTH_MAX} levels") from error
    if len(raw) > SURELY_SHALLOW_BYTES_MAX and maybe_deep(raw) and _depth_exceeds(value):
        raise NotJson("depth", f"the JSON is nested deeper than {DEPTH_MAX} levels")
    return value


def maybe_deep(raw: bytes) -> bool:
    """Whether the text could be nested deeper than DEPTH_MAX. Never wrong in saying no; brackets inside
    strings may make it wrong in saying yes."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_MAX:
        return False
    depth = 0
    for byte in raw.translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif depth:
            depth -= 1
    return False


def maybe_out_of_range(raw: bytes) -> bool:
    """Whether some number in the text could be beyond what a double holds; may say yes where none is, never
    no."""
    digits = raw.translate(_DIGITS_AS_ZERO, b"+")
    return _EXPONENT_OF_THREE in digits or (len(digits) >= _DIGITS_MAX and _MANY_DIGITS in digits)


def _depth_exceeds(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def fitter(shape: Shape) -> Fitter | None:
    """A function that turns a plain value of this shape into what it promises, or None where it already is.

    Doubles become floats, whole floats of integers become ints. Containers are changed in place. The function
    raises NotJson(`number`) for an integer no double holds where a double is promised.
    """
    return _Fitters().of(shape)


class _Fitters:
    """One fitter a shape: a schema's definitions may share shapes so that the tree of them is exponential."""

    def __init__(self) -> None:
        self.done: dict[int, Fitter | None] = {}

    def of(self, shape: Shape) -> Fitter | None:
        if id(shape) not in self.done:
            self.done[id(shape)] = self.build(shape)
        return self.done[id(shape)]

    def build(self, shape: Shape) -> Fitter | None:
        match shape:
            case Scalar("double"):
                return _to_double
            case Scalar("int"):
                return _to_int
            case Nullable(inner):
                fit = self.of(inner)
                return fit and _nullable(fit)
            case ListShape(item):
                fit = self.of(item)
                return fit and _each_item(fit)
            case MapShape(inner):
                fit = self.of(inner)
                return fit and _each_value(fit)
            case ObjectShape(fields):
                fits = [
                    (name, fit) for name, field in fields.items() if (fit := self.of(field.shape)) is not None
                ]
                return _each_field(fits) if fits else None
            case _:
                return None


def _to_double(value: Any) -> Any:
    try:
        return float(value)
    except OverflowError as error:
        raise NotJson("number", "is an integer beyond what a double holds") from error


def _to_int(value: Any) -> Any:
    return int(value)


def _nullable(fit: Fitter) -> Fitter:
    return lambda value: None if value is None else fit(value)


def _each_item(fit: Fitter) -> Fitter:
    def fit_items(items: Any) -> Any:
        for index, item in enumerate(items):
            items[index] = _at(index, fit, item)
        return items

    return fit_items


def _each_value(fit: Fitter) -> Fitter:
    def fit_values(mapping: Any) -> Any:
        for key, value in mapping.items():
            mapping[key] = _at(key, fit, value)
        return mapping

    return fit_values


def _each_field(fits: list[tuple[str, Fitter]]) -> Fitter:
    def fit_fields(mapping: Any) -> Any:
        for name, fit in fits:
            if name in mapping:
                mapping[name] = _at(name, fit, mapping[name])
        return mapping

    return fit_fields


def _at(step: str | int, fit: Fitter, value: Any) -> Any:
    try:
        return fit(value)
    except NotJson as problem:
        problem.path = (step, *problem.path)
        raise
