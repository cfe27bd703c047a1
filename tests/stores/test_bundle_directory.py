"""A bundle's directory: what is read, what is left alone, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flo.core.errors import BundleError, UsageError
from flo.core.secret import Secret, SecretUnavailable
from flo.stores.bundle_directory import FILE_BYTES_MAX, read_directory
from flo.stores.secret_file import read_secret_file


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_only_the_files_of_a_bundle_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "flo.yaml",
        "functions.py",
        "loops/a.yaml",
        "loops/.#a.yaml",
        "loops/a.yaml~",
        "loops/old/b.yaml",
        "contracts/tx/1.json",
        "contracts/tx/notes.md",
        "contracts/readme.json",
        "tests/a.yaml",
        "README.md",
        ".git/config",
        "network.py",
    )
    files = read_directory(tmp_path)
    assert list(files) == ["contracts/tx/1.json", "flo.yaml", "functions.py", "loops/a.yaml", "tests/a.yaml"]
    assert files["loops/a.yaml"] == b"loops/a.yaml"


def test_a_directory_that_is_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    write(tmp_path, "file")
    for path, part in (
        (tmp_path, "no flo.yaml"),
        (tmp_path / "no", "flo init"),
        (tmp_path / "file", "not a directory"),
    ):
        with pytest.raises(UsageError, match=part):
            read_directory(path)


def test_links_are_followed_inside_the_directory_and_refused_out_of_it(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write(bundle, "..data/flo.yaml", "..data/loops/a.yaml")  # how a ConfigMap is mounted
    (bundle / "flo.yaml").symlink_to("..data/flo.yaml")
    (bundle / "loops").symlink_to("..data/loops")
    assert list(read_directory(bundle)) == ["flo.yaml", "loops/a.yaml"]

    write(tmp_path, "secret", "outside/1.json")
    (bundle / "functions.py").symlink_to(tmp_path / "secret")
    (bundle / "tests").symlink_to(tmp_path / "outside")
    (bundle / "contracts").mkdir()
    (bundle / "contracts" / "tx").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError) as raised:
        read_directory(bundle)
    assert {(problem.file, problem.message) for problem in raised.value.problems} == {
        ("functions.py", "the file is a link out of the bundle"),
        ("tests", "the folder is a link out of the bundle"),
        ("contracts/tx", "the folder is a link out of the bundle"),
    }


def test_what_cannot_be_read_is_named_all_at_once_and_never_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "flo.yaml")
    (tmp_path / "loops").mkdir()
    os.mkfifo(tmp_path / "loops" / "pipe.yaml")
    (tmp_path / "loops" / "folder.yaml").mkdir()
    (tmp_path / "loops" / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "loops" / "circle.yaml").symlink_to("circle.yaml")
    (tmp_path / "loops" / "big.yaml").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(BundleError) as raised:
        read_directory(tmp_path)
    assert [problem.file for problem in raised.value.problems] == [
        f"loops/{name}.yaml" for name in ("big", "circle", "folder", "gone", "pipe")
    ]


def test_a_secret_file_is_read_without_its_last_line_break(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    assert Secret(f"${{file:{path}}}").reveal({}, read_secret_file) == "abc"


def test_a_secret_file_that_cannot_be_used_is_named_but_not_shown(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfehunter2")
    (tmp_path / "big").write_bytes(b"hunter2" * 20_000)
    for name in ("no", "binary", "big"):
        with pytest.raises(SecretUnavailable, match=name) as raised:
            read_secret_file(str(tmp_path / name))
        assert "hunter2" not in str(raised.value)
