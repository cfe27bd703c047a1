"""What generated loop functions call where a type is only known at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flo.core.expression import EvaluationError
from flo.core.expression.conversions import to_json
from flo.core.signal import INTEGER_MAX, INTEGER_MIN
from flo.core.state import StateError


def as_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvaluationError("no_matching_overload", f"the condition is {_described(value)}, not true or false")


def key_text(value: Any) -> str:
    """A key as text: texts as they are, whole numbers in decimal, true and false by name."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    raise EvaluationError(
        "invalid_key", f"a key is a text, a whole number or a bool, this is {_described(value)}"
    )


def bad_key(key: str) -> EvaluationError:
    what = "empty" if not key else f"{len(key)} characters long, at most 512 are allowed"
    return EvaluationError("invalid_key", f"the key is {what}")


def as_state(value: Any, name: str) -> Any:
    """What a `last` may remember: JSON, because records hold it. Timestamps and the like become text."""
    kind = type(value)
    if kind is str or kind is float or kind is bool or value is None:
        return value
    plain = to_json(value)
    level = [plain]
    while level:
        for each in level:
            if type(each) is int and not INTEGER_MIN <= each <= INTEGER_MAX:
                raise EvaluationError(
                    "unrecordable", f"state {name}: an integer beyond 64 bits cannot be recorded"
                )
        level = [child for each in level for child in _children(each)]
    return plain


def _children(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def failed(
    extra: Mapping[str, Any] | None, error: EvaluationError | StateError, rule: str | None, applied: bool
) -> dict[str, Any]:
    """The `extra` of a decision that failed: nothing is commanded, whatever else is known of it stays."""
    return _failed(extra, _code(error), str(error), rule, applied)


RECORDED = "recorded:"


def as_recorded(code: str, message: str) -> EvaluationError:
    """The failure of a rule that read what is masked, as its record tells it."""
    return EvaluationError(RECORDED + code, message)


def failed_masked(
    extra: Mapping[str, Any] | None, error: EvaluationError | StateError, rule: str | None, applied: bool
) -> dict[str, Any]:
    """The same where fields are masked: a message could quote what must not be written, so it only says what kind."""
    if isinstance(error, EvaluationError) and error.code.startswith(RECORDED):
        return _failed(extra, error.code.removeprefix(RECORDED), error.message, rule, applied)
    place = error.place if isinstance(error, EvaluationError) else None
    where = "" if place is None else f" in `{place.text}` at {place.line}:{place.column}"
    code = _code(error)
    return _failed(
        extra, code, f"{code}{where} (this loop masks fields, so no value is shown)", rule, applied
    )


def _failed(
    extra: Mapping[str, Any] | None, code: str, message: str, rule: str | None, applied: bool
) -> dict[str, Any]:
    kept = {} if extra is None else {name: value for name, value in extra.items() if name != "commands"}
    return {**kept, "error": {"rule": rule, "code": code, "message": message}, "applied": applied}


def _code(error: EvaluationError | StateError) -> str:
    return error.code if isinstance(error, EvaluationError) else "state"


def _described(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "a map", list: "a list", str: "a text", bool: "a bool", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__}")


NAMES: Mapping[str, Any] = {
    "EvaluationError": EvaluationError,
    "StateError": StateError,
    "as_bool": as_bool,
    "as_state": as_state,
    "bad_key": bad_key,
    "key_text": key_text,
}
"""What every loop's source calls by name."""
