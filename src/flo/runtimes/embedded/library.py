"""The bundles of a data directory, compiled when they are asked for.

What was in force before is read for its rules and types alone: explaining a decision, or folding recorded signals, never
runs a bundle's functions. So their signatures are kept beside the files, and the code of an old bundle is not executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import msgspec

from flo.core.errors import BundleError, Problem, UsageError
from flo.core.expression import FunctionDecl
from flo.core.expression.type_text import type_of_text
from flo.core.loop.program import LoopProgram
from flo.engines.registry import engine_kinds
from flo.flow.reload import LoadedBundle, load_bundle
from flo.stores.bundle_archive import BundleArchive
from flo.stores.bundle_functions import load_functions

SIGNATURES = "functions.types.json"


class Library:
    """Finds a bundle by revision: the one given at the start, one of the archive, or files the ledger holds."""

    def __init__(self, data: Path, given: LoadedBundle | None = None, directory: Path | None = None) -> None:
        self.archive = BundleArchive(data)
        self.directory = directory
        self._loaded: dict[str, LoadedBundle] = {} if given is None else {given.revision: given}

    def load(self, files: Mapping[str, bytes]) -> LoadedBundle:
        """Check and compile a bundle that is to be put in force; raises `BundleError`."""
        bundle = load_bundle(files, engine_kinds(), lambda source: load_functions(source, self.directory))
        self._loaded[bundle.revision] = bundle
        return bundle

    def keep(self, bundle: LoadedBundle) -> None:
        """Into the archive, durable on return: before the bundle is put in force."""
        signatures = {
            name: [[str(kind) for kind in function.parameters], str(function.result)]
            for name, function in bundle.functions.items()
        }
        files = bundle.definition.files
        self.archive.keep(bundle.revision, {**files, SIGNATURES: msgspec.json.encode(signatures)})
        self._loaded[bundle.revision] = bundle

    def find(self, revision: str, files: Mapping[str, bytes] | None = None) -> LoadedBundle:
        """The bundle of a revision, to read by. `UsageError`: it was accepted once and this FLO cannot read it."""
        found = self._loaded.get(revision)
        if found is not None:
            return found
        try:
            if self.archive.has(revision):
                return self._read(revision)
            if files is not None:
                return self.load(files)
        except BundleError as error:
            raise UsageError(
                f"revision {revision}, under which the ledger was written, cannot be read by this FLO:\n"
                f"{error}\nUse the FLO that wrote it, or change the bundle with it first"
            ) from error
        raise UsageError(
            f"revision {revision}, under which the ledger was written, is not in {self.archive.path('')}: "
            "restore that directory from the same backup as the ledger"
        )

    def _read(self, revision: str) -> LoadedBundle:
        kept = self.archive.extra(revision, SIGNATURES)
        signatures = {} if kept is None else msgspec.json.decode(kept, type=dict[str, tuple[list[str], str]])
        functions = {
            name: FunctionDecl(name, tuple(map(type_of_text, parameters)), type_of_text(result), _not_run)
            for name, (parameters, result) in signatures.items()
        }
        no_problems: list[Problem] = []
        bundle = load_bundle(
            self.archive.files(revision), engine_kinds(), lambda source: (functions, no_problems)
        )
        self._loaded[revision] = bundle
        return bundle

    def program(self, revision: str, loop: str) -> LoopProgram | None:
        """A loop as a revision had it; None where that is not known any more."""
        try:
            return self.find(revision).programs.get(loop)
        except UsageError:
            return None

    def functions_path(self, bundle: LoadedBundle) -> Path | None:
        """Where the bundle's functions.py lies on disk: beside its helper modules if it came from a directory."""
        source = bundle.definition.files.get("functions.py")
        if source is None:
            return None
        if self.directory is not None:
            here = self.directory / "functions.py"
            if here.is_file() and here.read_bytes() == source:
                return here
        return self.archive.path(bundle.revision) / "functions.py"


def _not_run(*arguments: object) -> NoReturn:
    raise RuntimeError("a bundle that is only read does not run its functions")
