"""The seam to what executes commands.

An adapter turns one `Command` into its engine's own call, with the command's key as the engine's own idempotency key
(dag_run_id, execution name, workflow id ...). It neither retries nor queues nor counts: the dispatcher does.

Three promises an adapter can make, its `KeyClass`:

- HONOURS_KEY: the same key sent twice starts one thing. After a crash or a lost answer the dispatcher resends.
- ASKABLE: the engine can be asked by key what became of it. The dispatcher asks before it resends.
- NEITHER: a lost answer is an unknown fate. The dispatcher parks the command for a person, and never resends blindly.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import msgspec

from flo.core.command import Command
from flo.core.errors import FloError


class KeyClass(enum.Enum):
    """What an engine promises of the idempotency key; it decides what an unknown fate means."""

    HONOURS_KEY = "honours the key"
    ASKABLE = "can be asked by key"
    NEITHER = "neither"


class Status(enum.Enum):
    """What an engine says of a command's run."""

    ACCEPTED = "accepted"  # taken; its end is learned later, by asking or by a signal
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # the engine has never heard of the key


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine answered. `result` is JSON-able; `reference` is the engine's own name for the run."""

    status: Status
    detail: str = ""
    result: Any = None
    reference: str | None = None


class EngineError(FloError):
    """An engine did not do what it was asked.

    EngineError
    ├── EngineRejected      the engine said no; asking again will be no again (bad arguments, unknown job, bad credentials)
    ├── EngineUnavailable   it was certainly not done; try again (connection refused, 429, 503)
    ├── RunFailed           it ran, failed, and left nothing under its key: the same key sent again runs it again
    └── FateUnknown         the request went out and no answer came back: it may or may not have been done
    """


class EngineRejected(EngineError):
    """The engine said no, and will say no again: the command is a dead letter at once."""


class EngineUnavailable(EngineError):
    """`reached`: the engine itself answered, so the try counts as one of the command's attempts. A refused connection
    does not: an engine that is down for a minute costs no command its attempts, only its deadline bounds the wait."""

    def __init__(self, message: str, retry_after_s: float | None = None, *, reached: bool = True) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reached = reached


class RunFailed(EngineError):
    """It ran and failed, and left nothing under its key: sent again, it runs again."""


class FateUnknown(EngineError):
    """The request went out and no answer came back: it may or may not have been done."""


OutcomeSink = Callable[[str, Answer], None]
"""Called by an adapter that learns of outcomes later by itself: (command key, final answer). Safe from the event loop."""


class Engine(Protocol):
    """One configured engine. All methods run on the event loop and must not block it."""

    kind: ClassVar[str]

    @property
    def key_class(self) -> KeyClass:
        """Fixed while the engine lives; a kind's settings may choose it (a webhook says whether it honours keys)."""
        ...

    verbs: ClassVar[frozenset[str]]
    settings: ClassVar[Mapping[str, Any]]  # name -> Setting: what flo.yaml may say for this kind

    async def start(self, outcome: OutcomeSink) -> None: ...

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        """Do `command.verb`. Raises an `EngineError`; a timeout after the request went out is `FateUnknown`."""
        ...

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        """What became of the command with this key. Only for ASKABLE, and for ACCEPTED commands of HONOURS_KEY.

        `EngineRejected` where this engine cannot be asked: the outcome is then learned by a signal alone.
        """
        ...

    async def close(self) -> None:
        """Stop taking commands and free everything; what is running in the engine goes on running."""
        ...
