"""What is taken of a period before it is dropped, where the ledger is of an earlier FLO."""

from __future__ import annotations

from flo.core.command import Command
from flo.core.record import CommandIssued, DeadLetter, Event, Group, encode_group
from flo.flow.keeping import left_in, letters_to_keep
from flo.flow.views.gone import Gone
from flo.runtimes.simulated.disk import SimulatedDisk
from flo.stores.ledger import Ledger
from flo.stores.ledger_view import WriterView

COMMAND = Command(
    key="pay/a/1/call/0", loop="pay", loop_key="a", seq=1, rule="call", n=0, engine="hook", verb="call",
    arguments={"card": "a"}, decision_id="0-1-0-0", root="r", hops=1, born_ns=1, deadline_ns=9, issued_ns=1,
    revision="rev",
)  # fmt: skip


def write(ledger: Ledger, events: list[Event]) -> None:
    group = Group(block=ledger.next_block, shard=0, decided_ns=1, events=events)
    payload, summary = encode_group(group)
    ledger.append(payload, count=1, time_min_ns=1, time_max_ns=1, written_ns=1, summary=summary)
    ledger.commit()


def test_a_command_that_its_dead_letter_does_not_hold_is_looked_for_in_its_block() -> None:
    ledger = Ledger.open(SimulatedDisk(1), "/data")
    write(ledger, [CommandIssued(command=COMMAND)])
    letter = DeadLetter(
        loop="pay", reason="rejected", detail="no", at_ns=2, command_key=COMMAND.key, decision_id="0-1-0-0"
    )
    write(ledger, [letter, DeadLetter(loop="pay", reason="silent", detail="", at_ns=2, command_key="gone/0")])
    view = WriterView(ledger)
    assert left_in(view, 2, 2, 2) == (Gone(), [])
    kept = list(letters_to_keep(view, 2, 2, Gone()))
    assert [(each.block, each.place, each.letter.command) for each in kept] == [(2, 0, COMMAND), (2, 1, None)]
    ledger.close()
