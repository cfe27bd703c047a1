"""A bundle as a whole: the design's own example, names across files, all problems at once, any bytes."""

from __future__ import annotations

import random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.bundle.bundles import DESIGN, KINDS, LOOP, SOURCE_KINDS, messages, read, read_loop

from flo.core.bundle import read_bundle, revision_of
from flo.core.secret import Secret

S = 1_000_000_000
FLO = (DESIGN / "flo.yaml").read_bytes()
FRAUD = (DESIGN / "fraud-score.yaml").read_bytes()
FILES = {
    "flo.yaml": FLO,
    "loops/fraud-score.yaml": FRAUD,
    "loops/fraud-retrain.yaml": b"loop: fraud-retrain\non: tx.chargeback\nkey: data.model\n",
    "contracts/tx.authorized/1.json": b"{}",
    "contracts/tx.authorized/2.json": b"{}",
    "tests/fraud.yaml": b"a: 1\n",
    "functions.py": b"",
}


def test_the_example_of_the_design_reads_without_problems() -> None:
    definition, problems = read_bundle(FILES, KINDS, SOURCE_KINDS)
    assert not problems
    assert definition is not None
    airflow = definition.engines["airflow"]
    assert (airflow.rate_per_s, airflow.concurrency, airflow.timeout_s) == (20.0, 8, 5.0)
    assert airflow.settings == {
        "url": "http://127.0.0.1:8080",
        "username": Secret("${env:AIRFLOW_USER}"),
        "password": Secret("${env:AIRFLOW_PASSWORD}"),
    }
    assert definition.sources["payments"]["brokers"] == "127.0.0.1:9092"
    assert definition.pipelines["fraud"].on_call == "oncall"
    assert definition.dependencies["profiles"].deadline_s == 0.02
    assert definition.retention.ledger_ns == 30 * 86_400 * S
    assert definition.retention.dead_letters_ns == 90 * 86_400 * S

    loop = definition.loops["fraud-score"]
    assert (loop.on, loop.contract, loop.ttl_ns, loop.hops) == (
        ("tx.authorized",),
        ("tx.authorized", 2),
        30 * S,
        8,
    )
    assert loop.needs == {"profile": "profiles"}
    assert [(state.name, state.kind, state.over_ns, state.shared) for state in loop.state] == [
        ("count_10m", "count", 600 * S, False),
        ("sum_10m", "sum", 600 * S, False),
        ("country", "last", None, False),
        ("fp_rate", "share", 900 * S, False),
        ("p99_amount", "quantile", 3600 * S, False),
        ("devices", "distinct", 86_400 * S, False),
        ("today", "count", 86_400 * S, True),
    ]
    velocity, decayed = loop.rules
    assert (velocity.result, velocity.means, velocity.mode, velocity.priority) == (
        "review",
        "suspicious",
        "live",
        0,
    )
    assert (decayed.result, decayed.priority, decayed.once_within_ns) == ("decayed", 10, 3600 * S)
    trigger = decayed.then[0]
    assert (trigger.engine, trigger.verb, trigger.root_new, trigger.attempts) == (
        "airflow",
        "trigger",
        True,
        3,
    )
    assert trigger.target is not None
    assert trigger.target.value == "model:fraud"
    assert trigger.expect is not None
    assert (trigger.expect.signal, trigger.expect.within_ns) == ("run.finished", 1800 * S)
    assert [action.verb for action in trigger.on_silent] == ["page"]


def test_every_expression_and_template_of_the_example_stands_where_it_says() -> None:
    definition, _ = read_bundle(FILES, KINDS, SOURCE_KINDS)
    assert definition is not None
    lines = FRAUD.decode().split("\n")
    loop = definition.loops["fraud-score"]
    expect = loop.rules[1].then[0].expect
    assert expect is not None
    texts = [
        loop.key,
        loop.where,
        expect.where,
        *(s.expression for s in loop.state),
        *(r.when for r in loop.rules),
    ]
    for text in texts:
        assert text is not None
        assert lines[text.place.line - 1][text.place.column - 1 :].startswith(text.text)
    for rule in loop.rules:
        for action in rule.then:
            assert action.arguments is not None
            for path, place in action.arguments.places.items():
                value = action.arguments.value
                for step in path:
                    value = value[step]
                if isinstance(value, str):
                    assert lines[place.line - 1][place.column - 1 :].startswith(value)


def test_the_parser_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with_libyaml = read_bundle(FILES, KINDS, SOURCE_KINDS)
    monkeypatch.setattr("flo.core.bundle.document._LOADER", yaml.SafeLoader)
    assert read_bundle(FILES, KINDS, SOURCE_KINDS) == with_libyaml


def test_all_problems_of_all_files_come_at_once_in_file_order() -> None:
    definition, problems = read(
        {
            "loops/b.yaml": "loop: b\non: tx\nkey: data.k\nrulez: []\n",
            "loops/a.yaml": "loop: a\non: tx\nkey: data.k\nttl: 5\nhops: many\n",
            "loops/c.yaml": "loop: [\n",
            "contracts/x.json": "{}",
            "contracts/tx/02.json": "{}",
            "tests/t.yaml": "a: 1\na: 2\n",
        },
        flo="enginez: {}\npipelines: {p: {loops: [a, d]}}\n",
    )
    assert definition is None
    assert [(problem.file, problem.line, problem.column) for problem in problems] == [
        ("flo.yaml", 1, 1),
        ("flo.yaml", 2, 28),
        ("contracts/tx/02.json", 1, 1),
        ("contracts/x.json", 1, 1),
        ("loops/a.yaml", 4, 6),
        ("loops/a.yaml", 5, 7),
        ("loops/b.yaml", 4, 1),
        ("loops/c.yaml", 2, 1),
        ("tests/t.yaml", 2, 1),
    ]
    text = messages(problems)
    assert "unknown key `enginez` (did you mean `engines`?)" in text
    assert "`5` has no unit; write 5s for seconds, 5m for minutes" in text
    assert "`hops`: `many` is not a whole number" in text
    assert "unknown key `rulez` (did you mean `rules`?)" in text


def test_a_bundle_without_flo_yaml_says_how_to_begin() -> None:
    definition, problems = read_bundle({}, {})
    assert definition is None
    assert "run `flo init`" in messages(problems)


def test_an_empty_flo_yaml_is_a_bundle_of_defaults() -> None:
    definition, problems = read({}, flo="# nothing yet\n")
    assert not problems
    assert definition is not None
    assert (definition.loops, definition.engines, definition.dedupe_ns) == ({}, {}, 86_400 * S)


def test_a_flo_yaml_that_cannot_be_read_does_not_make_its_names_unknown() -> None:
    loop = (
        LOOP
        + b"needs: {p: profiles}\nrules:\n  - {id: r, when: 'true', then: [{do: a.trigger}, {do: page}]}\n"
    )
    _, problems = read({"loops/cards.yaml": loop}, flo="a: [\n")
    assert [problem.file for problem in problems] == ["flo.yaml"]


def test_the_revision_depends_on_every_path_and_byte_and_on_nothing_else() -> None:
    revision = revision_of(FILES)
    assert len(revision) == 12
    assert revision_of(dict(reversed(FILES.items()))) == revision
    assert revision_of({**FILES, "functions.py": b"\n"}) != revision
    assert revision_of({"a": b"bc"}) != revision_of({"ab": b"c"})


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "loops/../../x", "loops//x.yaml", "a\\b", "a\0b", "", "./x"]
)
def test_a_path_that_leads_out_of_the_bundle_is_refused(path: str) -> None:
    assert "is not a path inside a bundle" in messages(read({path: b""})[1])


def test_a_yml_file_is_not_silently_left_out() -> None:
    assert "rename it" in messages(read({"loops/x.yml": "loop: x\n"})[1])


@pytest.mark.parametrize("name", ["9lives", "a b", "ü", "x" * 65, "a.b"])
def test_a_loops_file_name_is_a_name(name: str) -> None:
    assert "is not a name for a loop" in messages(
        read({f"loops/{name}.yaml": f"loop: {name}\non: t\nkey: k\n"})[1]
    )


def test_an_empty_loop_file_is_named() -> None:
    assert "the file is empty" in messages(read({"loops/x.yaml": b"# later\n"})[1])


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(print_blob=True, max_examples=200)
def test_any_bytes_in_any_file_give_problems_and_never_an_exception(flo: bytes, loop: bytes) -> None:
    definition, problems = read_bundle(
        {"flo.yaml": flo, "loops/x.yaml": loop, "contracts/x/1.json": loop, "tests/t.yaml": loop}, KINDS
    )
    assert (definition is None) == bool(problems)


TEXTS = st.sampled_from(["1m", "tx", "${env:A}"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1m", "tx", "${env:A}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TOKENS = FRAUD.decode().replace("\n", " \n ").split(" ") + FLO.decode().replace("\n", " \n ").split(" ")


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(TOKENS)), min_size=1, max_size=6), st.booleans()
)
@settings(print_blob=True, max_examples=300, deadline=None)
def test_any_mutation_of_the_example_gives_a_definition_or_problems(
    edits: list[tuple[int, str]], of_loop: bool
) -> None:
    tokens = (FRAUD if of_loop else FLO).decode().split(" ")
    for position, token in edits:
        tokens[position % len(tokens)] = token
    changed = {"loops/fraud-score.yaml" if of_loop else "flo.yaml": " ".join(tokens).encode()}
    definition, problems = read_bundle({**FILES, **changed}, KINDS, SOURCE_KINDS)
    assert (definition is None) == bool(problems)


KEY_NAMES = (
    "loop on key where contract ttl hops fresh reads feeds needs state rules match mask id when then "
    "priority mode do with target expect on_silent within signal count over q shared engines kind url "
    "pipelines loops jobs on_call"
)
KEYS = st.sampled_from(KEY_NAMES.split())


@given(
    st.recursive(JSON, lambda inner: st.dictionaries(KEYS, inner, max_size=6) | st.lists(inner, max_size=3)),
    st.booleans(),
)
@settings(print_blob=True, max_examples=300, deadline=None)
def test_any_shape_of_known_keys_gives_a_definition_or_problems(value: object, of_loop: bool) -> None:
    written = repr(value).replace("None", "null").replace("inf", ".inf").replace("nan", ".nan")
    files = {"flo.yaml": b"", "loops/x.yaml": LOOP}
    files["loops/x.yaml" if of_loop else "flo.yaml"] = written.encode("utf-8", "replace")
    definition, problems = read_bundle(files, KINDS)
    assert (definition is None) == bool(problems)


def test_a_bundle_of_a_thousand_loops_reads() -> None:
    seed = 7
    chooser = random.Random(seed)
    files = {
        f"loops/l{n}.yaml": f"loop: l{n}\non: tx\nkey: data.k\nfeeds: [l{chooser.randrange(1000)}]\n"
        for n in range(1000)
    }
    definition, problems = read(dict(files))
    assert not problems, f"seed {seed}"
    assert definition is not None
    assert len(definition.loops) == 1000


def test_a_literal_secret_never_shows_in_a_problem() -> None:
    canary = "hunter2-canary"
    flo = f"""
engines:
  a: {{kind: airflow, url: "http://u:{canary}@h/", username: {canary}, password: "x${{evn:{canary}}}"}}
  b: {{kind: airflow, url: "u:{canary}@h", password: ["{canary}"]}}
  c: {{kind: webhook, url: "http://h/${{env:{canary}}}", headers: {{Authorization: "${{evn:{canary}}}"}}}}
  d: {{kind: pagerduty, routing_key: {{x: {canary}}}}}
"""
    _, problems = read({}, flo=flo)
    assert len(problems) >= 8
    assert canary not in messages(problems)


def test_references_stay_references_in_what_is_read() -> None:
    flo = 'engines: {w: {kind: webhook, url: "https://h/${env:P}", headers: {A: "Bearer ${env:T}", X: y}}}\n'
    definition, problems = read_loop("", flo=flo)
    assert not problems
    assert definition is not None
    engine = definition.engines["w"].settings
    assert isinstance(engine["url"], Secret)
    assert engine["headers"]["A"].reveal({"T": "abc"}) == "Bearer abc"
    assert engine["headers"]["X"] == "y"
    assert engine["body_max"] == 65_536
    assert "${env" not in repr(engine)
