"""What the page of one loop shows beside its health: its rules, state, engines and needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flo.core.loop.program import LoopProgram
from flo.flow.fetch import FetchStats
from flo.flow.lane import LaneStats


def loop_page(
    program: LoopProgram,
    exits: Mapping[int, int],
    lanes: Mapping[str, LaneStats],
    dependencies: Mapping[str, FetchStats],
    shared_age_s: float,
) -> dict[str, Any]:
    """`exits`: how many decisions left by which way; lanes and dependencies by name, of which the loop's are shown.
    `shared_age_s`: how old the other workers' part of its shared state may be."""
    engines = {action.engine for actions in program.actions.values() for action in actions}
    return {
        "revision": program.revision,
        "contract": None if program.contract is None else program.contract.id,
        "rules": [
            {
                "id": rule.id,
                "when": rule.when.text,
                "result": rule.result,
                "mode": rule.mode,
                "decided": exits.get(index, 0),
            }
            for index, rule in enumerate(program.rules)
        ],
        "otherwise": {"result": program.definition.otherwise, "decided": exits.get(len(program.rules), 0)},
        "state": [
            {"name": state.name, "kind": state.kind, "of": state.expression.text, "shared": state.shared}
            for state in program.definition.state
        ],
        "shared_staleness_s": round(shared_age_s, 3) if program.shared_plan.fields else None,
        "engines": {name: msgspec.to_builtins(lanes[name]) for name in sorted(engines) if name in lanes},
        "needs": {
            need: msgspec.to_builtins(dependencies[name])
            for need, name in program.needs.items()
            if name in dependencies
        },
    }
