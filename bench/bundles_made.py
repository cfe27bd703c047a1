"""Bundles of many rules and of many loops, made for measuring what each more of them costs."""

from __future__ import annotations

import shutil
from pathlib import Path

BUNDLE = Path(__file__).resolve().parent / "bundles" / "w1"

HEAD = """\
loop: {name}
on: {type}
contract: tx.authorized/1
key: data.card
state:
  count_10m: {{count: true, over: 10m}}
  sum_10m: {{sum: data.amount, over: 10m}}
"""
RULE = """\
  - id: rule-{n}
    when: state.count_10m >= {count} && data.amount > {amount}.0 && data.country != data.home
    result: review
"""


def many_rules(directory: Path, count: int) -> Path:
    """One loop with `count` rules. No amount reaches theirs, so every rule is tried for every signal."""
    rules = "".join(RULE.format(n=n, count=n % 7 + 1, amount=1_000_000 + n) for n in range(count))
    text = HEAD.format(name="score", type="tx.authorized") + "rules:\n" + rules + "otherwise: approve\n"
    return _bundle(directory, {"score": text})


def many_loops(directory: Path, count: int, *, same_type: bool) -> Path:
    """`count` loops of one rule; each signal is for the first of them alone.

    `same_type`: all listen to the signals' type and tell by `where: data.card ...` whether it is theirs; otherwise
    each has a type of its own.
    """
    loops = {}
    for n in range(count):
        type = "tx.authorized" if same_type or n == 0 else f"tx.authorized.{n}"
        text = HEAD.format(name=f"score-{n}", type=type)
        if same_type:
            text += f'where: data.shop == "shop-{n}"\n'
        loops[f"score-{n}"] = (
            text + "rules:\n" + RULE.format(n=0, count=5, amount=1_000_000) + "otherwise: approve\n"
        )
    return _bundle(directory, loops)


def _bundle(directory: Path, loops: dict[str, str]) -> Path:
    (directory / "loops").mkdir(parents=True)
    shutil.copytree(BUNDLE / "contracts", directory / "contracts")
    shutil.copy(BUNDLE / "flo.yaml", directory)
    contract = directory / "contracts" / "tx.authorized" / "1.json"
    text = contract.read_text().replace(
        '"home": {"type": "string"}', '"home": {"type": "string"},\n    "shop": {"type": "string"}'
    )
    contract.write_text(text.replace('"country", "home"]', '"country", "home", "shop"]'))
    for name, loop in loops.items():
        (directory / "loops" / f"{name}.yaml").write_text(loop)
    return directory
