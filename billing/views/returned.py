"""Back from Stripe, or from confirming a change: what became of it.

The GET only reads. While it is not settled the page asks by POST, which looks at Stripe anew (the same that the webhook
does); it ends with the answer, and with patience after a minute.
"""

from contextlib import suppress
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods

from billing import plans
from billing.access import OrgRequest, org_page
from billing.forms import ReturnedForm
from billing.models import Organization, PlanChange, Purchase
from billing.payments import inbox, purchases
from billing.payments.effects import Ignored
from billing.payments.gateway import Unreachable
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused

PATIENCE = 30  # looks, two seconds apart
WAITS = (PlanChange.State.ASKED, Purchase.State.ASKED, Purchase.State.OPEN)


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="plan")
def returned(request: OrgRequest) -> HttpResponse:
    form = ReturnedForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        return redirect("billing:subscribe", request.org.slug)
    session, looks = form.cleaned_data["session_id"], form.cleaned_data["looks"] or 0
    thing = _thing(request.org, session, form.cleaned_data["change"])
    refusal = None
    if request.method == "POST":
        looks += 1
        try:
            _look(request.org, thing)
        except Refused as said:
            refusal = said
        thing = _thing(request.org, session, form.cleaned_data["change"])
    context = {
        "section": "plan",
        "standing": plans.read(request.org, clock()),
        "session_id": session,
        "change": thing if isinstance(thing, PlanChange) else None,
        "purchase": thing if isinstance(thing, Purchase) else None,
        "waits": thing.state in WAITS,
        "patient": looks >= PATIENCE,
        "looks": looks,
        "refusal": refusal,
    }
    return page(request, "billing/returned.html", context, fragment="outcome")


def _thing(org: Organization, session: str, change: UUID | None) -> PlanChange | Purchase:
    """Find what it is about among the org's own; 404 for anybody else's."""
    if change:
        asked = PlanChange.objects.exclude(state=PlanChange.State.QUOTED).select_related("old__plan", "new__plan")
        return get_object_or_404(asked, org=org, pk=change)
    bought = Purchase.objects.select_related("price__plan", "price__pack")
    return get_object_or_404(bought, org=org, session=session)


def _look(org: Organization, thing: PlanChange | Purchase) -> None:
    """Look at Stripe anew. Where it cannot be reached the page goes on waiting."""
    if isinstance(thing, Purchase):
        purchases.confirm_return(org, thing.session)
    elif thing.invoice and thing.state in (PlanChange.State.ASKED, PlanChange.State.UNPAID):
        with suppress(Ignored, Unreachable):
            inbox.look("subscription", thing.subscription_id)
            inbox.look("invoice", thing.invoice)
