"""Tokens to a syntax tree: precedence climbing, with limits on depth and size that no text can get past."""

from __future__ import annotations

from typing import Final, NoReturn, cast
from typing import Literal as OneOf

from flo.core.expression.errors import ExpressionSyntaxError
from flo.core.expression.lexer import Token, failure, tokens_of
from flo.core.expression.syntax import (
    EXPRESSION_DEPTH_MAX,
    EXPRESSION_NODES_MAX,
    OPERAND_FRAMES_MAX,
    Binary,
    Bind,
    Call,
    Comprehension,
    Conditional,
    Expression,
    Has,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MacroKind,
    MapLiteral,
    Name,
    Node,
    Select,
    Unary,
    children,
)
from flo.core.expression.values import INT_MAX, INT_MIN, UINT_MAX, UInt

RESERVED: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
"""Words CEL keeps for the future. They are names here only where the environment declares them (`loop`)."""

_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_PRECEDENCE: Final = {
    "||": 1,
    "&&": 2,
    "==": 3,
    "!=": 3,
    "<": 3,
    "<=": 3,
    ">": 3,
    ">=": 3,
    "in": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
}
# macro -> (kind, arguments after the variables: fewest, most), for one variable and for two
_MACROS: Final[dict[str, dict[int, tuple[MacroKind, int]]]] = {
    "all": {2: ("all", 1), 3: ("all", 2)},
    "exists": {2: ("exists", 1), 3: ("exists", 2)},
    "exists_one": {2: ("exists_one", 1), 3: ("exists_one", 2)},
    "existsOne": {2: ("exists_one", 1), 3: ("exists_one", 2)},
    "filter": {2: ("filter", 1)},
    "map": {2: ("map", 1), 3: ("map", 1)},
    "transformList": {3: ("map", 2), 4: ("map", 2)},
    "transformMap": {3: ("transform_map", 2), 4: ("transform_map", 2)},
}


def parse(text: str) -> Expression:
    """The syntax tree of an expression.

    Raises ExpressionSyntaxError with line, column and, where there is one, a hint. Time and stack are bounded
    whatever the text (EXPRESSION_LENGTH_MAX, EXPRESSION_NODES_MAX, EXPRESSION_DEPTH_MAX).
    """
    return _Parser(text).expression()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens_of(text)
        self.index = 0
        self.depth = 0
        self.waiting = 0
        self.nodes = 0
        self.heights: dict[int, int] = {}  # id(node) -> levels below it; nodes are kept alive by `kept`
        self.kept: list[Node] = []

    def expression(self) -> Expression:
        if self.tokens[0].kind == "end":
            raise failure(self.text, 0, "the expression is empty")
        root = self.conditional()
        if self.token.kind != "end":
            self.unexpected("the end of the expression")
        return Expression(self.text, root)

    # -- reading tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def end(self) -> int:
        """Where the last token read ends: a bracket counts to what it closes."""
        return self.tokens[self.index - 1].end

    def at(self, sign: str) -> bool:
        token = self.tokens[self.index]
        return token.value == sign and (token.kind == "sign" or (sign == "in" and token.kind == "name"))

    def take(self) -> Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def accept(self, sign: str) -> bool:
        if self.at(sign):
            self.index += 1
            return True
        return False

    def expect(self, sign: str, what: str) -> Token:
        if not self.at(sign):
            self.unexpected(f"`{sign}` {what}")
        return self.take()

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.token
        found = (
            "the end of the expression" if token.kind == "end" else f"`{self.text[token.start : token.end]}`"
        )
        raise failure(self.text, token.start, f"expected {wanted}, found {found}")

    def made(self, node: Node) -> Node:
        """Counts a finished node: limits on size and depth hold here, before anything recurses over it."""
        self.nodes += 1
        if self.nodes > EXPRESSION_NODES_MAX:
            raise failure(
                self.text, node.start, f"the expression has more than {EXPRESSION_NODES_MAX:,} parts"
            )
        height = 1 + max((self.heights[id(child)] for child in children(node)), default=0)
        if height > EXPRESSION_DEPTH_MAX:
            self.too_deep(node.start)
        self.heights[id(node)] = height
        self.kept.append(node)
        return node

    def too_deep(self, offset: int) -> NoReturn:
        message = f"the expression is nested more than {EXPRESSION_DEPTH_MAX} levels deep"
        raise failure(self.text, offset, message, "split it into several rules or state values")

    # -- the grammar

    def conditional(self) -> Node:
        self.depth += 1
        if self.depth > EXPRESSION_DEPTH_MAX:
            self.too_deep(self.token.start)
        start = self.token.start
        node = self.binary(1)
        if self.accept("?"):
            then = self.binary(1)
            self.expect(":", "between the two arms of `? :`")
            otherwise = self.conditional()
            node = self.made(Conditional(start, self.end, node, then, otherwise))
        self.depth -= 1
        return node

    def binary(self, lowest: int) -> Node:
        self.waiting += 1
        if self.waiting > OPERAND_FRAMES_MAX:
            self.too_deep(self.token.start)
        start = self.token.start
        left = self.operators(start, self.unary(), lowest)
        self.waiting -= 1
        return left

    def operators(self, start: int, left: Node, lowest: int) -> Node:
        while True:
            operator = str(self.token.value) if self.token.kind in ("sign", "name") else ""
            precedence = _PRECEDENCE.get(operator, 0)
            if precedence < lowest:
                return left
            if operator in ("&&", "||"):
                operands = [left]
                while self.accept(operator):
                    operands.append(self.binary(precedence + 1))
                sign: OneOf["&&", "||"] = "&&" if operator == "&&" else "||"
                left = self.made(Logic(start, self.end, sign, tuple(operands)))
                continue
            self.take()
            right = self.binary(precedence + 1)
            left = self.made(Binary(start, self.end, operator, left, right))

    def unary(self) -> Node:
        start = self.token.start
        for sign in "!-":
            if self.at(sign):
                count = 0
                while self.accept(sign):
                    count += 1
                if sign == "-" and self.token.kind in ("integer", "double"):
                    operand = self.member(start, self.number(negative=True, start=start))
                    count -= 1
                else:
                    operand = self.member(self.token.start, self.primary())
                if sign == "!" and count % 2 == 0:
                    count = 2  # `!!x` still asks for a bool
                elif count % 2 == 0:
                    return operand
                else:
                    count = 1
                for _ in range(count):
                    operand = self.made(Unary(start, self.end, "!" if sign == "!" else "-", operand))
                return operand
        return self.member(start, self.primary())

    def member(self, start: int, node: Node) -> Node:
        while True:
            if self.accept("."):
                node = self.selection(start, node)
            elif self.accept("["):
                if self.at("?"):
                    raise failure(
                        self.text, self.token.start, "optional indexing `[?` is not part of this language"
                    )
                index = self.conditional()
                end = self.expect("]", "after the index").end
                node = self.made(Index(start, end, node, index))
            elif self.at("{") and isinstance(node, Name | Select):
                raise failure(
                    self.text,
                    self.token.start,
                    "messages are not constructed in this language",
                    "write a map: {...}",
                )
            else:
                return node

    def selection(self, start: int, node: Node) -> Node:
        if self.at("?"):
            raise failure(self.text, self.token.start, "optional selection `.?` is not part of this language")
        token = self.token
        if token.kind not in ("name", "quoted") or token.value == "in":
            self.unexpected("a field or a function after `.`")
        self.take()
        name = str(token.value)
        if token.kind == "name" and self.accept("("):
            return self.method(start, node, name, token)
        return self.made(Select(start, token.end, node, name, token.kind == "quoted"))

    def arguments(self) -> tuple[tuple[Node, ...], int]:
        items: list[Node] = []
        while not self.at(")"):
            items.append(self.conditional())
            if not self.accept(","):
                break
        end = self.expect(")", "after the arguments").end
        return tuple(items), end

    def method(self, start: int, target: Node, name: str, token: Token) -> Node:
        items, end = self.arguments()
        if isinstance(target, Name) and target.name == "cel" and name == "bind" and len(items) == 3:
            return self.made(Bind(start, end, self.variable(items[0]), items[1], items[2]))
        if name in _MACROS and items:
            shapes = _MACROS[name]
            if len(items) in shapes:
                kind, count = shapes[len(items)]
                return self.macro(start, kind, count, target, items, end)
            counts = " or ".join(str(count) for count in shapes)
            raise failure(self.text, token.start, f"`{name}` takes {counts} arguments, not {len(items)}")
        return self.made(Call(start, end, name, target, items))

    def macro(
        self, start: int, kind: MacroKind, count: int, target: Node, items: tuple[Node, ...], end: int
    ) -> Node:
        variables = tuple(self.variable(item) for item in items[:count])
        if len(set(variables)) < len(variables):
            raise failure(self.text, items[1].start, f"both variables are called `{variables[0]}`")
        rest = items[count:]
        condition = rest[0] if len(rest) == 2 else None
        return self.made(Comprehension(start, end, kind, target, variables, condition, rest[-1]))

    def variable(self, node: Node) -> str:
        if isinstance(node, Name) and not node.absolute:
            return node.name
        raise failure(
            self.text, node.start, "expected the name of a variable", "for example items.all(item, item > 0)"
        )

    def primary(self) -> Node:
        token = self.token
        if token.kind in ("integer", "double"):
            return self.number()
        if token.kind in ("string", "bytes"):
            self.take()
            return self.made(Literal(token.start, token.end, token.value))
        if token.kind == "name" and token.value != "in":
            return self.named(token)
        if self.accept("."):
            name = self.token
            if name.kind != "name" or name.value in _CONSTANTS or name.value == "in":
                self.unexpected("a name after `.`")
            self.take()
            return self.made(Name(token.start, name.end, str(name.value), True))
        if self.accept("("):
            node = self.conditional()
            self.expect(")", "to close `(`")
            return node
        if self.accept("["):
            return self.list_literal(token)
        if self.accept("{"):
            return self.map_literal(token)
        return self.unexpected("a value")

    def named(self, token: Token) -> Node:
        self.take()
        name = str(token.value)
        if name in _CONSTANTS:
            return self.made(Literal(token.start, token.end, _CONSTANTS[name]))
        if not self.accept("("):
            return self.made(Name(token.start, token.end, name))
        items, end = self.arguments()
        if name == "has":
            if len(items) != 1 or not isinstance(items[0], Select):
                raise failure(self.text, token.start, "`has` takes one field", "for example has(data.amount)")
            return self.made(Has(token.start, end, items[0]))
        return self.made(Call(token.start, end, name, None, items))

    def list_literal(self, opening: Token) -> Node:
        items: list[Node] = []
        while not self.at("]"):
            if self.at("?"):
                raise failure(self.text, self.token.start, "optional elements are not part of this language")
            items.append(self.conditional())
            if not self.accept(","):
                break
        end = self.expect("]", "to close `[`").end
        return self.made(ListLiteral(opening.start, end, tuple(items)))

    def map_literal(self, opening: Token) -> Node:
        entries: list[tuple[Node, Node]] = []
        while not self.at("}"):
            if self.at("?"):
                raise failure(self.text, self.token.start, "optional entries are not part of this language")
            key = self.conditional()
            self.expect(":", "between key and value")
            entries.append((key, self.conditional()))
            if not self.accept(","):
                break
        end = self.expect("}", "to close `{`").end
        return self.made(MapLiteral(opening.start, end, tuple(entries)))

    def number(self, negative: bool = False, start: int | None = None) -> Node:
        token = self.take()
        text = cast(str, token.value)
        start = token.start if start is None else start
        sign = -1 if negative else 1
        if token.kind == "double":
            value: object = sign * float(text)
            if value in (float("inf"), float("-inf")):
                raise failure(self.text, token.start, f"{text} is larger than a double can be")
            return self.made(Literal(start, token.end, value))
        unsigned = text[-1] in "uU"
        digits = text[:-1] if unsigned else text
        if len(digits) > 40:
            raise self.out_of_range(token, "a number")
        number = int(digits, 16 if digits[:2] in ("0x", "0X") else 10)
        if unsigned:
            if number > UINT_MAX:
                raise self.out_of_range(token, f"an unsigned integer, at most {UINT_MAX},")
            literal = self.made(Literal(token.start, token.end, UInt(number)))
            return self.made(Unary(start, token.end, "-", literal)) if negative else literal
        if not INT_MIN <= sign * number <= INT_MAX:
            raise self.out_of_range(token, f"an integer, {INT_MIN} to {INT_MAX},")
        return self.made(Literal(start, token.end, sign * number))

    def out_of_range(self, token: Token, what: str) -> ExpressionSyntaxError:
        return failure(self.text, token.start, f"{token.value!r} is out of the range of {what} of 64 bits")
