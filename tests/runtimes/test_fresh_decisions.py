"""A decision answered at once comes from memory; it must be the one the ledger has."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from flo.core.signal import encode_signal
from flo.runtimes.embedded.entry import start_runtime

FLO = "dependencies:\n  nobody: {kind: http, url: 'http://127.0.0.1:9/{key}', deadline: 5ms}\n"
LOOP = """
loop: score
on: tx
key: data.card
consistency: CONSISTENCY
needs: {profile: nobody}
state:
  count: {count: true, over: 10m}
  amount: {last: data.amount}
  seen: {last: signal.time}
rules:
  - id: often
    when: state.count >= 2 && state.amount.value != 0 && state.seen.value < now && need.profile.missing
    once_within: 1h
    then: [{do: review, with: {queue: manual, subject: '${data.card}', amount: '${data.amount}'}}]
  - id: broken
    when: data.amount / data.zero > 1
otherwise: approve
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("consistency", ["strict", "relaxed"])
async def test_an_answered_decision_is_byte_for_byte_the_recorded_one(
    tmp_path: Path, consistency: str, workers: int
) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "loops").mkdir(parents=True)
    (bundle / "flo.yaml").write_text(FLO)
    (bundle / "loops" / "score.yaml").write_text(LOOP.replace("CONSISTENCY", consistency))
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data", workers=workers)
    try:
        answered = []
        for number in range(6):
            data = {
                "card": "c",
                "amount": number,
                "zero": 1 if number != 3 else 0,
                "deep": [{"a": [1.5, None]}],
            }
            raw = encode_signal(id=f"s{number}", source="/t", type="tx", time_ns=number * 10**9, data=data)
            answered += await runtime.decide(raw)
        await runtime.ingest([encode_signal(id="end", source="/t", type="other", time_ns=0, data=None)])
        assert len(answered) == 6
        assert any(record["commands"] for record in answered)
        for record in answered:
            recorded = await runtime.decision(record["decision_id"])
            assert msgspec.json.encode(record) == msgspec.json.encode(recorded)
    finally:
        await runtime.stop()


async def test_an_answered_decision_that_left_memory_is_read_from_the_ledger(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "loops").mkdir(parents=True)
    (bundle / "flo.yaml").write_text(FLO)
    (bundle / "loops" / "score.yaml").write_text(LOOP.replace("CONSISTENCY", "strict"))
    runtime = await start_runtime(bundle=bundle, data=tmp_path / "data")
    try:
        shard = runtime._ports[0].shard  # type: ignore[attr-defined]
        shard._keep = lambda group: None
        raw = encode_signal(
            id="s", source="/t", type="tx", time_ns=10**9, data={"card": "c", "amount": 1, "zero": 1}
        )
        (record,) = await runtime.decide(raw)
        assert record["key"] == "c"
        assert not shard.recent
    finally:
        await runtime.stop()
