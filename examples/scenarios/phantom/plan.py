"""Who calls whom in the settlement pipeline: three branches that are declared, and what has grown behind them."""

from __future__ import annotations

ROOT = "settlement"
BRANCHES = ("ledger", "risk", "notify")
FORGOTTEN = "nightly-export"
"""Written for an audit two years ago. Its reader is gone; it still writes, and it has become slow."""

CALLS: dict[str, tuple[str, ...]] = {
    ROOT: BRANCHES,
    "ledger": ("fx-rates", "journal"),
    "journal": ("accounts", "audit-trail"),
    "accounts": ("limits", "history"),
    "audit-trail": ("archive",),
    "archive": ("checksum", "index"),
    "risk": ("scores", "sanctions"),
    "scores": ("features", "model-cache"),
    "features": ("profiles", "devices"),
    "sanctions": ("watchlist", "names"),
    "names": ("transliterate",),
    "notify": ("templates", "outbox"),
    "templates": ("translations",),
    "outbox": ("email", "sms", "report"),
    "email": ("bounces",),
    "report": ("warehouse", FORGOTTEN),
}

HIDDEN = tuple(
    (caller, called) for caller, all_called in CALLS.items() for called in all_called if caller != ROOT
)
"""The edges that nobody declared."""


def behind(branch: str) -> list[str]:
    """A branch and all steps behind it, without the forgotten one, which has a process of its own."""
    found, waiting = [branch], [branch]
    while waiting:
        for called in CALLS.get(waiting.pop(), ()):
            if called != FORGOTTEN:
                found.append(called)
                waiting.append(called)
    return found
