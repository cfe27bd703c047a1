"""What generated loop functions call where a type is only known at run time."""

from __future__ import annotations

from typing import Any

from flo.core.expression import EvaluationError
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


def error_detail(error: EvaluationError | StateError, rule: str | None) -> dict[str, Any]:
    """What the record keeps of a failure."""
    code = error.code if isinstance(error, EvaluationError) else "state"
    return {"rule": rule, "code": code, "message": str(error)}


def _described(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "a map", list: "a list", str: "a text", bool: "a bool", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__}")
