"""The kinds of engines a bundle may name, and how one is made from its definition."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flo.core.bundle.settings import EngineKind
from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.engines.alertmanager import AlertmanagerEngine, alertmanager_from_settings
from flo.engines.mlflow import MlflowEngine, mlflow_from_settings
from flo.engines.pagerduty import PagerDutyEngine, pagerduty_from_settings
from flo.engines.python import PythonEngine
from flo.engines.slack import SlackEngine, slack_from_settings
from flo.engines.stepfunctions import StepFunctionsEngine, stepfunctions_from_settings
from flo.engines.stub import StubEngine, stub_from_settings
from flo.engines.webhook import WebhookEngine, webhook_from_settings
from flo.ports.clock import Clock
from flo.ports.engine import Engine


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an engine is given besides its definition."""

    clock: Clock
    functions: Path | None = None  # the bundle's functions.py
    data: Path | None = None  # a directory for what engines must remember; None: they remember until FLO ends
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)  # where secrets are revealed from
    read_secret_file: Callable[[str], str] | None = None


Maker = Callable[[EngineDefinition, Surroundings], Engine]


_KINDS = (
    AlertmanagerEngine,
    MlflowEngine,
    PagerDutyEngine,
    PythonEngine,
    SlackEngine,
    StepFunctionsEngine,
    StubEngine,
    WebhookEngine,
)


def engine_kinds() -> dict[str, EngineKind]:
    """What `read_bundle` checks a flo.yaml against: each kind's verbs and the keys it adds."""
    return {engine.kind: EngineKind(engine.kind, engine.verbs, engine.settings) for engine in _KINDS}


def build_engine(definition: EngineDefinition, surroundings: Surroundings) -> Engine:
    """One engine, not started. Raises `UsageError` with the way out: an unknown kind, a secret that is not
    there.
    """
    make = _MAKERS.get(definition.kind)
    if make is None:
        known = ", ".join(sorted(_MAKERS))
        raise UsageError(
            f"engine `{definition.name}` has the unknown kind `{definition.kind}`; the kinds are: {known}"
        )
    return make(definition, surroundings)


def is_unchanged(before: EngineDefinition, after: EngineDefinition, *, functions_changed: bool) -> bool:
    """Whether an engine made from `before` serves `after` too: then keep it, and what it runs goes on
    undisturbed.
    """
    same = (before.kind, before.settings) == (after.kind, after.settings)
    return same and not (functions_changed and after.kind == PythonEngine.kind)


def _python(definition: EngineDefinition, surroundings: Surroundings) -> Engine:
    if surroundings.functions is None:
        raise UsageError(f"engine `{definition.name}` of kind `python` needs a functions.py in the bundle")
    data = surroundings.data
    journal = None if data is None else data / "engines" / f"{definition.name}.calls"
    return PythonEngine(surroundings.functions, journal=journal, function=definition.settings.get("function"))


def _stub(definition: EngineDefinition, surroundings: Surroundings) -> Engine:
    return stub_from_settings(surroundings.clock, definition.settings)


Reveal = Callable[[Secret], str]


def _with_secrets(make: Callable[[EngineDefinition, Reveal, Clock], Engine]) -> Maker:
    def made(definition: EngineDefinition, surroundings: Surroundings) -> Engine:
        def reveal(secret: Secret) -> str:
            return secret.reveal(surroundings.environ, surroundings.read_secret_file)

        return make(definition, reveal, surroundings.clock)

    return made


_MAKERS: dict[str, Maker] = {
    "alertmanager": _with_secrets(alertmanager_from_settings),
    "mlflow": _with_secrets(mlflow_from_settings),
    "pagerduty": _with_secrets(pagerduty_from_settings),
    "python": _python,
    "slack": _with_secrets(slack_from_settings),
    "stepfunctions": _with_secrets(stepfunctions_from_settings),
    "stub": _stub,
    "webhook": _with_secrets(webhook_from_settings),
}
