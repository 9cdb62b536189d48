"""The grants page: what is left of each, until when, and which is used next; the ended ones on a list of their own."""

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from billing import charts, statements
from billing.access import OrgRequest, org_page
from billing.forms import GrantsFilter
from billing.models import Account
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot

PAGE = 50


@require_safe
@org_page(may="read")
@one_snapshot()
def grants(request: OrgRequest) -> HttpResponse:
    asked, org, now = GrantsFilter(request.GET), request.org, clock()
    if not asked.is_valid():
        raise Http404("There is no such list of grants, or place in it.")
    after, ended = asked.cleaned_data["after"], asked.cleaned_data["show"] == "ended"
    burning = statements.burning(org, after=None if ended else after, limit=PAGE)
    if burning is None:
        raise Http404("There is no such place in the list.")
    over = statements.grants(org, is_open=False, after=after, limit=PAGE) if ended else None
    context = {
        "section": "grants",
        "asked": asked.cleaned_data,
        "burning": burning,
        "life": charts.life_lines(over.rows, now) if over else charts.life_lines(burning.grants, now, burning.first),
        "next": over.next if over else burning.next,
        "column": [grant.remaining for grant in burning.grants],
        "available": Account.objects.get(org=org.pk).available,
    }
    return page(request, "billing/grants.html", context, fragment="list")
