"""What of a period of the ledger outlives it: dead letters that nobody has decided about. Blocks the thread it runs on.

Each is taken with the bytes of its signal, or with its command, and under its own id: it is listed, shown, dropped,
exported and replayed as before. What says that dead letters of earlier periods left goes along, or they would come back.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from flo.core.record import DeadLetter, DeadLetterDropped, KeptLetter, LetterLeft, decode_group
from flo.flow.dead_letters import find_command
from flo.flow.mark_blocks import MARK_REFUSED
from flo.flow.recorded import blocks_with
from flo.flow.views.gone import Gone
from flo.ports.store import LedgerView

DEAD = frozenset({"dead"})
DROPPED = frozenset({"dropped"})


def left_in(view: LedgerView, first: int, last: int, since: int) -> tuple[Gone, list[LetterLeft]]:
    """Which dead letters left in these blocks, and those among them that are of blocks before, from `since` on: the
    oldest block that kept ones are of."""
    gone, before = Gone(), []
    for number in blocks_with(view, DROPPED, first, last):
        for event in decode_group(view.read(number).payload).events():
            if isinstance(event, DeadLetterDropped):
                block, place = gone.add(event)
                if since <= block < first:
                    before.append(LetterLeft(block, place, event.how == "replayed", event.loop))
    return gone, before


def letters_to_keep(view: LedgerView, first: int, last: int, gone: Gone) -> Iterator[KeptLetter]:
    """The dead letters of these blocks that had not left by their end, in order. Memory: one block."""
    for number in blocks_with(view, DEAD, first, last):
        group = decode_group(view.read(number).payload)
        raws: list[bytes] = []
        events = group.events()
        for place, event in enumerate(events):
            if not isinstance(event, DeadLetter) or gone.has(number, place):
                continue
            if event.signal is None:
                letter = event
                if letter.command is None:  # of a FLO that did not record it here
                    letter = msgspec.structs.replace(event, command=find_command(view, event, number))
                yield KeptLetter(number, place, group.decided_ns, letter)
                continue
            raws = raws or group.raws()
            yield KeptLetter(
                number,
                place,
                group.decided_ns,
                event,
                raw=raws[event.signal],
                row=event.signal,
                context=group.contexts.get(event.signal),
                refused=bool(group.marks.get(event.signal, 0) & MARK_REFUSED),
                sibling=any(
                    isinstance(other, DeadLetter)
                    and other.signal == event.signal
                    and gone.was_replayed(number, at)
                    for at, other in enumerate(events)
                ),
            )
