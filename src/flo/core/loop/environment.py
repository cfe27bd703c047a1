"""The names a loop's expressions may use, their types, and how the generated Python reads each."""

from __future__ import annotations

from collections.abc import Mapping

from flo.core.contract import AnyShape, Contract, ListShape, MapShape, Nullable, ObjectShape, Scalar, Shape
from flo.core.expression import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Attribute,
    Environment,
    Field,
    FunctionDecl,
    Item,
    ListOf,
    Local,
    MapOf,
    Record,
    Type,
    Variable,
)
from flo.core.loop.definition import LoopDefinition
from flo.core.state import StatePlan

_SCALARS = {
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "null": NULL,
    "timestamp": TIMESTAMP,
    "duration": DURATION,
}

SIGNAL = Record(
    "signal",
    {
        "id": Field(STRING, True, Attribute("id")),
        "source": Field(STRING, True, Attribute("source")),
        "type": Field(STRING, True, Attribute("type")),
        "time": Field(TIMESTAMP, True, Local("t")),
        "received": Field(TIMESTAMP, True, Local("now")),
    },
)

CONTEXT = Record(
    "context",
    {
        "root": Field(STRING, True, Attribute("root")),
        "hops": Field(INT, True, Attribute("hops")),
        "born": Field(TIMESTAMP, True, Attribute("born_ns")),
        "deadline": Field(TIMESTAMP, True, Attribute("deadline_ns")),
    },
)

_LOOP_FIELDS = {
    "name": Field(STRING, True, Local("loop_name")),
    "owner": Field(STRING, True, Local("loop_owner")),
}

LOOP_BEFORE = Record("loop", _LOOP_FIELDS)
"""`loop` where the key is not known yet."""

LOOP = Record(
    "loop",
    {**_LOOP_FIELDS, "key": Field(STRING, True, Local("key")), "seq": Field(INT, True, Local("seq"))},
)

COMMAND = MapOf(STRING, DYN)
"""`command` in an expectation: key, verb, engine, target, and whatever the engine's answer held (`run_id` ...)."""


def data_type(contract: Contract | None) -> Type:
    return (
        DYN
        if contract is None
        else type_of_shape(contract.shape, f"data of {contract.name}/{contract.version}")
    )


def type_of_shape(shape: Shape, name: str) -> Type:
    """A contract's shape as an expression type. What may be null or several things is dyn: CEL then decides at run time."""
    if isinstance(shape, Scalar):
        return _SCALARS[shape.name]
    if isinstance(shape, ListShape):
        return ListOf(type_of_shape(shape.item, f"{name} item"))
    if isinstance(shape, ObjectShape):
        fields = {}
        for field, inner in shape.fields.items():
            access = Item(field) if inner.attribute is None else Attribute(inner.attribute)
            fields[field] = Field(type_of_shape(inner.shape, f"{name}.{field}"), inner.required, access)
        structs = any(inner.attribute is not None for inner in shape.fields.values())
        return Record(name, fields, open=shape.open and not structs, mapping=not structs)
    if isinstance(shape, MapShape):
        return MapOf(STRING, type_of_shape(shape.value, f"{name} value"))
    assert isinstance(shape, Nullable | AnyShape)
    return DYN


def state_type(*plans: StatePlan) -> Record:
    """`state`: every definition a local variable of the generated function, `last` a record of four."""
    fields = {}
    for name, field in [item for plan in plans for item in plan.fields.items()]:
        if field.fields:
            parts = {
                part: Field(_SCALARS.get(kind, DYN), True, Local(local))
                for part, (local, kind) in field.fields.items()
            }
            fields[name] = Field(Record(f"state.{name}", parts), True, Local(f"s_{name}"))
        else:
            fields[name] = Field(_SCALARS.get(field.type, DYN), True, Local(field.local))
    return Record("state", fields)


def need_type(needs: Mapping[str, str]) -> Record:
    """`need.<name>` is what the dependency answered, a map, with `missing` added: true where it did not answer in time."""
    return Record(
        "need",
        {
            name: Field(
                Record(
                    f"need.{name}", {"missing": Field(BOOL, True, Item("missing"))}, open=True, mapping=True
                ),
                True,
                Item(name),
            )
            for name in needs
        },
    )


def loop_environment(
    definition: LoopDefinition,
    contract: Contract | None,
    functions: Mapping[str, FunctionDecl],
    *plans: StatePlan,
    needs: bool = True,
) -> Environment:
    """What expressions see. `where` and `key` come before what is fetched (`needs`), state inputs before the state
    (`plans`), rules and their arguments after both."""
    variables = {
        "signal": Variable(SIGNAL, code="signal"),
        "data": Variable(data_type(contract), code="data", whole="whole_data"),
        "now": Variable(TIMESTAMP, code="now"),
        "loop": Variable(LOOP if plans else LOOP_BEFORE, code="loop"),
        "context": Variable(CONTEXT, code="context"),
    }
    if needs and definition.needs:
        variables["need"] = Variable(need_type(definition.needs), code="need")
    if plans:
        variables["state"] = Variable(state_type(*plans), code="state")
    return Environment(variables=variables, functions=functions.values())


def anything_environment(
    definition: LoopDefinition, contract: Contract | None, functions: Mapping[str, FunctionDecl]
) -> Environment:
    """What rules see where the state's types are not known: every name of it, of any type."""
    known = loop_environment(definition, contract, functions)
    fields = {state.name: Field(DYN, True, Local(f"s_{state.name}")) for state in definition.state}
    variables = {
        **known.variables,
        "loop": Variable(LOOP, code="loop"),
        "state": Variable(Record("state", fields), code="state"),
    }
    return Environment(variables=variables, functions=functions.values())


def expectation_environment() -> Environment:
    """What `expect.where` sees: the signal that may close the iteration, and the command that waits for it."""
    return Environment(
        variables={
            "data": Variable(DYN, code="data"),
            "command": Variable(COMMAND, code="command"),
        },
    )


def silent_environment() -> Environment:
    """What the arguments of `on_silent` see: the command that stayed silent."""
    return Environment(variables={"command": Variable(COMMAND, code="command")})
