"""The invoices page: what the org was billed, as last read at Stripe; it asks Stripe nothing."""

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from billing import access
from billing import invoices as read
from billing.access import OrgRequest, org_page
from billing.forms import InvoicesFilter
from billing.models import Customer
from oxygen_site.htmx import page


@require_safe
@org_page(may="read")
def invoices(request: OrgRequest) -> HttpResponse:
    asked = InvoicesFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such place in the list.")
    customer = Customer.objects.filter(org=request.org, closed_at=None).first()
    context = {
        "section": "invoices",
        "may_buy": access.may(request.role, "plan"),
        "has_customer": customer is not None,
        "email": customer.email if customer else "",
        "asked": asked.cleaned_data,
        "listed": read.listed(request.org, asked.cleaned_data["before"]),
    }
    return page(request, "billing/invoices.html", context, fragment="list")
