"""The shape of the code: imports point one way, files and functions stay small, what is public says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FILES = sorted((SOURCE / "flo").rglob("*.py"))

MAY_IMPORT = {
    "core": {"core"},
    "ports": {"core", "ports"},
    "flow": {"core", "ports", "flow"},
    "sources": {"core", "ports", "sources"},
    "engines": {"core", "ports", "engines"},
    "stores": {"core", "ports", "stores"},
    "runtimes": {"core", "ports", "flow", "sources", "engines", "stores", "runtimes"},
    "faces": {"core", "ports", "flow", "sources", "engines", "stores", "runtimes", "faces"},
}

LINES_MAX = 400
FUNCTION_LINES_MAX = 70
TELLING_LINES_MIN = 6
"""A shorter function is told by its name and its types."""


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text(), str(path)) for path in FILES}


def imported(module: str) -> Iterator[tuple[str, bool]]:
    """Every module that is imported, and whether only for type checking. `from a import b` is a.b where that is one."""
    typing_only = {
        id(inner)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides where it points"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in TREES else node.module or ""), id(node) in typing_only


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports_point_one_way(layer: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module in TREES
        if module.split(".")[1:2] == [layer]
        for name, _ in imported(module)
        if name.startswith("flo.") and name.split(".")[1] not in MAY_IMPORT[layer]
    ]
    assert not wrong


def test_the_core_uses_nothing_that_touches_the_world() -> None:
    forbidden = {
        "asyncio",
        "socket",
        "subprocess",
        "threading",
        "time",
        "random",
        "http",
        "tempfile",
        "shutil",
    }
    wrong = []
    for module in TREES:
        if not module.startswith("flo.core"):
            continue
        for name, _ in imported(module):
            top = name.split(".")[0]
            if top in forbidden or (
                top in ("aiohttp", "uvloop", "click", "rich", "pyarrow", "prometheus_client")
            ):
                wrong.append(f"{module} imports {name}")
    allowed = {
        "flo.core.loop.program imports threading"
    }  # one local variable a thread, no lock and no thread
    assert set(wrong) <= allowed


def test_modules_do_not_import_each_other_in_circles() -> None:
    edges = {
        module: {name for name, typing in imported(module) if name in TREES and not typing and name != module}
        for module in TREES
    }
    # a package's own list of names imports its modules; a module naming the package means one of these
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for name in sorted(edges[module]):
            walk(name, (*path, module))
        done.add(module)

    for module in sorted(TREES):
        walk(module, ())


def test_no_import_hides_inside_a_function() -> None:
    """But in the program of a worker process, whose start is what every call waits for."""
    wrong = [
        f"{module}:{inner.lineno}"
        for module, tree in TREES.items()
        if module != "flo.engines.python_worker"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert not wrong


def test_a_folder_is_a_role_and_none_is_called_utils() -> None:
    names = {part for module in TREES for part in module.split(".")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= LINES_MAX, f"{path.name} has {lines} lines, {LINES_MAX} are allowed: split it by role"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{path.name}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_is_public_says_what_it_is(path: Path) -> None:
    """Modules, classes, and functions of a module that are longer than their name can say."""
    tree = ast.parse(path.read_text())
    silent = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    for node in tree.body:
        public = (
            isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
        )
        long = isinstance(node, ast.ClassDef) or (node.end_lineno or 0) - node.lineno >= TELLING_LINES_MIN
        if public and long and not ast.get_docstring(node):  # type: ignore[arg-type]
            silent.append(f"{node.name} (line {node.lineno})")  # type: ignore[attr-defined]
    assert not silent
