"""Masked fields never reach the disk; what is decided, folded and explained is right all the same."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.flow.looping import Rig, bundle, event

from flo.core.errors import BundleError
from flo.core.mask import Mask
from flo.core.record import DeadLetter
from flo.runtimes.embedded.entry import start_runtime

CANARY = "4111222233334444"

MASKED = """on: tx
contract: tx/1
key: data.card
mask: [data.note, data.n]
state:
  risky: {count: 'data.n > 100', over: 1h}
  total: {sum: data.amount}
  all: {count: 'true', shared: true, over: 1h}
rules:
  - {id: known, when: 'data.note == "4111222233334444" && data.amount > 1.0', once_within: 1h}
  - {id: risky, when: 'state.risky >= 2', then: [{do: review, with: {card: '${data.card}'}}]}
  - {id: large, when: 'data.amount > 50.0'}
otherwise: fine
"""


def signal(card: str, amount: float, n: int, note: str = CANARY, **more: Any) -> bytes:
    return event({"card": card, "amount": amount, "n": n, "note": note}, **more)


def written(r: Rig) -> bytes:
    """Everything on disk, in plain."""
    parts = [json.dumps(record).encode() for record in r.records()]
    for group in r.groups():
        parts += [*group.raws(), repr(group.events()).encode()]
        parts += [repr(section.rows()).encode() for section in group.sections]
    parts.append(repr(r.states()).encode())
    return b"\n".join(parts)


def test_a_masked_value_is_decided_on_and_never_written() -> None:
    r = Rig(bundle(MASKED))
    first = r.decided(signal("x", 2.0, 7_777_777))[0]
    assert first["rule"] == "known"
    assert first["signal"]["data"] == {"card": "x", "amount": 2.0, "n": "***", "note": "***"}
    assert first["masked"] == ["data.n", "data.note"]
    assert CANARY.encode() not in written(r)
    assert b"7777777" not in written(r)


def test_state_that_reads_a_masked_field_comes_back_after_a_restart() -> None:
    r = Rig(bundle(MASKED))
    for n in (5, 101, 102, 103):
        r.send(signal("x", 1.5, n), signal("y", 100.0, 1, "other"))
    states = r.states()
    checkpoint = r.checkpoint()
    assert r.restarted().states() == states
    r.send(signal("x", 2.0, 500))
    for again in (r.restarted(), r.restarted(checkpoint)):
        assert again.states() == r.states()
        assert again.decided(signal("x", 0.5, 0))[0]["state"]["risky"] == 4


def test_deciding_again_takes_the_records_word_for_what_is_masked_and_says_so() -> None:
    r = Rig(bundle(MASKED))
    for n, amount in ((500, 2.0), (500, 2.0), (500, 60.0), (1, 0.1)):
        r.send(signal("x", amount, n))
    r.send(signal("z", 60.0, 0, "no"))
    for record in r.records():
        explained = r.explain(record)
        assert explained["redecided"] == "the same, but for what is masked"
        assert "masked: data.n, data.note" in explained["text"]
        assert "known *:" in explained["text"]
        assert "reads what is masked" in explained["text"]
    assert {each["rule"] for each in r.records()} == {"known", "risky", "large"}


def test_a_loop_without_a_contract_is_masked_as_well() -> None:
    r = Rig(
        bundle(
            "on: tx\nkey: data.card\nmask: [data.pan]\nrules: [{id: a, when: 'data.pan.number > 3'}]\notherwise: b\n"
        )
    )
    record = r.one({"card": "x", "pan": {"number": 4, "holder": CANARY}})
    assert (record["rule"], record["signal"]["data"]) == ("a", {"card": "x", "pan": "***"})
    assert r.explain(record)["redecided"] == "the same, but for what is masked"


def test_a_contract_broken_by_a_masked_value_is_refused_without_quoting_it() -> None:
    r = Rig(bundle(MASKED))
    bad = event({"card": "x", "note": 4111222233334444, "n": CANARY, "amount": "many"})
    (receipt,) = r.send(bad)
    assert receipt.status == "rejected"
    assert CANARY not in receipt.detail
    assert "/note: is not of type string" in receipt.detail
    assert CANARY.encode() not in written(r)
    assert r.send(bad)[0].status == "duplicate"
    assert r.restarted().send(bad)[0].status == "duplicate"


def test_data_that_cannot_be_read_leaves_nothing_of_itself() -> None:
    r = Rig(bundle(MASKED))
    for data in (
        b'"%s"' % CANARY.encode(),
        b'["%s"]' % CANARY.encode(),
        b'{"note":"\xff%s"}' % CANARY.encode(),
    ):
        raw = b'{"specversion":"1.0","id":"%d","source":"s","type":"tx","data":%s}' % (len(data), data)
        assert r.send(raw)[0].status == "rejected"
    assert CANARY.encode() not in written(r)


def test_base64_data_is_masked_as_the_json_it_holds() -> None:

    r = Rig(bundle(MASKED))
    data = base64.b64encode(
        json.dumps({"card": "x", "note": CANARY, "amount": 2.0, "n": 1}).encode()
    ).decode()
    raw = json.dumps({"specversion": "1.0", "id": "b", "source": "s", "type": "tx", "data_base64": data})
    (receipt,) = r.send(raw.encode())
    assert r.record(receipt.decisions[0])["rule"] == "known"
    assert data.encode() not in written(r)
    assert CANARY.encode() not in written(r)


def test_an_expression_error_does_not_quote_a_masked_value() -> None:
    loop = "on: tx\nkey: data.card\nmask: [data.pan]\nrules: [{id: a, when: 'int(data.pan) > 3'}]\n"
    r = Rig(bundle(loop))
    record = r.one({"card": "x", "pan": f"no number: {CANARY}"})
    assert record["error"]["rule"] == "a"
    assert "masks fields" in record["error"]["message"]
    assert CANARY not in json.dumps(record)
    assert CANARY not in r.explain(record)["text"]
    assert [each.reason for each in r.events(DeadLetter)] == ["expression"]
    assert CANARY.encode() not in written(r)
    assert r.explain(record)["redecided"] == "the same, but for what is masked"


def test_loops_that_share_a_type_share_their_masks() -> None:
    r = Rig(
        bundle(
            "on: [tx, ty]\nkey: data.card\nmask: [data.pan]\notherwise: a\n",
            "on: tx\nkey: data.card\nrules: [{id: p, when: 'data.pan == \"secret\"'}]\notherwise: b\n",
            "on: tz\nkey: data.pan\notherwise: c\n",
        )
    )
    _, second = r.decided(event({"card": "x", "pan": "secret"}))
    assert second["rule"] == "p"
    assert second["signal"]["data"]["pan"] == "***"
    assert second["masked"] == ["data.pan"]
    assert r.explain(second)["redecided"] == "the same, but for what is masked"
    assert r.one({"pan": "open"}, type="tz")["key"] == "open"


@pytest.mark.parametrize(
    "body",
    [
        "key: data.pan\notherwise: b\n",
        "key: string(data.pan)\notherwise: b\n",
        "key: data.card\nstate: {l: {last: data.pan}}\notherwise: b\n",
        "key: data.card\nrules: [{id: a, when: 'true', then: [{do: stub.call, with: {p: '${data}'}}]}]\n",
        "key: data.card\nrules: [{id: a, when: 'true', then: [{do: stub.call, target: 'x:${data.pan.a}'}]}]\n",
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_masked_field_may_not_flow_to_where_it_would_be_written(body: str, own: bool) -> None:
    loops = (
        [f"on: tx\nmask: [data.pan]\n{body}"]
        if own
        else [f"on: tx\n{body}", "on: tx\nkey: data.c\nmask: [data.pan]\n"]
    )
    with pytest.raises(BundleError, match="is masked" if own else "masked by another loop"):
        bundle(*loops)


def test_demands_of_a_contract_on_masked_fields_are_lifted_to_decide_again() -> None:
    schema = {
        "type": "object",
        "properties": {
            "card": {"$ref": "#/$defs/card"},
            "lines": {
                "type": "array",
                "items": {"type": "object", "properties": {"pan": {"type": "integer"}}},
            },
            "amount": {"type": "number"},
        },
        "required": ["card", "amount"],
        "$defs": {
            "card": {"type": "object", "properties": {"pan": {"type": "integer"}, "id": {"type": "string"}}}
        },
    }
    loop = (
        "on: tx\ncontract: deep/1\nkey: data.card.id\nmask: [data.card.pan, data.lines.pan]\n"
        "rules: [{id: a, when: 'data.amount > 3.0'}, {id: b, when: 'data.card.pan > 5'}]\n"
    )
    r = Rig(bundle(loop, deep_1=schema))
    data = {"card": {"pan": 4111, "id": "x"}, "lines": [{"pan": 4111}, {"pan": 4111}], "amount": 2.0}
    record = r.one(data)
    assert record["signal"]["data"]["lines"] == [{"pan": "***"}, {"pan": "***"}]
    assert record["rule"] == "b"
    assert r.explain(record)["redecided"] == "the same, but for what is masked"
    assert r.states() == r.restarted().states()


def test_where_a_contract_cannot_do_without_the_masked_value_explain_says_so() -> None:
    schema = {
        "type": "object",
        "properties": {"card": {"type": "string"}, "pan": {"type": "integer"}},
        "allOf": [{"properties": {"pan": {"type": "integer"}}}],
    }
    r = Rig(
        bundle(
            "on: tx\ncontract: odd/1\nkey: data.card\nmask: [data.pan]\n"
            "state: {n: {count: 'true'}}\nrules: [{id: a, when: state.n > 1}]\n",
            odd_1=schema,
        )
    )
    record = r.one({"card": "x", "pan": 5})
    explained = r.explain(record)
    assert explained["redecided"] == "masked"
    assert "not possible" in explained["text"]
    assert r.states() == r.restarted().states()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", "a.b", "a.b.c", "c.a"]), min_size=1, max_size=3))
def test_masking_hides_exactly_what_the_paths_name(data: Any, paths: list[str]) -> None:
    def hidden(value: Any, inside: list[list[str]]) -> Any:
        if [] in inside:
            return "***"
        if isinstance(value, list):
            return [hidden(each, inside) for each in value]
        if not isinstance(value, dict):
            return None if value is None else "***"
        return {
            name: hidden(each, deeper)
            if (deeper := [path[1:] for path in inside if path[0] == name])
            else each
            for name, each in value.items()
        }

    raw = json.dumps({"id": "x", "data": data, "other": 1.0}).encode()
    masked = json.loads(Mask(f"data.{path}" for path in paths).hide(raw))
    assert masked == {"id": "x", "other": 1.0, "data": hidden(data, [path.split(".") for path in paths])}


async def test_no_byte_of_a_masked_value_is_in_the_data_directory(tmp_path: Path) -> None:

    home = tmp_path / "bundle"
    for name, content in bundle(MASKED, "on: tx\nkey: data.card\notherwise: any\n").definition.files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    runtime = await start_runtime(bundle=home, data=tmp_path / "data", workers=1)
    canary = "5555666677778888"
    receipts = await runtime.ingest(
        [
            signal("x", 2.0, 5555666677778888, canary),
            event({"card": "x", "note": 5555666677778888, "amount": "many"}),
            signal("y", 200.0, 500, canary),
        ]
    )
    assert [each.status for each in receipts] == [
        "accepted",
        "accepted",
        "accepted",
    ]  # the second loop takes anything
    dead = (await runtime.dead_letters({}, 10, None)).items
    assert [each["reason"] for each in dead] == ["contract"]
    await runtime.stop()

    seen = 0
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            seen += len(content)
            assert canary.encode() not in content
            at = content.find(b"\x28\xb5\x2f\xfd")
            while at >= 0:  # compressed columns too
                try:
                    assert canary.encode() not in zstandard.ZstdDecompressor().decompressobj().decompress(
                        content[at:]
                    )
                except zstandard.ZstdError:
                    pass
                at = content.find(b"\x28\xb5\x2f\xfd", at + 1)
    assert seen > 1000
