"""Writing macros: `all`, `exists`, `exists_one`, `map`, `filter`, and their forms with two variables.

Plain `for` loops: a comprehension would be a function of its own in Python 3.11, and turn the locals it
uses into cells. Each walk is charged against the step budget before it starts, by the length of what it
walks over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flo.core.expression import operators
from flo.core.expression.emission.writing import Writing
from flo.core.expression.typed import Loop, MakeList
from flo.core.expression.types import BOOL, DYN, ListOf, MapOf
from flo.core.expression.values import keys_of, to_key


class LoopWriter(Writing):
    """Loops. `depth` counts those around the present one."""

    depth = 0

    def loop(self, node: Loop) -> str:
        header = self.header(node)
        charged = self.charged(node)
        self.depth += 1
        self.walks += charged
        match node.kind:
            case "all":
                result = self.quantifier(node, header, found=False)
            case "exists":
                result = self.quantifier(node, header, found=True)
            case "exists_one":
                result = self.counting(node, header)
            case _:
                result = self.collecting(node, header)
        self.depth -= 1
        self.walks -= charged
        return result

    def charged(self, node: Loop) -> bool:
        """Whether a walk draws on the budget: all do but those over a list that is written out, outside others."""
        return not isinstance(node.target, MakeList) or self.depth > 0

    def header(self, node: Loop) -> str:
        """The `for` line; charges the budget."""
        for slot in node.slots:
            self.slots[slot.number] = self.frame.temporary(slot.name)
        names = ", ".join(self.slots[slot.number] for slot in node.slots)
        target = self.atom(node.target)
        if self.charged(node):
            target = self.walked(node, target)
            self.frame.line(f"{self.budget} -= len({target})")
            self.fail(f"{self.budget} < 0", f"out_of_budget({self.place(node)})")
        kind = node.target.type
        if len(node.slots) == 1:
            return f"for {names} in {target}:"
        if isinstance(kind, ListOf):
            return f"for {names} in enumerate({target}):"
        return f"for {names} in {target}:"

    def walked(self, node: Loop, target: str) -> str:
        """A name for what the loop really goes through: a sized iterable of elements, keys or pairs."""
        kind = node.target.type
        if isinstance(kind, ListOf):
            return target
        if len(node.slots) == 2:
            return self.named(self.call(operators.pairs, target, self.place(node)))
        if isinstance(kind, MapOf):
            if kind.key in (BOOL, DYN):
                return self.named(self.call(keys_of, target))
            return target
        return self.named(self.call(operators.elements, target, self.place(node)))

    def quantifier(self, node: Loop, header: str, found: bool) -> str:
        """`all` and `exists`: one element decides; a failure counts only if none does."""
        frame = self.frame
        result = frame.temporary()
        test = "if {}:" if found else "if not {}:"
        frame.line(f"{result} = {not found}")
        if not node.body.fallible:
            with frame.nested(header, node), frame.block(test.format(self.code(node.body))):
                frame.line(f"{result} = {found}")
                frame.line("break")
            return result
        error, outcome = frame.temporary("error"), frame.temporary()
        frame.line(f"{error} = None")
        with frame.nested(header, node):
            with frame.nested("try:", node):
                frame.line(f"{outcome} = {self.code(node.body)}")
            with self.caught(error):
                frame.line("continue")
            with frame.block(test.format(outcome)):
                frame.line(f"{result} = {found}")
                frame.line("break")
        undecided = f"not {result}" if found else result
        with frame.block(f"if {undecided} and {error} is not None:"):
            frame.line(f"raise {error}")
        return result

    @contextmanager
    def caught(self, error: str) -> Iterator[None]:
        """An `except` block that keeps the failure in `error`."""
        caught = self.frame.temporary("caught")
        with self.frame.block(f"except {self.frame.runtime('EvaluationError')} as {caught}:"):
            self.frame.line(f"{error} = {caught}")
            yield

    def counting(self, node: Loop, header: str) -> str:
        count = self.frame.temporary()
        self.frame.line(f"{count} = 0")
        with self.frame.nested(header, node), self.frame.block(f"if {self.code(node.body)}:"):
            self.frame.line(f"{count} += 1")
        return f"({count} == 1)"

    def collecting(self, node: Loop, header: str) -> str:
        """`map`, `filter` and `transform_map`: a failure ends the walk."""
        result = self.frame.temporary()
        self.frame.line(f"{result} = {'{}' if node.kind == 'transform_map' else '[]'}")
        with self.frame.nested(header, node):
            test = node.body if node.kind == "filter" else node.condition
            if test is None:
                self.collect(node, result)
            else:
                with self.frame.block(f"if {self.code(test)}:"):
                    self.collect(node, result)
        return result

    def collect(self, node: Loop, result: str) -> None:
        first = self.slots[node.slots[0].number]
        if node.kind == "filter":
            self.frame.line(f"{result}.append({first})")
        elif node.kind == "map":
            self.frame.line(f"{result}.append({self.boxed(node.body)})")
        else:
            key = first if node.slots[0].type not in (BOOL, DYN) else self.call(to_key, first)
            self.frame.line(f"{result}[{key}] = {self.boxed(node.body)}")
