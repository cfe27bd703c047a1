"""From a definition in flo.yaml to an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.flow.dispatching import PLACE, make_command

from flo.core.errors import UsageError
from flo.core.loop.definition import VERBS, EngineDefinition
from flo.core.secret import Secret, SecretUnavailable
from flo.engines import Surroundings, build_engine, engine_kinds
from flo.engines.extras import ExtraMissing, import_extra
from flo.engines.stub import StubEngine
from flo.ports.engine import KeyClass, Status
from flo.runtimes.simulated.clock import SimulatedClock


def definition(kind: str, **settings: Any) -> EngineDefinition:
    return EngineDefinition(name="it", kind=kind, place=PLACE, settings=settings)


def surroundings(**changes: Any) -> Surroundings:
    return Surroundings(
        **{"clock": SimulatedClock(), "functions": Path("functions.py"), "environ": {}, **changes}
    )


def test_every_kind_names_verbs_that_exist_and_settings_with_help() -> None:
    for name, kind in engine_kinds().items():
        assert kind.name == name
        assert kind.verbs <= set(VERBS)
        assert all(setting.help for setting in kind.settings.values())


def test_an_unknown_kind_is_named_with_those_that_exist() -> None:
    with pytest.raises(
        UsageError,
        match="unknown kind `airflaw`; the kinds are: alertmanager, mlflow, pagerduty, python, slack, "
        "stepfunctions, stub, webhook",
    ):
        build_engine(definition("airflaw"), surroundings())


def test_a_python_engine_needs_functions() -> None:
    with pytest.raises(UsageError, match=r"needs a functions.py"):
        build_engine(definition("python"), surroundings(functions=None))
    assert build_engine(definition("python", function="f"), surroundings()).key_class is KeyClass.ASKABLE


def test_a_webhooks_secrets_are_revealed_from_the_environment_or_named_as_missing() -> None:
    settings = {
        "url": Secret("https://example.com/${env:HOOK}"),
        "secret": Secret("${env:SIGNING}"),
        "headers": {"Authorization": Secret("Bearer ${env:TOKEN}")},
        "honours_key": True,
    }
    environ = {"HOOK": "canary-1", "SIGNING": "canary-2", "TOKEN": "canary-3"}
    engine = build_engine(definition("webhook", **settings), surroundings(environ=environ))
    assert engine.key_class is KeyClass.HONOURS_KEY
    assert "canary" not in repr(engine)
    with pytest.raises(SecretUnavailable, match="HOOK"):
        build_engine(definition("webhook", **settings), surroundings())


@pytest.mark.parametrize(
    ("name", "key_class"),
    [("honours", KeyClass.HONOURS_KEY), ("askable", KeyClass.ASKABLE), ("neither", KeyClass.NEITHER)],
)
async def test_a_stub_behaves_as_its_settings_say(name: str, key_class: KeyClass) -> None:
    given = surroundings()
    engine = build_engine(definition("stub", key_class=name, answer="failed", run=5), given)
    assert isinstance(engine, StubEngine)
    assert engine.key_class is key_class
    assert (await engine.send(make_command(), timeout_s=1.0)).status is Status.ACCEPTED
    assert isinstance(given.clock, SimulatedClock)
    await given.clock.advance(5)
    assert (await engine.send(make_command(), timeout_s=1.0)).status is (
        Status.FAILED if key_class is KeyClass.HONOURS_KEY else Status.ACCEPTED
    )


def test_a_missing_client_library_is_named_with_what_to_install() -> None:
    with pytest.raises(ExtraMissing, match=r"pip install 'flo-orchestrator\[temporal\]'"):
        import_extra("flo_has_no_such_library.client", kind="temporal", extra="temporal")
    assert import_extra("json", kind="json", extra="json").dumps([]) == "[]"
