"""Quantiles and distinct counts that stay small: exact up to RAW_MAX values, a sketch of Apache DataSketches beyond.

A collection of values is a sorted list or a t-digest; a collection of distinct values is a set or a HyperLogLog sketch.
Adding gives the collection to keep, merging a new one; neither list nor sketch is shared between two collections.

Beyond RAW_MAX a quantile's rank is off by at most 0.5 % in the middle and far less towards the tails (t-digest, Dunning
2019, k = 1000; no proof bounds it, the tests do), a distinct count by 1.6 % (one standard deviation, lg k = 12).
KLL has a proven bound but draws random bits; deciding may not: the same signals must give the same figures.
"""

from __future__ import annotations

from bisect import insort
from typing import Any

from datasketches import hll_sketch, hll_union, tdigest_double, tgt_hll_type

from flo.core.state.entries import rank

RAW_MAX = 256
DIGEST_K = 1000
HLL_LG_K = 12
QUANTILE_RANK_ERROR = 0.005
DISTINCT_RELATIVE_ERROR = 0.016

DRIFT = 1000

Values = Any  # list[float] | Digest
Distinct = Any  # set[object] | hll_sketch


class Digest:
    """A t-digest that is asked again only when it has grown by a thousandth: asking costs a hundred times adding."""

    __slots__ = ("asked_at", "count", "sketch", "told")

    def __init__(self, sketch: Any) -> None:
        self.sketch = sketch
        self.count: int = sketch.get_total_weight()
        self.asked_at = 0
        self.told: dict[float, float] = {}

    def add(self, value: float) -> None:
        self.sketch.update(value)
        self.count += 1

    def quantile(self, q: float) -> float:
        if self.count > self.asked_at + self.asked_at // DRIFT:
            self.told.clear()
            self.asked_at = self.count
        if q not in self.told:
            self.told[q] = self.sketch.get_quantile(q)
        return self.told[q]


def add_value(values: Values, value: float) -> Values:
    if type(values) is not list:
        values.add(value)
        return values
    insort(values, value)
    return _digest(values) if len(values) > RAW_MAX else values


def merge_values(one: Values, other: Values) -> Values:
    """Two samples together: exact while they are few, a digest beyond."""
    if type(one) is list and type(other) is list:
        both = sorted(one + other)
        return _digest(both) if len(both) > RAW_MAX else both
    merged = tdigest_double(DIGEST_K)
    for values in (one, other):
        if type(values) is list:
            for value in values:
                merged.update(value)
        else:
            merged.merge(values.sketch)
    return Digest(merged)


def quantile(values: Values, q: float) -> float:
    """The smallest value that at least a share of q do not exceed."""
    if type(values) is list:
        return float(values[rank(q, len(values))])
    return float(values.quantile(q))


def add_distinct(distinct: Distinct, value: Any) -> Distinct:
    if type(distinct) is not set:
        distinct.update(_hashed(value))
        return distinct
    distinct.add(value)
    return _hll(distinct) if len(distinct) > RAW_MAX else distinct


def merge_distinct(one: Distinct, other: Distinct) -> Distinct:
    """Two sets together: exact while they are small, a sketch beyond."""
    if type(one) is set and type(other) is set:
        both = one | other
        return _hll(both) if len(both) > RAW_MAX else both
    union = hll_union(HLL_LG_K)
    union.update(one if type(one) is not set else _hll(one))
    union.update(other if type(other) is not set else _hll(other))
    return union.get_result(tgt_hll_type.HLL_8)


def distinct_count(distinct: Distinct) -> int:
    return len(distinct) if type(distinct) is set else round(distinct.get_estimate())


def observe(cell: list[Any], slot: int, value: float) -> None:
    """Add a value to the collection in a slot."""
    cell[slot] = add_value(cell[slot], value)


def observe_distinct(cell: list[Any], slot: int, value: Any) -> int:
    """Add a value to the distinct ones in a slot; how many there are."""
    distinct = cell[slot] = add_distinct(cell[slot], value)
    return distinct_count(distinct)


def _digest(values: list[float]) -> Any:
    sketch = tdigest_double(DIGEST_K)
    for value in values:
        sketch.update(value)
    return Digest(sketch)


def _hll(values: set[Any]) -> Any:
    sketch = hll_sketch(HLL_LG_K, tgt_hll_type.HLL_8)
    for value in values:
        sketch.update(_hashed(value))
    return sketch


def _hashed(value: Any) -> str:
    """One text per value: what is equal to CEL hashes alike, so 1 and 1.0 do and "1" does not."""
    if type(value) is str:
        return "s" + value
    if type(value) is bytes:
        return "b" + value.hex()
    if type(value) is float and not value.is_integer():
        return f"n{value!r}"
    return f"n{int(value)}"
