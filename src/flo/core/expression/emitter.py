"""Checked expressions to Python source, many of them into one function."""

from __future__ import annotations

from flo.core.expression.checked import Checked
from flo.core.expression.emission.frame import Frame
from flo.core.expression.emission.writer import Writer


class Emitter(Frame):
    """Collects the statements of one Python function, the caller's own and those of expressions.

    `lines` are finished, indented statements. `constants` must be in the globals of the function they are
    compiled into. Names of temporaries start with `prefix`; nothing of the caller's may. `line()` and
    `block()` add the caller's own statements.
    """

    def expression(self, checked: Checked, *, boxed: bool = False) -> str:
        """Python for the value of an expression, valid right after the statements this adds to `lines`.

        Where the static type is uint, timestamp or duration the value is a bare int, unless `boxed`: then
        it is a UInt, Timestamp or Duration, as whoever does not know the static type needs it. The code
        may be used once (give it a name to use it again). It raises EvaluationError only if
        `checked.fallible`.
        """
        outer, self.base_level, self.blocks = self.base_level, self.level, 0
        try:
            return Writer(self, checked).result(boxed)
        finally:
            self.base_level = outer
