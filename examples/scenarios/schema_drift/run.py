"""An upstream renames a field and keeps sending: a queue full of dead letters, or five of them and a page.

    python examples/scenarios/schema_drift/run.py        # or: flo demo schema-drift

The cause is real: a producer process whose schema changes on the way, at full speed. First without FLO's guard
(`breaker: off`), for a tenth of the signals; then with it: the breaker opens, pages a real webhook receiver, and all that
comes is parked, until the contract is mended, the pipeline resumed and the dead letters replayed. Every signal is then
looked for by its id.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oncall import Receiver
from stage import FLO, RunningFlo, copied, flo, running, say, wait_until

HERE = Path(__file__).resolve().parent
RECEIVER = "http://127.0.0.1:8761/"
GUARD = "breaker: {dead_letters: 5, within: 60s}"
BEFORE_DRIFT = 2_000
NOTE = "the gateway's release renamed amount to total; contract and loop take both now"
STORY_S = 17 * 3_600
"""How long nobody looked, in the story this is about."""


@dataclass
class Report:
    signals: int
    page_within_s: float
    unguarded_signals: int = 0
    unguarded_dead_letters: int = 0
    unguarded_per_s: float = 0.0
    dead_letters: int = 0
    pages: int = 0
    page_after_s: float = 0.0
    why: str = ""
    parked: int = 0
    parked_per_s: float = 0.0
    rss_before_mb: float = 0.0
    rss_parked_mb: float = 0.0
    rss_drained_mb: float = 0.0
    drained_s: float = 0.0
    replayed: int = 0
    decided: int = 0
    missing: int = 0
    twice: int = 0
    out_of_order: int = 0
    problems: list[str] = field(default_factory=list)

    def is_well(self) -> bool:
        return not self.problems


def produce(flo_url: str, count: int, drift_at: int, source: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "producer.py"), flo_url, str(count), str(drift_at), source]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def said(producer: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, _ = producer.communicate()
    if producer.returncode:
        raise OSError(f"the producer ended with code {producer.returncode}")
    answer: dict[str, Any] = json.loads(out)
    return answer


def without_guard(report: Report, home: Path, receiver: Receiver, workers: int) -> None:
    """What happens where nobody looks: every signal a dead letter, and no end of it."""
    bundle = copied(HERE / "bundle", home / "unguarded", {RECEIVER: receiver.url, GUARD: "breaker: off"})
    with running(bundle, home / "unguarded-data", workers=workers) as running_flo:
        count = BEFORE_DRIFT + report.unguarded_signals
        sent = said(produce(running_flo.url, count, BEFORE_DRIFT, "gateway"))
        report.unguarded_dead_letters = int(running_flo.metric("flo_dead_letters_total"))
        report.unguarded_per_s = sent["rejected"] / sent["seconds"]


def with_guard(report: Report, home: Path, receiver: Receiver, workers: int) -> None:
    bundle = copied(HERE / "bundle", home / "guarded", {RECEIVER: receiver.url})
    mended = copied(HERE / "bundle", home / "mended", {RECEIVER: receiver.url}, [HERE / "mended"])
    data = home / "data"
    with running(bundle, data, workers=workers) as running_flo:
        _drift(report, running_flo, receiver)
        _mend(report, running_flo, mended)
    _look_for_each(report, data)


def _drift(report: Report, running_flo: RunningFlo, receiver: Receiver) -> None:
    report.rss_before_mb = running_flo.rss_mb()
    producer = produce(running_flo.url, report.signals, BEFORE_DRIFT, "gateway")
    paged = receiver.first(60.0, lambda data: data["verb"] == "page")
    if paged is None:
        raise TimeoutError("nobody was paged within 60 s")
    paged_s, page = paged
    sent = said(producer)
    (row,) = running_flo.get("/v1/pipelines")["pipelines"]
    report.page_after_s = paged_s - datetime.fromisoformat(row["paused_since"]).timestamp()
    report.pages = len({body["id"] for _, body in receiver.received if body["data"]["verb"] == "page"})
    report.why, report.parked = row["why"], row["parked"]
    report.dead_letters = sent["rejected"]
    report.parked_per_s = row["parked"] / sent["seconds"]
    report.rss_parked_mb = running_flo.rss_mb()
    say(f"   {report.dead_letters} dead letters, then the breaker opened: {row['why']}")
    say(
        f"   the page was there {report.page_after_s * 1000:.0f} ms after it: {page['data']['arguments']['summary'][:70]}…"
    )
    say(f"   {report.parked:,} signals are parked, in order; FLO has {report.rss_parked_mb:.0f} MB in memory")


def _mend(report: Report, running_flo: RunningFlo, mended: Path) -> None:
    say(f"3. The bundle is mended: flo apply, flo resume --note '{NOTE}', flo dead replay")
    flo("apply", mended, "--to", running_flo.url, "--note", NOTE)
    began_s = time.monotonic()
    resumed = flo("resume", "cards", "--note", NOTE, "--to", running_flo.url)
    report.drained_s = time.monotonic() - began_s
    if resumed["status"] != "running":
        report.problems.append(f"the pipeline is {resumed['status']}: {resumed['why']}")
    report.rss_drained_mb = running_flo.rss_mb()
    replayed = flo("dead", "replay", "--all", "--note", NOTE, "--to", running_flo.url)
    report.replayed = replayed["replayed"]
    left = running_flo.get("/v1/dead-letters")["dead_letters"]
    if left:
        report.problems.append(f"{len(left)} dead letters are left")
    wait_until(lambda: running_flo.get("/v1/pipelines")["pipelines"][0]["status"] == "running", 10, "running")


def _look_for_each(report: Report, data: Path) -> None:
    """Every signal by its id, in what the ledger says was decided."""
    times: Counter[int] = Counter()
    newest: dict[str, int] = {}
    late = set(range(BEFORE_DRIFT, BEFORE_DRIFT + 100))  # the dead letters among them were decided last
    for row in _decisions(data):
        number = int(row["signal"]["id"][1:])
        times[number] += 1
        if number not in late:
            if newest.get(row["key"], number) < number:
                report.out_of_order += 1
            newest[row["key"]] = number
    report.decided = times.total()
    report.missing = sum(number not in times for number in range(report.signals))
    report.twice = sum(count > 1 for count in times.values())
    for name in ("missing", "twice", "out_of_order"):
        if getattr(report, name):
            report.problems.append(f"{getattr(report, name)} {name.replace('_', ' ')}")
    if report.pages != 1:
        report.problems.append(f"{report.pages} pages were sent")
    if report.page_after_s > report.page_within_s:
        report.problems.append(f"the page came after {report.page_after_s:.2f} s")


def _decisions(data: Path) -> Iterator[dict[str, Any]]:
    """Newest first."""
    command = [sys.executable, *FLO, "export", "decisions", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)


def tell(report: Report) -> str:
    hours = STORY_S / 3_600
    return f"""
schema-drift: {report.signals:,} signals, the field `amount` renamed after {BEFORE_DRIFT:,}

                       without the guard             with it
  dead letters         {report.unguarded_dead_letters:<29,} {report.dead_letters}
  growing by           {report.unguarded_per_s:<29,.0f} 0 a second
  in {hours:g} hours          {report.unguarded_per_s * STORY_S:<29,.0f} {report.dead_letters}
  who was told         nobody                        on-call, after {report.page_after_s * 1000:.0f} ms
  the others           lost in the queue             {report.parked:,} parked in order, {report.parked_per_s:,.0f}/s

  after the fix        {report.parked:,} decided in {report.drained_s:.1f} s, {report.replayed} dead letters replayed
  memory               {report.rss_before_mb:.0f} MB before, {report.rss_parked_mb:.0f} MB with all parked, \
{report.rss_drained_mb:.0f} MB after: de-duplication marks, 100 bytes a signal
  by their ids         {report.decided:,} decisions, {report.missing} missing, {report.twice} twice, \
{report.out_of_order} out of order
  {"every signal was decided exactly once" if report.is_well() else "NOT WELL: " + "; ".join(report.problems)}"""


def run(report: Report, home: Path, workers: int) -> None:
    receiver = Receiver()
    try:
        say(f"1. Without the guard (breaker: off), {report.unguarded_signals:,} signals after the change")
        without_guard(report, home, receiver, workers)
        say(
            f"   {report.unguarded_dead_letters:,} dead letters, {report.unguarded_per_s:,.0f} a second, nobody knows"
        )
        say(f"2. With it, {report.signals:,} signals")
        with_guard(report, home, receiver, workers)
    finally:
        receiver.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flo demo schema-drift", description=__doc__.partition("\n")[0])
    parser.add_argument("--signals", type=int, default=400_000, help="how many are sent with the guard")
    parser.add_argument("--page-within", type=float, default=1.0, help="seconds the page may take")
    parser.add_argument("--workers", type=int, default=1, help="processes that decide")
    parser.add_argument("--data", type=Path, help="leave FLO's data here, for flo explain and flo dead list")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    if given.signals < 2 * BEFORE_DRIFT:
        parser.error(f"--signals must be at least {2 * BEFORE_DRIFT}")
    if given.data is not None and given.data.exists():
        parser.error(f"--data {given.data} is there already: name a directory that is not")
    report = Report(given.signals, given.page_within, max(BEFORE_DRIFT, given.signals // 10))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop like Ctrl-C: with everything it started
    home = Path(tempfile.mkdtemp(prefix="flo-schema-drift-"))
    try:
        run(report, home, given.workers)
        if given.data is not None:
            shutil.move(home / "data", given.data)
    except KeyboardInterrupt:
        say("demo: stopped")
        return 130
    except (OSError, TimeoutError) as error:
        say(f"demo: {error}")
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(asdict(report)) if given.json else tell(report))
    return 0 if report.is_well() else 1


if __name__ == "__main__":
    sys.exit(main())
