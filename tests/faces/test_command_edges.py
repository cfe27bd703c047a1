"""`flo edges`: declared against observed, of a running FLO and of a data directory."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

from tests.faces.commands import background, flo
from tests.faces.observing import LOOPS, run_event, write_bundle


def test_edges_are_shown_while_flo_runs_and_after(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", LOOPS)
    with background(bundle_and_data=(bundle, tmp_path / "data")) as served:
        event = run_event("r1", "COMPLETE", 5, job="score", inputs=["profiles", "block\x1b[31mlist"])
        request = Request(
            f"{served.url}/api/v1/lineage", json.dumps(event).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request) as response:
            assert response.status == 201
        whole = flo("edges", "--to", served.url)
        assert whole.code == 0
        header, *lines = whole.out.splitlines()
        assert header.split() == ["status", "count", "evidence", "first", "seen", "last", "seen", "edge"]
        assert [line.split()[0] for line in lines] == ["phantom", "both", "declared", "declared", "declared"]
        assert "dataset:warehouse/profiles -> job:jobs/score" in whole.out
        assert "(under `feeds`)" in whole.out
        assert "\x1b" not in whole.out, "a sender's control characters do not reach the terminal"
        assert "1 phantom (observed, declared by nobody); 1 both" in whole.err
        phantom = flo("edges", "--phantom", "--json", "--to", served.url).json["edges"]
        assert [(edge["status"], edge["loops"]) for edge in phantom] == [("phantom", ["score"])]
    after = flo("edges", "--data", tmp_path / "data")
    assert after.out == whole.out
    assert (
        flo("edges", "--loop", "retrain", "--evidence", "traced", "--data", tmp_path / "data").out
        == "no edges\n"
    )


def test_an_unknown_status_is_wrong_use() -> None:
    result = flo("edges", "--status", "ghost")
    assert result.code == 2
    assert "'ghost' is not one of" in result.err
