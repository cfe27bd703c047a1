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

    def add(self, event: DeadLetterDropped) -> None:
        _, block, place = (int(part) for part in event.dead_letter_id.split("-"))
        self.left[block] = self.left.get(block, 0) | 1 << place
        if event.how == "replayed":
            self.replayed[block] = self.replayed.get(block, 0) | 1 << place

    def has(self, block: int, place: int) -> bool:
        return bool(self.left.get(block, 0) >> place & 1)

    def was_replayed(self, block: int, place: int) -> bool:
        return bool(self.replayed.get(block, 0) >> place & 1)


def gone_of(view: LedgerView) -> Gone:
    """All that left, read from the ledger."""
    gone = Gone()
    for header in view.headers(view.last_block()):
        if "dropped" in decode_summary(header.summary).events:
            for event in decode_group(view.read(header.number).payload).events():
                if isinstance(event, DeadLetterDropped):
                    gone.add(event)
    return gone
