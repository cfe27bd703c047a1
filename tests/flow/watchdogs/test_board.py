"""The board: a finding is raised when it begins to hold, keeps its place while it does, and is read page by page."""

import pytest

from flo.core.errors import UsageError
from flo.core.finding import Finding
from flo.flow.watchdogs.board import FINDINGS_MAX, Board


def found(subject: str, at_ns: int, type: str = "flo.loop.quiet", loop: str | None = None) -> Finding:
    return Finding(type=type, subject=subject, loop=loop, detail=f"{subject} at {at_ns}", at_ns=at_ns)


def test_a_finding_is_raised_once_while_it_holds_and_again_after_it_was_cleared() -> None:
    raised: list[Finding] = []
    board = Board(raised.append)
    for at in (1, 2, 3):
        board.report(found("a", at))
    assert [each.at_ns for each in raised] == [1]
    (posted,) = board.posted()
    assert (posted.first_ns, posted.last_ns, posted.count) == (1, 3, 3)
    assert board.clear("flo.loop.quiet", "a")
    assert not board.clear("flo.loop.quiet", "a")
    board.report(found("a", 9))
    assert [each.at_ns for each in raised] == [1, 9]
    assert board.raised_total == {"flo.loop.quiet": 2}


def test_pages_go_through_every_finding_once_newest_first_also_while_more_come() -> None:
    board = Board(lambda finding: None)
    for number in range(25):
        board.report(found(f"s{number}", 100 + number))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = board.page({}, 7, cursor)
        seen += [row["subject"] for row in page.items]
        board.report(found(f"later{len(seen)}", 1_000))
        board.report(found("s24", 2_000))  # reported again: it does not come a second time
        cursor = page.next
        if cursor is None:
            break
    assert seen == [f"s{number}" for number in reversed(range(25))]


def test_findings_are_asked_for_by_type_subject_and_loop() -> None:
    board = Board(lambda finding: None)
    board.report(found("a", 1, loop="a"))
    board.report(found("b", 2, "flo.cycle.slowing", loop="b"))
    assert [row["subject"] for row in board.page({"type": "flo.cycle.slowing"}, 9, None).items] == ["b"]
    assert [row["subject"] for row in board.page({"loop": "a"}, 9, None).items] == ["a"]
    assert board.page({"subject": "c"}, 9, None).items == []
    with pytest.raises(UsageError, match="leave it out"):
        board.page({}, 9, "no-cursor!")


def test_the_board_is_bounded_and_what_was_reported_longest_ago_leaves() -> None:
    board = Board(lambda finding: None)
    for number in range(FINDINGS_MAX + 3):
        board.report(found(f"s{number}", number))
    assert not board.holds("flo.loop.quiet", "s2")
    assert board.holds("flo.loop.quiet", "s3")
    assert board.counts() == {"flo.loop.quiet": FINDINGS_MAX}
    board.keep(lambda finding: finding.subject != "s7")
    later = Board(lambda finding: None)
    later.restore(board.snapshot())
    for number in range(3):
        later.report(found(f"t{number}", FINDINGS_MAX + number))
    gone = [n for n in range(3, 20) if not later.holds("flo.loop.quiet", f"s{n}")]
    assert gone == [3, 4, 7]


def test_what_held_in_an_earlier_life_holds_on_and_is_not_raised_again() -> None:
    before = Board(lambda finding: None)
    before.report(found("a", 1))
    raised: list[Finding] = []
    after = Board(raised.append)
    after.restore(before.snapshot())
    after.report(found("a", 5))
    assert raised == []
    assert next(iter(after.posted())).first_ns == 1
