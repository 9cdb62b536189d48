"""Do the pages of the ledger and of grants stay as fast while history grows? `make bench`, or `--quick` for a look.

As overview.py asks of the billing page, on the same histories: every page once a round at each size, by turns.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import cluster
from benchmarks.overview import SIZES, Asked, compare, serve

LIST = {"HX-Request": "true", "HX-Target": "list"}
PAGES = (
    "ledger, this cycle",
    "ledger, 90 days",
    "ledger, 45 days back",
    "ledger, granted",
    "ledger, captured",
    "ledger, one tool",
    "ledger, one run",
    "grants",
    "grants, nothing left",
)


def size(pipe: Connection, url: str, entries: int) -> None:
    """Seed a database and prove it; then answer for each page asked how long it took."""
    cluster.speak_to(url)
    from benchmarks import history

    serve(pipe, partial(history.seed, entries), partial(history.flaws, entries), _pages)


def _pages(org: Any) -> Iterator[tuple[str, Asked]]:
    from billing.models import Reservation
    from billing.statements import Place
    from billing.wanted import Keyset
    from oxygen_site.clock import clock

    back = Place(0, Keyset(clock() - timedelta(days=45), org.pk, 0, 0)).words
    run = Reservation.objects.filter(org=org.pk, closed_at__isnull=False).order_by("run")[300].run
    filters: tuple[dict[str, str], ...] = (
        {},
        {"range": "90d"},
        {"range": "90d", "before": "~".join(back)},
        {"range": "90d", "kind": "granted"},
        {"range": "90d", "kind": "captured"},
        {"range": "90d", "tool": "provider5.tool1"},
        {"range": "90d", "run": str(run)},
    )
    asked: list[Asked] = [(f"/orgs/{org.slug}/billing/ledger/", each, LIST) for each in filters]
    asked += [(f"/orgs/{org.slug}/billing/grants/", each, {}) for each in ({}, {"show": "ended"})]
    yield from zip(PAGES, asked, strict=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger_page", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the 10 million: a look, not a figure to quote")
    sizes = SIZES[:-1] if parser.parse_args(arguments).quick else SIZES
    return compare("ledger_page", size, PAGES, sizes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
