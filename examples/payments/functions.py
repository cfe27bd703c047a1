"""What the rules and the `trainer` engine call.

`network_score` runs in the deciding process: it reads one small file when the model changes, and nothing
else. `retrain` and `swap_model` run in worker processes of the python engine. Both may be told twice with
the same command key, and do their work once.

Models and the gateway's record stand under `PAYMENTS_HOME` (`demo-data` beside this file where it is not
set); news of a model goes to `FLO_URL` (http://127.0.0.1:8750 where it is not set), as CloudEvents.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from announce import announce
from features import features
from models import CurrentModel, Models
from training import retrain as train_challenger

HOME = Path(os.environ.get("PAYMENTS_HOME") or Path(__file__).resolve().parent / "demo-data")


class Told(Protocol):
    """What the python engine says of the command that a function carries out."""

    @property
    def key(self) -> str: ...

    @property
    def seq(self) -> int: ...

    @property
    def decision_id(self) -> str: ...


class _Last:
    """The last question and its answer: several rules ask it of one transaction, and all must see one network."""

    asked: tuple[Any, ...] | None = None
    profile: dict[str, Any] | None = None
    answer: dict[str, Any]


_last = _Last()
_models = Models(HOME / "models")
_current = CurrentModel(_models)


def network_score(
    amount: float,
    country: str,
    device: str,
    entry: str,
    category: str,
    x: float,
    y: float,
    count_10m: int,
    sum_10m: float,
    devices_1d: int,
    profile: dict[str, Any],
) -> dict[str, Any]:
    """How likely fraud is, 0 to 1, and the version of the network that says so.

    0.5 is where 1.5 % of honest transactions would be reviewed, 0.9 where 0.2 % would be declined. Where no
    network was ever put in use, the score is 0 and the version "none": the other rules decide alone.
    """
    asked = (amount, country, device, entry, category, x, y, count_10m, sum_10m, devices_1d)
    if profile is _last.profile and asked == _last.asked:  # the profile is a new object for every signal
        return _last.answer
    scorer, version = _current.get()
    score = 0.0 if scorer is None else scorer.score(features(*asked, profile))
    _last.asked, _last.profile, _last.answer = asked, profile, {"score": score, "version": version}
    return _last.answer


def retrain(arguments: dict[str, Any], command: Told) -> dict[str, Any]:
    """Train a challenger on what the labels taught, judge it, and say so in a `model.trained` signal.

    The version is made from the command's key: the same command makes, and announces, one model, however
    often it runs.
    """
    note = train_challenger(HOME, command.key)
    figures = ("version", "champion", "better", "recall", "champion_recall", "rows", "frauds")
    result = {"model": str(arguments["model"]), "command": command.key} | {
        name: note[name] for name in figures
    }
    announce("model.trained", command.key, command.decision_id, result)
    return result


def swap_model(arguments: dict[str, Any], command: Told) -> dict[str, Any]:
    """Put a version in use, at once and wholly, and say so in a `model.swapped` signal.

    Fenced by the command's sequence: after a newer swap an older one changes nothing, and announces nothing.
    """
    version = str(arguments["version"])
    now, before = _models.swap(version, command.seq)
    result = {
        "model": str(arguments["model"]),
        "version": now.version,
        "previous": before.version if before else "none",
        "command": command.key,
    }
    if now.version == version:
        announce("model.swapped", command.key, command.decision_id, result)
    return result
