"""An older version than before is a stale read, also among many keys; versions that only grow are none."""

from __future__ import annotations

import msgspec
import pytest
from tests.flow.watchdogs.test_dependency import QUICK
from tests.flow.watchdogs.watched import MINUTE, START_NS, S, bundle

from flo.flow.versions import KEYS_MAX, NewestVersions
from flo.flow.watchdogs.board import Board
from flo.flow.watchdogs.stale_read import SHARED, StaleReadWatchdog

FLO = "dependencies: {scores: {kind: http, url: 'http://127.0.0.1:1/{key}', version: version}}"


def test_only_an_older_version_of_the_same_key_went_back() -> None:
    versions = NewestVersions("version")
    assert not versions.went_back("a", {"version": 5})
    assert not versions.went_back("a", {"version": 5})
    assert not versions.went_back("b", {"version": 1})
    assert versions.went_back("a", {"version": 4})
    assert versions.went_back("a", {"version": 4.5}), "it is still older than the newest"
    assert not versions.went_back("a", {"version": 6})


def test_times_are_compared_as_times_and_what_is_neither_tells_nothing() -> None:
    versions = NewestVersions("at")
    assert not versions.went_back("a", {"at": "2026-01-02T00:00:00+02:00"})
    assert versions.went_back("a", {"at": "2026-01-01T21:00:00Z"})
    for value in ({"at": "soon"}, {"at": None}, {"at": True}, {}, [1], None, 7):
        assert not versions.went_back("a", value)


def test_without_a_field_nothing_is_kept_and_with_one_not_endlessly() -> None:
    none = NewestVersions(None)
    assert not none.went_back("a", {"version": 5})
    assert not none._newest
    versions = NewestVersions("v")
    for number in range(KEYS_MAX + 10):
        versions.went_back(f"k{number}", {"v": 1})
    assert len(versions._newest) == KEYS_MAX


def watched(loop: str = "on: a\nneeds: {score: scores}") -> tuple[StaleReadWatchdog, Board]:
    dog = StaleReadWatchdog()
    definition = bundle({"l": loop}, FLO)
    dog.turn_to(definition, definition.loops)
    return dog, Board(lambda finding: None)


def test_a_dependency_that_goes_back_is_named_with_the_key_and_over_when_it_did_not_again() -> None:
    dog, board = watched()
    dog.look({"scores": QUICK}, 0.0)
    dog.check(START_NS, board)
    assert not list(board.posted())
    dog.look({"scores": msgspec.structs.replace(QUICK, stale=3, stale_key="k7")}, 0.0)
    dog.check(START_NS + 5 * S, board)
    (posted,) = board.posted()
    assert posted.finding.subject == "scores"
    assert "3 times with an older version than before, last for key 'k7'" in posted.finding.detail
    dog.look({"scores": msgspec.structs.replace(QUICK, stale=3, stale_key="k7")}, 0.0)
    dog.check(START_NS + 16 * MINUTE, board)
    assert not list(board.posted())


@pytest.mark.parametrize(("state", "found"), [("state: {n: {count: true, shared: true}}", True), ("", False)])
def test_shared_state_that_is_not_told_any_more_is_found_where_there_is_some(state: str, found: bool) -> None:
    dog, board = watched(f"on: a\n{state}")
    dog.look({}, 0.4)
    dog.check(START_NS, board)
    assert not list(board.posted())
    dog.look({}, 6.0)
    dog.check(START_NS + 5 * S, board)
    assert board.holds("flo.state.stale_read", SHARED) is found
    dog.look({}, 0.2)
    dog.check(START_NS + 10 * S, board)
    assert not list(board.posted())
