"""loops/*.yaml: what is refused, with where and why."""

from __future__ import annotations

import pytest
from tests.core.bundle.bundles import messages, read, read_loop

FLO = """
engines:
  airflow: {kind: airflow, url: "http://h"}
  scorer: {kind: python}
  oncall: {kind: pagerduty, routing_key: "${env:K}"}
dependencies:
  profiles: {kind: http, url: "http://h/{key}"}
"""


def rule(lines: str) -> str:
    return f"rules:\n  - id: r\n    when: data.a > 1\n{lines}"


def then(action: str) -> str:
    return rule(f"    then: [{action}]\n")


CASES = [
    ("rulez: []", "4:1: loop `cards`: unknown key `rulez` (did you mean `rules`?)"),
    ("loop: cards", "4:1: key `loop` stands twice: first at line 1"),
    ("ttl: 0", "`ttl`: 0 is out of range: at least 1ms"),
    ("ttl: 2w3d1y", "not a duration"),
    ("hops: -1", "`hops`: `-1` is out of range: at least 0"),
    ("hops: 1.5", "`1.5` is not a whole number"),
    ("hops: 99999999999999999999999", "does not fit 64 bits"),
    ("consistency: eventual", "`eventual` is none of strict, relaxed"),
    ("match: any", "`any` is none of first, all"),
    ("fresh: {dat: 1m}", "did you mean `data`?"),
    ("fresh: 1m", "`1m` stands where keys are expected"),
    ("reads: [profiles]", "4:9: loop `cards`, `reads`: `profiles` says no kind (write `dataset:name`"),
    ("feeds: [card]", "4:9: loop `cards`, `feeds`: no loop is called `card` (did you mean `cards`?)"),
    ("mask: [card]", "`card` is not a path of the data"),
    ("contract: tx.authorized", "names no version (write `tx.authorized/2`)"),
    ("contract: tx.authorised/2", "no contract is called `tx.authorised` (did you mean `tx.authorized`?)"),
    ("contract: tx.authorized/3", "has no version 3 (its versions: 1, 2)"),
    ("contract: tx.authorized/02", "names no version"),
    ("needs: {p: profile}", "4:12: loop `cards`, `needs`: no dependency is called `profile`"),
    ("needs: {a-b: profiles}", "cannot be read as need.a-b"),
    ("needs: [profiles]", "is not a map"),
    ("about: 7", '`7` is not a text; quote it to make it one: "7"'),
    ("otherwise: ${data.x}", "nothing is filled in here"),
    ("where: [a]", "a list stands where an expression is expected (quote the whole expression"),
    ("where:", "no expression is written"),
    ("where: data.note == 'a #b'", "4:8: loop `cards`, `where`: a ` #` ends the text inside"),
    ("diagnose: {}", "`diagnose` is not in this release (leave it out"),
    ("settle: 30m", "`settle` is not in this release"),
    ("state: {n: {over: 1m}}", "exactly one kind is needed, it has none"),
    ("state: {n: {count: true, sum: data.a}}", "it has `count` and `sum`"),
    ("state: {n: {cuont: true}}", "did you mean `count`?"),
    ("state: {a-b: {count: true}}", "the name is not an identifier"),
    ("state: {in: {count: true}}", "is a word of the expression language"),
    ("state: {n: {share: data.a}}", "`share` needs `over`"),
    ("state: {n: {quantile: data.a, over: 1h}}", "`quantile` needs `q`"),
    ("state: {n: {quantile: data.a, over: 1h, q: 99}}", "99 % is 0.99"),
    ("state: {n: {quantile: data.a, over: 1h, q: 1}}", "not between 0 and 1"),
    ("state: {n: {ewma: data.a}}", "`ewma` needs `half_life`"),
    ("state: {n: {sum: data.a, q: 0.5}}", "4:26: loop `cards`, state `n`: `q` belongs to `quantile`"),
    ("state: {n: {last: data.a, shared: true}}", "`last` cannot be shared across keys"),
    ("state: {n: {count: true, over: 0}}", "0 is out of range: at least 1ms"),
    ("state: {a: {last: data.a}, a_value: {count: true}}", "4:28: loop `cards`: state `a_value` is"),
    ("state: [n]", "`state` holds named entries"),
    ("state: {n: true}", "true stands where keys are expected"),
    ("rules: {id: r}", "`rules` holds a list"),
    ("rules: [r]", "rule `without id`: `r` stands where keys are expected"),
    ("rules: [{when: 'true'}]", "rule `without id`: key `id` is missing"),
    ("rules: [{id: r}]", "rule `r`: key `when` is missing"),
    ("rules: [{id: r/1, when: 'true'}]", "`r/1` is not a name"),
    ("rules: [{id: r, when: 'a'}, {id: r, when: 'b'}]", "4:34: loop `cards`: rule `r` stands twice"),
    (rule("    for: 5m"), "7:5: rule `r`: `for` is not in this release"),
    (rule("    clear: data.a < 1"), "`clear` is not in this release"),
    (rule("    mode: canary 5%"), "`canary 5%` is not in this release: use `mode: shadow`, then"),
    (rule("    mode: on"), "`on` is none of off, shadow, live"),
    (rule("    priority: high"), "`high` is not a whole number"),
    (rule("    scope: loop"), "`scope` without `once_within` says nothing"),
    (then("{with: {a: 1}}"), "key `do` is missing"),
    (then("{do: airflow.swap}"), "7:17: rule `r`, command: engine `airflow` is of kind `airflow`, which"),
    (then("{do: airflow.triger}"), "did you mean `trigger`?"),
    (then("{do: airflo.trigger}"), "no engine is called `airflo` (did you mean `airflow`?)"),
    (then("{do: trigger}"), "`trigger` needs its engine, as `engine.trigger` (write `airflow.t"),
    (then("{do: restart}"), "declare an engine that can `restart` in flo.yaml"),
    (then("{do: reveiw}"), "`reveiw` is not a verb (did you mean `review`?)"),
    (then("{do: page}"), "`page` has nobody to go to (give the pipeline that holds `cards` an `on_call`"),
    (then("{do: emit, with: {data: 1}}"), "`emit` needs the type of the new signal"),
    (then("{do: emit, with: {type: flo.x}}"), "types that start with `flo.` are FLO's own"),
    (then("{do: review, with: [1]}"), "`with` is a map of arguments"),
    (then("{do: review, with: {a: .inf}}"), "is not a number JSON can hold"),
    (then("{do: review, with: {a: '${env:TOKEN}'}}"), "commands are recorded, so no secret may stand in one"),
    (then("{do: review, target: [a]}"), "`target` is one text"),
    (then("{do: review, root: old}"), "`old` is none of new"),
    (then("{do: review, attempts: 0}"), "out of range: at least 1"),
    (then("{do: review, blocking: 1}"), "`1` is neither true nor false"),
    (then("{do: review, expect: {signal: x}}"), "key `within` is missing"),
    (then("{do: review, on_silent: [{do: review}]}"), "`on_silent` never runs without `expect`"),
    (
        then("{do: review, expect: {signal: x, within: 1m}, on_silent: [{do: review, on_silent: []}]}"),
        "`on_silent` inside `on_silent`",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), CASES)
def test_a_mistake_in_a_loop_is_named_where_it_stands(lines: str, expected: str) -> None:
    contracts = {f"contracts/tx.authorized/{n}.json": "{}" for n in (1, 2)}
    loop = f"loop: cards\non: tx\nkey: data.card\n{lines}\n"
    definition, problems = read({"loops/cards.yaml": loop, **contracts}, flo=FLO)
    assert definition is None
    assert expected in messages(problems)
    assert len(problems) == 1, messages(problems)


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ("on: tx\nkey: k\n", "1:1: loop `cards`: key `loop` is missing"),
        ("loop: cards\nkey: k\n", "key `on` is missing"),
        ("loop: cards\non: tx\n", "key `key` is missing"),
        (
            "loop: card\non: tx\nkey: k\n",
            "1:7: loop `card` stands in `cards.yaml` (name the file loops/card.yaml)",
        ),
        ("loop: cards\non: []\nkey: k\n", "`on` lists no signal type"),
        ("loop: cards\non: [tx, tx]\nkey: k\n", "`tx` stands twice"),
        ("loop: cards\non: [tx, 'tx.*']\nkey: k\n", "2:10: loop `cards`: `tx.*` is not a signal type"),
        ("loop: cards\non: {tx: 1}\nkey: k\n", "a map is not a text"),
        ("loop: cards\non: tx\nkey: !data.k\n", "3:6: `!data.k` is a YAML tag"),
        ("just a text\n", "`just a text` stands where keys are expected"),
    ],
)
def test_what_a_loop_cannot_do_without_is_asked_for(loop: str, expected: str) -> None:
    definition, problems = read({"loops/cards.yaml": loop})
    assert definition is None
    assert expected in messages(problems)
    assert len(problems) == 1, messages(problems)


def test_page_reaches_the_on_call_of_the_loops_pipeline() -> None:
    definition, problems = read_loop(
        then("{do: page}"), flo=FLO + "pipelines: {p: {loops: [cards], on_call: oncall}}\n"
    )
    assert not problems
    assert definition is not None


@pytest.mark.parametrize("verb", ["airflow.trigger", "scorer.call", "review"])
def test_verbs_that_an_engine_carries_out_are_taken(verb: str) -> None:
    definition, problems = read_loop(
        then(f"{{do: {verb}, target: 'model:${{data.m}}', blocking: false}}"), flo=FLO
    )
    assert not problems
    assert definition is not None
    action = definition.loops["cards"].rules[0].then[0]
    assert (action.engine or "", action.verb) == (verb.rpartition(".")[0], verb.rpartition(".")[2])
    assert not action.blocking


def test_off_is_a_mode_and_not_a_boolean() -> None:
    definition, problems = read_loop(rule("    mode: off\n    once_within: 1h\n    scope: loop"))
    assert not problems
    assert definition is not None
    found = definition.loops["cards"].rules[0]
    assert (found.mode, found.once_scope) == ("off", "loop")


def test_an_expression_is_its_text_whatever_yaml_makes_of_it() -> None:
    definition, problems = read_loop(
        "state:\n  a: {count: true}\n  b: {sum: 1}\n  c: {count: '!data.x', over: 1h}\n"
    )
    assert not problems
    assert definition is not None
    assert [state.expression.text for state in definition.loops["cards"].state] == ["true", "1", "!data.x"]
