from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
from population import Population, card_number, device_name
from scenarios import HOUR_NS
from traffic import LABEL_DELAY_MAX_S, LABEL_DELAY_MEDIAN_S, Plan, Traffic

from flo.core.contract import load_contract

SMALL = Plan(seed=11, cards=2_000, terminals=300)


def _seconds(event: dict) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = ([msgspec.json.encode(event) for event in Traffic(SMALL).events(3_000)] for _ in range(2))
    assert first == second


def test_taking_more_changes_nothing_of_what_came_before() -> None:
    few = [e for e in Traffic(SMALL).events(1_000) if e["type"] == "tx.authorized"]
    many = [e for e in Traffic(SMALL).events(2_500) if e["type"] == "tx.authorized"]
    assert many[:1_000] == few


def test_other_seeds_and_other_streams_give_other_traffic() -> None:
    takes = [
        [e["data"]["amount"] for e in islice(Traffic(plan).events(), 50)]
        for plan in (SMALL, replace(SMALL, seed=12), replace(SMALL, stream=1))
    ]
    assert takes[0] != takes[1] != takes[2] != takes[0]


def test_before_a_shift_traffic_is_what_it_is_without_one() -> None:
    shift_ns = SMALL.start_ns + 9 * HOUR_NS + HOUR_NS // 3
    plain = Traffic(SMALL).events(3_000)
    shifted = Traffic(replace(SMALL, shift_ns=shift_ns)).events(3_000)
    for one, other in zip(plain, shifted, strict=False):
        if datetime.fromisoformat(one["time"]).timestamp() * 1e9 >= shift_ns:
            return
        assert one == other
    pytest.fail("the traffic ended before the shift")


def test_events_come_in_order_of_time_with_ids_of_their_own() -> None:
    events = list(Traffic(SMALL).events(3_000))
    body = [e for e in events if e["type"] == "tx.authorized"]
    assert len(body) == 3_000
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)
    assert len({(e["source"], e["id"]) for e in events}) == len(events)


def test_every_fraud_and_nothing_else_is_labelled_once_and_late() -> None:
    traffic = Traffic(SMALL)
    at = {}
    labelled = Counter()
    for event in traffic.events(6_000):
        if event["type"] == "tx.authorized":
            at[event["id"]] = _seconds(event)
        else:
            tx_id = event["data"]["tx_id"]
            labelled[tx_id] += 1
            assert 0 < _seconds(event) - at[tx_id] <= LABEL_DELAY_MAX_S
    assert set(labelled) == set(traffic.truth)
    assert set(labelled.values()) == {1}
    assert LABEL_DELAY_MEDIAN_S < LABEL_DELAY_MAX_S


def test_rates_follow_the_hours_of_the_day() -> None:
    traffic = Traffic(SMALL)
    hours = Counter(e["data"]["hour"] for e in traffic.events(3_950) if e["type"] == "tx.authorized")
    for hour in range(20):
        expected = traffic.tx_in_hour(hour)
        assert abs(hours[hour] - expected) < 6 * expected**0.5 + 6, (
            hour
        )  # bursts widen a Poisson count a little
    assert hours[18] > 5 * hours[3]


def test_the_time_after_a_count_is_when_that_many_have_come() -> None:
    traffic = Traffic(SMALL)
    expected_s = traffic.time_after(2_000) / 1e9
    events = [e for e in traffic.events(2_000) if e["type"] == "tx.authorized"]
    assert abs(_seconds(events[-1]) - expected_s) < 1800


def test_the_mix_of_fraud_shifts_when_it_should() -> None:
    plan = Plan(seed=3, cards=20_000)
    plan = replace(plan, shift_ns=plan.start_ns + 12 * HOUR_NS)
    traffic = Traffic(plan)
    before, after = Counter(), Counter()
    for event in traffic.events(30_000):
        scenario = traffic.truth.get(event["id"])
        if scenario is not None:
            late = _seconds(event) * 1e9 >= plan.shift_ns
            (after if late else before)[scenario] += 1
    assert before["amount"] > 0.75 * before.total()
    assert before["terminal"] == 0
    assert after["terminal"] > 0.3 * after.total()
    assert after["amount"] < 0.3 * after.total()
    assert 0.006 < (before + after).total() / 30_000 < 0.02


def test_every_transaction_and_label_fits_its_contract(payments: Path) -> None:
    contracts = {}
    for kind, name in (
        ("tx.authorized", "tx.authorized"),
        ("tx.chargeback", "tx.labelled"),
    ):
        path = payments / "contracts" / name / "1.json"
        contract, problems = load_contract(name=name, version=1, document=path.read_bytes(), file=str(path))
        assert not problems
        contracts[kind] = contract
    for event in Traffic(SMALL).events(2_000):
        contracts[event["type"]].decode(msgspec.json.encode(event["data"]))


def test_some_cards_are_much_busier_than_others() -> None:
    activity = np.sort(Population(7).activity)[::-1]
    assert activity.sum() == pytest.approx(1.0)
    assert activity[0] == pytest.approx(2**0.6 * activity[1])
    assert activity[:2_000].sum() > 0.35


def test_cards_shop_near_home_and_in_their_country() -> None:
    people = Population(7, cards=3_000)
    apart = people.terminal_place[people.nearby] - people.card_place[:, None, :]
    assert np.median(np.hypot(apart[..., 0], apart[..., 1])) < 150
    assert (people.terminal_country[people.nearby] == people.card_country[:, None]).all()


def test_a_device_fingerprint_is_one_devices_own() -> None:
    names = {device_name(card, slot) for card in range(300) for slot in range(40)}
    assert len(names) == 300 * 40


@pytest.mark.parametrize("name", ["", "c", "c12", "x000001", "c00000a", "c0000001", "c-00001", "c٠٠٠٠٠١"])
def test_what_is_no_card_has_no_number(name: str) -> None:
    assert card_number(name) is None


def test_the_command_writes_ndjson(payments: Path) -> None:
    command = [
        sys.executable,
        str(payments / "traffic.py"),
        "--count",
        "200",
        "--seed",
        "5",
        "--cards",
        "500",
    ]
    output = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    events = [msgspec.json.decode(line) for line in output.splitlines()]
    assert sum(e["type"] == "tx.authorized" for e in events) == 200
    assert events == list(Traffic(Plan(seed=5, cards=500)).events(200))
