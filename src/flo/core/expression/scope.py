"""What names mean: the environment an expression is checked against, and the state of one check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from flo.core.expression.errors import ExpressionProblem
from flo.core.expression.functions import Function, FunctionDecl, declared
from flo.core.expression.standard import FUNCTIONS, METHODS
from flo.core.expression.syntax import Expression, Node
from flo.core.expression.typed import Fail, Slot, Typed
from flo.core.expression.types import DYN, Type, Variable

MACROS = ("all", "exists", "exists_one", "map", "filter", "transformList", "transformMap")


class Environment:
    """The names an expression may use: variables and, beside the built-in functions, the user's own."""

    __slots__ = ("declarations", "functions", "variables")

    def __init__(self, variables: Mapping[str, Variable], functions: Iterable[FunctionDecl] = ()) -> None:
        self.variables = dict(variables)
        self.declarations = {each.name: each for each in functions}
        self.functions: dict[str, Function] = {
            name: declared(each) for name, each in self.declarations.items()
        }
        taken = sorted(set(self.functions) & set(FUNCTIONS))
        if taken:
            raise ValueError(f"{taken[0]} is a built-in function; give the bundle's function another name")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known name, if one is close."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else None


class Scope:
    """One check: its environment, the macro variables in sight, the problems and references found so far.

    In a lenient check a problem is not reported but becomes a node that fails when it is evaluated.
    """

    def __init__(self, expression: Expression, environment: Environment, lenient: bool) -> None:
        self.expression = expression
        self.environment = environment
        self.lenient = lenient
        self.problems: list[ExpressionProblem] = []
        self.references: set[tuple[str, ...]] = set()
        self.slots: list[Slot] = []
        self.slot_count = 0
        self.loops = False

    def problem(
        self, node: Node, message: str, hint: str | None = None, code: str = "no_matching_overload"
    ) -> Typed:
        """Notes a problem and gives a stand-in of unknown type, so that the check goes on."""
        if not self.lenient:
            place = self.expression.place(node)
            self.problems.append(ExpressionProblem(message, place.line, place.column, hint))
        return Fail(node, DYN, True, code, message)

    def slot(self, name: str) -> Slot | None:
        """The innermost macro variable of this name."""
        for slot in reversed(self.slots):
            if slot.name == name:
                return slot
        return None

    def open_slot(self, node: Node, name: str, kind: Type) -> Slot:
        """A new macro variable, in sight until it is closed."""
        self.slot_count += 1
        slot = Slot(node, kind, False, name, self.slot_count)
        self.slots.append(slot)
        return slot

    def close_slots(self, slots: tuple[Slot, ...]) -> None:
        del self.slots[len(self.slots) - len(slots) :]

    def unknown(
        self, node: Node, message: str, name: str, known: Iterable[str], code: str = "no_such_name"
    ) -> Typed:
        """A problem with a name, and the nearest known one as its hint."""
        return self.problem(node, message, nearest(name, known), code)

    def function(self, name: str) -> Function | None:
        return self.environment.functions.get(name) or FUNCTIONS.get(name)

    def function_names(self) -> list[str]:
        return [*self.environment.functions, *FUNCTIONS, "has"]

    def method(self, name: str) -> Function | None:
        return METHODS.get(name)

    def unknown_method(self, node: Node, name: str) -> Typed:
        return self.unknown(node, f"unknown function {name}", name, [*METHODS, *MACROS], "no_such_name")

    def method_hint(self, name: str) -> str | None:
        return f"write {name}()" if name in METHODS else None
