"""What generated loop functions call where a type is only known at run time."""

from __future__ import annotations

import math
from typing import Any

from flo.core.expression import EvaluationError

INT64_MAX = (1 << 63) - 1


def as_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvaluationError(f"the condition is {_described(value)}, not true or false", "no_matching_overload")


def as_number(value: Any) -> int | float:
    """A finite number that state can add up."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvaluationError(f"state measures a number, this is {_described(value)}", "no_matching_overload")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EvaluationError(f"state measures a finite number, this is {value}", "invalid_argument")
        return value
    if not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise EvaluationError("state measures 64-bit integers, this one is larger", "overflow")
    return int(value)


def as_scalar(value: Any) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | str):
        return value
    return as_number(value)


def key_text(value: Any) -> str:
    """A key as text: texts as they are, whole numbers in decimal, true and false by name."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    raise EvaluationError(f"a key is a text, a whole number or a bool, this is {_described(value)}", "invalid_key")


def bad_key(key: str) -> EvaluationError:
    what = "empty" if not key else f"{len(key)} characters long, at most 512 are allowed"
    return EvaluationError(f"the key is {what}", "invalid_key")


def unbool(value: Any) -> Any:
    """Conditions are kept as 0 and 1."""
    return int(value) if isinstance(value, bool) else value


def error_detail(error: EvaluationError, rule: str | None) -> dict[str, Any]:
    return {"rule": rule, "code": error.code, "message": error.message}


def _described(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "a map", list: "a list", str: "a text", bool: "a bool", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__}")
