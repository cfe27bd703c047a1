"""A bound on what an expression costs, known before it runs.

Steps are counted over the typed tree. Where a size depends on the data it is assumed; walks over lists
additionally draw on a budget while they run, so an unexpectedly long list ends in an EvaluationError
(`budget`), never in a hang.
"""

from __future__ import annotations

from typing import Final

from flo.core.expression import typed
from flo.core.expression.typed import Slot, Typed
from flo.core.expression.types import BYTES, DYN, STRING, ListOf, MapOf, Record, Type

EXPRESSION_COST_MAX: Final = 1_000_000
"""Steps; about 50 ms of Python at the very worst."""

WALK_STEPS_MAX: Final = 1_000_000
"""Elements one evaluation may walk over, all its macros together."""

_LIST_SIZE_ASSUMED: Final = 100
_TEXT_SIZE_ASSUMED: Final = 1_000
_SCAN_PER_STEP: Final = 100
"""Characters C code goes through in the time of one step."""

RESULT_SIZE_MAX: Final = 1_000_000
"""Elements or characters of any intermediate result, by the assumed sizes: a thousand times one assumed text. What
may grow further (doubling what was doubled before) is refused, whatever it costs."""

_SIZE_MAX: Final = 10**12


def cost_of(root: Typed) -> int:
    """The bound for a whole expression, in steps."""
    return min(_Cost().of(root)[0], _SIZE_MAX)


def _assumed(kind: Type) -> int:
    if kind in (STRING, BYTES, DYN):
        return _TEXT_SIZE_ASSUMED
    return _LIST_SIZE_ASSUMED if isinstance(kind, ListOf | MapOf | Record) else 1


def _grown(steps: int, size: int) -> tuple[int, int]:
    """Steps and size of a result, the steps beyond any limit where the size is."""
    return steps + (EXPRESSION_COST_MAX if size > RESULT_SIZE_MAX else 0), min(size, _SIZE_MAX)


class _Cost:
    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}  # of macro variables, by slot number

    def of(self, node: Typed) -> tuple[int, int]:
        """(steps, size of the result)."""
        match node:
            case typed.Constant(value=value):
                return 0, len(value) if isinstance(value, str | bytes) else 1
            case Slot(number=number):
                return 0, self.sizes.get(number, 1)
            case typed.Loop():
                return self.loop(node)
            case typed.Let(slot=slot, value=value, body=body):
                steps, size = self.of(value)
                self.sizes[slot.number] = size
                more, result = self.of(body)
                return steps + more, result
            case typed.Invoke():
                return self.call(node)
        inner = [self.of(each) for each in typed.parts(node)]
        steps = 1 + sum(each for each, _ in inner)
        sizes = [size for _, size in inner]
        match node:
            case typed.MakeList() | typed.MakeMap():
                return steps, min(sum(sizes) + len(sizes), _SIZE_MAX)
            case typed.Choose():
                return steps, max(sizes)
            case typed.Guard():
                return steps, sizes[0]
            case typed.Compare(right=right):
                scanned = (
                    min(sizes)
                    if node.operator != "in"
                    else sizes[-1]
                    if isinstance(right.type, ListOf)
                    else 1
                )
                return steps + scanned // _SCAN_PER_STEP, 1
            case typed.At() | typed.KeyRead() | typed.FieldRead():
                known = not isinstance(node.owner, typed.Read | typed.FieldRead | typed.KeyRead)
                return steps, sizes[0] if known else _assumed(node.type)
        return steps, _assumed(node.type)

    def call(self, node: typed.Invoke) -> tuple[int, int]:
        inner = [self.of(each) for each in node.arguments]
        steps = 1 + sum(each for each, _ in inner)
        sizes = [size for _, size in inner] or [1]
        overloads = (node.overload,) if node.overload else node.function.overloads
        if any(each.scans for each in overloads):
            steps += sum(sizes) // _SCAN_PER_STEP
        size = 1
        for overload in overloads:
            match overload.growth:
                case "first":
                    size = max(size, sizes[0])
                case "sum":
                    size = max(size, sum(sizes))
                case "product":
                    product = sizes[0] * max(sizes)
                    steps += product // _SCAN_PER_STEP
                    size = max(size, product)
                case "assumed":
                    steps += 10
                    size = max(size, _assumed(overload.result))
        return _grown(steps, size)

    def loop(self, node: typed.Loop) -> tuple[int, int]:
        steps, size = self.of(node.target)
        written = isinstance(node.target, typed.MakeList | typed.MakeMap)
        count = len(list(typed.parts(node.target))) if written else min(size, _LIST_SIZE_ASSUMED)
        count = max(count, 1)
        for slot in node.slots:
            self.sizes[slot.number] = max(size // count, _assumed(slot.type)) if not written else size
        body, result = self.of(node.body)
        if node.condition is not None:
            body += self.of(node.condition)[0]
        produced = (
            count * result if node.kind in ("map", "transform_map") else size if node.kind == "filter" else 1
        )
        return _grown(steps + count * (1 + body), produced)
