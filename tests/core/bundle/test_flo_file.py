"""flo.yaml: what is refused, with where and why."""

from __future__ import annotations

import pytest
from tests.core.bundle.bundles import LOOP, messages, read

from flo.core.loop.definition import BreakerDefinition


@pytest.mark.parametrize(
    ("flo", "expected"),
    [
        ("engines: {a: {kind: airfow, url: 'http://h'}}", "1:21: engine `a`: no kind of engine is"),
        ("engines: {a: {url: 'http://h'}}", "key `kind` is missing"),
        ("engines: {a: {kind: airflow}}", "engine `a`: key `url` is missing"),
        ("engines: {a: {kind: airflow, url: 'ftp://h'}}", "is not a URL like http://host:port/path"),
        ("engines: {a: {kind: airflow, url: 'http://h:99999/'}}", "it is not a URL"),
        ("engines: {a: {kind: airflow, url: 'http://h', urll: x}}", "unknown key `urll` (did you mean"),
        ("engines: {a: {kind: python, rate: 20}}", "`20` is not a rate; a rate is written like 20/s"),
        ("engines: {a: {kind: python, concurrency: 0}}", "`0` is out of range: at least 1"),
        ("engines: {a: {kind: python, timeout: 2d}}", "2d is out of range: at most 1d"),
        ("engines: {a: {kind: python, retry_budget: 10%}}", "`10%` is not a number"),
        ("engines: {a: {kind: python, retry_budget: 10}}", "5 % is 0.05"),
        ("engines: {a: {kind: python, backoff: 1m}}", "`backoff` is longer than `backoff_max`"),
        ("engines: {a: {kind: webhook, url: 'http://h', body_max: 2MiB}}", "2MiB is out of range: at most"),
        ("engines: {a: {kind: webhook, url: 'http://h', honours_key: yes}}", "`yes` is neither"),
        ("engines: {a: {kind: webhook, url: 'http://h', hosts: x}}", "`x` is not a list"),
        ("engines: {a: {kind: pagerduty, routing_key: abc}}", "only as a reference: write ${env:"),
        ("engines: {a: python}", "`python` stands where keys are expected"),
        ("engines: [a]", "`engines` holds named entries"),
        ("engines: {a.b: {kind: python}}", "`a.b` under `engines` is not a name"),
        ("sources: {k: {kind: kafka}}", "no kind of source is called `kafka` (there is none yet"),
        ("pipelines: {p: {loops: [cards, card]}}", "1:32: pipeline `p`: no loop is called `card` (did"),
        ("pipelines: {p: {loops: [cards]}, q: {loops: [cards]}}", "loop `cards` is in pipeline `p` already"),
        ("pipelines: {p: {loops: [cards, cards]}}", "`cards` stands twice in the list"),
        ("pipelines: {p: {loops: [cards], jobs: [x]}}", "job `x` names no engine"),
        ("pipelines: {p: {loops: [cards], jobs: [x.y]}}", "no engine is called `x`"),
        ("pipelines: {p: {loops: [cards], on_call: x}}", "no engine is called `x`"),
        ("engines: {s: {kind: python}}\npipelines: {p: {loops: [cards], on_call: s}}", "2:42: pipeline"),
        ("pipelines: {p: {loops: [cards], breaker: {dead_letters: 0}}}", "`0` is out of range: at least 1"),
        ("pipelines: {p: {loops: [cards], breaker: {deadletters: 5}}}", "did you mean `dead_letters`?"),
        ("pipelines: {p: {loops: [cards], breaker: never}}", "stands where keys are expected"),
        ("pipelines: {p: {loops: [cards], breaker: off}}", "ok"),
        ("retention: {state: 7d}", "`state` is not in this release"),
        ("pipelines: {p: {}}", "holds nothing"),
        ("dependencies: {d: {kind: grpc, url: 'http://h/{key}'}}", "`grpc` is none of http"),
        ("dependencies: {d: {kind: http}}", "key `url` is missing"),
        ("dependencies: {d: {kind: http, url: 'http://h/{card}'}}", "only {key} is"),
        ("dependencies: {d: {kind: http, url: 'http://{key}.h/'}}", "may not choose the host"),
        ("dependencies: {d: {kind: http, url: 'http://h/{key'}}", "`{key` in `url`"),
        ("dependencies: {d: {kind: http, url: 'http://h/${env:X}'}}", "cannot stand in this `url`"),
        ("retention: {dead_letters: 7d}", "1:27: `retention`: `dead_letters` (7d) is shorter than `ledger` (30d)"),
        ("retention: {ledger: 7d, dead_letters: 7d}", "ok"),
        ("retention: {dead_letters: 1s}", "1s is out of range: at least 1h"),
        ("retention: {ledger: 1s}", "1s is out of range: at least 1h"),
        ("retention: 30d", "`30d` stands where keys are expected"),
        ("dedupe: 0", "0 is out of range: at least 1s"),
        ("- engines", "a list stands where keys are expected"),
        ("engines:", "ok"),
    ],
)  # fmt: skip
def test_a_mistake_in_flo_yaml_is_named_where_it_stands(flo: str, expected: str) -> None:
    definition, problems = read({"loops/cards.yaml": LOOP}, flo=flo)
    if expected == "ok":
        assert definition is not None
        return
    assert definition is None
    assert expected in messages(problems)
    assert len(problems) == 1, messages(problems)


def test_a_breaker_has_its_defaults_is_set_or_is_off() -> None:
    flo = "pipelines: {a: {loops: [cards]}, b: {loops: [c2], breaker: {within: 2m}}, c: {loops: [c3], breaker: off}}"
    loops = {f"loops/{name}.yaml": LOOP.replace(b"cards", name.encode()) for name in ("cards", "c2", "c3")}
    definition, problems = read(loops, flo=flo)
    assert not problems
    assert definition is not None
    assert definition.pipelines["a"].breaker == BreakerDefinition(5, 60 * 10**9)
    assert definition.pipelines["b"].breaker == BreakerDefinition(5, 120 * 10**9)
    assert definition.pipelines["c"].breaker is None
