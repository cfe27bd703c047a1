"""The commands that change something: pipelines paused and resumed, dead letters replayed and dropped."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.faces.commands import background, fill, flo
from tests.faces.conftest import line

from flo.faces.cli.letters import act_on_all


def test_a_pipeline_is_paused_shown_and_resumed_with_a_note() -> None:
    with background() as served:
        paused = flo("pause", "cards", "--note", "drift", "--to", served.url)
        assert paused.code == 0
        assert "NOT paused, for their engines cannot: cron.report" in paused.out
        assert "airflow.score" in paused.out
        assert flo("pause", "cards", "--to", served.url).code == 1
        shown = flo("loops", "--to", served.url)
        assert shown.out.startswith("pipeline cards is paused since 2026-11-23T05:10:12Z by operator")
        assert "3 parked" in shown.out
        assert flo("loops", "--to", served.url, "--json").json["pipelines_paused"][0]["why"] == "drift"
        assert "--note" in flo("resume", "cards", "--to", served.url).err
        assert flo("resume", "cards", "--note", " ", "--to", served.url).code == 2
        done = flo("resume", "cards", "--note", "the field is amount again", "--to", served.url)
        assert (done.code, "runs again" in done.out) == (0, True)
        assert served.service.notes == ["the field is amount again"]
        again = flo("resume", "cards", "--note", "x", "--to", served.url, "--json")
        assert (again.code, again.json["changed"]) == (1, False)
        missing = flo("pause", "card", "--to", served.url)
        assert (missing.code, "did you mean 'cards'" in missing.err) == (1, True)
        assert "--data" not in flo("pause", "--help").out


def test_dead_letters_are_replayed_and_dropped_page_after_page() -> None:
    with background() as served:
        fill(served)
        asyncio.run(served.service.ingest([line(number, data=1) for number in range(200, 2400)]))
        wrong = flo("dead", "replay", "--to", served.url)
        assert (wrong.code, "--all" in wrong.err) == (2, True)
        dry = flo("dead", "replay", "--all", "--dry-run", "--to", served.url)
        assert (dry.code, "1,000 would be replayed" in dry.out) == (
            0,
            True,
        )  # one page is all this fake has of those
        one = flo("dead", "replay", "--id", "0-1-0", "--to", served.url)
        assert (one.code, one.out) == (0, "1 replayed\n")
        assert flo("dead", "drop", "--id", "0-1-1", "--to", served.url).code == 2
        dropped = flo("dead", "drop", "--id", "0-1-1", "--note", "a test event", "--to", served.url)
        assert (dropped.code, dropped.out) == (0, "1 dropped\n")
        assert served.service.notes[-1] == "a test event"
        rest = flo("dead", "replay", "--loop", "velocity", "--note", "mended", "--to", served.url, "--json")
        assert (rest.code, rest.json["replayed"]) == (0, 2199)
        assert not served.service.letters
        assert flo("dead", "replay", "--resend", "--all", "--to", served.url).code == 2


def test_a_rate_is_held_over_the_pages_and_ctrl_c_says_how_far_it_came() -> None:
    now, slept = [0.0], []

    class Asked:
        pages = 0

        def ask(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
            self.pages += 1
            assert body["limit"] == 50
            if self.pages == 5:
                raise KeyboardInterrupt
            return {"matched": 50, "replayed": 50, "not_replayed": [], "next": "more"}

    def sleep(duration_s: float) -> None:
        slept.append(duration_s)
        now[0] += duration_s

    done = act_on_all(Asked(), "/p", {}, 100.0, lambda counts: None, sleep, lambda: now[0])  # type: ignore[arg-type]
    assert (done["replayed"], done["interrupted"]) == (200, True)
    assert slept == [0.5] * 4
