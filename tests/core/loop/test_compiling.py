"""Compiling a loop: every problem in one go, and a source that people can read and that reaches nothing."""

from __future__ import annotations

import pytest
from tests.flow.histories import CONDITIONS, FLO, FUNCTIONS, SCHEMA, STATES
from tests.flow.looping import Rig, bundle, event

from flo.core.errors import BundleError
from flo.core.loop.compiler import SAFE_BUILTINS

HEAD = "on: tx\ncontract: tx/1\nkey: data.card\n"


def problems(loop: str, **more: str) -> list[str]:
    with pytest.raises(BundleError) as caught:
        bundle(loop, **more)
    return [f"{each.line}:{each.column} {each.message}" for each in caught.value.problems]


def test_every_problem_of_a_loop_is_named_where_it_stands() -> None:
    found = problems(
        f"{HEAD}where: data.nix\n"
        "state: {s: {count: data.ok}}\n"
        "rules:\n"
        "  - {id: a, when: state.nix > 1}\n"
        "  - {id: b, when: data.amount, then: [{do: stub.call, with: {v: '${data.cart}'}}]}\n"
        "  - {id: c, when: 'data.amount >'}\n"
    )
    assert len(found) >= 5
    assert found[0].startswith("5:8 where:")
    assert any(each.startswith("8:") and "rule a" in each and "nix" in each for each in found)
    assert any(each.startswith("9:") and "cart" in each for each in found)
    assert any(each.startswith("10:") and "rule c" in each for each in found)


def test_what_state_reads_may_not_depend_on_functions() -> None:
    found = problems(
        f"{HEAD}state: {{s: {{sum: f(data.card)}}}}\notherwise: a\n",
        functions="def f(a: str) -> float:\n    return 1.0\n",
    )
    assert any("state s" in each and "f" in each for each in found)


@pytest.mark.parametrize("last", ["b'ab'", "type(data.n)"])
def test_a_last_of_what_no_record_holds_is_refused(last: str) -> None:
    assert any(
        "records hold JSON" in each
        for each in problems(f'{HEAD}state: {{s: {{last: "{last}"}}}}\notherwise: a\n')
    )


def test_the_source_is_one_plain_function_of_a_page() -> None:
    rules = "".join(f"  - {{id: r{n}, when: state.c > {n} && data.n == {n}}}\n" for n in range(100))
    program = bundle(
        f"{HEAD}state: {{c: {{count: 'true', over: 10m}}}}\nrules:\n{rules}otherwise: z\n"
    ).programs["l0"]
    assert program.source.startswith("# loop l0, revision ")
    assert program.source.count("def decide(") == 1
    body = program.source.split("def fold(")[0]
    assert all(f"# rule 'r{n}'" in body for n in range(100))
    assert max(map(len, body.split("\n"))) < 200


def test_generated_code_has_no_way_out() -> None:
    assert not {"open", "eval", "exec", "__import__", "getattr", "setattr", "compile", "globals"} & set(
        SAFE_BUILTINS
    )
    program = bundle(f"{HEAD}otherwise: z\n").programs["l0"]
    assert program.decide.__globals__["__builtins__"] is SAFE_BUILTINS


@pytest.mark.parametrize("name", sorted(STATES))
def test_every_kind_of_state_is_read_by_a_rule_and_explained(name: str) -> None:
    condition = next(text for state, text in CONDITIONS if state == name)
    head = "on: tx\ncontract: full/1\nkey: data.card\n"
    rig = Rig(
        bundle(
            f"{head}state: {{{name}: {STATES[name]}}}\nrules: [{{id: a, when: '{condition}'}}]\notherwise: b\n",
            flo=FLO,
            functions=FUNCTIONS,
            full_1=SCHEMA,
        )
    )
    seen = set()
    for number in range(12):
        data = {
            "card": "xyz"[number % 3],
            "amount": number * 9.0,
            "n": 1 + number % 4,
            "ok": number % 2 == 0,
            "note": "abc"[number % 3],
        }
        (record,) = rig.decided(event(data, at=number * 11))
        assert "error" not in record
        assert name in record["state"]
        seen.add(record["result"])
        assert rig.explain(record)["redecided"] == "the same"
    assert rig.states() == rig.restarted().states()
    assert seen <= {"a", "b"}
