"""Does every page stay as fast while history grows, and for 30 people at once? `make bench`, or `--quick` for a look.

One org with 300 thousand, 1 million and 10 million entries of one shape (history.py), and an agency of 300 clients with
1 and 10 million among them (agency.py): each page asks the same queries at any size, and takes at most 1.25 times as
long at the largest as at the smallest (sizes.py). At a million, 30 admins then walk the pages at once (crowd.py).
Each history is lived through once.
"""

import html
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import agency, cluster, crowd
from benchmarks.bars import Bar, is_quick
from benchmarks.sizes import Page, compare, serve

SIZES = (300_000, 1_000_000, 10_000_000)
CROWDED = 1_000_000
GROUPS = ("tool", "kind", "run", "member", "mode", "outcome")  # by provider is how the page comes
CHARGES, LIST = "charges", "list"


def size(pipe: Connection, url: str, entries: int) -> None:
    """Seed a database and prove it; then answer for each page asked how long it took."""
    cluster.speak_to(url)
    from benchmarks import history

    serve(pipe, partial(history.seed, entries), partial(history.flaws, entries), _pages)


def _pages(org: Any, client: Any) -> Iterator[Page]:
    home = f"/orgs/{org.slug}"
    yield from _overview(org, f"{home}/billing/")
    yield from _ledger(org, f"{home}/billing/")
    yield from _runs(org, f"{home}/runs/")
    yield Page("live poll", _poll(client.get(f"{home}/billing/").text), fragment="live")
    yield Page("invoices", f"{home}/billing/invoices/")
    yield Page("subscribe", f"{home}/subscribe/")
    yield Page("settings", f"{home}/billing/settings/")
    yield Page("keys", f"{home}/settings/keys/")
    yield Page("organizations", "/orgs/")


def _poll(page: str) -> str:
    """Find what the page asks while runs are live."""
    found = re.search(crowd.LIVE, page)
    assert found, page
    return html.unescape(found[1])


def _overview(org: Any, address: str) -> Iterator[Page]:
    """The whole of the page over a range, by each group; its charges alone; their file."""
    from billing import charges, spans
    from billing.wanted import Keyset, Wanted
    from oxygen_site.clock import clock

    now = clock()
    span = spans.span("90d", org, now)
    newest = charges.read(org, charges.Part(*span.instants(), span), Wanted()).older or ""
    quarter = {"range": "90d"}
    yield Page("overview, this cycle", address)
    yield Page("overview, 30 days", address, {"range": "30d"})
    yield Page("overview, 90 days", address, quarter)
    for group in GROUPS:
        yield Page(f"overview, by {group}", address, quarter | {"group": group})
    yield Page("feed, second page", address, quarter | {"before": newest}, CHARGES)
    yield Page("feed, 45 days back", address, quarter | {"before": _back(org, Keyset)}, CHARGES)
    yield Page("feed, one day", address, quarter | {"day": f"{(now - timedelta(days=30)).date()}"}, CHARGES)
    yield Page("feed, one provider", address, quarter | {"provider": "provider5"}, CHARGES)
    yield Page("feed, one run", address, quarter | {"run": _closed(org)}, CHARGES)
    yield Page("feed, begin of its file", f"{address}usage.csv", quarter)
    yield Page("holds", f"{address}holds/")


def _ledger(org: Any, billing: str) -> Iterator[Page]:
    from billing.models import Entry
    from billing.statements import Place
    from billing.wanted import Keyset
    from oxygen_site.clock import clock

    address, quarter = f"{billing}ledger/", {"range": "90d"}
    back = "~".join(Place(0, Keyset.read(_back(org, Keyset))).words)
    entries = Entry.objects.filter(org=org.pk)
    yield Page("ledger, this cycle", address)
    yield Page("ledger, 90 days", address, quarter, LIST)
    yield Page("ledger, 45 days back", address, quarter | {"before": back}, LIST)
    yield Page("ledger, granted", address, quarter | {"kind": "granted"}, LIST)
    yield Page("ledger, captured", address, quarter | {"kind": "captured"}, LIST)
    yield Page("ledger, one tool", address, quarter | {"tool": "provider5.tool1"}, LIST)
    yield Page("ledger, one run", address, quarter | {"run": _closed(org)}, LIST)
    yield Page("ledger, begin of its file", f"{address}csv/", quarter)
    yield Page("entry, a call", f"{address}{entries.filter(account_seq=None).order_by('-at')[0].id}/")
    yield Page("entry, a grant", f"{address}{entries.filter(kind='granted')[0].id}/")
    yield Page("grants", f"{billing}grants/")
    yield Page("grants, nothing left", f"{billing}grants/", {"show": "ended"})
    yield Page("statement, this month", f"{billing}statement/")
    yield Page("statement, a whole month", f"{billing}statement/", {"month": f"{clock() - timedelta(days=45):%Y-%m}"})


def _runs(org: Any, address: str) -> Iterator[Page]:
    from runs.models import Run

    paused = Run.objects.filter(org=org.pk, status=Run.Status.PAUSED)[0].pk
    yield Page("runs", address)
    yield Page("runs, open", address, {"status": "open"}, LIST)
    yield Page("new run", f"{address}new/")
    yield Page("own accounts", f"{address}accounts/")
    yield Page("run, 100 rows", f"{address}{paused}/")
    yield Page("run, a 600th of all calls", f"{address}{_closed(org)}/", grows=True)  # it counts its own calls


def _back(org: Any, keyset: Any) -> str:
    """The place in the feeds of 45 days ago."""
    from oxygen_site.clock import clock

    text: str = keyset(clock() - timedelta(days=45), org.pk, 0, 0).text
    return text


def _closed(org: Any) -> str:
    from billing.models import Reservation

    return str(Reservation.objects.filter(org=org.pk, closed_at__isnull=False).order_by("run")[300].run)


def main(arguments: list[str]) -> int:
    quick = is_quick("pages", __doc__, "fewer rounds, without the 10 million, with 10 admins", arguments)

    def at_once(urls: dict[int, str]) -> Iterator[Bar]:
        yield from crowd.walked(urls[CROWDED], **(crowd.FEW if quick else crowd.MANY))

    sizes, boards = (SIZES[:-1], agency.QUICK) if quick else (SIZES, agency.SIZES)
    org = compare("pages", size, sizes, quick=quick, then=at_once)
    board = compare("agency", agency.size, boards, quick=quick, queries=agency.QUERIES)
    return max(org, board)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
