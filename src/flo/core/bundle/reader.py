"""The whole bundle: every file read, every name checked, every problem in one go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from flo.core.bundle.document import read_document
from flo.core.bundle.flo_file import FloFile, read_flo_file
from flo.core.bundle.loop_file import read_loop_file
from flo.core.bundle.names import Names
from flo.core.bundle.report import Report
from flo.core.bundle.settings import NAME, NAME_HELP, EngineKind, Setting
from flo.core.errors import Problem
from flo.core.loop.definition import BundleDefinition, LoopDefinition, Place

LOOPS_MAX = 10_000
_NO_SOURCE_KINDS: Mapping[str, Mapping[str, Setting]] = {}
_CONTRACT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}", re.ASCII)


def read_bundle(
    files: Mapping[str, bytes],
    engine_kinds: Mapping[str, EngineKind],
    known_source_kinds: Mapping[str, Mapping[str, Setting]] = _NO_SOURCE_KINDS,
) -> tuple[BundleDefinition | None, list[Problem]]:
    """Read a bundle from its files (relative path with `/` to content).

    Returns the definition, or None with every problem found, in file order (`flo.yaml` first). Nothing is
    raised for whatever bytes the files hold. Checked here: syntax, keys, types of values, limits, and every
    name one file uses of another. Expressions are only located; their types are the loop compiler's to
    check, and contracts and functions are only looked up by name.
    """
    definition, problems = read_parts(files, engine_kinds, known_source_kinds)
    return (None if problems else definition), problems


def read_parts(
    files: Mapping[str, bytes],
    engine_kinds: Mapping[str, EngineKind],
    known_source_kinds: Mapping[str, Mapping[str, Setting]] = _NO_SOURCE_KINDS,
) -> tuple[BundleDefinition, list[Problem]]:
    """As `read_bundle`, but what could be read is given also where there are problems: so that the expressions of
    loops without any are checked in the same go."""
    report = Report()
    _check_paths(files, report)
    loop_files = sorted(path for path in files if re.fullmatch(r"loops/[^/]+\.yaml", path))
    names = Names(
        engine_kinds=engine_kinds,
        loops=frozenset(PurePosixPath(path).stem for path in loop_files),
        contracts=_contracts(files, report),
    )
    flo_file = _flo_file(files, names, known_source_kinds, report)
    loops = _loops(files, loop_files, names, report)
    for path in sorted(files):
        if re.fullmatch(r"tests/[^/]+\.yaml", path):
            read_document(path, files[path], report)
        elif re.fullmatch(r"(flo|loops/[^/]+|tests/[^/]+)\.yml", path):
            report.add(Place(path, 1, 1), "files of a bundle end in .yaml: this one is not read", "rename it")
    definition = BundleDefinition(
        revision=revision_of(files),
        files=dict(files),
        loops=loops,
        engines=flo_file.engines,
        dependencies=flo_file.dependencies,
        pipelines=flo_file.pipelines,
        retention=flo_file.retention,
        dedupe_ns=flo_file.dedupe_ns,
        sources=flo_file.sources,
        watchdogs=flo_file.watchdogs,
    )
    return definition, report.problems()


def _check_paths(files: Mapping[str, bytes], report: Report) -> None:
    """A bundle may come over the network and be written to disk: no path of it may lead out of it."""
    for path in files:
        parts = path.split("/")
        if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
            shown_path = repr(path[:80])
            report.add(Place("flo.yaml", 1, 1), f"{shown_path} is not a path inside a bundle", "use a/b.yaml")


def revision_of(files: Mapping[str, bytes]) -> str:
    """The bundle's content hash: SHA-256 over its sorted paths and contents, the first 12 hex digits.

    Lengths go in before texts, so no two different bundles give the hash the same bytes.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        name = path.encode()
        digest.update(len(name).to_bytes(8, "big") + name)
        digest.update(len(files[path]).to_bytes(8, "big") + files[path])
    return digest.hexdigest()[:12]


def _flo_file(
    files: Mapping[str, bytes],
    names: Names,
    source_kinds: Mapping[str, Mapping[str, Setting]],
    report: Report,
) -> FloFile:
    content = files.get("flo.yaml")
    if content is None:
        report.add(
            Place("flo.yaml", 1, 1), "the bundle has no flo.yaml", "run `flo init` to write a first bundle"
        )
        names.flo_read = False
        return FloFile()
    node = read_document("flo.yaml", content, report)
    if node is None:
        names.flo_read = len(report) == 0
        return FloFile()
    return read_flo_file(node, names, source_kinds, report)


def _loops(
    files: Mapping[str, bytes], loop_files: list[str], names: Names, report: Report
) -> dict[str, LoopDefinition]:
    loops: dict[str, LoopDefinition] = {}
    if len(loop_files) > LOOPS_MAX:
        report.add(Place(loop_files[0], 1, 1), f"the bundle has {len(loop_files)} loops, at most {LOOPS_MAX}")
        return loops
    for path in loop_files:
        stem = PurePosixPath(path).stem
        start = Place(path, 1, 1)
        if not NAME.fullmatch(stem):
            report.add(start, f"`{stem[:60]}` is not a name for a loop", NAME_HELP)
        before = len(report)
        node = read_document(path, files[path], report)
        if node is None:
            if len(report) == before:
                report.add(start, "the file is empty", "write `loop:`, `on:` and `key:`, or remove it")
            continue
        loops[stem] = read_loop_file(path, node, names, report)
    return loops


def _contracts(files: Mapping[str, bytes], report: Report) -> dict[str, frozenset[int]]:
    """The versions of each contract. A version is written one way only: `2` and `02` cannot both be there."""
    versions: dict[str, set[int]] = {}
    for path in sorted(files):
        parts = path.split("/")
        if parts[0] != "contracts" or not path.endswith(".json"):
            continue
        if len(parts) != 3 or not _CONTRACT_NAME.fullmatch(parts[1]):
            report.add(
                Place(path, 1, 1), "a contract's file is contracts/<name>/<version>.json", "move it there"
            )
            continue
        version = parts[2].removesuffix(".json")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", version, re.ASCII):
            hint = f"name it contracts/{parts[1]}/1.json"
            report.add(Place(path, 1, 1), f"`{version[:40]}` is not a contract's version: 1, 2, 3 ...", hint)
            continue
        versions.setdefault(parts[1], set()).add(int(version))
    return {name: frozenset(numbers) for name, numbers in versions.items()}
