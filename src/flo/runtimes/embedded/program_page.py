"""What a loop's page says of its program: the rules and what they decided, the state and what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flo.core.loop.program import LoopProgram


def program_page(program: LoopProgram, exits: Mapping[int, int]) -> dict[str, Any]:
    """`exits`: how many decisions left by which way since the start."""
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
            {"name": state.name, "kind": state.kind, "of": state.expression.text}
            for state in program.definition.state
        ],
    }
