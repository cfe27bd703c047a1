"""What the outside world answers, as a record can hold it.

A value that cannot be encoded, or encoded and never read again, must not get near a group: a group that cannot be
written stops its shard. So everything that comes from an engine passes here first.
"""

from __future__ import annotations

from typing import Any

import msgspec

RESULT_BYTES_MAX = 1 << 20
"""Of one recorded answer. Larger ones belong in a store, with a reference in the answer."""

RESULT_DEPTH_MAX = 128

TEXT_CHARS_MAX = 4096

_encode = msgspec.msgpack.Encoder().encode


def unrecordable(value: Any) -> str | None:
    """Why no record can hold this value; None where it can."""
    level = [value]
    for _ in range(RESULT_DEPTH_MAX + 1):
        level = [child for each in level for child in _children(each)]
        if not level:
            break
    else:
        return f"it nests deeper than {RESULT_DEPTH_MAX} levels"
    try:
        size_bytes = len(_encode(value))
    except (OverflowError, TypeError, ValueError, msgspec.MsgspecError) as error:
        return str(error) or type(error).__name__
    return None if size_bytes <= RESULT_BYTES_MAX else f"it has {size_bytes} bytes, {RESULT_BYTES_MAX} may"


def _children(value: Any) -> tuple[Any, ...] | list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list | tuple) else ()


def recordable_text(text: str) -> str:
    """The text without half characters, and not endless."""
    return text[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode()
