"""The page that moves time, for whoever may change an org's plan there, and for operators."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from billing.access import OrgRequest, org_page
from billing.cycles import months_later
from billing.models import Organization, Subscription
from oxygen_site.clock import clock
from oxygen_site.demo import moving, sandbox
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused

COLLECTED = timedelta(hours=1, minutes=1)  # Stripe collects a renewal's invoice an hour after it has begun

LEAPS: dict[str, Callable[[datetime], datetime]] = {
    "day": lambda now: now + timedelta(days=1),
    "week": lambda now: now + timedelta(weeks=1),
    "month": lambda now: months_later(now, 1),
}


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="plan")
def move_time(request: OrgRequest) -> HttpResponse:
    return _answer(request, reverse("move_time", args=[request.org.slug]), request.org)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def move_all_time(request: HttpRequest) -> HttpResponse:
    """The same for operators, who belong to no organization."""
    if not request.user.is_superuser:
        raise Http404("Operators only.")
    return _answer(request, reverse("move_all_time"), None)


def _answer(request: HttpRequest, here: str, org: Organization | None) -> HttpResponse:
    if request.method != "POST":
        return _show(request, here, org)
    try:
        _move(request.POST.get("by", ""), org)
    except Refused as refusal:
        return _show(request, here, org, refusal)
    except sandbox.Silent:
        return _show(request, here, org)
    return redirect(here)


def _move(by: str, org: Organization | None) -> None:
    renewal = _renewal(org)
    if by == "together":
        moving.bring_together(settings.STRIPE_API_BASE)
    elif by == "renewal" and renewal:
        moving.ask(renewal + COLLECTED)
    elif by in LEAPS:
        moving.ask(LEAPS[by](clock()))
    else:
        raise Refused("unknown_leap", "Choose how far time is to move.", 422)


def _renewal(org: Organization | None) -> datetime | None:
    live = Subscription.objects.filter(org=org, status__in=Subscription.LIVE, surplus=False).first() if org else None
    return live.period_end if live else None


def _show(request: HttpRequest, here: str, org: Organization | None, refusal: Refused | None = None) -> HttpResponse:
    now, move = clock(), moving.under_way()
    context: dict[str, Any] = {"here": here, "now": now, "move": move, "renewal": _renewal(org), "refusal": refusal}
    if move:
        context["share"] = move.share(now)
    try:
        context["there"] = there = sandbox.read(settings.STRIPE_API_BASE)
        context["apart"] = not move and abs(there.now - now) >= moving.SAME
    except sandbox.Silent:
        context["silent"] = True
    return page(request, "demo/move_time.html", context, fragment="time", status=refusal.status if refusal else 200)
