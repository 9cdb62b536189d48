"""The bank: six writers on five orgs do any verbs, their connections are killed all the time, and readers add up.

Safety: no snapshot at any instant shows a credit too many or too few. Afterwards the books prove themselves, and what
is booked is the sum of what the writers were told, however often an answer was lost on its way.
"""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from math import ceil
from multiprocessing import get_context
from threading import Event
from uuid import UUID, uuid4

import django
import psycopg
import pytest
from django.db.models import Sum

from billing import books, ledger
from billing.models import Entry, Reservation
from oxygen_site.transactions import intention
from tests.billing import moves
from tests.chaos import bank
from tests.effort import SEED, effort
from tests.tally import Tally

WRITERS = 6
ORGS = 5
READERS = 2
OPERATIONS = effort(102_000)
KILLS = effort(1_000)
READS = effort(15_000)
ZERO, FIRST = Decimal(0), Decimal(500)
CREDITS = ("granted", "adjusted", "captured", "absorbed", "reserved")
TOLD = ("granted", "adjusted", "captured", "absorbed", "settled", "closed")

# One statement, so one snapshot: what is wrong with an org's balance, if anything is.
READ = """
SELECT granted = available + drawn + spent + expired + clawed_back - restored + adjusted AS conserved,
       least(available, drawn, spent, expired, clawed_back, restored, adjusted) >= 0 AS signs,
       available = (SELECT coalesce(sum(remaining), 0) FROM ledger.credit_grant g
                    WHERE g.org = a.org AND open) AS grants,
       drawn = (SELECT coalesce(sum(reserved), 0) FROM ledger.reservation r
                WHERE r.org = a.org AND closed_at IS NULL) AS runs,
       NOT EXISTS (SELECT FROM ledger.reservation r WHERE r.org = a.org AND closed_at IS NULL
                   AND (captured + held > reserved OR reserved > cap OR captured < 0 OR held < 0)) AS caps,
       EXISTS (SELECT FROM ledger.entry e WHERE e.org = a.org AND e.account_seq = a.account_seq
               AND e.available_after = a.available AND e.drawn_after = a.drawn) AS last_entry
FROM ledger.account a WHERE org = %s"""
VICTIMS = "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid"


@pytest.fixture
def writers(fresh_database: str) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn"), initializer=django.setup) as pool:
        yield pool


def read(database: str, orgs: list[UUID], closing: Event) -> tuple[int, list[tuple[bool, ...] | None]]:
    """Read one org after another until the bank closes; answer how often, and every reading that does not tie."""
    reads, bad = 0, []
    with psycopg.connect(database, autocommit=True) as reader:
        while not closing.is_set():
            row = reader.execute(READ, [orgs[reads % len(orgs)]]).fetchone()
            if row != (True,) * 6:
                bad.append(row)
            reads += 1
            time.sleep(0.002)
    return reads, bad


def kill(database: str, closing: Event) -> int:
    """Kill any writer's connection each time the accounts have moved on a little; answer how many were killed."""
    dice, kills, due = random.Random(f"{SEED}:nemesis"), 0, 0
    with psycopg.connect(database, autocommit=True) as nemesis:
        while not closing.wait(0.005):
            (moved,) = nemesis.execute("SELECT sum(account_seq)::int FROM ledger.account").fetchone() or (0,)
            victims = nemesis.execute(VICTIMS, [bank.NAME]).fetchall()
            if moved >= due and victims:
                killed = nemesis.execute("SELECT pg_terminate_backend(%s)", dice.choice(victims)).fetchone()
                kills += killed == (True,)
                due = moved + dice.randint(20, 55)
    return kills


def test_no_credit_is_lost_or_made_while_connections_are_killed(
    fresh_database: str, writers: ProcessPoolExecutor, tally: Tally
) -> None:
    orgs = [uuid4() for _ in range(ORGS)]
    for org in orgs:
        intention(partial(ledger.open_account, org, "UTC"))
        intention(partial(moves.grant, org, FIRST))
    closing = Event()
    with ThreadPoolExecutor(READERS + 1) as others:
        nemesis = others.submit(kill, fresh_database, closing)
        readers = [others.submit(read, fresh_database, orgs, closing) for _ in range(READERS)]
        work = [writers.submit(bank.write, f"{SEED}:{n}", OPERATIONS // WRITERS, orgs) for n in range(WRITERS)]
        try:
            told = [each.result() for each in work]
        finally:
            closing.set()
    booked, sums = {org: found(org) for org in orgs}, {org: summed(told, org) for org in orgs}
    reads = sum(reader.result()[0] for reader in readers)
    tally("bank operations", sum(each.done for each in told))
    tally("connection kills", nemesis.result())
    tally("bank reads", reads)
    tally("credits lost", sum(ceil(abs(booked[org][what] - sums[org][what])) for org in orgs for what in CREDITS))
    tally("double captures", sum(max(0, int(booked[org]["settled"] - sums[org]["settled"])) for org in orgs))

    assert [reader.result()[1] for reader in readers] == [[]] * READERS, f"SEED={SEED}"
    assert booked == sums, f"SEED={SEED}"
    assert books.drifts() == [], f"SEED={SEED}"
    assert sum(each.done for each in told) >= OPERATIONS // WRITERS * WRITERS
    assert nemesis.result() >= KILLS
    assert reads >= READS
    assert sum(each.again for each in told) > KILLS // 4, "the kills hardly hurt anybody"


def summed(told: list[bank.Told], org: UUID) -> dict[str, Decimal]:
    """What the writers were told, and what follows from it: at the end everything has settled and closed."""
    sums = {what: sum((each.sums.get(org, {}).get(what, ZERO) for each in told), ZERO) for what in TOLD}
    return sums | {"granted": sums["granted"] + FIRST, "reserved": ZERO, "open": ZERO, "conflicts": ZERO}


def found(org: UUID) -> dict[str, Decimal]:
    tie, runs = books.tie_out(org), Reservation.objects.filter(org=org)
    totals = runs.aggregate(absorbed=Sum("absorbed"), conflicts=Sum("conflicts"))
    return {
        "granted": tie.granted,
        "adjusted": tie.adjusted,
        "captured": tie.captured,
        "absorbed": totals["absorbed"],
        "settled": Decimal(Entry.objects.filter(org=org, account_seq=None).count()),
        "closed": Decimal(runs.filter(closed_at__isnull=False).count()),
        "reserved": tie.reserved,
        "open": Decimal(runs.filter(closed_at=None).count()),
        "conflicts": Decimal(totals["conflicts"]),
    }
