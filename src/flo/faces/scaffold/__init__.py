"""What `flo init` writes: a small bundle that works, with signals to try it on."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from flo.core.errors import UsageError


def scaffold_files() -> dict[str, bytes]:
    """The files of the first bundle: relative path to content."""
    found: dict[str, bytes] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                if entry.name != "__pycache__":
                    walk(entry, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry.read_bytes()

    walk(files(__package__) / "bundle", "")
    return dict(sorted(found.items()))


def write_scaffold(directory: str | Path) -> list[Path]:
    """Write the first bundle into `directory`, made where it is missing. Returns the files written, in order.

    Raises `UsageError` where the directory holds anything, or cannot be written: nothing is ever overwritten.
    A crash half way leaves some of the files; remove them and run it again.
    """
    root = Path(directory)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise UsageError(f"{root}: not empty: name a new directory, nothing in it is overwritten")
        written = []
        for relative, content in scaffold_files().items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
            written.append(path)
    except OSError as error:
        raise UsageError(f"{root}: cannot be written: {error.strerror}: name another directory") from None
    return written
