"""Contracts: what a signal's data must be, by name and version, as JSON Schema 2020-12.

`load_contract` checks a document and gives a `Contract`; `Contract.decode` accepts or refuses a signal's
bytes; `Contract.shape` tells the expression type checker what accepted data looks like.
"""

from __future__ import annotations

from flo.core.contract.contract import Contract, load_contract
from flo.core.contract.shape import (
    AnyShape,
    FieldShape,
    ListShape,
    MapShape,
    Nullable,
    ObjectShape,
    Scalar,
    Shape,
)
from flo.core.contract.violation import ContractViolation, Violation
from flo.core.errors import Problem as ContractProblem

__all__ = [
    "AnyShape",
    "Contract",
    "ContractProblem",
    "ContractViolation",
    "FieldShape",
    "ListShape",
    "MapShape",
    "Nullable",
    "ObjectShape",
    "Scalar",
    "Shape",
    "Violation",
    "load_contract",
]
