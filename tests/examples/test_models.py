from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import models as models_module
import numpy as np
import pytest
from models import CurrentModel, ModelError, Models
from network import Network


def _network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    shapes = [(12,), (12,), (12, 16), (16,), (16,), (1,)]
    return Network(*((np.abs(rng.normal(size=shape)) + 0.1) * 0.1 for shape in shapes))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setattr(models_module, "CHECK_EVERY_S", 0.0)
    models = Models(tmp_path / "models")
    for seed in range(3):
        models.save(f"v{seed}", _network(seed), {"version": f"v{seed}", "trained_ns": seed})
    return models


def test_a_swap_is_noticed_by_who_decides(models: Models) -> None:
    current = CurrentModel(models)
    assert current.get() == (None, "none")
    models.swap("v0", 1)
    first, version = current.get()
    assert version == "v0"
    models.swap("v1", 2)
    second, version = current.get()
    assert version == "v1"
    assert first is not None
    assert second is not None
    assert first.score([0.05] * 12) != second.score([0.05] * 12)


def test_the_alias_is_looked_at_no_more_often_than_it_must(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(models_module, "CHECK_EVERY_S", 0.1)
    monkeypatch.setattr(models_module.time, "monotonic", lambda: clock[0])
    models.swap("v0", 1)
    current = CurrentModel(models)
    assert current.get()[1] == "v0"
    models.swap("v1", 2)
    clock[0] += 0.099
    assert current.get()[1] == "v0"
    clock[0] += 0.002
    assert current.get()[1] == "v1"


def test_an_older_command_does_not_take_a_newer_ones_place(models: Models) -> None:
    models.swap("v1", 5)
    now, before = models.swap("v0", 4)
    assert (now.version, now.seq) == ("v1", 5)
    assert before == now


def test_repeating_a_swap_changes_nothing(models: Models) -> None:
    models.swap("v1", 5)
    inode = os.stat(models.alias_path).st_ino
    assert models.swap("v1", 5)[0].version == "v1"
    assert os.stat(models.alias_path).st_ino == inode


def test_what_is_absent_or_damaged_never_comes_into_use(models: Models) -> None:
    models.swap("v0", 1)
    with pytest.raises(ModelError, match="no model v9"):
        models.swap("v9", 2)
    path = models.artifact("v1")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="damaged"):
        models.swap("v1", 3)
    for name in ("../v0", "current", "", "a/b", "x" * 65):
        with pytest.raises(ModelError, match="is no version"):
            models.swap(name, 4)
    alias = models.alias()
    assert alias is not None
    assert alias.version == "v0"


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": "v2"}', b'{"version": "v2", "sha256": "00"}'])
def test_a_damaged_alias_leaves_the_old_model_in_use_and_says_so(
    models: Models, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    models.swap("v0", 1)
    current = CurrentModel(models)
    assert current.get()[1] == "v0"
    models.alias_path.write_bytes(content)
    with caplog.at_level(logging.ERROR, "payments.models"):
        assert [current.get()[1] for _ in range(5)] == ["v0"] * 5
    assert len(caplog.records) == 1


def test_no_reader_ever_sees_half_a_model(models: Models) -> None:
    expected = {f"v{seed}": None for seed in range(3)}
    for version in expected:
        models.swap(version, 0)
        expected[version] = CurrentModel(models).get()[0].score([0.05] * 12)

    def swap_on() -> None:
        for seq in range(1, 61):
            models.swap(f"v{seq % 3}", seq)

    writer = threading.Thread(target=swap_on)
    writer.start()
    current = CurrentModel(models)
    seen = set()
    while writer.is_alive():
        scorer, version = current.get()
        assert scorer.score([0.05] * 12) == expected[version]
        seen.add(version)
    writer.join()
    assert len(seen) > 1
    assert current.get()[1] == "v0"


SWAPPER = """
import sys
from pathlib import Path
from models import Models
models = Models(Path(sys.argv[1]))
print("begun", flush=True)
for seq in range(1, 1_000_000):
    models.swap(f"v{seq % 3}", int(sys.argv[2]) + seq)
"""


def test_a_kill_in_the_middle_of_swaps_leaves_one_whole_model(models: Models, payments: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    pauses = random.Random(seed)
    models.swap("v0", 0)
    for kill in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", SWAPPER, str(models.directory), str(kill * 1_000_000)],
            stdout=subprocess.PIPE,
            cwd=payments,
        )
        with process:
            process.stdout.readline()
            time.sleep(pauses.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
        alias = models.alias()
        assert alias.version in ("v0", "v1", "v2")
        assert CurrentModel(models).get()[1] == alias.version
