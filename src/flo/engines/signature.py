"""How an outgoing webhook is signed, and how its receiver checks it."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "FLO-Signature"


def sign(secret: bytes, body: bytes, time_s: int) -> str:
    """`t=<seconds since the epoch>,v1=<hex HMAC-SHA256 of "t.body">`. The time in it lets a receiver refuse
    replays.
    """
    digest = hmac.new(secret, b"%d." % time_s + body, hashlib.sha256).hexdigest()
    return f"t={time_s},v1={digest}"


def verify(secret: bytes, body: bytes, header: str, now_s: int, *, tolerance_s: int = 300) -> bool:
    """Whether `header` signs `body`, not longer ago than `tolerance_s`. For receivers; compares in constant
    time.
    """
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    time_text = parts.get("t", "")
    if not (time_text.isascii() and time_text.isdecimal()) or abs(now_s - int(time_text)) > tolerance_s:
        return False
    expected = sign(secret, body, int(time_text))
    return hmac.compare_digest(expected.partition("v1=")[2], parts.get("v1", ""))
