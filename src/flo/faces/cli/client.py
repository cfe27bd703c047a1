"""A client of the HTTP API: one kept connection, problems as failures that say what to do.

Built on the standard library: a command that asks one thing should not load a web framework first.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from flo.faces.cli.failure import WRONG_USE, CommandFailed

DEFAULT_URL = "http://127.0.0.1:8750"

TIMEOUT_S = 60.0
ANSWER_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` is decoded JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class NoAnswer(CommandFailed):
    """Nobody answers at the address, or the connection broke: it is unknown whether the request was taken."""


class Client:
    """Speaks to one FLO."""

    def __init__(self, url: str, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise CommandFailed(
                f"--to {url}: not an address of FLO", "as in --to http://127.0.0.1:8750", WRONG_USE
            )
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._prefix = parts.path.rstrip("/")
        self._token = token
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=timeout_s)

    def close(self) -> None:
        self._connection.close()

    def exchange(self, method: str, path: str, body: bytes | None = None, media: str | None = None) -> Answer:
        """One request, whatever it answers. Raises `NoAnswer`; the connection is made anew for the next
        request.
        """
        headers = {"Accept": "application/json", "User-Agent": "flo-cli"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if media is not None:
            headers["Content-Type"] = media
        try:
            self._connection.request(method, self._prefix + path, body, headers)
            response = self._connection.getresponse()
            content = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NoAnswer(
                f"no FLO answers at {self.url}: {reason}",
                "start one with `flo run DIR`, name another with --to URL, or read files with --data PATH",
            ) from None
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, _json(content)
        )

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """One request that must succeed; its body. Raises `CommandFailed` with the problem's own words."""
        body = None if value is None else msgspec.json.encode(value)
        answer = self.exchange(method, path, body, None if value is None else "application/json")
        if answer.status >= 300:
            raise failure_of_answer(self.url, answer)
        return answer.body


def failure_of_answer(url: str, answer: Answer) -> CommandFailed:
    """The failure that a problem document (or some other server's error) means."""
    problem = answer.body if isinstance(answer.body, dict) else {}
    detail = problem.get("detail")
    if not isinstance(detail, str) or not str(problem.get("type", "")).startswith("urn:flo:"):
        return CommandFailed(
            f"{url} answered {answer.status}, not as FLO does", "is --to the address of a FLO?"
        )
    steps = {
        401: "set FLO_TOKEN to a token of this FLO",
        403: "set FLO_TOKEN to a token with that scope",
        421: "use the address FLO listens on",
    }
    step = steps.get(answer.status, "")
    retry_after = answer.headers.get("retry-after")
    if retry_after is not None:
        step = f"try again in {retry_after} s"
    return CommandFailed(detail, step, WRONG_USE if answer.status in (400, 422) else 1)


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content) if content else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class HttpSource:
    """What can be read of a running FLO (see `flo.faces.cli.source.Source`)."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def rows(self, kind: str, query: Mapping[str, str], limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Every row of a list, newest first, page by page."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            parameters = {**query, "limit": str(min(left or 1000, 1000))}
            if cursor is not None:
                parameters["cursor"] = cursor
            page = self._client.ask("GET", f"/v1/{kind}?{urlencode(parameters)}")
            rows = page[kind.replace("-", "_")]
            yield from rows
            cursor = page["next"]
            if cursor is None:
                return
            left = None if left is None else left - len(rows)

    def decision(self, decision_id: str) -> dict[str, Any]:
        return self._object(f"/v1/decisions/{quote(decision_id, safe='')}")

    def explain(self, decision_id: str) -> dict[str, Any]:
        return self._object(f"/v1/decisions/{quote(decision_id, safe='')}/explain")

    def loops(self) -> list[dict[str, Any]]:
        loops = self._client.ask("GET", "/v1/loops")["loops"]
        assert isinstance(loops, list)
        return loops

    def loop(self, name: str) -> dict[str, Any]:
        return self._object(f"/v1/loops/{quote(name, safe='')}")

    def pipelines(self) -> list[dict[str, Any]]:
        pipelines = self._client.ask("GET", "/v1/pipelines")["pipelines"]
        assert isinstance(pipelines, list)
        return pipelines

    def dead_letter(self, dead_letter_id: str) -> dict[str, Any]:
        return self._object(f"/v1/dead-letters/{quote(dead_letter_id, safe='')}")

    def close(self) -> None:
        self._client.close()

    def _object(self, path: str) -> dict[str, Any]:
        value = self._client.ask("GET", path)
        assert isinstance(value, dict)
        return value
