"""Writing calls of operators and functions."""

from __future__ import annotations

import re
from typing import Final

from flo.core.expression import operators
from flo.core.expression.emission.writing import Writing
from flo.core.expression.functions import BOUNDS, Dispatcher, Overload
from flo.core.expression.strings import found_in, pattern_of
from flo.core.expression.typed import Constant, Invoke, Typed
from flo.core.expression.types import DOUBLE, DYN, UINT

_PLAIN_PATTERN: Final = re.compile(r"(\^?)([A-Za-z0-9_ :/@,;<>=!%&~#'\"-]*)(\$?)", re.ASCII)


class CallWriter(Writing):
    """Calls: inline where the overload is known and simple, a function of the table otherwise."""

    def invoke(self, node: Invoke) -> str:
        text = self.called(node)
        overloads = (node.overload,) if node.overload else node.function.overloads
        if not self.walks or not any(each.growth in ("sum", "product") for each in overloads):
            return text
        # Within a walk the size of what is put together counts too: long texts times long lists are not free.
        name = self.named(text)
        self.frame.line(f"{self.budget} -= {self.call(operators.weight, name)}")
        self.fail(f"{self.budget} < 0", f"out_of_budget({self.place(node)})")
        return name

    def called(self, node: Invoke) -> str:
        overload = node.overload
        if overload is None:
            dispatcher = Dispatcher(node.function)
            name = self.frame.shared(
                ("dispatch", node.function.name, node.function.overloads), dispatcher, "call"
            )
            arguments = [self.boxed(each) for each in node.arguments]
            return f"{name}({', '.join([self.place(node), *arguments])})"
        special = self.special(node)
        if special is not None:
            return special
        arguments = [
            self.boxed(each) if overload.variadic or wanted == DYN else self.code(each)
            for each, wanted in zip(
                node.arguments, overload.parameters or (DYN,) * len(node.arguments), strict=True
            )
        ]
        if overload.inline is not None:
            return self.inline(node, overload, arguments)
        assert overload.call is not None
        places = [self.place(node)] if overload.fallible else []
        name = self.frame.function(overload.call)
        return f"{name}({', '.join([*arguments, *places])})"

    def inline(self, node: Invoke, overload: Overload, arguments: list[str]) -> str:
        if not overload.bounded:
            return (overload.inline or "").format(*arguments)
        name = self.frame.temporary()
        text = (overload.inline or "").format(*arguments)
        self.frame.line(f"{name} = {text[1:-1]}")
        lowest, highest = BOUNDS[overload.result]
        self.fail(
            f"not {lowest} <= {name} <= {highest}", f"overflow({str(overload.result)!a}, {self.place(node)})"
        )
        return name

    def special(self, node: Invoke) -> str | None:
        """Calls whose last argument is a constant have shorter forms."""
        last = node.arguments[-1] if node.arguments else None
        name = node.function.name
        if name == "matches" and isinstance(last, Constant) and isinstance(last.value, str):
            return self.match(node.arguments[0], last.value)
        if name not in ("/", "%") or node.overload is None:
            return None
        if node.overload.result == DOUBLE:
            return self.double_division(node, last)
        if isinstance(last, Constant) and isinstance(last.value, int) and last.value > 0:
            return self.division_by(node, name, int(last.value))
        return None

    def match(self, text: Typed, pattern: str) -> str:
        """`matches` with a constant pattern; one that is plain text, perhaps anchored, needs no pattern at all."""
        plain = _PLAIN_PATTERN.fullmatch(pattern)
        if plain is None:
            compiled = self.frame.shared(("matches", pattern), pattern_of(pattern), "pattern")
            return self.call(found_in, compiled, self.code(text))
        start, literal, end = plain.groups()
        if start and end:
            return f"({self.code(text)} == {literal!a})"
        if start:
            return f"{self.code(text)}.startswith({literal!a})"
        return f"{self.code(text)}.endswith({literal!a})" if end else f"({literal!a} in {self.code(text)})"

    def division_by(self, node: Invoke, sign: str, divisor: int) -> str:
        """Division by a positive constant: it cannot fail, and rounds towards zero."""
        if node.overload is not None and node.overload.result == UINT:
            return f"({self.code(node.arguments[0])} {'//' if sign == '/' else '%'} {divisor})"
        dividend = self.atom(node.arguments[0])
        operator = "//" if sign == "/" else "%"
        return (
            f"({dividend} {operator} {divisor} if {dividend} >= 0 else -(-{dividend} {operator} {divisor}))"
        )

    def double_division(self, node: Invoke, last: object) -> str:
        if isinstance(last, Constant) and last.value:
            return f"({self.code(node.arguments[0])} / {self.code(last)})"
        dividend, divisor = (self.atom(each) for each in node.arguments)
        helper = self.call(operators.double_divide, dividend, divisor)
        return f"({dividend} / {divisor} if {divisor} else {helper})"
