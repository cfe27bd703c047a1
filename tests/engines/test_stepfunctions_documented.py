"""Step Functions as AWS documents it, where moto has nothing; and the engine from its settings."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.engines.documented_stepfunctions import DocumentedStepFunctions
from tests.engines.rigs import Flo, PlainRig, started, until
from tests.flow.dispatching import PLACE, MemoryLedger, make_command
from tests.servers.programs import client_library

from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.engines import Surroundings, build_engine
from flo.engines.aws_calls import AwsAccess
from flo.engines.execution_name import execution_name
from flo.engines.extras import ExtraMissing
from flo.engines.stepfunctions import StepFunctionsEngine
from flo.ports.engine import Engine, EngineRejected, EngineUnavailable, FateUnknown, KeyClass, Status
from flo.runtimes.clock import SteadyClock

REGION, ACCOUNT = "eu-west-1", "123456789012"
ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:"
S = 1_000_000_000


@pytest.fixture
async def aws() -> AsyncIterator[DocumentedStepFunctions]:
    client_library("boto3")
    aws = DocumentedStepFunctions()
    await aws.start()
    yield aws
    await aws.stop()


def documented(aws: DocumentedStepFunctions) -> StepFunctionsEngine:
    access = AwsAccess(REGION, aws.url, "AKIDEXAMPLE", "very-secret-key")
    return StepFunctionsEngine(access, SteadyClock(), account=ACCOUNT, job="m")


def failed(aws: DocumentedStepFunctions, key: str) -> str:
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:m:{execution_name(key)}"
    aws.executions[arn] = {"executionArn": arn, "status": "FAILED", "error": "Bad"}
    return arn


@pytest.mark.servers
async def test_restart_redrives_once_and_its_end_is_the_executions(aws: DocumentedStepFunctions) -> None:
    arn = failed(aws, "loop/run/1/r/0")
    now_ns = SteadyClock().now_ns()
    restart = make_command(
        engine="engine",
        verb="restart",
        arguments={"run": "loop/run/1/r/0"},
        issued_ns=now_ns,
        deadline_ns=now_ns + 600 * S,
    )
    rig = PlainRig()
    rig.timeout_s = 5.0
    flo = Flo(rig, documented(aws), MemoryLedger())
    await flo.dispatcher.start()
    flo.do(restart)
    await until(lambda: bool(aws.redrives), "the redrive")
    aws.lag = 2  # describes still show the failure
    await flo.clock.sleep_until_ns(flo.clock.now_ns() + S)
    assert flo.ledger.outcomes() == {}
    aws.executions[arn].update(status="SUCCEEDED", output='{"auc": 0.9}')
    assert await flo.end_of(restart) == "succeeded"
    assert flo.ledger.outcomes()[restart.key].result == {"auc": 0.9}
    await flo.dispatcher.stop()
    # Sent again, by a FLO that was restarted: the redrive since is its own.
    async with started(documented(aws)) as again:
        assert (await again.send(restart, timeout_s=5.0)).status is Status.SUCCEEDED
    assert len(aws.redrives) == 1


@pytest.mark.servers
async def test_a_restart_sent_twice_within_aws_memory_is_one_redrive(aws: DocumentedStepFunctions) -> None:
    arn = failed(aws, "loop/run/1/r/0")
    # FLO's clock is ahead of AWS' here: the redrive seems older than the command, and the token alone helps.
    ahead = make_command(verb="restart", arguments={"run": arn}, issued_ns=SteadyClock().now_ns() + 3_600 * S)
    async with started(documented(aws)) as engine:
        for _ in range(2):
            assert (await engine.send(ahead, timeout_s=5.0)).status is Status.ACCEPTED
        other = make_command(2, verb="restart", arguments={"run": arn}, issued_ns=ahead.issued_ns)
        with pytest.raises(EngineRejected, match="ExecutionNotRedrivable"):
            await engine.send(other, timeout_s=5.0)
    assert len(aws.redrives) == 1


@pytest.mark.servers
async def test_an_execution_that_aws_does_not_show_yet_is_believed_in(aws: DocumentedStepFunctions) -> None:
    command = make_command(verb="trigger", arguments={})
    async with started(documented(aws)) as engine:
        await engine.send(command, timeout_s=5.0)
        aws.lag = 1
        assert (await engine.ask(command, timeout_s=5.0)).status is Status.ACCEPTED
        assert (await engine.ask(command, timeout_s=5.0)).status is Status.RUNNING


@pytest.mark.servers
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "ThrottlingException", EngineUnavailable),
        (400, "ExecutionLimitExceeded", EngineUnavailable),
        (503, "ServiceUnavailable", EngineUnavailable),
        (500, "InternalFailure", FateUnknown),
        (400, "AccessDeniedException", EngineRejected),
        (400, "UnrecognizedClientException", EngineRejected),
        (400, "InvalidExecutionInput", EngineRejected),
        (400, "ValidationException", EngineRejected),
    ],
)
async def test_what_aws_answers_means_this(
    aws: DocumentedStepFunctions, status: int, code: str, error: type[Exception]
) -> None:
    async with started(documented(aws)) as engine:
        await engine.send(
            make_command(verb="trigger", arguments={}), timeout_s=5.0
        )  # the machine is known now
        aws.refusals = [(status, code, {})]
        with pytest.raises(error, match=code) as caught:
            await engine.send(make_command(2, verb="trigger", arguments={}), timeout_s=5.0)
        assert type(caught.value) is error or error is EngineRejected
        assert aws.calls.count("StartExecution") == 2, (
            "requests are made once: the dispatcher decides on more"
        )


@pytest.mark.servers
async def test_without_any_credentials_it_says_what_to_name(
    aws: DocumentedStepFunctions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    engine = StepFunctionsEngine(AwsAccess(REGION, aws.url), SteadyClock(), job=f"{ARN}m")
    async with started(engine):
        with pytest.raises(EngineRejected, match="name `access_key_id` and `secret_access_key`"):
            await engine.send(make_command(verb="trigger", arguments={}), timeout_s=5.0)
    nowhere = StepFunctionsEngine(AwsAccess(endpoint_url=aws.url), SteadyClock())
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="write `region:` at the engine"):
        await nowhere.start(lambda key, answer: None)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("arguments", "verb", "said"),
    [
        ({"job": "a b"}, "trigger", "neither the name nor the ARN"),
        ({"input": [1]}, "trigger", "`input` is a map"),
        ({"input": {"flo": 1}}, "trigger", "`flo` in the input is FLO's own"),
        ({"inputs": {}}, "trigger", "does not know 'inputs'"),
        ({"input": {"x": float("nan")}}, "trigger", "not JSON"),
        ({}, "cancel", "cancel needs `with: {run: KEY}`"),
        ({"run": "arn:aws:states:x"}, "restart", "not the ARN of an execution"),
        ({"run": "unheard"}, "restart", "there is no execution"),
    ],
)
async def test_wrong_arguments_are_named_and_change_nothing(
    aws: DocumentedStepFunctions, arguments: dict[str, Any], verb: str, said: str
) -> None:
    async with started(documented(aws)) as engine:
        with pytest.raises(EngineRejected, match=said):
            await engine.send(make_command(verb=verb, arguments=arguments), timeout_s=5.0)
    assert set(aws.calls) <= {"DescribeExecution", "DescribeStateMachine"}


def built(environ: Mapping[str, str] | None = None, **settings: Any) -> Engine:
    definition = EngineDefinition(name="it", kind="stepfunctions", place=PLACE, settings=settings)
    return build_engine(definition, Surroundings(clock=SteadyClock(), environ=environ or {}))


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'flo-orchestrator\[stepfunctions\]'"):
        built(region=REGION)


def test_credentials_in_half_and_accounts_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="go together"):
        built({"KEY": "AKID"}, access_key_id=Secret("${env:KEY}"))
    with pytest.raises(UsageError, match="not 12 digits"):
        built(account="12345")


@pytest.mark.servers
def test_secrets_are_revealed_and_never_shown() -> None:
    client_library("boto3")
    environ = {"ID": "AKID", "KEY": "canary-1", "TOKEN": "canary-2"}
    engine = built(
        environ,
        region=REGION,
        access_key_id=Secret("${env:ID}"),
        secret_access_key=Secret("${env:KEY}"),
        session_token=Secret("${env:TOKEN}"),
    )
    assert engine.key_class is KeyClass.HONOURS_KEY
    assert "canary" not in repr(engine)
    assert "canary" not in repr(engine._calls._access)
