"""What a newcomer sees on an 80-column terminal, and the change of a running FLO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faces.commands import background, flo


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    assert flo("init", tmp_path / "my-loops").code == 0
    return tmp_path / "my-loops"


@pytest.fixture
def running(bundle: Path, tmp_path: Path) -> Iterator[str]:
    with background(bundle_and_data=(bundle, tmp_path / "data")) as served:
        yield served.url


def test_tables_fit_eighty_columns(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    data = tmp_path / "data"
    summary = flo("run", bundle, "--input", bundle / "signals.ndjson", "--data", data)
    assert "signal 7 refused, contract: the data breaks" in summary.out
    loops = flo("loops", "--data", data).out.splitlines()
    assert len(loops) == 2, "one line for the heads, one for the loop"
    dead = flo("dead", "list", "--data", data).out.splitlines()
    assert dead[1].startswith("0-"), "the id, as `flo dead show` takes it"
    assert all(len(line) <= 80 for line in (*loops, *dead))


def test_apply_puts_a_changed_bundle_in_force_and_a_bad_one_not(running: str, bundle: Path) -> None:
    assert "nothing changed" in flo("apply", bundle, "--to", running).out
    path = bundle / "loops" / "velocity.yaml"
    good = path.read_text()
    path.write_text(good.replace("state.count_10m >= 3", "state.count_10m >= 2"))
    applied = flo("apply", bundle, "--note", "two are enough", "--to", running, "--json")
    assert (applied.code, applied.json["changed"]) == (0, True)

    path.write_text(good.replace("state.count_10m", "state.count_10"))
    refused = flo("apply", bundle, "--to", running)
    assert refused.code == 1
    assert "loops/velocity.yaml:" in refused.out
    assert "count_10m" in refused.out, "the nearest name"
    assert "the running bundle is unchanged" in refused.out
    assert flo("apply", bundle, "--to", running, "--json").json["status"] == 422

    path.write_text(good.replace("state.count_10m >= 3", "state.count_10m >= 2"))
    assert "nothing changed" in flo("apply", bundle, "--to", running).out


def test_apply_names_a_file_that_is_no_text(running: str, bundle: Path) -> None:
    (bundle / "functions.py").write_bytes(b"\xff\xfe")
    refused = flo("apply", bundle, "--to", running)
    assert (refused.code, "functions.py: not UTF-8 at byte 0" in refused.err) == (2, True)


def test_the_version_is_had_either_way() -> None:
    assert flo("--version").out.startswith("flo 0.")
    assert flo("version").out.startswith(flo("--version").out.strip())
