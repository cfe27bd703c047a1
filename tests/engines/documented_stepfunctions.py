"""Step Functions as AWS documents it, for what no server that can be had does: RedriveExecution, throttling, answers
that lag behind.

It is not AWS. It speaks the AWS JSON 1.0 protocol, checks every request against botocore's own model of the service
(which AWS publishes), and keeps the rules of the API reference: executions by name, client tokens that make a redrive
happen once, `redriveDate` in what is described, an error for what is not redrivable.
"""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

from aiohttp import web


class DocumentedStepFunctions:
    """`executions`: ARN to what DescribeExecution shows. `lag`: so many describes still show the state before."""

    def __init__(self) -> None:
        session = importlib.import_module("botocore.session").get_session()
        self._model = session.get_service_model("stepfunctions")
        self._validator = importlib.import_module("botocore.validate").ParamValidator()
        self.executions: dict[str, dict[str, Any]] = {}
        self.redrives: list[str] = []  # client tokens, of those that took effect
        self.calls: list[str] = []
        self.refusals: list[tuple[int, str, dict[str, str]]] = []  # the next answers: status, code
        self.lag = 0
        self._before: dict[str, Any] | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        service, _, operation = request.headers["X-Amz-Target"].partition(".")
        assert service == "AWSStepFunctions"
        assert request.headers["Content-Type"] == "application/x-amz-json-1.0"
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
        given = json.loads(await request.read())
        problems = self._validator.validate(given, self._model.operation_model(operation).input_shape)
        assert not problems.has_errors(), problems.generate_report()
        self.calls.append(operation)
        if self.refusals:
            status, code, headers = self.refusals.pop(0)
            return _error(status, code, headers)
        if operation == "RedriveExecution":
            return self._redrive(given["executionArn"], given["clientToken"])
        if operation == "DescribeExecution":
            return self._describe(given["executionArn"])
        if operation == "DescribeStateMachine":
            return _answer({"stateMachineArn": given["stateMachineArn"], "type": "STANDARD"})
        assert operation == "StartExecution"
        arn = ":".join([*given["stateMachineArn"].split(":")[:5], "execution", "m", given["name"]])
        self.executions[arn] = {"executionArn": arn, "status": "RUNNING", "input": given["input"]}
        return _answer({"executionArn": arn, "startDate": time.time()})

    def _describe(self, arn: str) -> web.Response:
        if self.lag:
            self.lag -= 1
            return _error(400, "ExecutionDoesNotExist", {}) if self._before is None else _answer(self._before)
        if arn not in self.executions:
            return _error(400, "ExecutionDoesNotExist", {})
        return _answer(self.executions[arn])

    def _redrive(self, arn: str, token: str) -> web.Response:
        execution = self.executions[arn]
        if token not in self.redrives:
            if execution["status"] not in ("FAILED", "ABORTED", "TIMED_OUT"):
                return _error(400, "ExecutionNotRedrivable", {})
            self._before = dict(execution)
            self.redrives.append(token)
            execution.update(status="RUNNING", redriveDate=time.time(), redriveCount=len(self.redrives))
        return _answer({"redriveDate": execution["redriveDate"]})


def _answer(value: dict[str, Any]) -> web.Response:
    return web.json_response(value, content_type="application/x-amz-json-1.0")


def _error(status: int, code: str, headers: dict[str, str]) -> web.Response:
    value = {"__type": f"com.amazonaws.swf.service.v2.model#{code}", "message": f"{code} was said"}
    return web.json_response(value, status=status, headers=headers, content_type="application/x-amz-json-1.0")
