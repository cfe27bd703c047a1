"""The person on call in a scenario: findings page them over a real webhook, and they ask `flo explain` why."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from stage import RunningFlo, flo, say

PAGING = Path(__file__).resolve().parent / "paging"
PIPELINE = "watch"
PAGE_WITHIN_S = 60.0
"""How long a scenario waits for a page before it says that none came. It tells the seconds, whatever they are."""

EXPLAINED_LINES = 12
"""Of an explanation in the demo's words: what came, and which rule paged. The rest is for those who ask themselves."""


class Receiver:
    """A webhook receiver on a free port: answers 200, and keeps (seconds since the epoch, body) of all that came."""

    def __init__(self) -> None:
        self.received: list[tuple[float, dict[str, Any]]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append((time.time(), body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:
                """The scenario tells the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def first(
        self, timeout_s: float, wanted: Callable[[Mapping[str, Any]], bool]
    ) -> tuple[float, dict[str, Any]] | None:
        """The first call whose `data` is wanted; None where none comes in time."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            for at_s, body in list(self.received):
                if wanted(body["data"]):
                    return at_s, body
            time.sleep(0.005)
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class OnCall:
    """`paging/` laid over a scenario's bundle, and whoever it pages. A context manager: the receiver ends with it."""

    def __init__(self) -> None:
        self.receiver = Receiver()

    def __enter__(self) -> OnCall:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.receiver.close()

    def over(self, bundle: Path) -> Path:
        """That bundle, with the loop that pages, its engine and its pipeline."""
        shutil.copytree(PAGING, bundle, dirs_exist_ok=True)
        settings = yaml.safe_load((bundle / "flo.yaml").read_text(encoding="utf-8")) or {}
        engine = {"kind": "webhook", "url": self.receiver.url, "allow_private": True, "honours_key": True}
        settings.setdefault("engines", {})["oncall"] = engine
        settings.setdefault("pipelines", {})[PIPELINE] = {"loops": ["page"], "on_call": "oncall"}
        (bundle / "flo.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        return bundle

    def paged(
        self, running: RunningFlo, type: str, cause_s: float, problems: list[str], subject: str = ""
    ) -> dict[str, Any]:
        """The page about a finding, how long after its cause (seconds since the epoch) it came, and whether FLO
        explains it. What is missing of that is a problem.
        """

        def is_wanted(data: Mapping[str, Any]) -> bool:
            arguments = data["arguments"]
            return arguments.get("found") == type and subject in ("", arguments["subject"])

        found = self.receiver.first(PAGE_WITHIN_S, is_wanted)
        if found is None:
            problems.append(f"nobody was paged about {type} {subject}".rstrip())
            return {"paged_after_s": None, "summary": None, "explained": False}
        at_s, body = found
        summary = body["data"]["arguments"]["summary"]
        return {
            "paged_after_s": round(at_s - cause_s, 1),
            "summary": summary,
            "explained": explained(running, body["data"], type, problems),
        }


def explained(running: RunningFlo, command: Mapping[str, Any], type: str, problems: list[str]) -> bool:
    """Ask `flo explain` why a person was told, and tell its first lines. It must name what was found, as they were told
    it.
    """
    decision_id, arguments = command["decision_id"], command["arguments"]
    detail = arguments.get("summary") or arguments["about"]
    text = str(flo("explain", decision_id, "--to", running.url)["text"])
    say(f"   $ flo explain {decision_id}")
    for line in text.splitlines()[:EXPLAINED_LINES]:
        say(f"   | {line}".rstrip())
    words = " ".join(text.split())
    if type not in words or " ".join(detail.split()) not in words:
        problems.append(f"flo explain {decision_id} does not name what was found: {type}, {detail}")
        return False
    return True


def row(page: Mapping[str, Any], alone: str = "nobody") -> str:
    """The lines of a scenario's table about it: who heard without FLO's guard, and with it, and from what they know
    why.
    """
    return f"""\
  who was paged      {alone:<29} {told_after(page)}
  explained          {"-":<29} {by_what(page)}"""


def by_what(told: Mapping[str, Any]) -> str:
    """From what they know why."""
    return "by `flo explain`, with the figures" if told["explained"] else "by nothing"


def told_after(page: Mapping[str, Any]) -> str:
    """Who heard of it, and when."""
    after_s = page["paged_after_s"]
    return "nobody" if after_s is None else f"on-call, after {after_s:.1f} s"
