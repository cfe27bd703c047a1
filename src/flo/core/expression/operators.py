"""What operators do when the types are known only at run time, and the errors generated code raises.

Generated code calls these by name; the last argument is always the place to blame.
"""

from __future__ import annotations

import math

from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.values import (
    INT_MIN,
    LISTS,
    NUMBERS,
    Duration,
    Timestamp,
    UInt,
    contains,
    from_key,
    keys_of,
    to_key,
    type_name,
)

_ORDERED = frozenset({bool, str, bytes, Timestamp, Duration})
_KEYS = frozenset({bool, int, UInt, str})


# -- errors, made in the `raise` statements of generated code


def overflow(what: str, at: Place) -> EvaluationError:
    return EvaluationError("overflow", f"the result is out of the range of {what}", at)


def wrong_type(value: object, wanted: str, at: Place) -> EvaluationError:
    return EvaluationError("no_matching_overload", f"{type_name(value)} where {wanted} is needed", at)


def no_such_field(name: str, at: Place) -> EvaluationError:
    return EvaluationError("no_such_field", f"no such field: {name} (guard it with has())", at)


def not_selectable(owner: object, name: object, at: Place) -> EvaluationError:
    """Why `owner[name]` failed: the key is absent, or the owner has no keys at all."""
    if isinstance(owner, dict):
        return EvaluationError("no_such_key", f"no such key: {_shown(name)}", at)
    return EvaluationError("no_matching_overload", f"{type_name(owner)} has no field {_shown(name)}", at)


def no_such_index(index: object, at: Place) -> EvaluationError:
    return EvaluationError("index_out_of_range", f"no element {index}: the list is shorter", at)


def out_of_budget(at: Place) -> EvaluationError:
    return EvaluationError("budget", "the lists are too long to go through within the step budget", at)


def _shown(key: object) -> str:
    text = repr(from_key(key))
    return text if len(text) <= 100 else text[:100] + "..."


# -- arithmetic


def int_divide(left: int, right: int, at: Place) -> int:
    """Division rounded towards zero."""
    if right == 0:
        raise EvaluationError("divide_by_zero", f"{left} / 0", at)
    if right == -1 and left == INT_MIN:
        raise overflow("int", at)
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def int_modulo(left: int, right: int, at: Place) -> int:
    """Remainder with the sign of the dividend."""
    if right == 0:
        raise EvaluationError("divide_by_zero", f"{left} % 0", at)
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def double_divide(left: float, right: float) -> float:
    """IEEE 754 division: by zero it gives an infinity or NaN."""
    if right:
        return left / right
    if left == 0 or math.isnan(left) or math.isnan(right):
        return left / right if math.isnan(right) else math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


# -- comparison and membership


def check_order(left: object, right: object, at: Place) -> None:
    """Raises unless the two have an order; Python's own operators then give it."""
    kind, other = type(left), type(right)
    if kind in NUMBERS and other in NUMBERS:
        return
    if kind is other and kind in _ORDERED:
        return
    message = f"{type_name(left)} and {type_name(right)} have no order"
    raise EvaluationError("no_matching_overload", message, at)


def is_in(element: object, container: object, at: Place) -> bool:
    """`in` where the container is known only now."""
    if type(container) in LISTS:
        return contains(element, container)  # type: ignore[arg-type]
    if isinstance(container, dict):
        return in_map(element, container)
    raise wrong_type(container, "a list or a map", at)


def in_map(key: object, mapping: dict[object, object]) -> bool:
    """Whether a map has a key; what cannot be a key is in none."""
    if type(key) in _KEYS or type(key) is float:
        return to_key(key) in mapping
    return False


# -- indexing


def list_item(values: list[object] | tuple[object, ...], index: int, at: Place) -> object:
    """An element by an int; negative positions do not exist."""
    if 0 <= index < len(values):
        return values[index]
    raise no_such_index(index, at)


def item(owner: object, index: object, at: Place) -> object:
    """`owner[index]` where the types are known only now."""
    if type(owner) in LISTS:
        if type(index) not in NUMBERS or index != int(index):  # type: ignore[call-overload]
            raise wrong_type(index, "a whole number as the index of a list", at)
        return list_item(owner, int(index), at)  # type: ignore[arg-type, call-overload]
    if isinstance(owner, dict):
        if type(index) not in _KEYS and type(index) is not float:
            raise wrong_type(index, "bool, int, uint or string as a key", at)
        try:
            return owner[to_key(index)]
        except KeyError:
            raise not_selectable(owner, index, at) from None
    raise wrong_type(owner, "a list or a map", at)


# -- building and walking


def weight(value: object) -> int:
    """The steps a value made within a walk costs, by its size: a step is about 100 bytes."""
    if type(value) is str or type(value) is bytes:
        return len(value) // 100
    return len(value) // 10 if type(value) is list else 0


def make_map(entries: list[tuple[object, object]], at: Place) -> dict[object, object]:
    """A map of entries whose keys are known only now."""
    result: dict[object, object] = {}
    for key, value in entries:
        if type(key) not in _KEYS:
            raise wrong_type(key, "bool, int, uint or string as a key", at)
        key = to_key(key)
        if key in result:
            raise EvaluationError("duplicate_key", f"the key {_shown(key)} is there twice", at)
        result[key] = value
    return result


def elements(value: object, at: Place) -> list[object]:
    """What a macro with one variable walks over: the elements of a list, the keys of a map."""
    if type(value) in LISTS:
        return value  # type: ignore[return-value]
    if isinstance(value, dict):
        return keys_of(value)
    raise wrong_type(value, "a list or a map", at)


def pairs(value: object, at: Place) -> list[tuple[object, object]]:
    """What a macro with two variables walks over: index and element, or key and value."""
    if type(value) in LISTS:
        return list(enumerate(value))  # type: ignore[arg-type]
    if isinstance(value, dict):
        return [(from_key(key), each) for key, each in value.items()]
    raise wrong_type(value, "a list or a map", at)
