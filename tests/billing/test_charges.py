"""The feed of charges: every settled attempt once, twenty a page, whatever it is filtered by."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from billing import charges, spans
from billing.models import Entry, Organization
from billing.wanted import Keyset, Wanted
from oxygen_site.clock import clock
from tests.billing.moves import attempt, open_run, settle

pytestmark = pytest.mark.django_db

type Key = tuple[UUID, int, int]


@pytest.fixture
def runs(acme: Organization) -> list[UUID]:
    """Two runs by turns, six items at one instant: 66 items each, every sixth with a first try before it."""
    opened = [open_run(acme.pk, 40) for _ in range(2)]
    for first in range(1, 67, 6):
        for run in opened:
            tried = attempt(first, 0, 0, outcome="failed_before_billing")
            settle(acme.pk, run, tried, *(attempt(first + n, 0, 0, number=1) for n in range(6)))
    return opened


def week(org: Organization) -> charges.Part:
    span = spans.span("7d", org, clock())
    return charges.Part(*span.instants(), span)


def pages(org: Organization, **filters: UUID | str) -> Iterator[list[Entry]]:
    before = None
    while True:
        page = charges.read(org, week(org), Wanted(**filters), before)  # type: ignore[arg-type]
        yield page.entries
        if page.older is None:
            return
        before = Keyset.read(page.older)


def key(entry: Entry) -> Key:
    return entry.source, entry.item, entry.attempt


def test_its_pages_hold_every_charge_once_newest_first(acme: Organization, runs: list[UUID]) -> None:
    listed = [entry for page in pages(acme) for entry in page]
    assert [len(page) for page in pages(acme)] == [20] * 7 + [14]
    assert len({key(entry) for entry in listed}) == 2 * (66 + 11)
    assert listed == sorted(listed, key=lambda entry: (entry.at, *key(entry)), reverse=True)


def test_the_pages_of_one_run_hold_its_charges_by_row(acme: Organization, runs: list[UUID]) -> None:
    listed = [key(entry) for page in pages(acme, run=runs[0]) for entry in page]
    assert len(set(listed)) == 66 + 11
    assert listed == sorted(listed, reverse=True)
    assert {run for run, _, _ in listed} == {runs[0]}
