"""Step Functions against moto's server, which interprets state machines and checks signatures: the conformance suite,
and what else the adapter promises."""

from __future__ import annotations

import asyncio
import importlib
import json
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.engines.conformance import EngineConformance
from tests.engines.rigs import ProxiedRig, started
from tests.faces.observing import observing
from tests.flow.dispatching import make_command
from tests.flow.looping import event
from tests.servers.process import ServerProcess
from tests.servers.programs import client_library, program

from flo.core.command import Command
from flo.engines.aws_calls import AwsAccess
from flo.engines.execution_name import execution_name
from flo.engines.stepfunctions import StepFunctionsEngine
from flo.ports.engine import Answer, Engine, EngineRejected, Status
from flo.runtimes.clock import SteadyClock

REGION, ACCOUNT = "eu-west-1", "123456789012"
ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:"

MACHINES = {
    "passes": {"Type": "Pass", "End": True},
    "fails": {"Type": "Fail", "Error": "Bad", "Cause": "the model is too old"},
    "lasts": {"Type": "Wait", "Seconds": 3_600, "End": True},
}
JOBS = {"fails": "fails", "lasts": "lasts", "is unknown": "nowhere"}


class Moto:
    """moto's server, asking for signatures, with the state machines above. It keeps everything in memory."""

    def __init__(self, folder: Path) -> None:
        client_library("boto3")
        server = program("moto_server", venv="moto")
        self.process = ServerProcess(
            lambda port: [server, "-H", "127.0.0.1", "-p", str(port)],
            "/moto-api/data.json",
            folder / "moto.log",
        )
        self.key = self.secret = "any"
        self._clients: dict[tuple[str, str, str], Any] = {}

    def start(self, *, asking: bool = True) -> None:
        """`asking`: for signatures. A moto that was restarted has forgotten its users, and lets anyone in."""
        self.process.start()
        self.key = self.secret = "any"
        self._tell("config", {"stepfunctions": {"execute_state_machine": True}})
        iam = self.client("iam")
        iam.create_user(UserName="flo")
        everything = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
        iam.put_user_policy(UserName="flo", PolicyName="all", PolicyDocument=json.dumps(everything))
        keys = iam.create_access_key(UserName="flo")["AccessKey"]
        iam.create_role(RoleName="runner", AssumeRolePolicyDocument=json.dumps(everything))
        iam.put_role_policy(RoleName="runner", PolicyName="all", PolicyDocument=json.dumps(everything))
        if asking:
            self.key, self.secret = keys["AccessKeyId"], keys["SecretAccessKey"]
        states = self.client("stepfunctions")
        for name, state in MACHINES.items():
            self._make(states, name, state)
        self._make(states, "express", MACHINES["passes"], type="EXPRESS")
        if asking:
            self._tell("reset-auth", 0)

    def stop(self) -> None:
        self.process.stop()
        for client in self._clients.values():
            client.close()

    def _make(self, states: Any, name: str, state: Mapping[str, Any], **options: Any) -> None:
        definition = json.dumps({"StartAt": "only", "States": {"only": state}})
        role = f"arn:aws:iam::{ACCOUNT}:role/runner"
        states.create_state_machine(name=name, definition=definition, roleArn=role, **options)

    def client(self, service: str) -> Any:
        known = (service, self.process.url, self.key)
        if known not in self._clients:
            self._clients[known] = importlib.import_module("boto3").client(
                service,
                region_name=REGION,
                endpoint_url=self.process.url,
                aws_access_key_id=self.key,
                aws_secret_access_key=self.secret,
            )
        return self._clients[known]

    def _tell(self, path: str, value: Any) -> None:
        request = urllib.request.Request(
            f"{self.process.url}/moto-api/{path}",
            data=json.dumps(value).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


class MotoRig(ProxiedRig):
    verb = "trigger"
    effect = b"AWSStepFunctions.StartExecution"
    lacks: Mapping[str, str] = MappingProxyType(
        {"pause": "Step Functions has no call that holds an execution and lets it go on"}
    )
    untold: Mapping[str, str] = MappingProxyType(
        {"restart": "moto 5.2 answers RedriveExecution with 500: it does not have it"}
    )

    def __init__(self, moto: Moto) -> None:
        super().__init__(moto.process.port)
        self.loop = f"loop-{uuid.uuid4().hex[:8]}"
        self.moto = moto
        self.key, self.secret = moto.key, moto.secret

    def engine(self, **changes: Any) -> Engine:
        values = {
            "region": REGION,
            "endpoint_url": f"http://127.0.0.1:{self.proxy.port}",
            "access_key_id": self.key,
            "secret_access_key": self.secret,
        }
        return StepFunctionsEngine(AwsAccess(**{**values, **changes}), SteadyClock(), account=ACCOUNT)

    def arguments(self, job: str) -> dict[str, Any]:
        return {"job": JOBS.get(job, "passes"), "input": {"n": 1}}

    def about(self, verb: str, run: Command) -> dict[str, Any]:
        return {"run": run.key, "job": run.arguments["job"]}

    def effects(self, key: str) -> int:
        states = self.moto.client("stepfunctions")
        found = [
            execution["name"]
            for machine in MACHINES
            for execution in states.list_executions(stateMachineArn=ARN + machine)["executions"]
        ]
        return found.count(execution_name(key))

    async def restart_engine(self) -> None:
        await self.take_down()
        self.moto.process.stop()
        self.moto.start(asking=False)
        self.proxy.target = self.moto.process.port
        await self.bring_up()

    async def cancel_in_engine(self, run: Command) -> None:
        arn = f"{ARN.replace('stateMachine', 'execution')}lasts:{execution_name(run.key)}"
        self.moto.client("stepfunctions").stop_execution(executionArn=arn)

    def with_bad_credentials(self) -> Engine:
        return self.engine(secret_access_key="not-the-secret")


@pytest.fixture(scope="module")
def shared_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    moto = Moto(tmp_path_factory.mktemp("moto"))
    moto.start()
    yield moto
    moto.stop()


@pytest.fixture
def moto(shared_moto: Moto) -> Moto:
    """One that asks for signatures, also after a test that restarted it."""
    if shared_moto.key == "any":
        shared_moto.stop()
        shared_moto.start()
    return shared_moto


@pytest.fixture
async def moto_rig(moto: Moto) -> AsyncIterator[MotoRig]:
    rig = MotoRig(moto)
    await rig.bring_up()
    yield rig
    await rig.take_down()


@pytest.mark.servers
class TestStepFunctions(EngineConformance):
    @pytest.fixture
    async def rig(self, moto_rig: MotoRig) -> MotoRig:
        return moto_rig


# What moto shows of the adapter itself.


@pytest.mark.servers
async def test_an_execution_gets_flos_context_and_its_output_is_the_result(
    moto: Moto, moto_rig: MotoRig
) -> None:
    command = make_command(
        loop=moto_rig.loop,
        key=f"{moto_rig.loop}/c/7/r/0",
        seq=7,
        verb="trigger",
        arguments=moto_rig.arguments("succeeds"),
    )
    engine = moto_rig.engine()
    async with started(engine):
        sent = await engine.send(command, timeout_s=5.0)
        name = execution_name(command.key)
        execution = f"{ARN.replace('stateMachine', 'execution')}passes:{name}"
        assert sent == Answer(
            status=Status.ACCEPTED, reference=execution, result={"execution": execution, "run_id": name}
        )
        end = await ended(engine, command)
        assert end.status is Status.SUCCEEDED
        assert end.result["n"] == 1
        flo = end.result["flo"]
        assert (flo["key"], flo["seq"], flo["context"]["floroot"]) == (command.key, 7, command.root)
        # The same again, with the execution long over: its end, and no second one.
        assert (await engine.send(command, timeout_s=5.0)).status is Status.SUCCEEDED
        assert moto_rig.effects(command.key) == 1


@pytest.mark.servers
async def test_a_failed_execution_says_why_and_a_strangers_execution_is_not_taken_for_ours(
    moto: Moto, moto_rig: MotoRig
) -> None:
    async with started(moto_rig.engine()) as engine:
        fails = make_command(
            1, loop=moto_rig.loop, key=f"{moto_rig.loop}/1", verb="trigger", arguments={"job": "fails"}
        )
        await engine.send(fails, timeout_s=5.0)
        assert (await ended(engine, fails)).detail == "FAILED: Bad: the model is too old"
        ours = make_command(
            2, loop=moto_rig.loop, key=f"{moto_rig.loop}/2", verb="trigger", arguments={"job": "lasts"}
        )
        states = moto.client("stepfunctions")
        states.start_execution(stateMachineArn=f"{ARN}lasts", name=execution_name(ours.key), input="{}")
        with pytest.raises(EngineRejected, match="this command did not start it"):
            await engine.send(ours, timeout_s=5.0)


@pytest.mark.servers
async def test_an_express_workflow_is_refused_before_anything_is_started(
    moto: Moto, moto_rig: MotoRig
) -> None:
    async with started(moto_rig.engine()) as engine:
        command = make_command(verb="trigger", arguments={"job": f"{ARN}express"})
        with pytest.raises(EngineRejected, match="EXPRESS workflow: AWS keeps no names"):
            await engine.send(command, timeout_s=5.0)
    assert moto.client("stepfunctions").list_executions(stateMachineArn=f"{ARN}express")["executions"] == []


@pytest.mark.servers
async def test_a_role_is_taken_on_through_sts_and_a_wrong_one_is_rejected(
    moto: Moto, moto_rig: MotoRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.process.url)
    command = make_command(
        loop=moto_rig.loop, key=f"{moto_rig.loop}/r", verb="trigger", arguments={"job": "passes"}
    )
    async with started(moto_rig.engine(role=f"arn:aws:iam::{ACCOUNT}:role/runner")) as engine:
        assert (await engine.send(command, timeout_s=5.0)).status is Status.ACCEPTED
    assert moto_rig.effects(command.key) == 1
    wrong = moto_rig.engine(role=f"arn:aws:iam::{ACCOUNT}:role/runner", secret_access_key="stolen")
    async with started(wrong) as engine:
        with pytest.raises(EngineRejected, match="SignatureDoesNotMatch"):
            await engine.send(make_command(9, verb="trigger", arguments={"job": "passes"}), timeout_s=5.0)


async def ended(engine: Engine, command: Command) -> Answer:
    async with asyncio.timeout(20):
        while (answer := await engine.ask(command, timeout_s=5.0)).status in (
            Status.ACCEPTED,
            Status.RUNNING,
        ):
            await asyncio.sleep(0.05)
    return answer


@pytest.mark.servers
async def test_flo_commands_an_execution_and_records_its_end(
    moto: Moto, moto_rig: MotoRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STATES_ID", moto_rig.key)
    monkeypatch.setenv("STATES_SECRET", moto_rig.secret)
    states = (
        f'{{kind: stepfunctions, region: {REGION}, account: "{ACCOUNT}", endpoint_url: "{moto.process.url}",'
        ' access_key_id: "${env:STATES_ID}", secret_access_key: "${env:STATES_SECRET}"}'
    )
    loop = (
        "on: tx\nkey: data.card\nrules: [{id: go, when: 'data.n > 1.0', then:"
        " [{do: states.trigger, with: {job: passes, input: {n: '${data.n}'}}}]}]\n"
    )
    card = uuid.uuid4().hex
    async with observing(tmp_path, {"train": loop}, flo_yaml=f"engines: {{states: {states}}}\n") as flo:
        await flo.runtime.ingest([event({"card": card, "n": n}, id=str(n), type="tx") for n in (1, 2)])
        body: Any = None
        for _ in range(200):
            _, _, body = await flo.ask("GET", "/v1/commands")
            if body["commands"] and body["commands"][0]["status"] in ("succeeded", "failed", "parked"):
                break
            await asyncio.sleep(0.1)
    (command,) = body["commands"]
    assert command["status"] == "succeeded", command
    assert moto_rig.effects(f"train/{card}/2/go/0") == 1
