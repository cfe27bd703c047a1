"""Dead letters kept beyond the time of their block, and which of such had left."""

from __future__ import annotations

from typing import Any

import msgspec

from flo.core.record.event import DeadLetter


class KeptLetter(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter with all of its block that it needs. `block` and `place` are its own: it keeps its id.

    `raw`, `row`, `context`, `refused`: of a signal's dead letter, as its block has them. `sibling`: another dead letter
    of the same signal had been replayed when this was kept. Fields are only ever added, with defaults.
    """

    block: int
    place: int
    decided_ns: int
    letter: DeadLetter
    raw: bytes | None = None
    row: int = 0
    context: tuple[Any, ...] | None = None
    refused: bool = False
    sibling: bool = False


class LetterLeft(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter of an earlier period that left in this one."""

    block: int
    place: int
    replayed: bool
    loop: str = ""


class KeptPeriod(msgspec.Struct, frozen=True, array_like=True):
    """The blocks that kept letters were in: dropped, or about to be."""

    first_block: int
    last_block: int
    end_ns: int
