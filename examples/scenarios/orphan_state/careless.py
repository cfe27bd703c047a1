"""The store of the story: it takes every row as it is, and swallows the error of a write that fails.

    python careless.py FILE

Prints where it listens. A POST is a row; the answer is always 200.
"""

from __future__ import annotations

import contextlib
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ROWS = Path(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        row = self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(OSError), ROWS.open("ab", buffering=0) as file:
            file.write(row + b"\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """The scenario tells the story."""


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    server.serve_forever()
