"""Replaying and dropping dead letters: a page at a time, oldest first, each once.

One page is one request, and one group in each shard that has any of its letters: who asks sets the pace, and can stop after
any page. Pages of one run end where the ledger ended when the run began: what a replay makes of a letter is not met again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from flo.core.command import Command
from flo.core.record import DeadLetterDropped, Event
from flo.flow.cursor import decode_cursor, encode_cursor
from flo.flow.dead_letters import Found, Wanted, find_command, find_letters, wanted
from flo.flow.views.gone import Gone, gone_of
from flo.ports.engine import KeyClass
from flo.ports.service import DeadLetterOrder
from flo.runtimes.embedded.engine_room import EngineRoom
from flo.runtimes.embedded.gateway import Gateway
from flo.runtimes.embedded.orders import Drop, Reissue, Replay, leaving
from flo.runtimes.embedded.shard_port import ShardPort

PAGE_LETTERS_MAX = 1_000
PAGE_BYTES_MAX = 8 << 20

KEPT_SHOWN = 20
"""Reasons given one by one; the others are counted."""

APPLIED = (
    "the loop's state holds this signal already, so deciding it again would count it twice: see what it should have done "
    "with `flo explain`, do that, and drop it with a reason"
)
MASKED = "its data is masked, so FLO has no copy that it could decide: have it sent again, and drop this with a reason"
NEITHER = (
    "its engine {engine} neither honours keys nor can be asked, so sending it again may do it twice: look whether it was "
    "done, then drop it, or replay it with `resend` and a note"
)


Act = Callable[["ShardPort", "list[Found]", "Answer"], Awaitable[None]]


class Cursor(msgspec.Struct, array_like=True):
    """How far a run has come in each shard, and where it ends there."""

    after: dict[int, tuple[int, int]]
    last: dict[int, int]


@dataclass(slots=True)
class Answer:
    """What became of a page."""

    counts: Counter[str] = field(default_factory=Counter)
    kept: list[dict[str, str]] = field(default_factory=list)

    def keep(self, dead_letter_id: str, why: str) -> None:
        self.counts["kept"] += 1
        if len(self.kept) < KEPT_SHOWN:
            self.kept.append({"dead_letter_id": dead_letter_id, "why": why})


class DeadLetterOffice:
    """Used on the runtime's event loop; one page at a time."""

    def __init__(
        self,
        ports: Sequence[ShardPort],
        gateway: Gateway,
        engines: EngineRoom,
    ) -> None:
        self._ports = ports
        self._gateway = gateway
        self._engines = engines
        self._gone: dict[int, Gone] = {}
        self._turn = asyncio.Lock()

    def observe(self, event: Event, shard: int) -> None:
        """A dead letter left, and that is durable."""
        if isinstance(event, DeadLetterDropped) and shard in self._gone:
            self._gone[shard].add(event)

    def forget(self, shard: int) -> None:
        """A shard was away: what left meanwhile is read again."""
        self._gone.pop(shard, None)

    async def replay(self, asked: DeadLetterOrder) -> dict[str, Any]:
        """Decide a page of signals again under the bundle in force, and send a page of commands again."""

        async def act(port: ShardPort, found: list[Found], answer: Answer) -> None:
            signals, commands = await self._sorted_out(port, found, answer, asked.resend)
            if asked.dry_run:
                answer.counts["would_replay"] += len(signals) + len(commands)
                return
            letters = [each.replay for each in signals if each.replay is not None]
            if letters:
                needs = await self._gateway.needs_of([letter.signal.raw for letter in letters])
                for row, by_loop in needs.items():
                    letters[row].signal.needs = {loop: dict(need) for loop, need in by_loop.items()}
                answers = await port.steer(Replay(letters, asked.note))
                self._count([letter.dead_letter_id for letter in letters], answers, answer)
            if commands:
                answers = await port.steer(Reissue(commands, asked.note))
                self._count([each[0] for each in commands], answers, answer)

        return await self._page(asked, act)

    async def drop(self, asked: DeadLetterOrder) -> dict[str, Any]:
        """Let a page of dead letters leave, with a reason."""

        async def act(port: ShardPort, found: list[Found], answer: Answer) -> None:
            if asked.dry_run:
                answer.counts["would_drop"] += len(found)
                return
            letters = [leaving(each.dead_letter_id, each.letter) for each in found]
            answer.counts["dropped"] += await port.steer(Drop(letters, asked.note))

        return await self._page(asked, act)

    @staticmethod
    def _count(ids: Sequence[str], answers: Sequence[Sequence[str]], answer: Answer) -> None:
        for dead_letter_id, (how, detail) in zip(ids, answers, strict=True):
            if how == "kept":
                answer.keep(dead_letter_id, detail)
            else:
                answer.counts[how] += 1

    # -- what can be done ---------------------------------------------------------------------------------

    async def _sorted_out(
        self, port: ShardPort, found: Sequence[Found], answer: Answer, resend: bool
    ) -> tuple[list[Found], list[tuple[str, Command, bool]]]:
        """The signals and the commands of these that can be replayed; what cannot is answered with the reason."""
        signals: list[Found] = []
        commands: list[tuple[str, Command, bool]] = []
        for each in found:
            if each.replay is not None:
                why = self._why_not(each)
                if why:
                    answer.keep(each.dead_letter_id, why)
                else:
                    signals.append(each)
                continue
            command = await asyncio.to_thread(find_command, port.view, each.letter, each.place[0])
            if command is None:
                answer.keep(
                    each.dead_letter_id, "its command is not in the ledger any more: drop it with a reason"
                )
                continue
            key_class = self._engines.key_class(command.engine)
            if key_class is None:
                answer.keep(
                    each.dead_letter_id,
                    f"the engine {command.engine} is not in flo.yaml: add it, then replay this",
                )
            elif key_class is KeyClass.NEITHER and not resend:
                answer.keep(each.dead_letter_id, NEITHER.format(engine=command.engine))
            else:
                commands.append((each.dead_letter_id, command, key_class is KeyClass.ASKABLE))
        return signals, commands

    def _why_not(self, found: Found) -> str:
        if found.letter.applied:
            return APPLIED
        route = self._gateway.router.named(found.letter.loop)
        if route is None:
            return f"the bundle has no loop {found.letter.loop} any more"
        return MASKED if route.program.mask.paths else ""

    # -- pages --------------------------------------------------------------------------------------------

    async def _page(self, asked: DeadLetterOrder, act: Act) -> dict[str, Any]:
        filter = wanted(asked.query, asked.ids)
        async with self._turn:
            at = self._cursor(asked.cursor)
            answer = Answer()
            left = min(asked.limit, PAGE_LETTERS_MAX)
            cut = False
            for port in self._ports:
                if left:
                    found, full = await self._find(port, filter, at, left)
                    left -= len(found)
                    cut = cut or full
                    if found:
                        try:
                            await act(port, found, answer)
                        except BaseException:
                            self.forget(port.number)  # whether it is durable is not known
                            raise
                        answer.counts["matched"] += len(found)
                        at.after[port.number] = found[-1].place
            counts = {name: answer.counts[name] for name in sorted(answer.counts)}
            more = encode_cursor(at) if cut or not left else None
            return {**counts, "matched": answer.counts["matched"], "not_replayed": answer.kept, "next": more}

    async def _find(self, port: ShardPort, asked: Wanted, at: Cursor, limit: int) -> tuple[list[Found], bool]:
        number = port.number
        if number not in self._gone:
            self._gone[number] = await asyncio.to_thread(gone_of, port.view)
        gone = self._gone[number]
        after = at.after.get(number, (0, -1))
        last = min(
            at.last[number], port.view.last_block()
        )  # a cursor is the asker's: it sets no bounds of work

        def read() -> tuple[list[Found], bool]:
            while True:
                oldest = port.view.first_block()
                try:
                    page = read_once()
                except LookupError:
                    if port.view.first_block() == oldest:
                        raise
                    continue
                if port.view.first_block() == oldest:
                    return page  # no period was dropped meanwhile: nothing was passed over

        def read_once() -> tuple[list[Found], bool]:
            found: list[Found] = []
            size_bytes = 0
            for each in islice(find_letters(port.view, asked, after, last, gone), limit):
                size_bytes += 0 if each.replay is None else len(each.replay.signal.raw)
                found.append(each)
                if size_bytes >= PAGE_BYTES_MAX:
                    return found, True
            return found, False

        return await asyncio.to_thread(read)

    def _cursor(self, cursor: str | None) -> Cursor:
        if cursor is None:
            return Cursor({}, {port.number: port.view.last_block() for port in self._ports})
        at = decode_cursor(cursor, Cursor, begin="anew")
        for port in self._ports:
            at.last.setdefault(port.number, 0)
        return at
