"""FLO: the layer that decides, beside the engines that do.

What is listed here is the public Python API; everything else may change without notice. Most users need none of it:
the command line and the HTTP API are the faces. Names load when they are first used, so `import flo` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flo.core.contract import ContractViolation
    from flo.core.errors import (
        BundleError,
        CorruptLedger,
        FloError,
        InputError,
        Overloaded,
        Problem,
        SignalRejected,
        StorageUnavailable,
        UnavailableError,
        UsageError,
    )
    from flo.engines.signature import verify as verify_signature
    from flo.engines.stub import StubEngine
    from flo.ports.engine import EngineError
    from flo.runtimes.embedded.entry import load_directory, open_reader, start_runtime
    from flo.runtimes.embedded.file_run import run_file
    from flo.runtimes.simulated.simulation import Simulation

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "ContractViolation",
    "CorruptLedger",
    "EngineError",
    "FloError",
    "InputError",
    "Overloaded",
    "Problem",
    "SignalRejected",
    "Simulation",
    "StorageUnavailable",
    "StubEngine",
    "UnavailableError",
    "UsageError",
    "__version__",
    "load_directory",
    "open_reader",
    "run_file",
    "start_runtime",
    "verify_signature",
]

_ERRORS = "flo.core.errors"
_PLACES = {
    # bundles and running
    "load_directory": "flo.runtimes.embedded.entry",
    "start_runtime": "flo.runtimes.embedded.entry",
    "open_reader": "flo.runtimes.embedded.entry",
    "run_file": "flo.runtimes.embedded.file_run",
    # tests of one's own loops
    "Simulation": "flo.runtimes.simulated.simulation",
    "StubEngine": "flo.engines.stub",
    # receivers of webhooks
    "verify_signature": "flo.engines.signature:verify",
    # errors, by what the one who meets them can do
    "FloError": _ERRORS,
    "InputError": _ERRORS,
    "SignalRejected": _ERRORS,
    "ContractViolation": "flo.core.contract",
    "BundleError": _ERRORS,
    "Problem": _ERRORS,
    "UsageError": _ERRORS,
    "UnavailableError": _ERRORS,
    "Overloaded": _ERRORS,
    "StorageUnavailable": _ERRORS,
    "EngineError": "flo.ports.engine",
    "CorruptLedger": _ERRORS,
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'flo' has no attribute {name!r}")
    module, _, other = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(module), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
