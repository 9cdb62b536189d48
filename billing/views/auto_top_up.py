"""The page of the automatic top-up: whether, when, with what and for how much a month; and what it did this month."""

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from billing import plans, top_ups
from billing.access import OrgRequest, org_page
from billing.forms import AutoTopUpForm
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="plan")
def auto_top_up(request: OrgRequest) -> HttpResponse:
    form = AutoTopUpForm(top_ups.of(request.org), request.POST if request.method == "POST" else None)
    refusal = None
    if form.is_valid():
        try:
            top_ups.change(request.org, **form.wished())
        except Refused as said:
            refusal = said
            if said.field:
                form.add_error(said.field, said.message)
        else:
            return redirect("billing:auto_top_up", request.org.slug)
    return _show(request, form, refusal)


def _show(request: OrgRequest, form: AutoTopUpForm, refusal: Refused | None) -> HttpResponse:
    now = clock()
    standing = plans.read(request.org, now)
    context = {
        "section": "plan",
        "standing": standing,
        "form": form,
        "wish": form.wish,
        "bought": top_ups.of_this_month(request.org, now),
        "spent": top_ups.spent(request.org, now),
        "refusal": refusal,
    }
    status = refusal.status if refusal else 422 if form.errors else 200
    return page(request, "billing/auto_top_up.html", context, status=status)
