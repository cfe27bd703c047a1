"""A command's key as the name of a Step Functions execution: at most 80 characters, letters, digits, `-` and `_`.

AWS itself forbids more than that only in part, but CloudWatch Logs takes no others, and then the execution is not
logged. The mapping is injective (two keys never share a name), so that one key is one execution:

    letters, digits and `-` stand for themselves      `/` becomes `__`
    every other byte of the key's UTF-8 becomes `_` and two hexadecimal digits, in capitals: `_` is `_5F`

A key whose name would be longer than 80 keeps as much of its beginning as fits, followed by `_x` and the SHA-256 of the
whole key. No short name holds `_x` where an escape could start, so the two kinds never meet.
"""

from __future__ import annotations

import hashlib

NAME_CHARS_MAX = 80
DIGEST_MARK = "_x"
DIGEST_CHARS = 64

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")


def execution_name(key: str) -> str:
    """See the module. The same for ever: what a running FLO sent is asked about under this name after an upgrade."""
    raw = key.encode("utf-8", "surrogatepass")
    units = [_unit(byte) for byte in raw]
    name = "".join(units)
    if 0 < len(name) <= NAME_CHARS_MAX:
        return name
    room = NAME_CHARS_MAX - len(DIGEST_MARK) - DIGEST_CHARS
    start = ""
    for unit in units:
        if len(start) + len(unit) > room:
            break
        start += unit
    return f"{start}{DIGEST_MARK}{hashlib.sha256(raw).hexdigest()}"


def _unit(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    return "__" if byte == ord("/") else f"_{byte:02X}"
