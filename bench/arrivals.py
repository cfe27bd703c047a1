"""When requests arrive: evenly by chance, or as real ones did."""

from __future__ import annotations

import csv
import gzip
import os
from datetime import datetime
from pathlib import Path

import numpy as np

TRACE = Path("azure_llm") / "AzureLLMInferenceTrace_conv.csv.gz"


def poisson(rate: float, duration_s: float, seed: int) -> list[float]:
    """Independent arrivals: the gaps are exponential, as of many senders that know nothing of each other."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1.0 / rate, size=int(rate * duration_s))
    return [float(offset) for offset in np.cumsum(gaps)]


def trace_file() -> Path:
    """The trace of Azure's LLM inference (conversations), under FLO_DATA or beside the source tree."""
    given = os.environ.get("FLO_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder / TRACE


def traced(path: Path, rate: float, duration_s: float) -> list[float]:
    """The trace's busiest stretch, sped up to `rate` on average: bursts and lulls as they were."""
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    moments = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    count = int(rate * duration_s)
    if len(moments) < count:
        raise ValueError(f"{path} has {len(moments)} arrivals, {count} are asked for")
    spans = [moments[first + count - 1] - moments[first] for first in range(0, len(moments) - count, 100)]
    first = 100 * spans.index(min(spans)) if spans else 0
    stretch = moments[first : first + count]
    scale = duration_s / (stretch[-1] - stretch[0])
    return [(moment - stretch[0]) * scale for moment in stretch]
