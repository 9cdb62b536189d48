"""The agency board: what burns, every client with what it has left, who used how much; and the same as a file."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from billing import agencies, charts, csv_file, runway
from billing.access import AgencyRequest, agency_page
from billing.agencies import Board, Client
from billing.forms import BoardFilter
from billing.models import Agency
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot

PAGE = 50
FIRES = 8
FRAGMENTS = ("clients", "usage")
HEAD = (
    *("client", "address", "plan", "status", "available", "reserved", "runway_days", "paused_runs"),
    *("runs_30_days", "captured_30_days", "renews_on"),
)
LABELS = {
    "name": "Client",
    "paused": "State",
    "available": "Available",
    "reserved": "Reserved",
    "runway": "Lasts",
    "captured": "30 days",
    "renewal": "Renews",
}


@require_safe
@agency_page
@one_snapshot()
def agency(request: AgencyRequest) -> HttpResponse:
    of = _agency(request)
    if of is None:
        return page(request, "billing/agencies.html", {"agencies": request.agencies})
    request.agency = of
    asked, now = _asked(request), clock()
    board = agencies.board(of, now)
    context = {
        "agency": of,
        "agencies": request.agencies,
        "board": board,
        "asked": asked,
        "shows": [(show, label, board.counts[show]) for show, label in agencies.SHOWS.items()],
        "columns": [Column.of(name, asked["sort"]) for name in agencies.COLUMNS],
        "fires": board.fires[:FIRES],
        "more_fires": len(board.fires[FIRES:]),
        "days": agencies.DAYS,
        "chart": SimpleLazyObject(lambda: _chart(board)),
        **_page(board, asked),
    }
    return page(request, "billing/agency.html", context, fragment=_asked_for(request))


@require_safe
@agency_page
def agency_csv(request: AgencyRequest) -> StreamingHttpResponse:
    """Send what the board shows with the same filters, on however many pages."""
    of = _agency(request)
    if of is None:
        raise Http404("Say which agency you mean.")
    asked, now = _asked(request), clock()
    return csv_file.download(f"clients-{now:%Y-%m-%d}", HEAD, _rows(of, asked, now))


class Column(NamedTuple):
    name: str
    label: str
    sort: str  # what pressing its head asks for
    order: str  # how it is sorted by now, as a screen reader says it

    @classmethod
    def of(cls, name: str, sort: str) -> "Column":
        order = {name: "ascending", f"-{name}": "descending"}.get(sort, "")
        return cls(name, LABELS[name], f"-{name}" if sort == name else name, order)


def _agency(request: AgencyRequest) -> Agency | None:
    """The agency that `agency` names, else the only one; of several, none."""
    asked = request.GET.get("agency")
    if not asked:
        return request.agencies[0] if len(request.agencies) == 1 else None
    for each in request.agencies:
        if str(each.pk) == asked:
            return each
    raise Http404("There is no such agency, or you are not on its staff.")


def _asked(request: AgencyRequest) -> dict[str, Any]:
    asked = BoardFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such column, filter or page of clients.")
    return asked.cleaned_data


def _page(board: Board, asked: dict[str, Any]) -> dict[str, Any]:
    """The clients on the page asked for; beyond the last one it is the last."""
    picked = board.picked(asked["q"], asked["show"], asked["sort"])
    last = max(1, -(-len(picked) // PAGE))
    number = min(asked["page"], last)
    first = (number - 1) * PAGE
    shown = picked[first : first + PAGE]
    return {
        "clients": [(client, charts.spark(client.by_day)) for client in shown],
        "available": [client.available for client in shown],
        "reserved": [client.reserved for client in shown],
        "captured": [client.captured for client in shown],
        "found": len(picked),
        "first": first + 1,
        "last": first + len(shown),
        "earlier": number - 1,
        "later": number + 1 if number < last else None,
    }


def _chart(board: Board) -> charts.StackedChart | None:
    used = board.used
    stacks = [(part.series, part.client.org.slug if part.client else "others", part.by_day) for part in used.parts]
    return charts.stacked(used.days, stacks) if stacks else None


@one_snapshot()
def _read(of: Agency, now: datetime) -> Board:
    return agencies.board(of, now)


def _rows(of: Agency, asked: dict[str, Any], now: datetime) -> Iterator[tuple[object, ...]]:
    for client in _read(of, now).picked(asked["q"], asked["show"], asked["sort"]):
        yield _row(client)


def _row(client: Client) -> tuple[object, ...]:
    return (
        client.name,
        client.org.slug,
        client.plan.name if client.plan else None,
        client.status,
        client.available,
        client.reserved,
        _lasts(client),
        client.paused,
        client.runs,
        client.captured,
        client.renews_on,
    )


def _lasts(client: Client) -> int | str | None:
    """As many days as the board says, in its words beyond what anybody knows; nothing where it has not enough data."""
    far = client.runway and client.days is None
    return f"over {runway.HORIZON}" if far else client.days


def _asked_for(request: AgencyRequest) -> str | None:
    target = (request.htmx.target or "").rpartition("#")[2]  # type: ignore[attr-defined]
    return target if target in FRAGMENTS else None
