"""Signals in, in every form they travel in."""

from __future__ import annotations

import gzip
import json

from tests.faces.conftest import Serve, Served, event, line

from flo.core.errors import Overloaded, StorageUnavailable
from flo.faces.http import Limits

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"


async def test_a_structured_event_is_accepted(served: Served) -> None:
    status, _, body = await served.post("/v1/signals", line(), STRUCTURED)
    assert (status, body) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert served.service.raws == [line()]


async def test_a_charset_parameter_and_capitals_do_not_matter(served: Served) -> None:
    status, _, _ = await served.post("/v1/signals", line(), "Application/CloudEvents+JSON; charset=UTF-8")
    assert status == 202


async def test_a_charset_other_than_utf8_is_a_415(served: Served) -> None:
    status, _, body = await served.post("/v1/signals", line(), STRUCTURED + "; charset=utf-16")
    assert (status, body["type"]) == (415, "urn:flo:problem:media-type")


async def test_an_event_over_several_lines_reaches_the_ledger_as_one(served: Served) -> None:
    status, _, _ = await served.post("/v1/signals", json.dumps(event(), indent=2).encode(), STRUCTURED)
    assert status == 202
    assert json.loads(served.service.raws[0]) == event()


async def test_a_binary_event_is_accepted(served: Served) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "b1",
        "ce-source": "/g",
        "ce-type": "tx",
        "ce-subject": "a%20b",
    }
    status, _, body = await served.post("/v1/signals", b'{"card":\n"c9"}', "application/json", **headers)
    assert (status, body["accepted"]) == (202, 1)
    stored = json.loads(served.service.raws[0])
    assert stored["data"] == {"card": "c9"}
    assert stored["subject"] == "a b"


async def test_a_binary_event_without_its_id_is_a_400_that_names_it(served: Served) -> None:
    headers = {"ce-specversion": "1.0", "ce-source": "/g", "ce-type": "tx"}
    status, _, body = await served.post("/v1/signals", b"{}", "application/json", **headers)
    assert (status, body["reason"]) == (400, "cloudevent")
    assert "id" in body["detail"]


async def test_a_batch_refuses_its_bad_events_alone_and_by_index(served: Served) -> None:
    broken = event(2)
    del broken["source"]
    no_card = event(3, data={"amount": 1})
    body = json.dumps([event(1), broken, no_card, event(1), 7, event(4)]).encode()
    status, _, answer = await served.post("/v1/signals", body, BATCH)
    assert status == 202
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert [(row["index"], row["reason"]) for row in answer["rejected"]] == [
        (1, "cloudevent"),
        (2, "contract"),
        (4, "cloudevent"),
    ]
    assert all(row["detail"] for row in answer["rejected"])


async def test_ndjson_counts_empty_lines_for_nothing(served: Served) -> None:
    body = b"\n" + line(1) + b"\r\n\n" + line(2) + b"\n{bad\n"
    status, _, answer = await served.post("/v1/signals", body, LINES)
    assert (status, answer["accepted"], answer["rejected"][0]["index"]) == (202, 2, 2)


async def test_plain_json_is_one_event_or_an_array_of_them(served: Served) -> None:
    status, _, answer = await served.post("/v1/signals", line(1), "application/json")
    assert (status, answer["accepted"]) == (202, 1)
    status, _, answer = await served.post("/v1/signals", b" [" + line(2) + b"]", "application/json")
    assert (status, answer["accepted"]) == (202, 1)


async def test_a_body_without_one_readable_event_is_a_400_with_every_reason(served: Served) -> None:
    status, headers, answer = await served.post("/v1/signals", b"{bad\n[]\n", LINES)
    assert (status, answer["reason"]) == (400, "json")
    assert headers["Content-Type"] == "application/problem+json"
    assert [row["index"] for row in answer["rejected"]] == [0, 1]


async def test_events_that_all_break_their_contract_are_a_202_for_flo_has_them(served: Served) -> None:
    status, _, answer = await served.post("/v1/signals", line(data=5), STRUCTURED)
    assert (status, answer["rejected"][0]["reason"]) == (202, "contract")
    assert len(served.service.letters) == 1


async def test_a_batch_that_is_no_array_is_a_400(served: Served) -> None:
    for body in (b"{}", b"[", b"[1,", b"nonsense"):
        status, _, answer = await served.post("/v1/signals", body, BATCH)
        assert (status, answer["type"]) == (400, "urn:flo:problem:signal"), body


async def test_an_empty_body_is_a_400_and_an_empty_batch_is_not(served: Served) -> None:
    assert (await served.post("/v1/signals", b"", LINES))[0] == 400
    assert (await served.post("/v1/signals", b"[]", BATCH))[0] == 202


async def test_a_content_type_flo_does_not_read_is_a_415_that_lists_those_it_does(served: Served) -> None:
    status, headers, answer = await served.post("/v1/signals", line(), "text/xml")
    assert status == 415
    assert "application/x-ndjson" in answer["detail"]
    assert "application/cloudevents+json" in headers["Accept"]


async def test_gzip_is_read_within_the_limit_after_inflation(start: Serve) -> None:
    served = await start(limits=Limits(body_bytes_max=10_000))
    status, _, answer = await served.post(
        "/v1/signals", gzip.compress(line(1)), STRUCTURED, **{"Content-Encoding": "gzip"}
    )
    assert (status, answer["accepted"]) == (202, 1)
    bomb = gzip.compress(b" " * 50_000_000)
    status, _, answer = await served.post("/v1/signals", bomb, STRUCTURED, **{"Content-Encoding": "gzip"})
    assert (status, answer["type"]) == (413, "urn:flo:problem:too-large")


async def test_broken_gzip_is_a_400_and_another_encoding_a_415(served: Served) -> None:
    status, _, answer = await served.post(
        "/v1/signals", b"no gzip at all", STRUCTURED, **{"Content-Encoding": "gzip"}
    )
    assert (status, answer["status"]) == (400, 400)
    status, headers, _ = await served.post("/v1/signals", line(), STRUCTURED, **{"Content-Encoding": "br"})
    assert (status, headers["Accept-Encoding"]) == (415, "gzip")


async def test_too_many_events_too_many_bytes_and_too_much_depth_are_refused(start: Serve) -> None:
    served = await start(limits=Limits(body_bytes_max=5_000, batch_count_max=3, json_depth_max=8))
    lines = b"\n".join(line(number) for number in range(4))
    status, _, answer = await served.post("/v1/signals", lines, LINES)
    assert (status, "at most 3" in answer["detail"]) == (413, True)
    status, _, answer = await served.post("/v1/signals", b" " * 5_001, LINES)
    assert (status, "5000" in answer["detail"]) == (413, True)
    deep = line(1, data={"card": "c", "x": eval("[" * 9 + "]" * 9)})
    status, _, answer = await served.post("/v1/signals", deep + b"\n" + line(2), LINES)
    assert (status, answer["accepted"]) == (202, 1)
    assert answer["rejected"][0]["reason"] == "too-deep"
    brackets_in_text = line(3, data={"card": "[[[[[[[[[[{{{{{{{{" * 3})
    assert (await served.post("/v1/signals", brackets_in_text, LINES))[2]["accepted"] == 1
    assert served.service.raws == [line(2), brackets_in_text]


async def test_overload_takes_nothing_and_says_when_to_come_back(served: Served) -> None:
    served.service.fail_next = [Overloaded("intake is full: 10000 signals wait", 2.2)]
    status, headers, answer = await served.post("/v1/signals", line(), STRUCTURED)
    assert (status, headers["Retry-After"], answer["retry_after_s"]) == (429, "3", 2.2)
    assert answer["detail"] == "intake is full: 10000 signals wait"


async def test_a_disk_that_refuses_is_a_503(served: Served) -> None:
    served.service.fail_next = [StorageUnavailable("no space left on the ledger's disk; free some")]
    status, headers, answer = await served.post("/v1/decisions", line(), STRUCTURED)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert "free some" in answer["detail"]


async def test_a_decision_is_answered_with_its_record(served: Served) -> None:
    for number in range(3):
        status, _, answer = await served.post("/v1/decisions", line(number), STRUCTURED)
        assert status == 200
    assert answer["decisions"][0]["result"] == "review"
    status, _, again = await served.post("/v1/decisions", line(2), STRUCTURED)
    assert (status, again) == (200, answer)


async def test_decisions_are_asked_for_one_event_at_a_time(served: Served) -> None:
    for body, media in (
        (b"[" + line() + b"]", BATCH),
        (b"[]", "application/json"),
        (line(1) + b"\n" + line(2), LINES),
    ):
        status, _, answer = await served.post("/v1/decisions", body, media)
        assert (status, "/v1/signals" in answer["detail"]) == (400, True)
    assert (await served.post("/v1/decisions", line(1) + b"\n", LINES))[0] == 200


async def test_a_decision_on_no_cloudevent_is_a_400(served: Served) -> None:
    status, _, answer = await served.post("/v1/decisions", b'{"a": 1}', "application/json")
    assert (status, answer["reason"]) == (400, "cloudevent")
