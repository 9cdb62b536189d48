"""The feeds: every entry on one page once, and after each move of the account what was available and reserved then."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest

from billing import books, ledger, statements
from billing.models import Account, Entry, Organization
from billing.wanted import Wanted
from oxygen_site.clock import advance, clock, new_id
from tests import effort
from tests.billing import moves
from tests.billing.moves import MEMBER, attempt, open_run, settle

pytestmark = pytest.mark.django_db

type Key = tuple[UUID, int, int]


def key(entry: Entry) -> Key:
    return entry.source, entry.item, entry.attempt


def calls(org: Organization, limit: int = 7, **wanted: object) -> list[Entry]:
    """Read the feed of calls to its end."""
    listed, after = [], None
    while True:
        page = statements.attempts(org, Wanted(**wanted), after=after, limit=limit)  # type: ignore[arg-type]
        listed += page.rows
        if page.next is None:
            return listed
        after = page.next


def lines(org: Organization, limit: int = 7, **filters: object) -> list[statements.Line]:
    """Read the feed of the ledger to its end, each place written down and read again."""
    listed, after = [], None
    while True:
        page = statements.ledger(org, after=after, limit=limit, **filters)  # type: ignore[arg-type]
        listed += page.rows
        if page.next is None:
            return listed
        after = statements.Place.read(page.next.words)


@pytest.fixture
def runs(acme: Organization) -> list[UUID]:
    """Two runs by turns, five calls at one instant: 20 each, by two tools, every fifth in vain."""
    opened = [open_run(acme.pk, 30, begin=20) for _ in range(2)]
    for first in range(1, 21, 5):
        for run in opened:
            found = [attempt(first + n, tool=f"hunter.tool_{n % 2}") for n in range(4)]
            settle(acme.pk, run, *found, attempt(first + 4, outcome="failed_before_billing", tool="apollo.person"))
    return opened


class History:
    """A life of one org at random; after each step it is noted what was reserved after its last move."""

    def __init__(self, org: UUID, chance: Random) -> None:
        self.org, self.chance = org, chance
        self.reserved: dict[int, Decimal] = {}
        self.flying: dict[UUID, list[int]] = {}
        self.grants = [moves.grant(org, 50, days=40)]

    def live(self, steps: int) -> None:
        doings: list[Callable[[], object]] = [self.give, self.open, self.settle, self.settle, self.settle]
        doings += [self.back, self.close, self.owe, self.take, self.wait]
        for _ in range(steps):
            self.chance.choice(doings)()
            tie = books.tie_out(self.org)
            self.reserved.setdefault(Account.objects.get(org=self.org).account_seq, tie.reserved)

    def give(self) -> None:
        amount, days = self.chance.choice(["0.3333", "1", "7"]), self.chance.choice([1, 9])
        self.grants.append(moves.grant(self.org, amount, days))

    def open(self) -> None:
        if books.tie_out(self.org).available >= 6:
            self.flying[open_run(self.org, 6, begin=4)] = [1, 2, 3, 4]

    def settle(self) -> None:
        if run := self.pick():
            settled, self.flying[run] = self.flying[run][:2], self.flying[run][2:]
            settle(self.org, run, *(attempt(item, self.chance.choice(["0", "0.5", "1"])) for item in settled))

    def back(self) -> None:
        if run := self.pick():
            moves.give_back(self.org, run)

    def close(self) -> None:
        if (run := self.pick()) and not self.flying[run]:
            moves.close(self.org, run)
            del self.flying[run]

    def owe(self) -> None:
        moves.owe(self.org, self.chance.choice(self.grants), self.chance.choice(["0", "0.3333"]))

    def take(self) -> None:
        moves.adjust(self.org, "0.1", id=new_id())

    def wait(self) -> None:
        advance(timedelta(hours=self.chance.choice([1, 9, 30])))
        ledger.expire(self.org)

    def pick(self) -> UUID | None:
        return self.chance.choice(list(self.flying)) if self.flying else None


# ------------------------------------------------------------------ the calls


def test_its_pages_hold_every_call_once_newest_first(acme: Organization, runs: list[UUID]) -> None:
    listed = calls(acme)
    assert len({key(entry) for entry in listed}) == len(listed) == 40
    assert listed == sorted(listed, key=lambda entry: (entry.at, *key(entry)), reverse=True)


def test_each_filter_leaves_what_it_names(acme: Organization, runs: list[UUID]) -> None:
    assert {entry.source for entry in calls(acme, run=runs[0])} == {runs[0]}
    assert len(calls(acme, run=runs[0])) == 20
    assert {entry.tool for entry in calls(acme, tool="hunter.tool_1")} == {"hunter.tool_1"}
    assert len(calls(acme, provider="apollo", outcome="failed_before_billing")) == 8
    assert len(calls(acme, member=MEMBER, byok=False)) == 40


def test_what_nothing_matches_is_known_without_reading_the_feed(acme: Organization, runs: list[UUID]) -> None:
    for wanted in ({"provider": "openai"}, {"byok": True}, {"run": new_id()}, {"member": new_id()}):
        assert calls(acme, **wanted) == []


def test_a_span_takes_its_start_and_leaves_its_end(acme: Organization, runs: list[UUID]) -> None:
    instants = sorted({entry.at for entry in calls(acme)})
    assert {entry.at for entry in calls(acme, start=instants[1], end=instants[3])} == set(instants[1:3])


def test_a_page_costs_the_same_queries_whatever_is_asked(
    acme: Organization, runs: list[UUID], django_assert_max_num_queries: Callable[..., object]
) -> None:
    yesterday = clock() - timedelta(days=1)
    with django_assert_max_num_queries(4):  # type: ignore[attr-defined]
        assert len(calls(acme, 200, provider="hunter", member=MEMBER, run=runs[0], start=yesterday)) == 16
    with django_assert_max_num_queries(4):  # type: ignore[attr-defined]
        lines(acme, 200)


# ------------------------------------------------------------------ the ledger


def test_its_pages_hold_every_entry_once_and_fold_to_what_was_reserved(acme: Organization) -> None:
    chance = Random(effort.SEED)
    history = History(acme.pk, chance)
    history.live(60)
    for limit in (1, 3, 200):
        listed = lines(acme, limit)
        assert len({key(line.entry) for line in listed}) == len(listed) == Entry.objects.filter(org=acme.pk).count()
        moved = [line for line in listed if line.entry.account_seq]
        assert [line.entry.account_seq for line in moved] == list(range(len(moved), 0, -1))
        after = {line.entry.account_seq: line.reserved_after for line in moved}
        assert {seq: after[seq] for seq in history.reserved} == history.reserved
        assert all(line.reserved_after is None for line in listed if not line.entry.account_seq)


def test_a_span_of_the_ledger_folds_to_the_same(acme: Organization, runs: list[UUID]) -> None:
    whole = {key(line.entry): line.reserved_after for line in lines(acme)}
    instants = sorted({entry.at for entry in calls(acme)})
    for line in lines(acme, 2, end=instants[5]):
        assert whole[key(line.entry)] == line.reserved_after


@pytest.mark.parametrize("kind", Entry.Kind.values)
def test_the_entries_of_one_kind_are_all_of_them(acme: Organization, kind: str) -> None:
    History(acme.pk, Random(effort.SEED)).live(40)
    listed = [key(line.entry) for line in lines(acme, 2, kind=kind)]
    expected = {key(entry) for entry in Entry.objects.filter(org=acme.pk, kind=kind)}
    assert len(listed) == len(expected)
    assert set(listed) == expected


# ------------------------------------------------------------------ the grants


def test_grants_come_newest_first_and_by_whether_something_is_left(acme: Organization) -> None:
    given = [moves.grant(acme.pk, 1, days=days) for days in (1, 2, 3)]
    advance(timedelta(days=1, hours=1))
    ledger.expire(acme.pk)
    listed = statements.grants(acme, limit=2)
    assert [grant.id for grant in listed.rows] == given[:0:-1]
    assert listed.next == given[1]
    rest = statements.grants(acme, after=listed.next, limit=2)
    assert (rest.rows[0].id, rest.next) == (given[0], None)
    assert [grant.id for grant in statements.grants(acme, is_open=False, limit=9).rows] == [given[0]]
    assert len(statements.grants(acme, is_open=True, limit=9).rows) == 3
