"""Fifteen thousand real taxi trips: the contract refuses just those an independent validator refuses.

Each row of the file becomes one JSON object: a cell is written as it stands in the file where it is a number,
as a string where it is not, and is absent where it is empty.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flo.core.contract import Contract, ContractViolation, load_contract

from .deciding import dead_letters, decide_file, decisions, write_bundle, write_signals

_DATA = Path(os.environ.get("FLO_DATA") or Path(__file__).parents[3] / "shared" / "data")
FILE = _DATA / "chicago_taxi" / "data.csv.gz"
TEXT_COLUMNS = {"payment_type", "company"}


def _whole(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


_LATITUDE = {"type": "number", "minimum": 41.6, "maximum": 42.1}
_LONGITUDE = {"type": "number", "minimum": -88.0, "maximum": -87.5}
TRIP: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "One finished taxi trip in Chicago",
    "type": "object",
    "required": [
        *("fare", "tips", "trip_miles", "trip_seconds", "trip_start_timestamp", "payment_type"),
        *("pickup_latitude", "pickup_longitude", "pickup_community_area"),
    ],
    "additionalProperties": False,
    "properties": {
        "fare": {"type": "number", "minimum": 0, "maximum": 500},
        "tips": {"type": "number", "minimum": 0, "maximum": 40},
        "trip_miles": {"type": "number", "minimum": 0, "exclusiveMaximum": 250},
        "trip_seconds": _whole(0, 43_200),
        "trip_start_timestamp": _whole(1_356_998_400, 1_483_228_799),
        "trip_start_month": _whole(1, 12),
        "trip_start_day": _whole(1, 7),
        "trip_start_hour": _whole(0, 23),
        "pickup_community_area": _whole(1, 77),
        "dropoff_community_area": _whole(1, 77),
        "pickup_census_tract": _whole(17_031_000_000, 17_031_999_999),
        "dropoff_census_tract": _whole(17_031_000_000, 17_031_999_999),
        "pickup_latitude": _LATITUDE,
        "pickup_longitude": _LONGITUDE,
        "dropoff_latitude": _LATITUDE,
        "dropoff_longitude": _LONGITUDE,
        "payment_type": {"enum": ["Cash", "Credit Card", "No Charge", "Dispute", "Pcard"]},
        "company": {"type": "string", "maxLength": 40, "pattern": "^[A-Z]"},
    },
}


@pytest.fixture(scope="module")
def rows() -> list[bytes]:
    if not FILE.exists():
        pytest.skip(f"{FILE} is absent; set FLO_DATA to the folder that holds chicago_taxi/data.csv.gz")
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as file:
        return [_row_as_json(row) for row in csv.DictReader(file)]


def _row_as_json(row: dict[str, str]) -> bytes:
    cells = {name: json.dumps(cell) if name in TEXT_COLUMNS else cell for name, cell in row.items() if cell}
    return ("{" + ",".join(f'"{name}":{cell}' for name, cell in cells.items()) + "}").encode()


def _contract(schema: dict[str, Any]) -> Contract:
    contract, problems = load_contract(
        "taxi.trip", 1, json.dumps(schema).encode(), "contracts/taxi.trip/1.json"
    )
    assert contract is not None, problems
    return contract


def _refusals(contract: Contract, rows: list[bytes]) -> tuple[list[int], Counter[str]]:
    refused: list[int] = []
    reasons: Counter[str] = Counter()
    for index, raw in enumerate(rows):
        try:
            contract.decode(raw)
        except ContractViolation as violation:
            refused.append(index)
            reasons.update(v.reason_code for v in violation.violations)
    return refused, reasons


def _independent_refusals(rows: list[bytes]) -> tuple[list[int], Counter[str]]:
    validator = jsonschema.Draft202012Validator(TRIP)
    refused: list[int] = []
    reasons: Counter[str] = Counter()
    for index, raw in enumerate(rows):
        errors = list(validator.iter_errors(json.loads(raw)))
        if errors:
            refused.append(index)
        for error in errors:
            missing = [error.message.split("'")[1]] if error.validator == "required" else []
            reasons[f"{error.validator}:/{'/'.join([*map(str, error.path), *missing])}"] += 1
    return refused, reasons


@pytest.fixture(scope="module")
def independent(rows: list[bytes]) -> tuple[list[int], Counter[str]]:
    return _independent_refusals(rows)


def test_the_fast_contract_refuses_the_rows_an_independent_validator_refuses_for_the_same_reasons(
    rows: list[bytes], independent: tuple[list[int], Counter[str]]
) -> None:
    contract = _contract(TRIP)
    assert contract.fast
    assert _refusals(contract, rows) == independent


def test_the_slow_contract_refuses_the_same_rows_for_the_same_reasons(
    rows: list[bytes], independent: tuple[list[int], Counter[str]]
) -> None:
    contract = _contract({**TRIP, "minProperties": 1})
    assert not contract.fast
    assert _refusals(contract, rows) == independent


def test_what_is_dirty_in_the_file_is_known_by_number(independent: tuple[list[int], Counter[str]]) -> None:
    refused, reasons = independent
    assert dict(reasons) == {
        "enum:/payment_type": 30,
        "exclusiveMaximum:/trip_miles": 1,
        "maximum:/fare": 1,
        "maximum:/tips": 1,
        "maximum:/trip_seconds": 1,
        "pattern:/company": 83,
        "required:/pickup_community_area": 2,
        "required:/pickup_latitude": 2,
        "required:/pickup_longitude": 2,
        "required:/trip_seconds": 6,
    }
    assert len(refused) == 119


def test_accepted_rows_carry_the_numbers_of_the_file(rows: list[bytes]) -> None:
    contract = _contract(TRIP)
    for raw in rows:
        try:
            trip = contract.decode(raw)
        except ContractViolation:
            continue
        cells = json.loads(raw)
        assert (trip.fare, trip.trip_seconds) == (cells["fare"], cells["trip_seconds"])
        assert (type(trip.fare), type(trip.trip_seconds)) == (float, int)


# -- through the runtime --------------------------------------------------------------------------------------

LOOP = """loop: trips
on: taxi.trip
contract: taxi.trip/1
key: string(data.pickup_community_area)
state:
  trips_1d: {count: true, over: 1d}
  fare_1d: {sum: data.fare, over: 1d}
rules:
  - {id: dear, when: data.fare > 100.0}
otherwise: usual
"""


@pytest.fixture(scope="module")
def decided(rows: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    here = tmp_path_factory.mktemp("taxi")
    bundle = write_bundle(here / "bundle", LOOP, {"taxi.trip/1": TRIP})
    signals = write_signals(here / "trips.ndjson", (_signal(index, raw) for index, raw in enumerate(rows)))
    return decide_file(bundle, here / "data", signals), here / "data"


def _signal(index: int, raw: bytes) -> bytes:
    """The trip as an event at its own time; the file is not in order of time."""
    start = datetime.fromtimestamp(json.loads(raw)["trip_start_timestamp"], UTC)
    head = {"specversion": "1.0", "id": str(index), "source": "taxi", "type": "taxi.trip"}
    head["time"] = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps(head).encode()[:-1] + b', "data": ' + raw + b"}"


def test_the_runtime_puts_the_refused_rows_among_the_dead_letters_and_decides_all_others(
    rows: list[bytes],
    independent: tuple[list[int], Counter[str]],
    decided: tuple[dict[str, Any], Path],
) -> None:
    summary, data = decided
    refused, _ = independent
    counted = {
        name: summary[name] for name in ("signals", "accepted", "rejected", "dead_letters", "decisions")
    }
    good = len(rows) - len(refused)
    assert counted == {
        "signals": len(rows),
        "accepted": good,
        "rejected": len(refused),
        "dead_letters": len(refused),
        "decisions": good,
    }
    found = [(int(json.loads(signal)["id"]), letter.reason) for signal, letter in dead_letters(data)]
    assert found == [(index, "contract") for index in refused]
    taken = [int(json.loads(signal)["id"]) for signal, *_ in decisions(data)]
    assert taken == sorted(set(range(len(rows))) - set(refused))


def test_each_dead_letter_names_the_places_and_reasons_an_independent_validator_names(
    independent: tuple[list[int], Counter[str]], decided: tuple[dict[str, Any], Path]
) -> None:
    _, reasons = independent
    named: Counter[str] = Counter()
    for _, letter in dead_letters(decided[1]):
        _, _, told = letter.detail.partition("contract taxi.trip/1: ")
        named.update(_reason(violation) for violation in told.split("; "))
    assert named == reasons


def _reason(violation: str) -> str:
    path, _, message = violation.partition(": ")
    (rule,) = [rule for words, rule in _SAID.items() if words in message]
    return f"{rule}:{path}"


_SAID = {
    "is required and absent": "required",
    "is not one of": "enum",
    "is not below": "exclusiveMaximum",
    "is greater than the maximum": "maximum",
    "does not match": "pattern",
}


def test_a_dirty_file_offered_again_adds_no_second_dead_letter(
    rows: list[bytes], decided: tuple[dict[str, Any], Path]
) -> None:
    _, data = decided
    before = len(list(dead_letters(data)))
    again = decide_file(data.parent / "bundle", data, data.parent / "trips.ndjson")
    assert (again["duplicates"], again["accepted"], again["rejected"]) == (len(rows), 0, 0)
    assert len(list(dead_letters(data))) == before
