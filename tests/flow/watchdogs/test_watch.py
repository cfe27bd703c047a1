"""The watch: what happens to loops too often is one finding each, findings become signals, and they outlive a restart."""

import logging

import msgspec
import pytest
from tests.flow.watchdogs.watched import MINUTE, START_NS, S, bundle, digest

from flo.core.record import CommandOutcome, Killed
from flo.core.signal import parse_signal
from flo.flow.watchdogs.watch import SIGNALS_BURST, SIGNALS_WAITING_MAX, Watch

LOOPS = {"settle": "on: a", "pager": "on: flo.iteration.killed", "mixed": "on: [a, flo.loop.quiet]"}


def killed(loop: str, at_ns: int, why: str = "ttl") -> Killed:
    return Killed(loop=loop, why=why, detail="3.000 s past its deadline", at_ns=at_ns, key="k1", root="r")


def silent(loop: str, at_ns: int) -> CommandOutcome:
    return CommandOutcome(
        command_key=f"{loop}/k/1/r/0", outcome="silent", at_ns=at_ns, attempts=1, detail="no effect came"
    )


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    watch.turn_to(bundle(LOOPS))
    return watch


def held(watch: Watch) -> set[tuple[str, str]]:
    return {posted.finding.identity for posted in watch.board.posted()}


def test_a_thousand_zombies_of_one_loop_are_one_finding_with_their_number(watch: Watch) -> None:
    for second in range(10):
        at = START_NS + second * S
        watch.observe(
            [digest(at, *(killed("settle", at, why) for why in ("ttl", "hops") for _ in range(50)))]
        )
        watch.check(at)
    (posted,) = watch.board.posted()
    assert posted.finding.identity == ("flo.iteration.killed", "settle")
    assert posted.finding.figures["killed"] == 1_000
    assert (posted.finding.figures["ttl"], posted.finding.figures["hops"]) == (500, 500)
    assert len(watch.due(START_NS + 10 * S)) == 1


def test_zombies_that_stopped_coming_are_over_after_a_while_and_news_after_that(watch: Watch) -> None:
    watch.observe([digest(START_NS, killed("settle", START_NS))])
    watch.check(START_NS)
    watch.check(START_NS + 14 * MINUTE)
    assert held(watch) == {("flo.iteration.killed", "settle")}
    watch.check(START_NS + 16 * MINUTE)
    assert held(watch) == set()
    watch.observe([digest(START_NS + 17 * MINUTE, killed("settle", START_NS + 17 * MINUTE))])
    watch.check(START_NS + 17 * MINUTE)
    assert watch.board.raised_total["flo.iteration.killed"] == 2


def test_what_a_person_killed_is_no_zombie(watch: Watch) -> None:
    watch.observe([digest(START_NS, killed("settle", START_NS, "operator"))])
    watch.check(START_NS)
    assert held(watch) == set()


def test_a_silent_command_is_found_and_other_outcomes_are_not(watch: Watch) -> None:
    fine = [
        msgspec.structs.replace(silent("mixed", START_NS), outcome=each) for each in ("succeeded", "failed")
    ]
    watch.observe([digest(START_NS, silent("settle", START_NS), *fine)])
    watch.check(START_NS)
    assert held(watch) == {("flo.command.silent", "settle")}


def test_a_loop_that_listens_to_watchdogs_alone_is_not_watched(watch: Watch) -> None:
    watch.observe(
        [digest(START_NS, killed("pager", START_NS), silent("pager", START_NS), killed("mixed", START_NS))]
    )
    watch.check(START_NS)
    assert held(watch) == {("flo.iteration.killed", "mixed")}


def test_a_watchdog_that_is_off_and_a_loop_it_leaves_alone_raise_nothing() -> None:
    watch = Watch()
    watch.turn_to(
        bundle(LOOPS, "watchdogs: {flo.command.silent: off, flo.iteration.killed: {except: [settle]}}")
    )
    watch.observe([digest(START_NS, silent("settle", START_NS), killed("settle", START_NS))])
    watch.check(START_NS)
    assert held(watch) == set()


def test_what_is_turned_off_or_gone_with_a_change_of_bundle_is_taken_down(watch: Watch) -> None:
    watch.observe([digest(START_NS, silent("settle", START_NS), killed("mixed", START_NS))])
    watch.check(START_NS)
    assert len(held(watch)) == 2
    watch.turn_to(bundle({"settle": "on: a"}, "watchdogs: {flo.command.silent: off}"))
    assert held(watch) == set()
    watch.check(START_NS + S)
    assert held(watch) == set()


def test_a_finding_is_a_signal_that_rules_can_match(watch: Watch) -> None:
    watch.observe([digest(START_NS, killed("settle", START_NS))])
    watch.check(START_NS)
    (raw,) = watch.due(START_NS)
    event = parse_signal(raw)
    data = msgspec.json.decode(event.data)
    assert (event.type, event.source) == ("flo.iteration.killed", "/flo/watchdogs")
    assert (data["subject"], data["loop"], data["figures"]["killed"]) == ("settle", "settle", 1)


def test_signals_that_could_not_be_taken_are_due_again_and_the_same(watch: Watch) -> None:
    watch.observe([digest(START_NS, killed("settle", START_NS), silent("settle", START_NS))])
    watch.check(START_NS)
    first = watch.due(START_NS)
    watch.put_back()
    assert watch.due(START_NS + S) == first
    assert watch.due(START_NS + 2 * S) == []


def test_a_flood_of_findings_is_offered_slowly_and_what_is_too_much_is_counted() -> None:
    count = SIGNALS_WAITING_MAX + 100
    watch = Watch()
    watch.turn_to(bundle({f"l{number}": "on: a" for number in range(count)}))
    watch.observe([digest(START_NS, *(killed(f"l{number}", START_NS) for number in range(count)))])
    watch.check(START_NS)
    assert watch.unsent == 100
    assert len(watch.due(START_NS)) == SIGNALS_BURST
    assert len(watch.due(START_NS + 10 * S)) == 10
    assert watch.due(START_NS + 10 * S) == []


def test_a_restart_takes_up_what_held_and_what_was_counted(watch: Watch) -> None:
    watch.observe([digest(START_NS, killed("settle", START_NS))])
    watch.check(START_NS)
    again = Watch()
    again.turn_to(bundle(LOOPS))
    again.restore(watch.snapshot(), START_NS + S)
    again.observe([digest(START_NS + S, killed("settle", START_NS + S))])
    again.check(START_NS + S)
    (posted,) = again.board.posted()
    assert (posted.first_ns, posted.finding.figures["killed"]) == (START_NS, 2)
    assert again.due(START_NS + S) == [], "raised in the life before"


@pytest.mark.parametrize("snapshot", [b"", b"\xc1", b"\x93\x01\x90\x81\xb4flo.iteration.killed\x05"])
def test_a_damaged_snapshot_is_logged_and_watchdogs_begin_anew(
    snapshot: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    watch.turn_to(bundle(LOOPS))
    with caplog.at_level(logging.WARNING, "flo.watchdogs"):
        watch.restore(snapshot, START_NS)
    assert "cannot be read" in caplog.text or "begin anew" in caplog.text
    watch.observe([digest(START_NS, killed("settle", START_NS))])
    watch.check(START_NS)
    assert held(watch) == {("flo.iteration.killed", "settle")}
