"""Every error FLO raises, grouped by what the one who meets it can do.

    FloError
    ├── InputError            fix the input and send it again; sending it unchanged never helps
    │   ├── SignalRejected        not a CloudEvent FLO can take
    │   └── ContractViolation     data that breaks its contract (defined with the contracts)
    ├── BundleError           fix the bundle: carries every problem found, each with file, line and column
    ├── UsageError            fix the call: a wrong option, an unknown name
    ├── UnavailableError      try again later: says after how long
    │   ├── Overloaded            the queues are full
    │   └── StorageUnavailable    the disk refuses; what was acknowledged is kept
    ├── EngineError           an engine did not do what it was asked (defined with the engine port)
    └── CorruptLedger         stored bytes are not what was written: says where, and the way out

A message names the thing, the value, the rule broken and the next step.
"""

from __future__ import annotations

from dataclasses import dataclass


class FloError(Exception):
    """The root: whatever FLO raises on purpose is one of these."""


class InputError(FloError):
    """The input is wrong; the same input will be wrong again."""


class SignalRejected(InputError):
    """Bytes that are not a CloudEvent FLO can take. `reason` is a short stable code, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a bundle, and where. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


class BundleError(FloError):
    """A bundle that cannot be loaded; `problems` holds all of them, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class UsageError(FloError):
    """The call is wrong: an option, a name, a combination."""


class UnavailableError(FloError):
    """Nothing is wrong with the input; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(UnavailableError):
    """A bounded queue is full. Nothing was accepted."""


class StorageUnavailable(UnavailableError):
    """The disk refused a write or a sync. Nothing unacknowledged is kept as done; what was acknowledged stands."""


class CorruptLedger(FloError):
    """Stored bytes fail their checksum or their order. The message names file, offset and block."""
