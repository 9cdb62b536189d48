"""The ways out to Stripe's own pages: the customer portal, and whatever a purchase is paid on.

Our policy lets no form lead elsewhere, and a browser counts redirects. So htmx moves the page itself, and without
scripts a page has the link.
"""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget

from billing.access import OrgRequest, org_page
from billing.forms import PortalForm
from billing.payments import purchases
from oxygen_site.transactions import Refused


def to_stripe(request: OrgRequest, url: str, back: str) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(url)
    return render(request, "billing/to_stripe.html", {"section": "plan", "url": url, "back": back})


@require_POST
@org_page(may="plan")
def portal(request: OrgRequest) -> HttpResponse:
    """Open the customer portal, or one page of it; it leads back to where it was opened."""
    form = PortalForm(request.POST)
    asked = form.cleaned_data if form.is_valid() else {"flow": "", "back": ""}
    back = reverse(asked["back"] or "billing:subscribe", args=[request.org.slug])
    try:
        url = purchases.portal(request.org, request.user, request.build_absolute_uri(back), asked["flow"])
    except Refused as refusal:
        return _refused(request, refusal, back)
    return to_stripe(request, url, back)


def _refused(request: OrgRequest, refusal: Refused, back: str) -> HttpResponse:
    """Say why not: in the dialog with htmx, else as a page of its own."""
    context = {"section": "plan", "refusal": refusal, "back": back}
    if not request.htmx:  # type: ignore[attr-defined]
        return render(request, "billing/to_stripe.html", context, status=refusal.status)
    answer = render(request, "billing/to_stripe.html#said", context, status=refusal.status)
    return reswap(retarget(answer, "#dialog-body"), "innerHTML")
