"""Blocking calls of boto3, on threads of their own, each command's under one time-out.

boto3 knows no event loop. A call that FLO has given up on goes on in its thread until its own time-out; but what it has
not sent by then it never sends: giving up and sending exclude each other (`Caller`), so "certainly not done" stays true.

Credentials come from boto3's own chain (environment, profile, container, instance), or from the ones named in flo.yaml;
with `role` those are exchanged for the role's by STS, and again before they expire. Requests are made once: how often a
command is tried is the dispatcher's to decide.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flo.core.errors import UsageError
from flo.engines.extras import import_extra
from flo.ports.engine import EngineError, EngineRejected, EngineUnavailable, FateUnknown

T = TypeVar("T")

THREADS_MAX = 256
"""Made as they are needed: the dispatcher has no more calls under way than the engine's `concurrency` and two cancels.
Beyond these, calls wait for a thread within their time-out."""

DETAIL_CHARS_MAX = 500
STARS = "***"

NOT_NOW = frozenset(
    {
        "ExecutionLimitExceeded",
        "KmsThrottlingException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Error codes that say: not done, ask again later. AWS sends most of them with status 400."""


class AwsRefusal(EngineRejected):
    """AWS said no, with an error code of its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"AWS answered {code}: {message}" if message else f"AWS answered {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """Where AWS is and who asks. Secrets are revealed ones, and become stars wherever AWS says them back."""

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    role: str | None = None

    def hidden(self) -> Iterable[str]:
        return [each for each in (self.secret_access_key, self.session_token) if each]


class Caller:
    """The calls of one try of a command. `read` changes nothing in AWS, `effect` may."""

    def __init__(self, client: Callable[[], Any], errors: Errors) -> None:
        self._client = client
        self._errors = errors
        self._lock = threading.Lock()
        self._sent = False
        self._given_up = False

    def read(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._call(operation, arguments, effect=False)

    def effect(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._call(operation, arguments, effect=True)

    def give_up(self) -> bool:
        """Send nothing more. Whether something that may have had an effect was sent before."""
        with self._lock:
            self._given_up = True
            return self._sent

    def _call(self, operation: str, arguments: dict[str, Any], *, effect: bool) -> dict[str, Any]:
        before = self._sent
        try:
            method = getattr(self._client(), operation)
            with self._lock:
                if self._given_up:
                    raise EngineUnavailable("its time was over before it was sent", reached=False)
                self._sent = self._sent or effect
            answer: dict[str, Any] = method(**arguments)
        except EngineError:
            raise
        except Exception as error:  # the whole of boto3's tree, mapped in one place
            failure = self._errors.read(error)
            if isinstance(failure, FateUnknown) and not self._sent:
                raise EngineUnavailable(str(failure)) from None
            if isinstance(failure, EngineUnavailable) and before:
                raise FateUnknown(str(failure)) from None  # what went before it may have been done
            raise failure from None
        return answer


class Errors:
    """What boto3 raises, as what it means for a command."""

    def __init__(self, hidden: Iterable[str]) -> None:
        self._hidden = tuple(hidden)
        self._exceptions = import_extra("botocore.exceptions", kind="stepfunctions", extra="stepfunctions")

    def read(self, error: Exception) -> EngineError:
        """Never sent: unavailable. AWS said no: refused. Sent and no clear answer: its fate is unknown."""
        known = self._exceptions
        if isinstance(error, known.ClientError):
            return self._answered(error)
        text = self._shown(f"{type(error).__name__}: {error}")
        if isinstance(
            error, known.EndpointConnectionError | known.ConnectTimeoutError | known.ProxyConnectionError
        ):
            return EngineUnavailable(text, reached=False)
        if isinstance(error, known.CredentialRetrievalError | known.MetadataRetrievalError):
            return EngineUnavailable(text, reached=False)
        if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError):
            return EngineRejected(
                f"{text}: name `access_key_id` and `secret_access_key` at the engine, or give boto3 what it looks for"
            )
        if isinstance(error, known.ParamValidationError | known.InvalidRegionError | known.SSLError):
            return EngineRejected(text)
        return FateUnknown(text)

    def _answered(self, error: Any) -> EngineError:
        response = error.response
        said = response.get("Error", {})
        code, message = str(said.get("Code", "")), self._shown(str(said.get("Message", "")))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in NOT_NOW or status in (429, 503):
            return EngineUnavailable(f"AWS answered {code}: {message}")
        if status >= 500:
            return FateUnknown(f"AWS answered {status} {code}: {message}")
        return AwsRefusal(code, message)

    def _shown(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, STARS)
        return " ".join(text.split())[:DETAIL_CHARS_MAX]


class AwsCalls:
    """Calls of one AWS service. `open` before the first, `close` after the last."""

    def __init__(self, service: str, access: AwsAccess) -> None:
        """Raises `ExtraMissing` where boto3 is not installed."""
        self._boto3 = import_extra("boto3", kind="stepfunctions", extra="stepfunctions")
        self._session_module = import_extra("botocore.session", kind="stepfunctions", extra="stepfunctions")
        self._credentials = import_extra("botocore.credentials", kind="stepfunctions", extra="stepfunctions")
        self._config = import_extra("botocore.config", kind="stepfunctions", extra="stepfunctions")
        self._errors = Errors(access.hidden())
        self._service = service
        self._access = access
        self._lock = threading.Lock()
        self._session: Any = None
        self._client: tuple[float, Any] | None = None
        self._pool: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Raises `UsageError` where boto3 cannot even be set up, as without a region."""
        self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix=f"flo-{self._service}")
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._client_for, 30.0)
        except Exception as error:
            await self.close()
            hint = (
                " (write `region:` at the engine, or set AWS_REGION)"
                if "region" in str(error).lower()
                else ""
            )
            raise UsageError(f"boto3 cannot be set up: {self._errors.read(error)}{hint}") from None

    async def run(self, work: Callable[[Caller], T], *, timeout_s: float) -> T:
        """`work`, in a thread. Raises `EngineError`s alone."""
        if self._pool is None:
            raise EngineUnavailable("the engine is not started", reached=False)
        caller = Caller(functools.partial(self._client_for, timeout_s), self._errors)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work, caller)
        except TimeoutError:
            what = f"no answer from AWS within {timeout_s:g} s"
            if caller.give_up():
                raise FateUnknown(f"{what}, after the request went out") from None
            raise EngineUnavailable(what, reached=False) from None
        finally:
            caller.give_up()

    async def close(self) -> None:
        """What is under way in a thread goes on to its time-out; it sends nothing more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client[1].close()

    def partition(self, region: str) -> str:
        """`aws`, or what comes first in the ARNs of a region of China or the US government."""
        return str(self._session_module.get_session().get_partition_for_region(region))

    def _client_for(self, timeout_s: float) -> Any:
        """The client; made anew where the engine's time-out has changed. Clients are safe to share by threads."""
        with self._lock:
            if self._client is None or self._client[0] != timeout_s:
                if self._session is None:
                    self._session = self._make_session()
                options = (
                    {} if self._access.endpoint_url is None else {"endpoint_url": self._access.endpoint_url}
                )
                client = self._session.client(self._service, config=self._settings(timeout_s), **options)
                self._client = (timeout_s, client)
            return self._client[1]

    def _make_session(self) -> Any:
        access = self._access
        core = self._session_module.get_session()
        if access.region is not None:
            core.set_config_variable("region", access.region)
        if access.access_key_id is not None:
            core.set_credentials(access.access_key_id, access.secret_access_key, access.session_token)
        if access.role is not None:
            fetcher = self._credentials.AssumeRoleCredentialFetcher(
                client_creator=functools.partial(core.create_client, config=self._settings(10.0)),
                source_credentials=core.get_credentials(),
                role_arn=access.role,
                extra_args={"RoleSessionName": "flo"},
            )
            # The way botocore's own assume-role provider does it; sessions have no public setter for refreshable ones.
            core._credentials = self._credentials.DeferredRefreshableCredentials(
                refresh_using=fetcher.fetch_credentials, method="assume-role"
            )
        return self._boto3.Session(botocore_session=core)

    def _settings(self, timeout_s: float) -> Any:
        return self._config.Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=THREADS_MAX,
            user_agent_extra="flo",
        )
