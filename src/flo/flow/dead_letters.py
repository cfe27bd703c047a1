"""Dead letters that people act on: found by filter, oldest first, and told apart by what can be done with them.

Blocks the thread it is read on. Memory: one page of letters, one block, and a few bits for each letter that has left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from flo.core.command import Command
from flo.core.errors import UsageError
from flo.core.record import CommandIssued, CommandReissued, DeadLetter, KeptLetter, decode_group
from flo.flow.mark_blocks import MARK_REFUSED
from flo.flow.recorded import blocks_with, recorded
from flo.flow.redecide import Letter, Recorded
from flo.flow.views.decisions import query_time
from flo.flow.views.gone import Gone
from flo.flow.views.rows import DEAD_LETTER_KEYS, check_query, dead_letter_id
from flo.ports.store import LedgerView

Place = tuple[int, int]
"""(block, place among its events)."""

COMMAND_BLOCKS_BACK_MAX = 100_000
"""A command is looked for so far before the dead letter that names it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; None asks for nothing. `ids` alone: those and no others."""

    loop: str | None = None
    reason: str | None = None
    key: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    ids: frozenset[str] | None = None

    def fits(self, letter: DeadLetter, own_id: str) -> bool:
        return (
            (self.ids is None or own_id in self.ids)
            and (self.loop is None or letter.loop == self.loop)
            and (self.reason is None or letter.reason == self.reason)
            and (self.key is None or letter.key == self.key)
            and (self.since_ns is None or letter.at_ns >= self.since_ns)
            and (self.until_ns is None or letter.at_ns < self.until_ns)
        )


def wanted(query: Mapping[str, str], ids: Collection[str]) -> Wanted:
    """A filter as it was asked for; `UsageError` names what is not known, or an id that is none."""
    check_query(query, DEAD_LETTER_KEYS, "dead letters")
    for each in ids:
        parts = each.split("-")
        if len(parts) != 3 or not all(
            part.isascii() and part.isdecimal() and len(part) < 19 for part in parts
        ):
            raise UsageError(f'"{each[:60]}" is not a dead letter id: they look like 0-1023-0')
    return Wanted(
        loop=query.get("loop"),
        reason=query.get("reason"),
        key=query.get("key"),
        since_ns=query_time("since", query.get("since")),
        until_ns=query_time("until", query.get("until")),
        ids=frozenset(ids) or None,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter in its place; `replay` is set where it is one of a signal."""

    dead_letter_id: str
    place: Place
    letter: DeadLetter
    replay: Letter | None


def find_letters(
    view: LedgerView, asked: Wanted, after: Place, last_block: int, gone: Gone
) -> Iterator[Found]:
    """Those that are still here, behind a place, up to a block, oldest first. Where a period of the ledger is dropped
    meanwhile, some may be passed over, or `LookupError` is raised: ask again if `first_block` is another afterwards.
    """
    oldest = view.first_block()
    kept = _kept(view, asked, after[0], min(oldest - 1, last_block))
    for _, of_block in groupby(kept, key=lambda letter: letter.block):
        yield from _kept_of_block(view.shard, list(of_block), asked, after, gone)
    after = max(after, (oldest, -1))
    for number in _blocks(view, asked, after[0], last_block):
        raws: list[bytes] = []
        group = decode_group(view.read(number).payload)
        events = group.events()
        for place, event in enumerate(events):
            if not isinstance(event, DeadLetter) or (number, place) <= after or gone.has(number, place):
                continue
            own_id = dead_letter_id(view.shard, number, place)
            if not asked.fits(event, own_id):
                continue
            replay = None
            if event.signal is not None:
                raws = raws or group.raws()
                replay = Letter(
                    own_id,
                    recorded(number, event.signal, group, raws[event.signal], [event.loop]),
                    bool(group.marks.get(event.signal, 0) & MARK_REFUSED),
                    any(
                        isinstance(other, DeadLetter)
                        and other.signal == event.signal
                        and gone.was_replayed(number, at)
                        for at, other in enumerate(events)
                    )
                    if gone.replayed.get(number)
                    else False,
                )
            yield Found(own_id, (number, place), event, replay)


def _kept(view: LedgerView, asked: Wanted, first: int, last: int) -> Iterator[KeptLetter]:
    """Those of blocks that went; of named blocks alone where ids are asked for."""
    if asked.ids is None:
        yield from view.letters.find((first, -1), (last + 1, -1))
        return
    for block in _named_blocks(view.shard, asked.ids):
        if first <= block <= last:
            yield from view.letters.find((block, -1), (block + 1, -1))


def _kept_of_block(
    shard: int, letters: list[KeptLetter], asked: Wanted, after: Place, gone: Gone
) -> Iterator[Found]:
    """Dead letters whose block went."""
    for kept in letters:
        place = kept.block, kept.place
        own_id = dead_letter_id(shard, *place)
        if place <= after or gone.has(*place) or not asked.fits(kept.letter, own_id):
            continue
        if kept.raw is None:
            yield Found(own_id, place, kept.letter, None)
            continue
        sibling = kept.sibling or any(
            other.raw is not None and other.row == kept.row and gone.was_replayed(other.block, other.place)
            for other in letters
        )
        loops = [kept.letter.loop]
        signal = Recorded(kept.block, kept.row, kept.decided_ns, kept.raw, kept.context, loops)
        yield Found(own_id, place, kept.letter, Letter(own_id, signal, kept.refused, sibling))


def _blocks(view: LedgerView, asked: Wanted, first: int, last: int) -> Iterator[int]:
    if asked.ids is None:
        yield from blocks_with(view, frozenset({"dead"}), max(first, 1), last)
        return
    for number in _named_blocks(view.shard, asked.ids):
        if first <= number <= last:
            try:
                view.read(number)
            except LookupError:
                continue  # never written, or lost
            yield number


def _named_blocks(shard: int, ids: Collection[str]) -> list[int]:
    named = (each.split("-") for each in ids)
    return sorted({int(block) for of_shard, block, _ in named if int(of_shard) == shard})


def find_command(view: LedgerView, letter: DeadLetter, block: int) -> Command | None:
    """The command of a dead letter, as it was issued last; None where the ledger has it no more."""
    if letter.command is not None:
        return letter.command
    first = max(1, block - COMMAND_BLOCKS_BACK_MAX)
    if letter.decision_id:  # nearly always in the block of its decision
        of_decision = int(letter.decision_id.split("-")[1])
        found = _issued(view, of_decision, letter.command_key)
        if found is not None:
            return found
        first = max(first, of_decision)
    numbers = list(blocks_with(view, frozenset({"command", "reissued"}), first, block))
    for number in reversed(numbers):
        found = _issued(view, number, letter.command_key)
        if found is not None:
            return found
    return None


def _issued(view: LedgerView, block: int, key: str | None) -> Command | None:
    try:
        events = decode_group(view.read(block).payload).events()
    except LookupError:
        return None
    for event in events:
        if isinstance(event, CommandIssued | CommandReissued) and event.command.key == key:
            return event.command
    return None
