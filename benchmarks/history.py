"""One org's history in a chosen size, always of the same shape: 90 days, 600 runs of 4 kinds by 20 members.

For pages.py. Every day has every run and all 24 tools of 12 providers, managed and on own accounts,
with 3 outcomes: so both usage rollups have as many rows at 300 thousand entries as at 10 million. Credits move
through the ledger's verbs in business time, but for the settles, which are written in sets. Only history grows with the
size: open runs stay as few and as small.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from itertools import batched
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management import call_command
from django.db import connection
from django.db.models import Count

from billing import books, keys, ledger, orgs
from billing.models import Entry, Invoice, Organization, Role, UsageByRun, UsageByTool, User
from oxygen_site.clock import advance, begin, catch_up, clock, new_id
from oxygen_site.transactions import intention
from runs import lifecycle
from runs.models import Column, Provider, Run, Table, Tool
from runs.tables import add_column, import_csv

DAYS, LEAD = 90, 30  # of use, and before it, in which the runs are opened one by one
RUNS, MEMBERS, TOOLS = 600, 20, 24
KINDS = ("column", "enrichment", "workflow", "import")
CELLS = TOOLS * 2 * 3  # of a day
OPEN, OPEN_ROWS = 3, 300
INVOICES, KEYS = 80, 20
MAXIMUM = Decimal(2)
ACTOR = "system:benchmark"


def seed(entries: int) -> tuple[Organization, User]:
    """Live through the history on an empty database; answer the org and its owner."""
    begin(timedelta(days=LEAD + DAYS))
    members = [User.objects.create_user(f"member{n}@oxygen.example", name=f"Member {n}") for n in range(MEMBERS)]
    owner = members[0]
    org = orgs.create("Benchmark", "Asia/Tokyo", owner=owner)
    for member in members[1:]:
        orgs.add_member(org, member, Role.MEMBER)
    table, column = _catalog(org)
    cap = MAXIMUM * (entries // RUNS + DAYS)
    _grant(org, Decimal(500), timedelta(days=45))  # expires while the runs hold it
    _grant(org, cap * RUNS * 2, timedelta(days=365))
    runs = []
    for n in range(RUNS):
        advance(timedelta(days=LEAD) / RUNS)
        runs.append(_begun(table, column, members[n % MEMBERS], KINDS[n % len(KINDS)], cap))
    live_through(org, [run.id for run in runs], entries)
    catch_up()
    for some in batched(runs, 100, strict=True):
        _close(some)
    for n in range(OPEN):
        run = lifecycle.create(table, column, cap=MAXIMUM * OPEN_ROWS // OPEN, by=owner, limit=OPEN_ROWS // OPEN)
        if n:
            lifecycle.pause(run, by=owner)
    _furnish(org, owner)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return org, owner


def flaws(entries: int) -> list[str]:
    """Prove the books and the shape; say what contradicts them."""
    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '512MB'")
    found = [str(drift) for drift in books.prove()]
    attempts = Entry.objects.filter(account_seq=None).count()
    if attempts != entries:
        found.append(f"{attempts} attempts instead of {entries}")
    for rollup, rows in ((UsageByTool, CELLS), (UsageByRun, RUNS)):
        days = list(rollup.objects.values("day").annotate(rows=Count("*")).order_by("day"))
        # The org's midnight cuts the first and the last day.
        found += [f"{rollup.__name__}: {day}" for day in days[1:-1] if day["rows"] != rows]
    return found


def _furnish(org: Organization, owner: User) -> None:
    """What other pages list, as much at any size: plans on sale, two pages of invoices, a ring of keys."""
    call_command("sync_plans", stdout=StringIO())
    at = clock()
    facts = {"reading": 1, "status": Invoice.Status.PAID, "total": 24900, "amount_paid": 24900, "amount_due": 0}
    Invoice.objects.bulk_create(
        Invoice(stripe_id=f"in_{n}", org=org, number=f"{n:04}", what="Growth", created_at=at, currency="eur", **facts)
        for n in range(INVOICES)
    )
    for n in range(KEYS):
        keys.make(org, owner, f"Key {n}", ["read", "run"])


def _catalog(org: Organization) -> tuple[Table, Column]:
    for n in range(TOOLS):
        provider, _ = Provider.objects.get_or_create(
            id=f"provider{n // 2}", defaults={"name": f"Provider {n // 2}", "category": Provider.Category.ENRICHMENT}
        )
        Tool.objects.create(
            id=f"{provider.id}.tool{n % 2}",
            provider=provider,
            name=f"Tool {n}",
            price=1,
            maximum=MAXIMUM,
            success_rate=Decimal("0.5"),
        )
    rows = "".join(f"Company {n},company{n}.example\n" for n in range(OPEN_ROWS))
    table = import_csv(org, "Companies", BytesIO(f"name,domain\n{rows}".encode()))
    return table, add_column(table, "email", "E-mail", ["provider0.tool0"])


def _grant(org: Organization, amount: Decimal, life: timedelta) -> None:
    intention(
        lambda: ledger.grant(
            org.pk,
            key=f"benchmark:{life.days}",
            source="promo",
            amount=amount,
            expires_at=clock() + life,
            actor=ACTOR,
        )
    )


def _begun(table: Table, column: Column, member: User, kind: str, cap: Decimal) -> Run:
    """A run reserved in the ledger, with a row of its own for the page to name it by. Its items are on no page here."""

    def verb() -> Run:
        run = Run.objects.create(
            id=new_id(),
            org_id=table.org_id,
            table=table,
            column=column,
            kind=kind,
            name=f"{column.name} of {member}",
            member=member,
            status=Run.Status.SUCCEEDED,
            steps=[],
            cap=cap,
            unit=MAXIMUM,
            estimated_min=cap,
            estimated=cap,
            estimated_max=cap,
            rows=1,
            created_at=clock(),
            ended_at=clock(),
        )
        missing = ledger.reserve(
            table.org_id, run.id, cap=cap, estimated_max=cap, run_kind=kind, member=member.pk, actor=f"user:{member.pk}"
        )
        assert not missing
        return run

    return intention(verb)


def live_through(org: Organization, runs: list[UUID], entries: int) -> None:
    """What millions of settles would leave behind, set by set: the entries, what the runs captured, the rollups."""
    day = (Path(__file__).parent / "history.sql").read_text()
    shape: dict[str, Any] = {"org": org.pk, "runs": runs, "days": DAYS, "items": entries, "start": clock()}
    with connection.cursor() as cursor:
        for number in range(DAYS):
            cursor.execute(day, {**shape, "day": number})
        cursor.execute(
            """
            UPDATE ledger.reservation r SET captured = e.captured, needed = 0
            FROM (SELECT source, sum(amount) AS captured FROM ledger.entry
                  WHERE org = %(org)s AND account_seq IS NULL GROUP BY source) e
            WHERE r.org = %(org)s AND r.run = e.source""",
            shape,
        )
    ledger.change_zone(org.pk, org.zone)  # cuts the rollups anew from the entries


def _close(runs: Iterable[Run]) -> None:
    def verb() -> None:
        for run in runs:
            ledger.close(run.org_id, run.id, actor=ACTOR)

    intention(verb)
