"""News from a job, as a CloudEvent to FLO: what any training job does when it ends, wherever it runs."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

import msgspec

DEFAULT_URL = "http://127.0.0.1:8750"
TRIES = 6
PAUSE_S = 0.5  # doubles: FLO may be restarting, which takes seconds


def announce(kind: str, key: str, parent: str, data: dict[str, Any]) -> None:
    """Send one signal; returns once FLO has it. Its id is made from the command's key, so a repeat is a
    duplicate.

    `OSError` where FLO refuses it, or does not answer for some fifteen seconds: the command has then failed,
    and FLO runs it again, which finds its work done and announces it.
    """
    event = {
        "specversion": "1.0",
        "id": f"{key}/{kind}",
        "source": "payments/trainer",
        "type": kind,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "floparent": parent,  # the decision that led here; a new context, as training outlives the old one
        "data": data,
    }
    request = urllib.request.Request(
        os.environ.get("FLO_URL", DEFAULT_URL).rstrip("/") + "/v1/signals",
        data=msgspec.json.encode(event),
        headers={"content-type": "application/cloudevents+json"},
    )
    if os.environ.get("FLO_TOKEN"):
        request.add_header("authorization", f"Bearer {os.environ['FLO_TOKEN']}")
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                receipt = msgspec.json.decode(answer.read())
            if receipt["rejected"]:
                raise OSError(f"FLO refused {kind}: {receipt['rejected'][0]}")
            return
        except urllib.error.HTTPError as error:
            if error.code not in (429, 502, 503) or attempt == TRIES - 1:
                raise OSError(f"FLO answered {error.code} to {kind}: {error.read()[:300]!r}") from None
        except urllib.error.URLError:
            if attempt == TRIES - 1:
                raise
        time.sleep(PAUSE_S * 2**attempt)
