"""Does the billing page stay as fast while history grows? `make bench`, or `--quick` without the largest.

Three databases of one durable server hold 300 thousand, 1 million and 10 million entries of one shape (history.py),
proved before anything is timed. The real views answer Django's test client, one process to each database, by turns:
every page once a round at each size, and only answers of the same round are divided. Time is all of the server's:
middleware, queries and template.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

from benchmarks import cluster
from benchmarks.bars import Bar, judge, ratios

SIZES = (300_000, 1_000_000, 10_000_000)
ROUNDS = 41
WARM_UP = 5


class Answer(NamedTuple):
    """How long a page took, how long of it the database, in seconds, and how many queries."""

    seconds: float
    in_database: float
    queries: int


# ---------------------------------------------------------------- one size


def size(pipe: Connection, url: str, entries: int) -> None:
    """Seed a database and prove it; then answer for each page asked how long it took."""
    cluster.speak_to(url)
    from benchmarks import history

    serve(pipe, partial(history.seed, entries), partial(history.flaws, entries), _pages)


def serve(
    pipe: Connection,
    seed: Callable[[], tuple[Any, Any]],
    flaws: Callable[[], list[str]],
    pages: Callable[[Any], Iterator[tuple[str, "Asked"]]],
) -> None:
    """Seed what this process speaks to and prove it; then answer for each page asked how long it took."""
    from django.db import connection
    from django.test import Client

    connection.settings_dict["OPTIONS"]["options"] = "-c search_path=public,ledger -c statement_timeout=0"
    began = time.monotonic()
    of, reader = seed()
    seeded = time.monotonic()
    found = flaws()
    pipe.send((seeded - began, time.monotonic() - seeded, found))
    connection.close()
    if found:
        return
    client = Client(raise_request_exception=True)
    client.force_login(reader)
    asked = dict(pages(of))
    while (name := pipe.recv()) is not None:
        address, query, headers = asked[name]
        pipe.send(_timed(partial(client.get, address, query, headers=headers)))


type Asked = tuple[str, dict[str, str], dict[str, str]]  # address, query, headers
FEED = {"HX-Request": "true", "HX-Target": "charges"}
GROUPS = ("tool", "kind", "run", "member", "mode", "outcome")  # by provider is how the page comes
PAGES = (
    "page, this cycle",
    "page, 30 days",
    "page, 90 days",
    *(f"page, 90 days by {group}" for group in GROUPS),
    "feed, second page",
    "feed, 45 days back",
    "feed, one day",
    "feed, one provider",
    "feed, one run",
)


def _pages(org: Any) -> Iterator[tuple[str, Asked]]:
    """What is asked of the billing page: the whole of it over a range, or its charges alone."""
    from billing import charges, spans
    from billing.models import Reservation
    from billing.wanted import Keyset, Wanted
    from oxygen_site.clock import clock

    now = clock()
    span = spans.span("90d", org, now)
    newest = charges.read(org, charges.Part(*span.instants(), span), Wanted()).older
    back = Keyset(now - timedelta(days=45), org.pk, 0, 0).text
    run = Reservation.objects.filter(org=org.pk, closed_at__isnull=False).order_by("run")[300].run
    feeds = (
        {"before": newest or ""},
        {"before": back},
        {"day": (now - timedelta(days=30)).date().isoformat()},
        {"provider": "provider5"},
        {"run": str(run)},
    )
    address = f"/orgs/{org.slug}/billing/"
    asked: list[Asked] = [(address, {"range": key} if key else {}, {}) for key in ("", "30d", "90d")]
    asked += [(address, {"range": "90d", "group": group}, {}) for group in GROUPS]
    asked += [(address, {"range": "90d", **feed}, FEED) for feed in feeds]
    yield from zip(PAGES, asked, strict=True)


def _timed(ask: Callable[[], Any]) -> Answer:
    from django.db import connection

    spent: list[float] = []

    def watch(execute: Callable[..., Any], *rest: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*rest)
        finally:
            spent.append(time.perf_counter() - began)

    with connection.execute_wrapper(watch):
        began = time.perf_counter()
        response = ask()
        seconds = time.perf_counter() - began
    assert response.status_code == 200, response.status_code
    return Answer(seconds, sum(spent), len(spent))


# ---------------------------------------------------------------- the bars


def bars(rounds: list[dict[tuple[str, int], Answer]], sizes: tuple[int, ...], pages: tuple[str, ...]) -> Iterator[Bar]:
    """Divide the larger sizes by the smallest, page by page."""

    def of(name: str, entries: int, figure: str) -> list[float]:
        return [getattr(r[name, entries], figure) for r in rounds]

    small = sizes[0]
    for name in pages:
        for entries in sizes[1:]:
            told = f"{name}: {entries:,} ÷ {small:,}"
            seconds, in_database, queries = (
                ratios(of(name, entries, figure), of(name, small, figure)) for figure in Answer._fields
            )
            yield Bar(f"{told}, queries", queries, least=1, most=1)
            yield Bar(f"{told}, time", seconds, most=1.25)
        yield Bar(f"{told}, of it in the database", in_database)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overview", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the 10 million: a look, not a figure to quote")
    sizes = SIZES[:-1] if parser.parse_args(arguments).quick else SIZES
    return compare("overview", size, PAGES, sizes)


def compare(name: str, size: Callable[..., None], pages: tuple[str, ...], sizes: tuple[int, ...]) -> int:
    """Time pages at several sizes by turns, each size in a process and a database of its own; answer the exit code."""
    with cluster.durable(name) as server:
        pipes = {}
        spawn = multiprocessing.get_context("spawn")
        for entries in sizes:
            pipes[entries], theirs = spawn.Pipe()
            url = cluster.migrated(server, f"entries_{entries}")
            spawn.Process(target=size, args=(theirs, url, entries), daemon=True).start()
        for entries, pipe in pipes.items():
            seeding, proving, flaws = pipe.recv()
            print(f"{entries:,} entries: {seeding:.0f} s to seed, {proving:.0f} s to prove", file=sys.stderr)
            if flaws:
                print(*flaws, sep="\n")
                return 1
        rounds = []
        for n in range(WARM_UP + ROUNDS):
            answers = {}
            for page in pages:
                for entries in sizes if n % 2 else sizes[::-1]:
                    pipes[entries].send(page)
                    answers[page, entries] = pipes[entries].recv()
            rounds.append(answers)
        for pipe in pipes.values():
            pipe.send(None)
        rounds = rounds[WARM_UP:]
        for page in pages:
            told = [f"{median(r[page, n].seconds for r in rounds) * 1000:.1f}" for n in sizes]
            print(f"  {page:<20} {' / '.join(told)} ms, {rounds[0][page, sizes[0]].queries} queries", file=sys.stderr)
        return judge(bars(rounds, sizes, pages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
