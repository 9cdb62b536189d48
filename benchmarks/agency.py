"""One agency of 300 clients, with 1 and 10 million entries among them, and its board. For pages.py.

Each client has lived 90 days, with four runs, one of them paused in the end, and 24 tools and outcomes a day, at any
size. In the end there is a free plan of more than they use: every runway takes a year of refills, the most there is.
"""

from collections.abc import Iterator
from datetime import UTC, timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import cluster
from benchmarks.sizes import Page, serve

CLIENTS, RUNS = 300, 4
SIZES = (1_000_000, 10_000_000)
QUICK, FEW = (100_000, 300_000), 30  # as many entries a client, of a tenth of the clients
QUERIES = 12  # the most the board may ask


def size(pipe: Connection, url: str, entries: int) -> None:
    cluster.speak_to(url)
    clients = FEW if entries in QUICK else CLIENTS
    serve(pipe, partial(seed, entries, clients), partial(flaws, entries, clients), pages)


def seed(entries: int, clients: int) -> tuple[Any, Any]:
    """Live through the clients' history on an empty database; answer the agency and one of its staff."""
    from django.db import connection

    from benchmarks import history
    from billing import ledger, orgs
    from billing.models import Agency, Plan, User
    from oxygen_site.clock import advance, begin, catch_up, clock, new_id
    from oxygen_site.transactions import intention

    now = begin(timedelta(days=history.DAYS + 1)).astimezone(UTC)
    advance(now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now)  # a midnight of theirs
    member = User.objects.create_user("member@oxygen.example", name="Member")
    agency = Agency.objects.create(name="Benchmark")
    agency.staff.add(member)
    each = entries // clients
    cap = history.MAXIMUM * (each // RUNS + history.DAYS)
    opened = []
    for n in range(clients):
        org = orgs.create(f"Client {n}", "UTC", agency=agency)
        runs = [new_id() for _ in range(RUNS)]

        def verb(org: Any = org, runs: Any = runs) -> None:
            ledger.grant(
                org.pk,
                key="benchmark",
                source="promo",
                amount=cap * RUNS * 2,
                expires_at=clock() + timedelta(days=365),
                actor=history.ACTOR,
            )
            for run in runs:
                ledger.reserve(
                    org.pk,
                    run,
                    cap=cap,
                    estimated_max=cap,
                    run_kind="column",
                    member=member.pk,
                    actor=f"user:{member.pk}",
                )

        intention(verb)
        opened.append((org, runs))
    for org, runs in opened:
        history.live_through(org, runs, each)
    catch_up()
    for org, (paused, *others) in opened:

        def end(org: Any = org, paused: Any = paused, others: Any = others) -> None:
            for run in others:
                ledger.close(org.pk, run, actor=history.ACTOR)
            ledger.pause(org.pk, paused, True)

        intention(end)
    Plan.objects.create(
        id="free-1", key="free", version=1, name="Free", line="For a try.", rank=0, credits=each, on_sale=True
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return agency, member


def flaws(entries: int, clients: int) -> list[str]:
    """Prove the books and the shape; say what contradicts them."""
    from django.db import connection
    from django.db.models import Count

    from billing import books
    from billing.models import Entry, UsageByTool

    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '512MB'")
    found = [str(drift) for drift in books.prove()]
    attempts, wanted = Entry.objects.filter(account_seq=None).count(), entries // clients * clients
    if attempts != wanted:
        found.append(f"{attempts} attempts instead of {wanted}")
    days = list(UsageByTool.objects.values("day").annotate(rows=Count("*")).order_by("day"))
    # The last call of all settles at midnight.
    return found + [f"usage: {day}" for day in days[:-1] if day["rows"] != clients * RUNS * 6]


def pages(agency: Any, client: Any) -> Iterator[Page]:
    yield Page("board", "/agency/")
    yield Page("board by name, third page", "/agency/", {"sort": "name", "page": "3"})
    yield Page("board, search", "/agency/", {"q": "client 12"}, "clients")
    yield Page("board, usage alone", "/agency/", fragment="usage")
    yield Page("board, its file", "/agency/clients.csv")
