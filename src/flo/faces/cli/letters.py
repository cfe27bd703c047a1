"""Dead letters that leave: page after page, at a pace, until all that match have been acted on or Ctrl-C stops it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from flo.faces.cli.client import Client

PAGE_LETTERS = 1_000
PAGE_S = 0.5
"""At a rate, a page holds what half a second allows: Ctrl-C, and progress, wait no longer."""

NOT_COUNTS = frozenset({"next", "not_replayed"})


def act_on_all(
    client: Client,
    path: str,
    body: dict[str, Any],
    rate_per_s: float | None,
    told: Callable[[Counter[str]], None],
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Ask for pages until the last one; the sums, the first reasons, and whether Ctrl-C came between two pages."""
    counts: Counter[str] = Counter()
    reasons: list[dict[str, str]] = []
    limit = PAGE_LETTERS if rate_per_s is None else max(1, min(PAGE_LETTERS, int(rate_per_s * PAGE_S)))
    cursor: str | None = None
    interrupted = False
    due_s = now_s()
    try:
        while True:
            answer = client.ask("POST", path, {**body, "limit": limit, "cursor": cursor})
            counts.update({name: count for name, count in answer.items() if name not in NOT_COUNTS})
            reasons += answer.get("not_replayed", [])[: max(0, 20 - len(reasons))]
            cursor = answer["next"]
            told(counts)
            if cursor is None:
                break
            if rate_per_s is not None:
                due_s = max(due_s, now_s() - PAGE_S) + answer["matched"] / rate_per_s
                sleep(max(0.0, due_s - now_s()))
    except KeyboardInterrupt:
        interrupted = True
    return {**counts, "not_replayed": reasons, "interrupted": interrupted}
