"""Engine `stepfunctions`: starts, stops and redrives executions of AWS Step Functions.

    trigger  StartExecution, with `with: {job: STATE MACHINE, input: {...}}`; `job` is a name or an ARN, also one of a
             version or an alias. FLO adds `flo` to the input: the command's key, and the context for signals back.
    cancel   StopExecution of `with: {run: KEY OR EXECUTION ARN}`
    restart  RedriveExecution of `with: {run: KEY OR EXECUTION ARN}`: a failed, stopped or timed-out execution goes on
             from the step that failed, under the same name

Class: honours the key. The execution's name is made of the command's key (see `execution_name`), and AWS starts nothing
under a name that is taken: for 90 days after that execution has ended. Express workflows keep no names, so they are
refused before anything is started. How an execution ends is learned by asking (DescribeExecution).

A restart's key is AWS's client token, which AWS remembers for 15 minutes; so one that is sent again later first looks
whether the execution was redriven since the command was decided, and takes that for its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.context import extensions
from flo.core.errors import UsageError
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.engines.aws_calls import AwsAccess, AwsCalls, AwsRefusal, Caller
from flo.engines.execution_name import execution_name
from flo.ports.clock import Clock
from flo.ports.engine import Answer, EngineRejected, KeyClass, OutcomeSink, Status

NS_PER_S = 1_000_000_000

VISIBLE_NS = 60 * NS_PER_S
"""DescribeExecution is eventually consistent: for so long an execution that it does not show yet is believed in."""

RECENT_MAX = 10_000
"""Executions remembered for that long: 100 a second for `VISIBLE_NS`, and more than an account may start."""

MACHINES_MAX = 1_000
OUTPUT_CHARS_MAX = 64 * 1024
"""As of a webhook's answer: it is recorded with the outcome."""

DETAIL_CHARS_MAX = 500

_STATES = {
    "RUNNING": Status.RUNNING,
    "PENDING_REDRIVE": Status.RUNNING,
    "SUCCEEDED": Status.SUCCEEDED,
    "FAILED": Status.FAILED,
    "TIMED_OUT": Status.FAILED,
    "ABORTED": Status.CANCELLED,
}
_MACHINE = re.compile(r"arn:[^:]+:states:[^:]+:[0-9]*:stateMachine:[^:/]+(:[^:/]+)?")
_EXECUTION = re.compile(r"arn:[^:]+:states:[^:]+:[0-9]*:execution:[^:]+:[^:]+")
_NAME = re.compile(r"[\w.+=@!()-]{1,80}")


class StepFunctionsEngine:
    """See the module."""

    kind: ClassVar[str] = "stepfunctions"
    verbs: ClassVar[frozenset[str]] = frozenset({"trigger", "cancel", "restart"})
    key_class: ClassVar[KeyClass] = KeyClass.HONOURS_KEY
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "job": Setting(
                "plain", help="the state machine, by name or ARN, where a command's `with` names none"
            ),
            "region": Setting("plain", help="as `eu-west-1`; without it boto3 looks for one"),
            "account": Setting("plain", help="the account's 12 digits, quoted; needed where `job` is a name"),
            "endpoint_url": Setting(
                "url", help="where Step Functions answers, where that is not AWS's own address"
            ),
            "role": Setting("plain", help="the ARN of a role to take on through STS"),
            "access_key_id": Setting(
                "secret", help="credentials of its own; without them boto3 looks for some"
            ),
            "secret_access_key": Setting("secret", help="goes with `access_key_id`"),
            "session_token": Setting("secret", help="goes with temporary credentials"),
        }
    )

    def __init__(
        self, access: AwsAccess, clock: Clock, *, job: str | None = None, account: str | None = None
    ) -> None:
        """Raises `ExtraMissing` without boto3, `UsageError` for credentials in half and an account that is none."""
        if (access.access_key_id is None) != (access.secret_access_key is None):
            raise UsageError("`access_key_id` and `secret_access_key` go together: write both, or neither")
        if account is not None and not re.fullmatch(r"[0-9]{12}", account):
            raise UsageError(
                f'the account "{account}" is not 12 digits: write it in quotes, with its leading zeros'
            )
        self._calls = AwsCalls("stepfunctions", access)
        self._region = access.region
        self._clock = clock
        self._job = job
        self._account = account
        self._standard: set[str] = set()
        self._recent: OrderedDict[str, tuple[int, datetime | None]] = OrderedDict()

    async def start(self, outcome: OutcomeSink) -> None:
        await self._calls.open()

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if command.verb == "trigger":
            return await self._trigger(command, timeout_s)
        if command.verb == "cancel":
            execution = self._run(command)
            return await self._calls.run(
                lambda caller: _stop(caller, command, execution), timeout_s=timeout_s
            )
        if command.verb == "restart":
            return await self._restart(command, timeout_s)
        known = ", ".join(sorted(self.verbs))
        raise EngineRejected(f"a stepfunctions engine knows no `{command.verb}`; it knows {known}")

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        if command.verb == "trigger":
            execution = self._execution(self._machine(command), command)
        elif command.verb == "restart":
            execution = self._run(command)
        else:
            raise EngineRejected("a cancel is done when it is sent: there is nothing to ask")
        seen = await self._calls.run(lambda caller: _described(caller, execution), timeout_s=timeout_s)
        return self._answer(execution, seen)

    async def close(self) -> None:
        await self._calls.close()

    # Starting.

    async def _trigger(self, command: Command, timeout_s: float) -> Answer:
        machine, text = self._machine(command), _input(command)
        execution = self._execution(machine, command)

        def work(caller: Caller) -> Answer:
            self._check_standard(caller, machine)
            try:
                caller.effect(
                    "start_execution", stateMachineArn=machine, name=execution_name(command.key), input=text
                )
            except AwsRefusal as refusal:
                if refusal.code != "ExecutionAlreadyExists":
                    raise
                seen = _described(caller, execution)
                if seen is not None:
                    _check_ours(seen, command)
                    return _state(execution, seen)
            return _accepted(execution)

        answer = await self._calls.run(work, timeout_s=timeout_s)
        self._remember(execution, None)
        return answer

    def _check_standard(self, caller: Caller, machine: str) -> None:
        """Whether names are kept there. Learned once for each state machine: its type never changes."""
        base = ":".join(machine.split(":")[:7])
        if base in self._standard:
            return
        kind = caller.read("describe_state_machine", stateMachineArn=base).get("type", "STANDARD")
        if kind != "STANDARD":
            raise EngineRejected(
                f"{base} is an {kind} workflow: AWS keeps no names of its executions, so that a command sent again "
                "after a lost answer would run twice. Use a STANDARD one, or start it from a STANDARD one"
            )
        if len(self._standard) >= MACHINES_MAX:
            self._standard.clear()
        self._standard.add(base)

    # Restarting.

    async def _restart(self, command: Command, timeout_s: float) -> Answer:
        execution = self._run(command)
        token = hashlib.sha256(command.key.encode("utf-8", "surrogatepass")).hexdigest()

        def work(caller: Caller) -> tuple[Answer, datetime | None]:
            seen = _described(caller, execution)
            if seen is None:
                raise EngineRejected(f"there is no execution {execution}")
            redriven = seen.get("redriveDate")
            if redriven is not None and redriven.timestamp() * NS_PER_S >= command.issued_ns:
                return _state(execution, seen), redriven
            answer = caller.effect("redrive_execution", executionArn=execution, clientToken=token)
            return _accepted(execution), answer.get("redriveDate")

        answer, redriven = await self._calls.run(work, timeout_s=timeout_s)
        self._remember(execution, redriven)
        return answer

    # Asking.

    def _answer(self, execution: str, seen: Mapping[str, Any] | None) -> Answer:
        """What AWS shows, unless that is older than what it has already told us."""
        recent = self._recent.get(execution)
        if recent is not None and self._clock.now_ns() - recent[0] < VISIBLE_NS:
            if seen is None:
                return _accepted(execution)
            shown, told = seen.get("redriveDate"), recent[1]
            if told is not None and (shown is None or shown < told):
                return Answer(status=Status.RUNNING, reference=execution)
        if seen is None:
            return Answer(status=Status.UNKNOWN, detail=f"there is no execution {execution}")
        return _state(execution, seen)

    def _remember(self, execution: str, redriven: datetime | None) -> None:
        self._recent[execution] = (self._clock.now_ns(), redriven)
        self._recent.move_to_end(execution)
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    # Names.

    def _machine(self, command: Command) -> str:
        job = command.arguments.get("job", self._job)
        if not isinstance(job, str) or not job:
            raise EngineRejected(
                "no state machine is named: write `with: {job: NAME}`, or `job:` at the engine"
            )
        if _MACHINE.fullmatch(job):
            return job
        if not _NAME.fullmatch(job):
            raise EngineRejected(f'"{job[:120]}" is neither the name nor the ARN of a state machine')
        if self._account is None or self._region is None:
            raise EngineRejected(
                f"{job} is a name: write its ARN, or `region:` and `account:` at the engine to make one of it"
            )
        partition = self._calls.partition(self._region)
        return f"arn:{partition}:states:{self._region}:{self._account}:stateMachine:{job}"

    def _execution(self, machine: str, command: Command) -> str:
        return _execution_arn(machine, execution_name(command.key))

    def _run(self, command: Command) -> str:
        """The execution a command is about: named by its ARN, or by the key of the command that started it."""
        run = command.arguments.get("run")
        if not isinstance(run, str) or not run:
            raise EngineRejected(
                f"{command.verb} needs `with: {{run: KEY}}` or `with: {{run: EXECUTION ARN}}`"
            )
        if run.startswith("arn:"):
            if not _EXECUTION.fullmatch(run):
                raise EngineRejected(f'"{run[:120]}" is not the ARN of an execution')
            return run
        return _execution_arn(self._machine(command), execution_name(run))


def _execution_arn(machine: str, name: str) -> str:
    parts = machine.split(":")
    return ":".join([*parts[:5], "execution", parts[6], name])


def _input(command: Command) -> str:
    given = command.arguments.get("input", {})
    unknown = set(command.arguments) - {"job", "input"}
    if unknown:
        raise EngineRejected(
            f"trigger does not know {', '.join(sorted(map(repr, unknown)))}: it takes job and input"
        )
    if not isinstance(given, dict):
        raise EngineRejected("`input` is a map: an execution's input has names for what is in it")
    if "flo" in given:
        raise EngineRejected("`flo` in the input is FLO's own: name yours differently")
    about = {
        "key": command.key,
        "verb": command.verb,
        "target": command.target,
        "loop": command.loop,
        "loop_key": command.loop_key,
        "seq": command.seq,
        "rule": command.rule,
        "decision_id": command.decision_id,
        "context": extensions(command),
    }
    try:
        return json.dumps({**given, "flo": about}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineRejected(f"the command's input is not JSON: {error}") from None


def _check_ours(seen: Mapping[str, Any], command: Command) -> None:
    """Refuse an execution of our name that somebody else started. One whose input is hidden from us is taken for ours."""
    text = seen.get("input")
    if text is None:
        return
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    about = found.get("flo") if isinstance(found, dict) else None
    if not isinstance(about, dict) or about.get("key") != command.key:
        raise EngineRejected(f"{seen['executionArn']} exists, and this command did not start it")


def _stop(caller: Caller, command: Command, execution: str) -> Answer:
    cause = f"loop {command.loop}, rule {command.rule}, command {command.key}"
    caller.effect("stop_execution", executionArn=execution, error="FLO", cause=cause[:1_000])
    return Answer(status=Status.SUCCEEDED, reference=execution)


def _described(caller: Caller, execution: str) -> dict[str, Any] | None:
    try:
        return caller.read("describe_execution", executionArn=execution)
    except AwsRefusal as refusal:
        if refusal.code == "ExecutionDoesNotExist":
            return None
        raise


def _accepted(execution: str) -> Answer:
    names = {"execution": execution, "run_id": execution.rpartition(":")[2]}
    return Answer(status=Status.ACCEPTED, result=names, reference=execution)


def _state(execution: str, seen: Mapping[str, Any]) -> Answer:
    state = str(seen.get("status"))
    status = _STATES.get(state, Status.RUNNING)
    detail, result = "", None
    if status in (Status.FAILED, Status.CANCELLED):
        said = [str(seen[part]) for part in ("error", "cause") if seen.get(part)]
        detail = ": ".join([state, *said])[:DETAIL_CHARS_MAX]
    output = seen.get("output")
    if status is Status.SUCCEEDED and output is not None:
        try:
            result = json.loads(output) if len(output) <= OUTPUT_CHARS_MAX else None
        except (ValueError, RecursionError):
            pass
        if result is None and output != "null":
            detail = f"its output of {len(output)} characters is too long, or too deep, and was not kept"
    return Answer(status=status, detail=detail, result=result, reference=execution)


def stepfunctions_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> StepFunctionsEngine:
    """The engine as flo.yaml configures it. Secrets are revealed here, and kept by the engine alone."""
    values = {name: definition.settings.get(name) for name in StepFunctionsEngine.settings}
    shown = {name: reveal(value) if isinstance(value, Secret) else value for name, value in values.items()}
    job, account = shown.pop("job"), shown.pop("account")
    return StepFunctionsEngine(AwsAccess(**shown), clock, job=job, account=account)
