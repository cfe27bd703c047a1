"""Client libraries of engines that not everybody has."""

from __future__ import annotations

import importlib
from types import ModuleType

from flo.core.errors import UsageError


class ExtraMissing(UsageError):
    """An engine's client library is not installed. The message says what to install."""


def import_extra(module: str, *, kind: str, extra: str) -> ModuleType:
    """The client library `module`, or `ExtraMissing`. A library that is there and fails to load raises its
    own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise ExtraMissing(
            f"engines of kind `{kind}` need {error.name}, which is not installed: "
            f"pip install 'flo-orchestrator[{extra}]'"
        ) from None
