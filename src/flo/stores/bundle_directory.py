"""A bundle's directory as bytes: only the files a bundle has, each bounded, none from outside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from flo.core.errors import BundleError, Problem, UsageError

FILE_BYTES_MAX = 1 << 20
BUNDLE_BYTES_MAX = 64 << 20
FILES_MAX = 20_000


class _Unreadable(Exception):
    """Why one file was not read, and the way out."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def read_directory(directory: str | Path) -> dict[str, bytes]:
    """The files of the bundle in `directory`: relative path with `/` to content, in sorted order.

    Read are `flo.yaml`, `loops/*.yaml`, `contracts/*/*.json`, `tests/*.yaml` and `functions.py` (and `*.yml`,
    so that the reader can say how to name them); hidden files and all others are left alone. Symbolic links
    are followed where they stay inside the directory, as a mounted ConfigMap's do. Raises `UsageError` where
    there is no bundle, `BundleError` with every file that cannot be read. A file changed while it is read may
    be read half old, half new: replace files whole.
    """
    path = Path(directory)
    try:
        root = path.resolve(strict=True)
    except (OSError, RuntimeError):
        way_out = f"name a bundle, or write one with `flo init {path}`"
        raise UsageError(f"{path}: there is no such directory: {way_out}") from None
    if not root.is_dir():
        raise UsageError(f"{path}: not a directory: name the directory that holds flo.yaml")
    if not (root / "flo.yaml").exists():
        raise UsageError(f"{path}: no flo.yaml in it, so it is no bundle: write one with `flo init`")
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    total = 0
    for relative in sorted(_candidates(root, problems)):
        try:
            content = _read(root, relative)
        except _Unreadable as refused:
            problems.append(Problem(relative, 1, 1, refused.message, refused.hint))
            continue
        total += len(content)
        if total > BUNDLE_BYTES_MAX or len(files) >= FILES_MAX:
            limit = f"a bundle has at most {FILES_MAX} files of together {BUNDLE_BYTES_MAX >> 20} MiB"
            raise BundleError([*problems, Problem(relative, 1, 1, limit, "split it into several bundles")])
        files[relative] = content
    if problems:
        raise BundleError(problems)
    return files


def _candidates(root: Path, problems: list[Problem]) -> Iterator[str]:
    for name in ("flo.yaml", "functions.py"):
        if os.path.lexists(root / name):
            yield name
    for folder in ("loops", "tests"):
        for name in _names(root, folder, problems):
            if name.endswith((".yaml", ".yml")):
                yield f"{folder}/{name}"
    for contract in _names(root, "contracts", problems):
        if (root / "contracts" / contract).is_dir():
            for name in _names(root, f"contracts/{contract}", problems):
                if name.endswith(".json"):
                    yield f"contracts/{contract}/{name}"


def _names(root: Path, folder: str, problems: list[Problem]) -> list[str]:
    """What a folder of the bundle holds, hidden files aside: editors keep their locks and swaps there."""
    directory = root / folder
    if not directory.is_dir():
        return []
    if not directory.resolve().is_relative_to(root):
        problems.append(Problem(folder, 1, 1, "the folder is a link out of the bundle", "copy it into it"))
        return []
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except OSError as error:
        problems.append(Problem(folder, 1, 1, f"cannot be listed: {error.strerror}", "mind its permissions"))
        return []


def _read(root: Path, relative: str) -> bytes:
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise _Unreadable("the file's name is not UTF-8", "rename it") from None
    try:
        real = (root / relative).resolve(strict=True)
        if not real.is_relative_to(root):
            raise _Unreadable("the file is a link out of the bundle", "copy it into the bundle")
        if not stat.S_ISREG(real.stat().st_mode):
            raise _Unreadable("it is not a regular file", "replace it with one")
        # O_NONBLOCK: were it swapped for a named pipe just now, opening it could wait for ever.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "links that lead in a circle"
        raise _Unreadable(f"cannot be read: {reason}", "mind its permissions and links") from None
    if len(content) > FILE_BYTES_MAX:
        raise _Unreadable(f"the file has more than {FILE_BYTES_MAX >> 10} KiB", "make it smaller")
    return content
