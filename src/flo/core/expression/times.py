"""Timestamps and durations: reading, writing, taking apart.

Timestamps follow RFC 3339, durations the notation of Go's time.ParseDuration, as CEL says. Nanoseconds are
exact: nothing here goes through a float.
"""

from __future__ import annotations

import datetime
import functools
import re
import zoneinfo
from typing import Final

from flo.core.expression.errors import EvaluationError, Place
from flo.core.expression.values import (
    DURATION_NS_MAX,
    DURATION_NS_MIN,
    TIMESTAMP_NS_MAX,
    TIMESTAMP_NS_MIN,
    Duration,
    Timestamp,
)

_SECOND_NS: Final = 10**9
_UNITS_NS: Final = {
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ns": 1,
}
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|µs|μs|ns))+|0)", re.ASCII)
_DURATION_PART = re.compile(r"(\d*)(?:\.(\d*))?(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)


def parse_timestamp(text: str, at: Place | None = None) -> Timestamp:
    """RFC 3339 to a timestamp. EvaluationError `bad_conversion` for anything else."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise _bad(text, "timestamp", "write it as 2026-01-31T12:00:00Z", at)
    year, month, day, hour, minute, second, fraction, sign, offset_h, offset_m = found.groups()
    try:
        days = datetime.date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise _bad(text, "timestamp", str(error), at) from None
    if (
        int(hour) > 23
        or int(minute) > 59
        or int(second) > 59
        or int(offset_h or 0) > 23
        or int(offset_m or 0) > 59
    ):
        raise _bad(text, "timestamp", "no such time of day", at)
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign:
        offset_s = int(offset_h) * 3600 + int(offset_m) * 60
        seconds += offset_s if sign == "-" else -offset_s
    time_ns = seconds * _SECOND_NS + int((fraction or "0").ljust(9, "0"))
    return timestamp_of(time_ns, at)


def timestamp_of(time_ns: int, at: Place | None = None) -> Timestamp:
    """Nanoseconds since the epoch as a timestamp, if it is of the years 1 to 9999."""
    if not TIMESTAMP_NS_MIN <= time_ns <= TIMESTAMP_NS_MAX:
        raise EvaluationError("overflow", "the timestamp is not of the years 1 to 9999", at)
    return Timestamp(time_ns)


def parse_duration(text: str, at: Place | None = None) -> Duration:
    """`1h30m`, `1.5s`, `-20ms` to a duration. EvaluationError `bad_conversion` for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None or len(text) > 200:
        raise _bad(text[:200], "duration", "write it as 90s, 1h30m or 1.5s", at)
    total = 0
    for whole, fraction, unit in _DURATION_PART.findall(found.group(2)):
        total += int(whole or 0) * _UNITS_NS[unit]
        if fraction:
            total += int(fraction) * _UNITS_NS[unit] // 10 ** len(fraction)
    return duration_of(-total if found.group(1) == "-" else total, at)


def duration_of(length_ns: int, at: Place | None = None) -> Duration:
    """Nanoseconds as a duration, if it is shorter than 292 years."""
    if not DURATION_NS_MIN <= length_ns <= DURATION_NS_MAX:
        raise EvaluationError("overflow", "the duration is longer than 292 years", at)
    return Duration(length_ns)


def timestamp_text(time_ns: int) -> str:
    """RFC 3339 in UTC, with as many decimals as are needed."""
    seconds, fraction = divmod(time_ns, _SECOND_NS)
    days, second = divmod(seconds, 86_400)
    date = datetime.date.fromordinal(days + _EPOCH_DAY)
    return (
        f"{date.year:04}-{date.month:02}-{date.day:02}"
        f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}{_decimals(fraction)}Z"
    )


def duration_text(length_ns: int) -> str:
    """Seconds with as many decimals as are needed, as protobuf's JSON writes durations: `5400s`, `0.25s`."""
    seconds, fraction = divmod(abs(length_ns), _SECOND_NS)
    return f"{'-' if length_ns < 0 else ''}{seconds}{_decimals(fraction)}s"


def _decimals(fraction_ns: int) -> str:
    return f".{fraction_ns:09}".rstrip("0") if fraction_ns else ""


@functools.lru_cache(maxsize=256)
def _zone(name: str) -> datetime.tzinfo | None:
    found = _OFFSET.fullmatch(name)
    if found is not None:
        sign, hours, minutes = found.groups()
        if int(hours) > 23 or int(minutes) > 59:
            return None
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
        return datetime.timezone(-offset if sign == "-" else offset)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def check_zone(name: str, at: Place | None = None) -> datetime.tzinfo:
    """The time zone of a name (`Europe/Berlin`) or offset (`+02:00`). EvaluationError `bad_argument` if
    unknown.
    """
    zone = _zone(name) if len(name) <= 100 else None
    if zone is None:
        raise EvaluationError(
            "bad_argument", f"unknown time zone {name[:100]!r}: write Europe/Berlin or +02:00", at
        )
    return zone


def _moment(time_ns: int, zone: str, at: Place | None) -> datetime.datetime:
    """The moment to the second as its clock shows it there."""
    utc = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        utc += datetime.timedelta(seconds=time_ns // _SECOND_NS)
        return utc if zone == "UTC" else utc.astimezone(check_zone(zone, at))
    except OverflowError:
        raise EvaluationError("overflow", f"the timestamp has no local time in {zone}", at) from None


def full_year(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).year


def month(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).month - 1


def date(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).day


def day_of_month(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).day - 1


def day_of_week(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).isoweekday() % 7


def day_of_year(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).timetuple().tm_yday - 1


def hours(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).hour


def minutes(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).minute


def seconds(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    return _moment(time_ns, zone, at).second


def milliseconds(time_ns: int, zone: str = "UTC", at: Place | None = None) -> int:
    if zone != "UTC":
        check_zone(zone, at)
    return time_ns // 10**6 % 1000


def duration_whole(length_ns: int, unit_ns: int) -> int:
    """A duration in whole units, rounded towards zero."""
    return length_ns // unit_ns if length_ns >= 0 else -(-length_ns // unit_ns)


def _bad(text: str, what: str, why: str, at: Place | None) -> EvaluationError:
    return EvaluationError("bad_conversion", f"{text!r} is no {what}: {why}", at)
