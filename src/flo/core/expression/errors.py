"""What can go wrong with an expression: it cannot be read, it does not fit its environment, it fails on data.

ExpressionSyntaxError   the text is no expression (fix the text)
ExpressionProblem       a finding of the checker: collected, never raised, so that all come in one go
EvaluationError         a third outcome beside true and false: the expression has no value for this data
"""

from __future__ import annotations

from dataclasses import dataclass

from flo.core.errors import FloError, InputError


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its expression something stands. Line and column count from 1; `text` is that very part."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class ExpressionProblem:
    """One thing wrong with an expression. Line and column count from 1 within the expression's text."""

    message: str
    line: int
    column: int
    hint: str | None = None

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.line}:{self.column}: {self.message}{hint}"


class ExpressionSyntaxError(InputError):
    """The text cannot be read as an expression; the same text never can."""

    def __init__(self, message: str, line: int, column: int, hint: str | None = None) -> None:
        super().__init__(f"{line}:{column}: {message}" + (f" ({hint})" if hint else ""))
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint

    def problem(self) -> ExpressionProblem:
        """The same finding in the form the checker uses."""
        return ExpressionProblem(self.message, self.line, self.column, self.hint)


class EvaluationError(FloError):
    """An expression that has no value for this data. Never to be read as false.

    `code` is stable and short: `no_such_key`, `no_such_field`, `no_such_name`, `index_out_of_range`,
    `overflow`, `divide_by_zero`, `no_matching_overload`, `bad_conversion`, `bad_argument`,
    `duplicate_key`, `budget`, `function_failed`. `place` is the part of the expression that failed.
    """

    __slots__ = ("code", "message", "place")

    def __init__(self, code: str, message: str, place: Place | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.place = place

    def __str__(self) -> str:
        if self.place is None:
            return self.message
        return f"{self.message} in `{self.place.text}` at {self.place.line}:{self.place.column}"
