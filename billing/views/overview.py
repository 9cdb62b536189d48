"""The billing page: what there is, what waits for a person, where it went."""

from datetime import datetime

from django.http import Http404, HttpResponse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from billing import access, balance, charts, notices, plans, top_ups, usage
from billing.access import OrgRequest, org_page
from billing.forms import OverviewFilter
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot

FRAGMENTS = ("usage", "charges")


@require_safe
@org_page(may="read")
@one_snapshot()
def overview(request: OrgRequest) -> HttpResponse:
    asked = OverviewFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such range, day, run or place in the list.")
    org, now = request.org, clock()
    filters = {name: asked.cleaned_data[name] for name in ("provider", "day", "run", "before")}
    span = usage.span(asked.cleaned_data["range"], org, now)
    used = SimpleLazyObject(lambda: usage.used(org, span))
    context = {
        "section": "billing",
        "may_start": access.may(request.role, "start_runs"),
        "ranges": usage.RANGES,
        "asked": asked.cleaned_data,
        "notices": SimpleLazyObject(lambda: _notices(request, now)),
        # Each is read only where its piece of the page is asked for.
        "balance": SimpleLazyObject(lambda: balance.read(org, now)),
        "usage": used,
        "chart": SimpleLazyObject(lambda: charts.usage_by_day(used)),  # type: ignore[arg-type]  # it stands in for itself
        "charges": SimpleLazyObject(lambda: usage.charges(org, span, **filters)),
    }
    return page(request, "billing/overview.html", context, fragment=_asked_for(request))


def _notices(request: OrgRequest, now: datetime) -> list[notices.Notice]:
    org = request.org
    return notices.notices(
        org,
        plans.read(org, now),
        may_buy=access.may(request.role, "plan"),
        wish=top_ups.of(org),
        asked=top_ups.asked(org),
    )


def _asked_for(request: OrgRequest) -> str | None:
    target = (request.htmx.target or "").rpartition("#")[2]  # type: ignore[attr-defined]
    return target if target in FRAGMENTS else None
