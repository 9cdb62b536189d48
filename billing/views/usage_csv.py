"""The calls that the billing page's filters leave, as a file of any size."""

from django.http import Http404
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from billing import charges, csv_file
from billing.access import OrgRequest, org_page
from billing.forms import OverviewFilter
from oxygen_site.clock import clock


@require_safe
@org_page(may="read")
def usage_csv(request: OrgRequest) -> HttpResponseBase:
    form = OverviewFilter(request.GET)
    if not form.is_valid():
        raise Http404("There is no such range, day or filter.")
    org = request.org
    span = form.span(org, clock())
    lines = charges.lines(org, form.part(span), form.wanted(), org.tz)
    return csv_file.download(f"{org.slug}-usage-{span.first}-{span.last}", charges.HEAD, lines)
