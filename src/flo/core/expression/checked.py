"""What a check yields: an expression that fits its environment."""

from __future__ import annotations

from dataclasses import dataclass

from flo.core.expression.scope import Environment
from flo.core.expression.syntax import Expression
from flo.core.expression.typed import Typed
from flo.core.expression.types import Type, erased


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """An expression that fits its environment.

    `cost` is an upper bound in steps, `fallible` whether it can raise EvaluationError at all, `references`
    the paths it reads: `("state", "count_10m")`, or `("data",)` where a variable is used whole.
    """

    expression: Expression
    environment: Environment
    root: Typed
    cost: int
    loops: bool
    references: frozenset[tuple[str, ...]]

    @property
    def type(self) -> Type:
        return erased(self.root.type)

    @property
    def fallible(self) -> bool:
        return self.root.fallible

    @property
    def text(self) -> str:
        return self.expression.text
