"""Every key FLO itself reads in `flo.yaml` and `loops/*.yaml`, declared once.

`TABLES` lists them in the order of the reference page, which is generated from here.
"""

from __future__ import annotations

from collections.abc import Mapping

from flo.core.bundle.settings import Setting
from flo.core.bundle.watchdog_tables import WATCHDOG_KEYS, WATCHDOG_TABLES
from flo.core.loop.definition import STATE_KINDS

FLO_KEYS: Mapping[str, Setting] = {
    "engines": Setting("sections", table="engines", help="What executes commands, by name"),
    "sources": Setting(
        "sections", table="sources", help="Where signals come from besides HTTP and files, by name"
    ),
    "pipelines": Setting(
        "sections", table="pipelines", help="Groups of loops and jobs paused and resumed as one"
    ),
    "dependencies": Setting("sections", table="dependencies", help="Shared services that loops read from"),
    "retention": Setting("section", table="retention", help="How long things are kept"),
    "watchdogs": Setting(
        "sections",
        table="watchdogs",
        help="What watchdogs tolerate, by the type of their finding; `off` for none",
    ),
    "dedupe": Setting(
        "duration",
        default="24h",
        minimum="1s",
        maximum="30d",
        help="A repeated signal within this time changes nothing",
    ),
}

ENGINE_KEYS: Mapping[str, Setting] = {
    "kind": Setting(
        "text", required=True, help="The kind of engine; it decides which further keys there are"
    ),
    "rate": Setting("rate", help="Commands sent at most; without it as fast as the engine answers"),
    "concurrency": Setting(
        "int", default=8, minimum=1, maximum=10_000, unit="commands", help="Sent at the same time"
    ),
    "timeout": Setting(
        "duration", default="30s", minimum="1ms", maximum="1d", help="Longest wait for one answer"
    ),
    "backoff": Setting(
        "duration",
        default="200ms",
        minimum="1ms",
        maximum="1h",
        help="First pause between attempts; doubles, with jitter",
    ),
    "backoff_max": Setting(
        "duration", default="30s", minimum="1ms", maximum="1d", help="Longest pause between attempts"
    ),
    "retry_budget": Setting(
        "probability", default=0.1, help="Retries add at most this share to the base load"
    ),
}

SOURCE_KEYS: Mapping[str, Setting] = {
    "kind": Setting(
        "text", required=True, help="The kind of source; it decides which further keys there are"
    ),
}

PIPELINE_KEYS: Mapping[str, Setting] = {
    "loops": Setting("texts", default=[], help="Names of loops; a loop belongs to one pipeline at most"),
    "jobs": Setting("texts", default=[], help="Jobs of engines, as `engine.job`"),
    "on_call": Setting("text", help="The engine that `page` goes to"),
    "breaker": Setting(
        "section",
        table="breaker",
        help="What pauses it by itself, the defaults where not given; `off`: nothing",
    ),
}

BREAKER_KEYS: Mapping[str, Setting] = {
    "dead_letters": Setting(
        "int", default=5, minimum=1, maximum=1_000, help="So many dead letters of one loop pause the pipeline"
    ),
    "within": Setting("duration", default="60s", minimum="1s", maximum="1d", help="Within this time"),
}

DEPENDENCY_KEYS: Mapping[str, Setting] = {
    "kind": Setting("choice", required=True, choices=("http",), help="How it is asked"),
    "url": Setting(
        "url", required=True, help="What is fetched; `{key}` stands for the signal's key, percent-encoded"
    ),
    "concurrency": Setting(
        "int", default=32, minimum=1, maximum=10_000, unit="fetches", help="At the same time"
    ),
    "rate": Setting("rate", help="Fetches at most; without it as fast as it answers"),
    "deadline": Setting(
        "duration",
        default="50ms",
        minimum="1ms",
        maximum="1m",
        help="What misses it is `need.x.missing`; nobody waits longer",
    ),
    "cache": Setting("duration", default="0", maximum="1d", help="How long an answer is used again"),
    "idle_timeout": Setting(
        "duration", minimum="1ms", maximum="1d", help="When the service drops an idle connection"
    ),
    "version": Setting(
        "plain",
        help="Field of its answers that only grows (a number or a time): an older one is a stale read",
    ),
}

RETENTION_KEYS: Mapping[str, Setting] = {
    "ledger": Setting("duration", default="30d", minimum="1h", help="Signals, decisions and commands"),
    "dead_letters": Setting(
        "duration",
        minimum="1h",
        help="Dead letters that nobody has decided about; not shorter than `ledger`. Left out: 90d, or as `ledger` if "
        "that is longer",
    ),
}

LOOP_KEYS: Mapping[str, Setting] = {
    "loop": Setting("name", required=True, help="The loop's name, which is its file's name"),
    "about": Setting("plain", default="", help="What it is for, in a sentence"),
    "owner": Setting("plain", default="", help="Who answers for it"),
    "on": Setting("texts", required=True, help="The signal type or types it listens to"),
    "where": Setting("expression", help="Signals for which this is false are not for this loop"),
    "contract": Setting(
        "plain", help="What the data must look like, as `name/version`: `contracts/<name>/<version>.json`"
    ),
    "key": Setting("expression", required=True, help="The entity the state belongs to"),
    "ttl": Setting(
        "duration",
        default="1h",
        minimum="1ms",
        maximum="365d",
        help="A context dies this long after its root's birth",
    ),
    "hops": Setting(
        "int", default=8, minimum=0, maximum=1_000, help="Longest chain of signals caused by signals"
    ),
    "consistency": Setting(
        "choice",
        default="strict",
        choices=("strict", "relaxed"),
        help="strict: acknowledged after the commit; relaxed: before it",
    ),
    "fresh": Setting(
        "section", table="fresh", help="How old data and logic may be before an outcome is `stale`"
    ),
    "reads": Setting(
        "texts",
        default=[],
        help="Declared edges: what it reads, as `dataset:name`, `model:name` or `service:name`",
    ),
    "writes": Setting("texts", default=[], help="Declared edges: what it writes"),
    "feeds": Setting("texts", default=[], help="Declared edges: loops it feeds"),
    "needs": Setting(
        "map", default={}, help="Fetched before deciding: the name under `need` and its dependency"
    ),
    "state": Setting("sections", table="state", help="What is remembered for each key, by name"),
    "rules": Setting(
        "rows", table="rules", help="Conditions and commands, tried by priority, then as written"
    ),
    "otherwise": Setting("plain", help="The decision's result where no rule fires"),
    "match": Setting(
        "choice",
        default="first",
        choices=("first", "all"),
        help="first: the first rule that acts decides; all: each may act",
    ),
    "mask": Setting("texts", default=[], help="Paths such as `data.card_number` that never reach the disk"),
}

FRESH_KEYS: Mapping[str, Setting] = {
    "data": Setting("duration", minimum="1ms", help="Data older than this is stale"),
    "logic": Setting(
        "duration",
        minimum="1ms",
        help="Logic older than this against newer data is stale: the loop's revision, or a model it reads and was swapped",
    ),
}

_STATE_HELP = {
    "count": "How many signals satisfy the condition (`true`: all)",
    "sum": "Sum of the value",
    "mean": "Mean of the value",
    "min": "Smallest value",
    "max": "Largest value",
    "std": "Standard deviation of the value; needs `over`",
    "share": "Share of signals that satisfy the condition; needs `over`",
    "ewma": "Mean that forgets by `half_life`",
    "last": "Latest value, with `.previous`, `.changed` and, for numbers, `.delta`",
    "quantile": "The `q` quantile of the value; needs `over`",
    "distinct": "How many different values; needs `over`",
}
STATE_KEYS: Mapping[str, Setting] = {
    **{kind: Setting("expression", help=_STATE_HELP[kind]) for kind in STATE_KINDS},
    "over": Setting(
        "duration", minimum="1ms", maximum="366d", help="The window, by event time; without it since ever"
    ),
    "q": Setting("fraction", help="Which quantile: 0.99 is the 99th percentile"),
    "half_life": Setting("duration", minimum="1ms", maximum="366d", help="When a value weighs half (ewma)"),
    "shared": Setting("bool", default=False, help="One value for the whole loop instead of one for each key"),
}
OVER_NEEDED = frozenset({"std", "share", "quantile", "distinct"})
SHARED_KINDS = frozenset({"count", "sum", "mean", "share", "quantile", "distinct"})

RULE_KEYS: Mapping[str, Setting] = {
    "id": Setting("name", required=True, help="The rule's name, unique in its loop"),
    "when": Setting("expression", required=True, help="The condition"),
    "result": Setting("plain", help="The decision's result; the rule's id where not given"),
    "means": Setting("plain", help="What it means that this holds"),
    "then": Setting("rows", table="commands", help="Commands to issue"),
    "priority": Setting(
        "int", default=0, minimum=-1_000_000, maximum=1_000_000, help="Higher is tried first"
    ),
    "mode": Setting(
        "choice",
        default="live",
        choices=("off", "shadow", "live"),
        later={"canary": "use `mode: shadow`, then `mode: live`"},
        help="shadow: recorded, commands nothing; off: skipped",
    ),
    "once_within": Setting("duration", minimum="1ms", maximum="366d", help="Acts at most once in this time"),
    "scope": Setting(
        "choice", default="key", choices=("key", "loop"), help="`once_within` counts by key or for the loop"
    ),
}

ACTION_KEYS: Mapping[str, Setting] = {
    "do": Setting("plain", required=True, help="The verb: `engine.verb`, or `emit`, `review`, `page` alone"),
    "with": Setting("template", help="Arguments; `${expression}` in a text is filled in"),
    "target": Setting(
        "template", help="What is commanded, such as `model:fraud`: recorded, and told to the engine"
    ),
    "root": Setting(
        "choice",
        choices=("new",),
        help="new: its effects start a new context, which outlives this loop's ttl",
    ),
    "expect": Setting(
        "section", table="expect", help="The effect that must show before the iteration closes"
    ),
    "attempts": Setting("int", default=3, minimum=1, maximum=100, help="Attempts of the whole command"),
    "blocking": Setting("bool", default=True, help="false: its failure is `tolerated`"),
    "on_silent": Setting(
        "rows", table="commands", help="Commands to issue where the expected effect does not show"
    ),
}

EXPECT_KEYS: Mapping[str, Setting] = {
    "signal": Setting("plain", required=True, help="The type of the signal that shows the effect"),
    "within": Setting("duration", required=True, minimum="1ms", maximum="366d", help="How long it may take"),
    "where": Setting("expression", help="Which of those signals: `data.run_id == command.run_id`"),
    "wrote": Setting("plain", help="The dataset it must have written, such as `dataset:model_fraud`"),
}

UNBUILT_LOOP_KEYS: Mapping[str, str] = {
    "diagnose": "leave it out and write the conditions as rules",
    "settle": "leave it out; `once_within` on the rule keeps changes apart",
}
UNBUILT_RULE_KEYS: Mapping[str, str] = {
    "for": "put the time into the window of the state it reads (`over`)",
    "clear": "use `once_within` to keep it from firing again at once",
    "settle": "use `once_within` to keep changes apart",
}
UNBUILT_RETENTION_KEYS: Mapping[str, str] = {
    "state": "leave it out: the state of every key is kept",
}
UNBUILT_ACTION_KEYS: Mapping[str, str] = {"settle": "use `once_within` on the rule to keep changes apart"}

TABLES: Mapping[str, tuple[str, Mapping[str, Setting]]] = {
    "flo.yaml": ("`flo.yaml`", FLO_KEYS),
    "engines": ("An engine, under `engines` in `flo.yaml`; its kind adds keys", ENGINE_KEYS),
    "sources": ("A source, under `sources` in `flo.yaml`; its kind adds keys", SOURCE_KEYS),
    "pipelines": ("A pipeline, under `pipelines` in `flo.yaml`", PIPELINE_KEYS),
    "breaker": ("`breaker` of a pipeline", BREAKER_KEYS),
    "dependencies": ("A dependency, under `dependencies` in `flo.yaml`", DEPENDENCY_KEYS),
    "retention": ("`retention` in `flo.yaml`", RETENTION_KEYS),
    "watchdogs": ("`watchdogs` in `flo.yaml`: each may be `off`", WATCHDOG_KEYS),
    **{type: (f"`{type}`, under `watchdogs` in `flo.yaml`", keys) for type, keys in WATCHDOG_TABLES.items()},
    "loops": ("A loop, `loops/<name>.yaml`", LOOP_KEYS),
    "fresh": ("`fresh` of a loop", FRESH_KEYS),
    "state": ("A piece of state, under `state` of a loop: exactly one kind", STATE_KEYS),
    "rules": ("A rule, under `rules` of a loop", RULE_KEYS),
    "commands": ("A command, under `then` of a rule or `on_silent` of a command", ACTION_KEYS),
    "expect": ("`expect` of a command", EXPECT_KEYS),
}
