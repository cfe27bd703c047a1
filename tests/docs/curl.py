"""As much of `curl` as the documentation shows, for machines that have none: -s, -X, -H, -d, --data-binary, a URL."""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path


def body_of(text: str | None, whole: str | None) -> bytes | None:
    """What is sent: `@FILE` and `@-` are read; -d drops line breaks of files, as curl's does."""
    given = text if whole is None else whole
    if given is None or not given.startswith("@"):
        return None if given is None else given.encode()
    content = sys.stdin.buffer.read() if given == "@-" else Path(given[1:]).read_bytes()
    return content if whole is not None else content.replace(b"\r", b"").replace(b"\n", b"")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-X")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("--data-binary")
    parser.add_argument("url")
    given = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in given.H)
    body = body_of(given.d, given.data_binary)
    request = urllib.request.Request(given.url, body, headers, method=given.X)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            sys.stdout.buffer.write(answer.read())
    except urllib.error.HTTPError as error:
        sys.stdout.buffer.write(error.read())


if __name__ == "__main__":
    main()
