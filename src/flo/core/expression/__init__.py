"""The expression language of rules: CEL, parsed, checked against its environment, and compiled to Python.

    parse -> check -> Emitter.expression (into the one function of a loop) or compile_expression (on its own)

`docs/reference/expressions.md` says what is in the language.
"""

from flo.core.expression.checked import Checked
from flo.core.expression.checker import check
from flo.core.expression.compiler import compile_expression
from flo.core.expression.conversions import to_cel, to_json
from flo.core.expression.emitter import Emitter
from flo.core.expression.errors import EvaluationError, ExpressionProblem, ExpressionSyntaxError, Place
from flo.core.expression.functions import FunctionDecl
from flo.core.expression.parser import parse
from flo.core.expression.scope import Environment
from flo.core.expression.syntax import Expression
from flo.core.expression.template import (
    CheckedTemplate,
    Template,
    check_template,
    emit_template,
    parse_template,
)
from flo.core.expression.trace import Traced, Tracer, trace
from flo.core.expression.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Attribute,
    Field,
    Item,
    ListOf,
    Local,
    MapOf,
    Record,
    Type,
    Variable,
)
from flo.core.expression.values import Duration, Timestamp, UInt

__all__ = [
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "TYPE",
    "UINT",
    "Attribute",
    "Checked",
    "CheckedTemplate",
    "Duration",
    "Emitter",
    "Environment",
    "EvaluationError",
    "Expression",
    "ExpressionProblem",
    "ExpressionSyntaxError",
    "Field",
    "FunctionDecl",
    "Item",
    "ListOf",
    "Local",
    "MapOf",
    "Place",
    "Record",
    "Template",
    "Timestamp",
    "Traced",
    "Tracer",
    "Type",
    "UInt",
    "Variable",
    "check",
    "check_template",
    "compile_expression",
    "emit_template",
    "parse",
    "parse_template",
    "to_cel",
    "to_json",
    "trace",
]
