"""Verbs that meet: real connections, real commits, and for the long ones real processes.

Whatever wins, the books are right afterwards and nobody deadlocked. `intention` would hide a deadlock by trying again,
so the database is asked how many it saw.
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from multiprocessing import get_context
from threading import Barrier
from uuid import UUID, uuid4

import django
import pytest
from django.db import connection

from billing import books, ledger
from billing.models import Entry, Grant, Organization
from oxygen_site.clock import clock, new_id
from oxygen_site.transactions import intention
from tests.billing import moves
from tests.billing.moves import attempt
from tests.effort import SEED, effort

ZONES = ("Asia/Tokyo", "Pacific/Kiritimati", "UTC")


def race[T](*racers: Callable[[], T]) -> list[T]:
    """Let them all go at once, each on a connection of its own; answer what each came to."""
    gate = Barrier(len(racers))

    def go(racer: Callable[[], T]) -> T:
        try:
            gate.wait()
            return racer()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(go, racers))


def commit[**P, T](verb: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    return intention(partial(verb, *args, **named))


def assert_all_is_right() -> None:
    assert books.drifts() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert cursor.fetchone() == (0,)


def settle(org: UUID, run: UUID, batch: list[ledger.Settled]) -> int:
    """As dispatch does it; answer how many of the batch were settled by this call."""
    try:
        commit(ledger.settle, org, run, batch)
    except ledger.AlreadySettled:
        return [verdict for _, _, verdict in commit(ledger.settle_slow, org, run, batch)].count("settled")
    return len(batch)


# ------------------------------------------------------------------ two at once


def test_the_last_credits_go_to_as_many_runs_as_they_reach(fresh_database: str, acme: Organization) -> None:
    missing = race(*[lambda: commit(moves.reserve, acme.pk, new_id(), 30)] * 8)
    assert sorted(missing) == [0, 0, 0, 20, 20, 20, 20, 20]
    assert moves.balance(acme.pk) == (10, 90, 0)
    assert_all_is_right()


def test_one_run_reserved_by_many_at_once_holds_once(fresh_database: str, acme: Organization) -> None:
    run = new_id()
    assert race(*[partial(commit, moves.reserve, acme.pk, run, 30)] * 6) == [0] * 6
    assert moves.balance(acme.pk) == (70, 30, 0)
    assert_all_is_right()


def test_one_key_granted_by_many_at_once_gives_once(fresh_database: str, acme: Organization) -> None:
    until = clock() + timedelta(days=9)
    give = partial(
        ledger.grant, acme.pk, key="k", source="promo", amount=Decimal(5), expires_at=until, actor="system:test"
    )
    assert len(set(race(*[partial(intention, give)] * 6))) == 1
    assert moves.balance(acme.pk) == (105, 0, 0)
    assert_all_is_right()


def test_an_attempt_settled_by_many_at_once_is_captured_once(fresh_database: str, acme: Organization) -> None:
    run = commit(moves.open_run, acme.pk, 10, begin=1)
    assert sorted(race(*[partial(settle, acme.pk, run, [attempt(1)])] * 6)) == [0, 0, 0, 0, 0, 1]
    assert moves.balance(acme.pk) == (90, 9, 1)
    assert_all_is_right()


def test_two_batches_of_the_same_items_queue_instead_of_crossing(fresh_database: str, acme: Organization) -> None:
    batch = [attempt(n, 0) for n in range(1, 101)]
    for _ in range(effort(50)):
        run = commit(moves.open_run, acme.pk, 100, begin=100)
        there, back = partial(settle, acme.pk, run, batch), partial(settle, acme.pk, run, batch[::-1])
        assert sorted(race(there, back, there, back)) == [0, 0, 0, 100]
        commit(moves.close, acme.pk, run)
    assert_all_is_right()


def test_a_run_closes_only_once_its_items_have_settled(fresh_database: str, acme: Organization) -> None:
    def close_as_soon_as_possible() -> int:
        for early in range(10_000):
            try:
                return early if commit(moves.close, acme.pk, run) is not None else -1
            except ledger.InFlight:
                continue
        return -1

    for _ in range(effort(50)):
        run = commit(moves.open_run, acme.pk, 3, begin=3)
        race(close_as_soon_as_possible, *[partial(settle, acme.pk, run, [attempt(n, "0.5")]) for n in (1, 2, 3)])
        assert moves.reservation(acme.pk, run).captured == Decimal("1.5")
        assert moves.reservation(acme.pk, run).closed_at
    assert_all_is_right()


def test_an_own_account_settles_before_the_close_or_is_refused(fresh_database: str, acme: Organization) -> None:
    """It holds nothing, so the close does not wait for it."""

    def settle_or_be_refused() -> bool:
        try:
            return settle(acme.pk, run, [attempt(1, byok=True)]) == 1
        except ledger.Closed:
            return False

    for _ in range(effort(50)):
        run = commit(moves.open_run, acme.pk, 0)
        settled, _ = race(settle_or_be_refused, partial(commit, moves.close, acme.pk, run))
        assert Entry.objects.filter(org=acme.pk, source=run, item=1).exists() == settled
    assert_all_is_right()


def test_what_is_given_back_was_not_needed_by_what_starts(fresh_database: str, acme: Organization) -> None:
    run = commit(moves.open_run, acme.pk, 100)

    def work(first: int) -> int:
        done = 0
        while commit(ledger.admit, acme.pk, run, 1, Decimal(1)):
            settle(acme.pk, run, [attempt(first + done, "0.25")])
            done += 1
            if done == 50:
                break
        return done

    def give_back() -> int:
        for _ in range(30):
            commit(moves.give_back, acme.pk, run)
        return 0

    assert race(lambda: work(1), lambda: work(1001), give_back) == [50, 50, 0]
    commit(moves.give_back, acme.pk, run)
    assert moves.balance(acme.pk) == (75, 0, 25)
    assert_all_is_right()


def test_nothing_is_drawn_from_a_grant_that_has_expired(fresh_database: str, acme: Organization) -> None:
    def reserve_until_short() -> list[UUID]:
        runs = []
        for _ in range(40):
            run = new_id()
            if commit(moves.reserve, acme.pk, run, "0.5") == 0:
                runs.append(run)
        return runs

    def expire() -> list[UUID]:
        for _ in range(40):
            commit(ledger.expire, acme.pk)
        return []

    ends = clock() + timedelta(milliseconds=300)
    brief = ledger.grant(acme.pk, key="b", source="promo", amount=Decimal(50), expires_at=ends, actor="system:test")
    for run in chain(*race(reserve_until_short, reserve_until_short, expire)):
        if brief in moves.drawn(acme.pk, run):
            assert moves.reservation(acme.pk, run).opened_at < ends
    assert_all_is_right()


def test_a_zone_may_change_while_runs_settle(fresh_database: str, acme: Organization) -> None:
    rounds = effort(60)
    runs = [commit(moves.open_run, acme.pk, 30, begin=60, unit="0.5") for _ in range(3)]

    def work(run: UUID) -> None:
        for n in range(rounds):
            settle(acme.pk, run, [attempt(n + 1, "0.25", maximum="0.5")])

    def travel() -> None:
        for n in range(rounds):
            commit(ledger.change_zone, acme.pk, ZONES[n % 3])

    race(*[partial(work, run) for run in runs], travel)
    assert_all_is_right()


# ------------------------------------------------------------------ many processes


def settle_overlapping(org: UUID, run: UUID, items: int, seed: str) -> int:
    """Settle all items in batches of our own cut, some of them twice; answer how many we were first to settle."""
    chance = random.Random(seed)
    numbers = list(range(1, items + 1))
    chance.shuffle(numbers)
    ours = 0
    while numbers:
        size = chance.randint(1, 30)
        batch = [attempt(n, Decimal(n % 7) / 2) for n in numbers[:size]]
        for _ in range(chance.choice((1, 1, 2))):
            ours += settle(org, run, batch)
        numbers = numbers[size:]
    connection.close()
    return ours


def live(orgs: list[UUID], moves_left: int, seed: str) -> int:
    """Do any verbs on any org, as many callers would; answer how many moves were made."""
    chance = random.Random(seed)
    runs: list[tuple[UUID, UUID]] = []
    for n in range(moves_left):
        org = chance.choice(orgs)
        verb = chance.choice(("run", "run", "run", "end", "end", "grant", "owe", "adjust", "zone", "expire", "pause"))
        if verb == "run":
            run, rows = new_id(), chance.randint(1, 20)
            if commit(moves.reserve, org, run, chance.randint(1, 15), rows) > 0:
                continue
            runs.append((org, run))
            started = commit(ledger.admit, org, run, rows, Decimal(1))
            batch = [attempt(item, Decimal(chance.randint(0, 12)) / 4) for item in range(1, started + 1)]
            for end in range(0, started, 6):
                settle(org, run, batch[max(0, end - 2) : end + 6])  # the last two of before once more
            commit(moves.give_back, org, run)
        elif verb == "end" and runs:
            of, run = runs.pop(chance.randrange(len(runs)))
            commit(moves.close, of, run)
        elif verb == "grant":
            hours = chance.choice((0.00005, 0.0002, 24))  # some lapse within the race
            commit(moves.grant, org, chance.randint(1, 30), days=hours / 24)
        elif verb == "owe":
            share = chance.choice((0, 2, 4))
            for grant, amount in grants_of(org)[:2]:
                commit(moves.owe, org, grant, amount * share / 4)
        elif verb == "adjust":
            commit(moves.adjust, org, chance.randint(1, 3))
        elif verb == "zone":
            commit(ledger.change_zone, org, ZONES[n % 3])
        elif verb == "expire":
            commit(ledger.expire, org)
        elif runs:
            commit(ledger.pause, *chance.choice(runs), chance.random() < 0.3)
    connection.close()
    return moves_left


def grants_of(org: UUID) -> list[tuple[UUID, Decimal]]:
    return list(Grant.objects.filter(org=org).order_by("-id").values_list("id", "amount")[:5])


@pytest.fixture
def processes(fresh_database: str) -> Iterator[ProcessPoolExecutor]:
    """Four processes of their own, on this test's database."""
    with ProcessPoolExecutor(4, mp_context=get_context("spawn"), initializer=django.setup) as pool:
        yield pool


def test_overlapping_batches_from_many_processes_settle_each_attempt_once(
    processes: ProcessPoolExecutor, acme: Organization
) -> None:
    items = effort(1000)
    commit(moves.grant, acme.pk, items)
    run = commit(moves.open_run, acme.pk, items, begin=items)
    work = [processes.submit(settle_overlapping, acme.pk, run, items, f"{SEED}:{n}") for n in range(4)]
    assert sum(each.result() for each in work) == items
    booked = moves.reservation(acme.pk, run)
    assert (booked.held, booked.conflicts) == (0, 0)
    assert booked.captured == sum(min(Decimal(n % 7) / 2, Decimal(1)) for n in range(1, items + 1))
    assert booked.absorbed == sum(max(Decimal(n % 7) / 2 - 1, Decimal(0)) for n in range(1, items + 1))
    assert_all_is_right()


def test_any_verbs_from_many_processes_leave_the_books_right(processes: ProcessPoolExecutor) -> None:
    orgs = [uuid4(), uuid4()]
    for org in orgs:
        commit(ledger.open_account, org, "UTC")
        commit(moves.grant, org, 200)
    work = [processes.submit(live, orgs, effort(1500), f"{SEED}:{n}") for n in range(4)]
    assert [each.result() for each in work] == [effort(1500)] * 4
    assert Entry.objects.filter(account_seq=None).count() > effort(1500)
    assert_all_is_right()
