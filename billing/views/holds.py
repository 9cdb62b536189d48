"""What is reserved, and which open run holds how much of it."""

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from billing import holds as read_holds
from billing.access import OrgRequest, org_page
from billing.forms import HoldsFilter
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot


@require_safe
@org_page(may="read")
@one_snapshot()
def holds(request: OrgRequest) -> HttpResponse:
    asked = HoldsFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such place in the list.")
    listed = read_holds.read(request.org, asked.cleaned_data["before"])
    context = {"section": "billing", "asked": asked.cleaned_data, "listed": listed, "now": clock()}
    return page(request, "billing/holds.html", context, fragment="list")
