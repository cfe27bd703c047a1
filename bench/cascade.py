"""A dependency in trouble beside a loop that does not need it: that loop's p99 in bad hours against good ones."""

from __future__ import annotations

from bench.machine import TREE
from bench.processes import measured
from bench.report import Options, Report, Target, table

ABOUT = "a slow dependency: what a loop that does not need it notices"
P99_RATIO_MAX = 1.1
REQUESTS_RATIO_MAX = 1.1

HOURS = TREE / "examples" / "scenarios" / "latency_cascade" / "hours.py"
SECONDS, ROUNDS = 5.0, 12
SECONDS_QUICK, ROUNDS_QUICK = 3.0, 1


def run(options: Options) -> Report:
    """The hours of `flo demo latency-cascade`, longer."""
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    seconds = SECONDS_QUICK if options.quick else SECONDS
    found = measured([str(HOURS), "--rounds", str(rounds), "--seconds", str(seconds)]).output
    report = Report("cascade", ABOUT, options.seed, figures=found)
    rows = [
        [
            f"{hour} hours",
            f"{found['logins'] // 2}",
            f"{found[hour]['median_ms']:.2f}",
            f"{found[hour]['p99_ms']:.2f}",
            ", ".join(f"{each:.1f}" for each in found["p99s_ms"][hour]),
            str(found[hour]["requests"]),
        ]
        for hour in ("good", "bad")
    ]
    head = ["ms", "decisions", "p50", "p99", "p99 by hour", "requests to the service"]
    report.tables.append(table(head, rows))
    report.targets += [
        Target("p99, bad / good, median of rounds", found["ratio_by_round"], P99_RATIO_MAX, at_least=False),
        Target(
            "requests to the service, bad / good",
            found["bad"]["requests"] / found["good"]["requests"],
            REQUESTS_RATIO_MAX,
            at_least=False,
        ),
    ]
    report.notes.append(
        f"{rounds} rounds of a good hour and a bad one, {seconds:g} s each, in alternating order; p99 of all bad hours "
        f"together against all good ones: {found['ratio']:.2f}; the sender's own lag, p99: {found['lag_p99_ms']:.2f} ms."
    )
    return report
