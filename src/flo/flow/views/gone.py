"""Which dead letters have left."""

from __future__ import annotations

from dataclasses import dataclass, field

from flo.core.record import DeadLetterDropped, decode_group
from flo.core.record.group import decode_summary
from flo.ports.store import LedgerView


@dataclass(slots=True)
class Gone:
    """The dead letters of one shard that left, as bits by block: a hundred thousand of them are a few kilobytes."""

    left: dict[int, int] = field(default_factory=dict)
    replayed: dict[int, int] = field(default_factory=dict)

    def add(self, event: DeadLetterDropped) -> tuple[int, int]:
        """Returns where it stood: (block, place)."""
        _, block, place = (int(part) for part in event.dead_letter_id.split("-"))
        self.add_place(block, place, event.how == "replayed")
        return block, place

    def add_place(self, block: int, place: int, replayed: bool) -> None:
        self.left[block] = self.left.get(block, 0) | 1 << place
        if replayed:
            self.replayed[block] = self.replayed.get(block, 0) | 1 << place

    def has(self, block: int, place: int) -> bool:
        return bool(self.left.get(block, 0) >> place & 1)

    def was_replayed(self, block: int, place: int) -> bool:
        return bool(self.replayed.get(block, 0) >> place & 1)


def gone_of(view: LedgerView) -> Gone:
    """All that left, read from the ledger, and of what it does not say any more, from what is kept beyond it."""
    gone = Gone()
    for header in view.headers(view.last_block()):
        if "dropped" in decode_summary(header.summary).events:
            try:
                events = decode_group(view.read(header.number).payload).events()
            except LookupError:  # dropped by retention meanwhile
                break
            for event in events:
                if isinstance(event, DeadLetterDropped):
                    gone.add(event)
    for (
        left
    ) in view.letters.left():  # last: a period that is dropped meanwhile had its say written down before
        gone.add_place(left.block, left.place, left.replayed)
    return gone
