"""Cursors of lists: where a page ended, as a text that only FLO reads."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec

from flo.core.errors import UsageError

Place = TypeVar("Place")


def encode_cursor(place: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def decode_cursor(cursor: str, type: type[Place], *, begin: str = "at the newest") -> Place:
    """The place it says; `UsageError` for a cursor that FLO did not give. `begin`: where a list without one begins."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.msgpack.decode(raw, type=type)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise UsageError(
            f'cursor "{cursor[:40]}" is not one FLO gave: leave it out to begin {begin}'
        ) from None
