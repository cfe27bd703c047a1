"""The text of an explanation, whole: a golden file, and each thing it must be able to say."""

from __future__ import annotations

from pathlib import Path

from tests.flow.looping import T0, Rig, S, at, bundle

from flo.core.record import Answered, CommandOutcome

GOLDEN = Path(__file__).with_name("explained.txt")

RICH = """on: tx.authorized
about: everything an explanation can show
contract: tx/1
key: data.card
ttl: 30m
fresh: {data: 1m}
needs: {profile: profiles, device: devices}
state:
  count_10m: {count: 'true', over: 10m}
  sum_10m: {sum: data.amount, over: 10m}
  country: {last: data.note}
  today: {count: 'true', over: 1d, shared: true}
rules:
  - id: velocity
    when: state.count_10m >= 3 && data.amount > 900.0
    result: review
    means: suspicious
    once_within: 1h
    then: [{do: review, with: {queue: manual}}]
  - id: travelling
    when: >
      state.country.changed && state.country.previous != "" && (state.sum_10m > 3000.0 ||
      need.profile.missing == false && double(need.profile.limit) < state.sum_10m) && data.note != "home" &&
      !(data.note in ["airport", "port", "station", "border crossing"])
    means: abroad
    priority: -1
    then:
      - do: stub.trigger
        target: 'card:${data.card}'
        with: {card: '${data.card}', spent: '${state.sum_10m}'}
      - do: emit
        with: {type: card.travelling, data: {card: '${data.card}'}}
  - id: trial
    when: state.today > 2
    mode: shadow
    priority: 5
  - id: broken-trial
    when: data.n / (data.n - data.n) > 1
    mode: shadow
    priority: 5
  - id: never
    when: 'true'
    priority: -5
otherwise: approve
"""
FLO = (
    "engines: {stub: {kind: stub}}\n"
    'dependencies:\n  profiles: {kind: http, url: "http://127.0.0.1:9/p/{key}"}\n'
    '  devices: {kind: http, url: "http://127.0.0.1:9/d/{key}"}\n'
)


def rich() -> tuple[Rig, dict[str, object]]:
    """A decision with every block of the text."""
    rig = Rig(bundle(RICH, "on: tx.seed\nkey: data.card\notherwise: seeded\n", flo=FLO))
    parent = rig.one({"card": "x"}, id="seed", type="tx.seed")
    needs = {"profile": {"limit": 100, "missing": False}, "device": {"missing": True, "reason": "deadline"}}
    for number, note in enumerate(["home", "home", "home"]):
        rig.now = number + 1.0
        rig.one(
            {"card": "x", "amount": 950.0, "n": 1, "note": note},
            id=f"tx-{number}",
            at=rig.now,
            type="tx.authorized",
            needs=needs,
        )
    rig.now = 90.0
    record = rig.one(
        {"card": "x", "amount": 1200.5, "n": 1, "note": "abroad"},
        id="tx-9",
        type="tx.authorized",
        at=10,
        needs=needs,
        floroot="test#seed",
        floparent=parent["decision_id"],
        floborn=at(0),
        flohops=1,
    )
    key = f"l0/x/{record['seq']}/travelling/0"
    rig.now = 91.0
    rig.learned(
        Answered(command_key=key, at_ns=rig.now_ns, attempts=2),
        CommandOutcome(
            command_key=key,
            outcome="failed",
            at_ns=rig.now_ns,
            attempts=3,
            detail="503 Service Unavailable",
            result={"error": "busy"},
        ),
    )
    return rig, record


def test_a_rich_decision_reads_as_the_golden_file_says() -> None:
    rig, record = rich()
    text = rig.explain(record)["text"].replace(record["revision"], "REVISION")
    assert text + "\n" == GOLDEN.read_text()


def test_no_line_is_wider_than_100_columns() -> None:
    rig, _ = rich()
    for record in rig.records():
        for line in rig.explain(record)["text"].split("\n"):
            assert len(line) <= 100, line


def told(loop: str, *data: object, **about: object) -> str:
    rig = Rig(bundle(loop, functions="def f(a: str) -> float:\n    raise ValueError('no model')\n"))
    record: dict[str, object] = {}
    for each in data:
        record = rig.one(each, **about)  # type: ignore[arg-type]
    text: str = rig.explain(record)["text"]
    return text


LOOP = "on: tx\nkey: data.card\n"


def test_a_rule_held_back_says_when_it_acted() -> None:
    text = told(f"{LOOP}rules: [{{id: a, when: 'true', once_within: 1h}}]\n", {"card": "x"}, {"card": "x"})
    assert "○ a: true, but held back: it acted 0s before, and may once within 1h" in text
    assert "→ no rule acted: otherwise no result" in text


def test_a_failure_says_what_failed_and_whether_the_state_holds_the_signal() -> None:
    text = told(
        f"{LOOP}state: {{n: {{count: 'true'}}}}\nrules: [{{id: a, when: state.n / data.n > 1}}, {{id: b, when: 'true'}}]\n",
        {"card": "x", "n": 0},
    )
    assert "l0 failed for x" in text
    assert "the state holds this signal" in text
    assert "! a: could not be decided: " in text
    assert "· b: not tried: the decision failed" in text
    text = told(
        f"{LOOP}state: {{n: {{sum: 1 / data.n}}}}\nrules: [{{id: a, when: state.n > 1.0}}]\n",
        {"card": "x", "n": 0},
    )
    assert "the state does not hold this signal" in text
    assert "State" not in text


def test_a_function_that_failed_is_named() -> None:
    text = told(f"{LOOP}rules: [{{id: a, when: f(data.card) > 1.0}}]\n", {"card": "x"})
    assert "no model" in text
    assert "Decided again from this record alone: the same." in text


def test_a_function_that_was_not_reached_is_no_error() -> None:
    text = told(
        f"{LOOP}rules: [{{id: a, when: 'data.card == \"y\" && f(data.card) > 1.0'}}]\n", {"card": "x"}
    )
    assert "f(data.card) > 1.0 is not looked at: what stands before it had settled it" in text
    assert "an error" not in text


def test_a_late_signal_is_called_late() -> None:
    rig = Rig(
        bundle(f"{LOOP}state: {{n: {{count: 'true', over: 10s}}}}\nrules: [{{id: a, when: state.n > 1}}]\n")
    )
    rig.one({"card": "x"}, at=100)
    assert "late: older than a window" in rig.explain(rig.one({"card": "x"}, at=10))["text"]


def test_a_parent_that_is_gone_is_said_to_be_gone() -> None:
    text = told(f"{LOOP}otherwise: a\n", {"card": "x"}, floparent="0-77-0-0")
    assert "← 0-77-0-0, which is not kept here any more" in text


def test_the_structured_answer_has_the_parts_the_text_is_made_of() -> None:
    rig, record = rich()
    answer = rig.explain(record)
    assert [each["decision_id"] for each in answer["chain"]] == [record["parent"]]
    assert [each["outcome"] and each["outcome"]["outcome"] for each in answer["commands"]] == ["failed", None]
    rule = next(each for each in answer["rules"] if each["id"] == "travelling")
    assert rule["value"] is True
    assert rule["trace"]["value"] is True
    assert rule["expression"].startswith("state.country.changed")
    assert record["timing"]["deadline"] == at(1800)  # type: ignore[index]
    assert T0 + 1800 * S > 0
