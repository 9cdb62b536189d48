"""An organization's statement of a month, as a page and as a file. For its members and for its agency."""

from collections.abc import Iterator
from datetime import date, datetime

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from billing import csv_file, monthly
from billing.access import OrgRequest, org_page
from billing.forms import MonthFilter
from billing.models import Organization
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot


@require_safe
@org_page(may="read")
@one_snapshot()
def statement(request: OrgRequest) -> HttpResponse:
    now = clock()
    first, oldest, newest = _month(request, now), _of(request.org.created_at, request.org), _of(now, request.org)
    context = {
        "section": "billing",
        "statement": monthly.read(request.org, first, now),
        "earlier": monthly.earlier(first) if first > oldest else None,
        "later": monthly.later(first) if first < newest else None,
    }
    return page(request, "billing/statement.html", context, fragment="statement")


@require_safe
@org_page(may="read")
def statement_csv(request: OrgRequest) -> StreamingHttpResponse:
    now = clock()
    first = _month(request, now)
    name = f"{request.org.slug}-{first:%Y-%m}"
    return csv_file.download(name, monthly.HEAD, _rows(request.org, first, now))


def _month(request: OrgRequest, now: datetime) -> date:
    """The month asked for, by default the running one; 404 before the organization was and after today."""
    asked = MonthFilter(request.GET)
    newest = _of(now, request.org)
    first: date = (asked.is_valid() and asked.cleaned_data["month"]) or newest
    if not asked.is_valid() or not _of(request.org.created_at, request.org) <= first <= newest:
        raise Http404("There is no statement of such a month.")
    return first


def _of(at: datetime, org: Organization) -> date:
    return at.astimezone(org.tz).date().replace(day=1)


def _rows(org: Organization, first: date, now: datetime) -> Iterator[tuple[object, ...]]:
    with one_snapshot():
        statement = monthly.read(org, first, now)
    yield from monthly.rows(statement)
