"""The bundles of a data directory, compiled when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flo.core.errors import BundleError, UsageError
from flo.core.loop.program import LoopProgram
from flo.engines.registry import engine_kinds
from flo.flow.reload import LoadedBundle, load_bundle
from flo.stores.bundle_archive import BundleArchive
from flo.stores.bundle_functions import load_functions


class Library:
    """Finds a bundle by revision: the one given at the start, one of the archive, or files the ledger holds."""

    def __init__(self, data: Path, given: LoadedBundle | None = None, directory: Path | None = None) -> None:
        self.archive = BundleArchive(data)
        self.directory = directory
        self._loaded: dict[str, LoadedBundle] = {} if given is None else {given.revision: given}

    def load(self, files: Mapping[str, bytes]) -> LoadedBundle:
        """Check and compile; raises `BundleError`."""
        bundle = load_bundle(files, engine_kinds(), lambda source: load_functions(source, self.directory))
        self._loaded[bundle.revision] = bundle
        return bundle

    def find(self, revision: str, files: Mapping[str, bytes] | None = None) -> LoadedBundle:
        """The bundle of a revision. `UsageError`: it was accepted once and this FLO cannot read it."""
        found = self._loaded.get(revision)
        if found is not None:
            return found
        try:
            if self.archive.has(revision):
                return self.load(self.archive.files(revision))
            if files is not None:
                return self.load(files)
        except BundleError as error:
            raise UsageError(
                f"revision {revision}, under which the ledger was written, cannot be read by this FLO:\n{error}\n"
                "Use the FLO that wrote it, or change the bundle with it first"
            ) from error
        raise UsageError(
            f"revision {revision}, under which the ledger was written, is not in {self.archive.path('')}: "
            "restore that directory from the same backup as the ledger"
        )

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
