"""One checked expression written down as Python.

What cannot fail becomes an inline Python expression. What can fail becomes a statement with a temporary
before it, so that the common case costs a plain operation and the failure is raised where it happens;
Python 3.11's `try` costs nothing until something is raised. `&&` and `||` evaluate what cannot fail first:
they are commutative, so a failure is absorbed without any `try` unless two operands can fail.
"""

from __future__ import annotations

from flo.core.expression import operators, typed
from flo.core.expression.checked import Checked
from flo.core.expression.conversions import from_json, record_value
from flo.core.expression.cost import WALK_STEPS_MAX
from flo.core.expression.emission.calling import CallWriter
from flo.core.expression.emission.comparing import ComparisonWriter
from flo.core.expression.emission.frame import Frame
from flo.core.expression.emission.looping import LoopWriter
from flo.core.expression.typed import Typed
from flo.core.expression.types import (
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Attribute,
    ListOf,
    Local,
    MapOf,
    Recorded,
)
from flo.core.expression.values import to_key

_RECORDED = (TIMESTAMP, DURATION, BYTES, UINT, DOUBLE)


class Writer(ComparisonWriter, CallWriter, LoopWriter):
    """Writes every kind of node."""

    def __init__(self, frame: Frame, checked: Checked) -> None:
        super().__init__(frame, checked)
        self.root = checked.root
        if checked.loops:
            self.budget = frame.temporary("steps")
            frame.line(f"{self.budget} = {WALK_STEPS_MAX}")

    def result(self, boxed: bool) -> str:
        """The code of the whole expression."""
        return self.boxed(self.root) if boxed else self.code(self.root)

    def code(self, node: Typed) -> str:
        return self.short(self.write(node))

    def write(self, node: Typed) -> str:
        match node:
            case typed.Constant():
                return self.constant(node)
            case typed.Read(code=code):
                return code
            case typed.Slot(number=number):
                return self.slots[number]
            case typed.FieldRead():
                return self.field(node)
            case typed.KeyRead():
                return self.key(node)
            case typed.HasField():
                return self.has(node)
            case typed.At():
                return self.at(node)
            case typed.Whole(operand=operand, code=code):
                return code or f"{self.frame.function(record_value)}({self.code(operand)})"
            case typed.Guard():
                return self.guard(node)
            case typed.Invoke():
                return self.invoke(node)
            case typed.Compare():
                return self.compare(node)
            case typed.Combine():
                return self.combine(node)
            case typed.Negate(operand=operand):
                return f"(not {self.code(operand)})"
            case typed.Choose():
                return self.choose(node)
            case typed.Loop():
                return self.loop(node)
        return self.build(node)

    def build(self, node: Typed) -> str:
        match node:
            case typed.MakeList(items=items):
                return "[" + ", ".join([self.boxed(each) for each in items]) + "]"
            case typed.MakeMap():
                return self.make_map(node)
            case typed.Let(slot=slot, value=value, body=body):
                name = self.slots[slot.number] = self.frame.temporary(slot.name)
                self.frame.line(f"{name} = {self.boxed(value)}")
                return self.code(body)
            case typed.Fail(code=code, message=message):
                error = self.frame.shared(("fail", code, message), (code, message), "k")
                self.frame.line(
                    f"raise {self.frame.runtime('EvaluationError')}(*{error}, {self.place(node)})"
                )
                return "None"
        raise AssertionError(f"no code for {type(node).__name__}")

    # -- constants and reading

    def constant(self, node: typed.Constant) -> str:
        value = node.value
        if value is None or isinstance(value, bool):
            return str(value)
        if isinstance(value, int):
            text = int.__repr__(value)
        elif isinstance(value, str | bytes | float):
            text = ascii(value)
        else:
            return self.frame.constant(value)
        return f"({text})" if text.startswith("-") else text

    def field(self, node: typed.FieldRead) -> str:
        access = node.field.access
        if isinstance(access, Attribute | Local):
            owner = "" if isinstance(access, Local) else self.code(node.owner)
            text = access.code(owner)
            if node.field.required:
                return text
            name = self.named(text) if isinstance(access, Local) else self.frame.assigned(text)
            self.fail(
                f"{name} is {self.frame.runtime('UNSET')}",
                f"no_such_field({node.name!a}, {self.place(node)})",
            )
            return name
        key = node.name if access is None else access.name
        if node.field.required:
            return f"{self.code(node.owner)}[{key!a}]"
        name = self.item(self.local(node.owner), ascii(key), node)
        if isinstance(access, Recorded) and node.type in _RECORDED:
            kind = self.frame.constant(node.type, "type")
            return self.call(from_json, name, kind, self.place(node))
        return name

    def key(self, node: typed.KeyRead) -> str:
        return self.item(self.local(node.owner), ascii(node.key), node)

    def item(self, owner: str, key: str, node: Typed) -> str:
        """`owner[key]`, with the failure named. TypeError: the owner has no keys, or none of this kind."""
        name = self.frame.temporary()
        self.frame.line("try:")
        self.frame.line(f"    {name} = {owner}[{key}]")
        self.frame.line("except (KeyError, TypeError):")
        error = self.frame.runtime("not_selectable")
        self.frame.line(f"    raise {error}({owner}, {key}, {self.place(node)}) from None")
        return name

    def has(self, node: typed.HasField) -> str:
        field = node.field
        if field is None:
            owner = self.atom(node.owner)
            if not isinstance(node.owner.type, MapOf):
                error = f"not_selectable({owner}, {node.name!a}, {self.place(node)})"
                self.fail(f"not isinstance({owner}, dict)", error)
            return f"({node.name!a} in {owner})"
        if field.required and not node.owner.fallible:
            return "True"
        if isinstance(field.access, Attribute | Local):
            owner = self.code(node.owner)
            return f"({field.access.code(owner)} is not {self.frame.runtime('UNSET')})"
        key = node.name if field.access is None else field.access.name
        return f"({key!a} in {self.code(node.owner)})"

    def at(self, node: typed.At) -> str:
        owner, index = node.owner, node.index
        if isinstance(owner.type, ListOf) and index.type == INT:
            return self.call(operators.list_item, self.code(owner), self.code(index), self.place(node))
        if isinstance(owner.type, MapOf) and index.type in (STRING, INT, UINT):
            return self.item(self.local(owner), self.atom(index), node)
        return self.call(operators.item, self.boxed(owner), self.boxed(index), self.place(node))

    def guard(self, node: typed.Guard) -> str:
        name = self.local(node.operand)
        if node.number:
            self.fail(
                f"type({name}) not in {self.frame.runtime('number_types')}",
                f"wrong_type({name}, 'a number', {self.place(node)})",
            )
            return name
        condition, wanted = self.unless(name, node.type)
        self.fail(condition, f"wrong_type({name}, {wanted!a}, {self.place(node)})")
        return name

    def make_map(self, node: typed.MakeMap) -> str:
        entries = [(self.boxed(key), self.boxed(value)) for key, value in node.entries]
        if node.plain:
            keys = [
                self.frame.constant(to_key(key.value))
                if isinstance(key, typed.Constant) and isinstance(key.value, bool)
                else text
                for (key, _), (text, _) in zip(node.entries, entries, strict=True)
            ]
            return (
                "{"
                + ", ".join(f"{key}: {value}" for key, (_, value) in zip(keys, entries, strict=True))
                + "}"
            )
        listed = "[" + ", ".join(f"({key}, {value})" for key, value in entries) + "]"
        return self.call(operators.make_map, listed, self.place(node))

    # -- logic

    def combine(self, node: typed.Combine) -> str:
        """`&&` or `||`: what cannot fail goes first, so that only a second fallible operand needs a `try`."""
        operands = [each for each in node.operands if not each.fallible]
        operands += [each for each in node.operands if each.fallible]
        if sum(each.fallible for each in operands) > 1:
            return self.combine_absorbing(node, operands)
        frame = self.frame
        word = " and " if node.operator == "&&" else " or "
        waiting = [self.code(operands[0])]
        result = ""
        for each in operands[1:]:
            with frame.capture(1) as lines:
                text = self.code(each)
            if not lines:
                waiting.append(text)
                continue
            if waiting:
                result = self.decided(node, result, [], word.join(waiting))
            result = self.decided(node, result, lines, text)
            waiting = []
        if not result:
            return "(" + word.join(waiting) + ")"
        return self.decided(node, result, [], word.join(waiting)) if waiting else result

    def decided(self, node: typed.Combine, result: str, lines: list[str], text: str) -> str:
        """Sets `result` to the value of `text`, unless it decides already; `lines` go before."""
        frame = self.frame
        if not result:
            return frame.assigned(text)
        with frame.block(f"if {result}:" if node.operator == "&&" else f"if not {result}:"):
            frame.lines.extend(lines)
            frame.line(f"{result} = {text}")
        return result

    def combine_absorbing(self, node: typed.Combine, operands: list[Typed]) -> str:
        """More than one operand can fail: a failure is kept until the others have had their say."""
        frame = self.frame
        result, error = frame.temporary(), frame.temporary("error")
        neutral = node.operator == "&&"
        undecided = result if neutral else f"not {result}"
        frame.line(f"{error} = None")
        self.operand(operands[0], result, error, neutral)
        for each in operands[1:-1]:
            with frame.block(f"if {undecided}:"):
                self.operand(each, result, error, neutral)
        with frame.block(f"if {undecided}:"):
            frame.line(f"{result} = {self.code(operands[-1])}")
        with frame.block(f"if {undecided} and {error} is not None:"):
            frame.line(f"raise {error}")
        return result

    def operand(self, node: Typed, result: str, error: str, neutral: bool) -> None:
        """One operand into `result`; its failure is kept in `error`, and the operand then decides nothing."""
        if not node.fallible:
            self.frame.line(f"{result} = {self.code(node)}")
            return
        with self.frame.nested("try:", node):
            self.frame.line(f"{result} = {self.code(node)}")
        with self.caught(error):
            self.frame.line(f"{result} = {neutral}")

    def choose(self, node: typed.Choose) -> str:
        frame = self.frame
        condition = self.code(node.condition)
        with frame.capture(1) as before_then:
            then = self.arm(node, node.then)
        with frame.capture(1) as before_otherwise:
            otherwise = self.arm(node, node.otherwise)
        if not before_then and not before_otherwise:
            return f"({then} if {condition} else {otherwise})"
        result = frame.temporary()
        for header, lines, text in (
            (f"if {condition}:", before_then, then),
            ("else:", before_otherwise, otherwise),
        ):
            with frame.block(header):
                frame.lines.extend(lines)
                frame.line(f"{result} = {text}")
        return result

    def arm(self, node: typed.Choose, arm: Typed) -> str:
        """An arm of `? :`; boxed where the other arm is of another type."""
        return self.code(arm) if arm.type == node.type else self.boxed(arm)
