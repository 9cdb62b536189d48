"""How the balance went: each day's end ties out, and ends with what is there."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from billing import books, course, ledger, spans
from billing.course import Course
from billing.models import Organization
from oxygen_site import clock
from tests.billing.moves import attempt, close, open_run, settle
from tests.conftest import give

pytestmark = pytest.mark.django_db


def read(org: Organization, key: str = "7d") -> Course:
    now = clock.clock()
    return course.read(org, spans.span(key, org, now), now, books.tie_out(org.pk))


def ends(org: Organization, count: int) -> list[tuple[Decimal, Decimal]]:
    return [(day.available, day.reserved) for day in read(org).days[-count:]]


def spend(org: Organization, run: UUID, item: int, credits: int) -> None:
    ledger.admit(org.pk, run, 1, Decimal(credits))
    settle(org.pk, run, attempt(item, credits, credits))


def test_each_day_ends_with_what_was_there_then(acme: Organization) -> None:
    run = open_run(acme.pk, 30)
    spend(acme, run, 1, 5)
    clock.advance(timedelta(days=1))
    spend(acme, run, 2, 10)
    clock.advance(timedelta(days=1))
    assert ends(acme, 4) == [(0, 0), (70, 25), (70, 15), (70, 15)]
    close(acme.pk, run)
    assert ends(acme, 2) == [(70, 15), (85, 0)]


def test_every_day_is_what_the_books_say_of_its_end(acme: Organization) -> None:
    run = open_run(acme.pk, 40)
    for n in range(1, 6):
        spend(acme, run, n, n)
        give(acme, n, days=n)
        clock.advance(timedelta(hours=17))
        ledger.expire(acme.pk)
    for day in read(acme).days[:-1]:
        _, end = spans.Span("", day.day, day.day, acme.tz).instants()
        ties = books.tie_out_at(acme.pk, end - timedelta(microseconds=1))
        assert (day.available, day.reserved) == (ties.available, ties.reserved)


def test_what_came_and_went_stands_on_its_day(acme: Organization) -> None:
    give(acme, 7, days=1)
    clock.advance(timedelta(days=2))
    ledger.expire(acme.pk)
    marks = [(mark.what, mark.amount, mark.comes) for day in read(acme).days for mark in day.marks]
    assert marks == [("Given", 107, True), ("Expired", 7, False)]


def test_a_range_of_the_past_is_folded_back_to(acme: Organization) -> None:
    run = open_run(acme.pk, 30)
    spend(acme, run, 1, 5)
    clock.advance(timedelta(days=20))
    spend(acme, run, 2, 10)
    now = clock.clock()
    first = now.astimezone(acme.tz).date() - timedelta(days=20)
    went = course.read(acme, spans.custom(first, first + timedelta(days=9), acme, now), now, books.tie_out(acme.pk))
    assert (went.days[-1].available, went.days[-1].reserved) == (70, 25)
    assert went.days[-1].day == first + timedelta(days=9)


def test_where_more_moved_than_is_read_the_days_begin_later(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "MOST_MOVES", 2)
    for _ in range(3):
        open_run(acme.pk, 1)
        clock.advance(timedelta(days=1))
    went = read(acme)
    assert went.is_cut
    assert [(day.available, day.reserved) for day in went.days] == [(97, 3), (97, 3)]
