"""Credit months, counted from their anchor."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from billing.cycles import credit_month, months_later

INSTANTS = some.integers(0, 20 * 366 * 24 * 3600).map(
    lambda second: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("anchor", "at", "start", "end"),
    [
        ("2026-01-15", "2026-01-15", "2026-01-15", "2026-02-15"),
        ("2026-01-15", "2026-02-14T23:59:59", "2026-01-15", "2026-02-15"),
        ("2026-01-31", "2026-02-28", "2026-02-28", "2026-03-31"),
        ("2026-01-31", "2026-02-27T23:00", "2026-01-31", "2026-02-28"),
        ("2024-01-30", "2024-02-29", "2024-02-29", "2024-03-30"),
        ("2025-12-10T08:30", "2026-01-10T08:29", "2025-12-10T08:30", "2026-01-10T08:30"),
    ],
)
def test_a_month_begins_on_the_anchors_day_or_the_months_last(anchor: str, at: str, start: str, end: str) -> None:
    assert credit_month(day(anchor), day(at)) == (day(start), day(end))


def test_months_are_counted_in_utc_whatever_zone_asks() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert credit_month(day("2026-01-15"), day("2026-02-14T20:00").astimezone(tokyo))[1] == day("2026-02-15")


@given(INSTANTS, INSTANTS)
def test_every_instant_lies_in_exactly_one_month(anchor: datetime, at: datetime) -> None:
    start, end = credit_month(anchor, at)
    assert start <= at < end
    assert credit_month(anchor, start) == (start, end)
    assert credit_month(anchor, end)[0] == end


@given(INSTANTS, some.integers(0, 60))
def test_the_anchors_day_comes_back_after_a_short_month(anchor: datetime, months: int) -> None:
    later = months_later(anchor, months)
    assert later.day == anchor.day or (later + timedelta(days=1)).day == 1
