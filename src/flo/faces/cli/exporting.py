"""Rows to files: NDJSON, and Parquet where pyarrow is installed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from flo.faces.cli.failure import CommandFailed

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:  # an extra, too large (40 MB) to ask of everyone
    pyarrow = None

ROWS_PER_GROUP = 50_000

_encode = msgspec.json.Encoder().encode


def require_parquet() -> None:
    if pyarrow is None:
        raise CommandFailed("Parquet needs pyarrow", "pip install 'flo-orchestrator[parquet]'")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name once it is complete: a crash or an error leaves what stood there before."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_ndjson(rows: Iterable[dict[str, Any]], file: BinaryIO) -> int:
    """One JSON object a line; how many."""
    count = 0
    for row in rows:
        file.write(_encode(row) + b"\n")
        count += 1
    file.flush()
    return count


def write_parquet(rows: Iterable[dict[str, Any]], file: BinaryIO) -> int:
    """A column for each field; how many rows.

    Numbers, texts and truth values keep their type; nested values become JSON text, for their shape may
    differ from row to row. The first 50,000 rows set the columns; a field that first comes later is put into
    `more`, as JSON.
    """
    remaining = iter(rows)
    first = list(islice(remaining, ROWS_PER_GROUP))
    schema = _schema(first)
    count = 0
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        group = first
        while group:
            writer.write_table(_table(group, schema))
            count += len(group)
            group = list(islice(remaining, ROWS_PER_GROUP))
    return count


def write_columns(fields: Mapping[str, str], batches: Iterable[dict[str, list[Any]]], file: BinaryIO) -> int:
    """Batches that lie in columns already, to Parquet; how many rows. A row group holds about 50,000 of them."""
    schema = pyarrow.schema([(name, _column_type(kind)) for name, kind in fields.items()])
    count = waiting = 0
    tables: list[Any] = []
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            columns = [_array(batch[name], kind) for name, kind in fields.items()]
            tables.append(pyarrow.Table.from_arrays(columns, schema=schema))
            waiting += tables[-1].num_rows
            if waiting >= ROWS_PER_GROUP:
                writer.write_table(pyarrow.concat_tables(tables))
                count, waiting, tables = count + waiting, 0, []
        if tables:
            writer.write_table(pyarrow.concat_tables(tables))
    return count + waiting


def _column_type(kind: str) -> Any:
    match kind:
        case "int":
            return pyarrow.int64()
        case "uint":
            return pyarrow.uint64()
        case "float":
            return pyarrow.float64()
        case "bool":
            return pyarrow.bool_()
        case "time":
            return pyarrow.timestamp("ns", tz="UTC")
    return pyarrow.string()


def _array(values: list[Any], kind: str) -> Any:
    if kind == "json":
        values = [None if value is None else _encode(value).decode() for value in values]
    return pyarrow.array(values, type=_column_type(kind))


def _schema(rows: list[dict[str, Any]]) -> Any:
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            found = kinds.setdefault(name, set())
            if value is not None:
                found.add(type(value))
    fields = [(name, _arrow_type(found)) for name, found in kinds.items() if name != "more"]
    return pyarrow.schema([*fields, ("more", pyarrow.string())])


def _arrow_type(found: set[type]) -> Any:
    if found == {bool}:
        return pyarrow.bool_()
    if found == {int}:
        return pyarrow.int64()
    if found and found <= {int, float}:
        return pyarrow.float64()
    return pyarrow.string()


def _table(rows: list[dict[str, Any]], schema: Any) -> Any:
    names = set(schema.names) - {"more"}
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row in rows:
        more = {name: value for name, value in row.items() if name not in names}
        for field in schema:
            if field.name == "more":
                continue
            value, fits = _fitted(row.get(field.name), field.type)
            columns[field.name].append(value)
            if not fits:
                more[field.name] = row[field.name]
        columns["more"].append(_encode(more).decode() if more else None)
    return pyarrow.table(columns, schema=schema)


def _fitted(value: Any, kind: Any) -> tuple[Any, bool]:
    """(the value as its column holds it, whether it does)."""
    if value is None:
        return None, True
    if pyarrow.types.is_string(kind):
        return (value if isinstance(value, str) else _encode(value).decode()), True
    if pyarrow.types.is_boolean(kind):
        return (value, True) if isinstance(value, bool) else (None, False)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, False
    if pyarrow.types.is_integer(kind):
        fits = isinstance(value, int) and -(2**63) <= value < 2**63
        return (value, True) if fits else (None, False)
    return float(value), True
