"""The plan page: where the org stands, what a change costs before it is made, and the buttons that make it.

No GET asks Stripe: what a change costs is the answer to a POST. Each action is a form of its own that works without
scripts; a refusal stands beside what was refused, and an expired quote is answered with a new one.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from billing import access, notices, offers, plans, top_ups
from billing.access import OrgRequest, org_page
from billing.forms import ChangeForm, ChoiceForm, PackForm
from billing.models import PlanChange, Price
from billing.offers import Choice, Kind, Offer, Shown
from billing.payments import changes, purchases
from billing.plans import Standing
from billing.views.portal import to_stripe
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused

INTERVALS = [(Price.Interval.MONTH.value, "Monthly"), (Price.Interval.YEAR.value, "Yearly")]
NO_SUCH_PLAN = Refused("unknown_plan", "There is no such plan, or it cannot be paid like that.", 422)
TICKED_ANOTHER = Refused("ticked_another", "Something else is ticked than what was shown. Here is what that costs.")


@require_safe
@org_page(may="read")
def subscribe(request: OrgRequest) -> HttpResponse:
    return _show(request)


@require_POST
@org_page(may="plan")
def preview(request: OrgRequest) -> HttpResponse:
    return _quoted(request)


@require_POST
@org_page(may="plan")
def checkout(request: OrgRequest) -> HttpResponse:
    """Buy a first subscription, at Stripe's Checkout."""
    form = ChoiceForm(request.POST)
    if not form.is_valid():
        return _quoted(request)
    choice = form.choice()
    if form.cleaned_data["shown"] not in ("", f"{choice.plan}:{choice.interval}"):
        return _quoted(request, TICKED_ANOTHER)
    try:
        bought = purchases.subscribe(request.org, request.user, choice.plan, choice.interval, _urls(request))
    except Refused as refusal:
        return _quoted(request, refusal)
    return to_stripe(request, bought.url, _here(request))


@require_POST
@org_page(may="plan")
def confirm(request: OrgRequest) -> HttpResponse:
    """Make the change whose quote is shown, at what it says; else show a new quote, and why."""
    form = ChangeForm(request.POST)
    if not form.is_valid():
        return _quoted(request, Refused("no_quote", "Look at what the change costs first.", 409))
    if _ticks_another(request, form.cleaned_data["change"]):
        return _quoted(request, TICKED_ANOTHER)
    try:
        change = changes.confirm(request.org, request.user, form.cleaned_data["change"])
    except Refused as refusal:
        return _quoted(request, refusal)
    scheduled = change.state == PlanChange.State.SCHEDULED
    there = _here(request) if scheduled else f"{_returned(request)}?change={change.pk}"
    return HttpResponseClientRedirect(there) if request.htmx else redirect(there)  # type: ignore[attr-defined]


@require_POST
@org_page(may="plan")
def undo(request: OrgRequest) -> HttpResponse:
    """Take back a change that has not happened: scheduled, or not paid."""
    form = ChangeForm(request.POST)
    if not form.is_valid():
        return _show(request, refusal=Refused("unknown_change", "There is no such change to undo.", 409))
    try:
        changes.undo(request.org, request.user, form.cleaned_data["change"])
    except Refused as refusal:
        return _show(request, refusal=refusal)
    return redirect(_here(request))


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="cancel_subscription")
def cancel_plan(request: OrgRequest) -> HttpResponse:
    """End the subscription with its period: asked on a page of its own, or in the dialog."""
    refusal = None
    if request.method == "POST":
        try:
            changes.cancel(request.org, request.user)
        except Refused as said:
            refusal = said
        else:
            return redirect(_here(request))
    facts = {"section": "plan", "subscription": plans.subscription(request.org), "refusal": refusal}
    part = "#confirm" if request.htmx else ""  # type: ignore[attr-defined]
    return render(request, f"billing/cancel_plan.html{part}", facts, status=refusal.status if refusal else 200)


@require_POST
@org_page(may="plan")
def top_up(request: OrgRequest) -> HttpResponse:
    """Buy a pack once, at Stripe's Checkout."""
    form = PackForm(request.POST)
    pack = form.cleaned_data["pack"] if form.is_valid() else ""
    try:
        bought = purchases.top_up(request.org, request.user, pack, _urls(request))
    except Refused as refusal:
        return _show(request, refusal=refusal, place="top-up", chosen_pack=pack)
    return to_stripe(request, bought.url, _here(request))


# ------------------------------------------------------------------ what is shown


def _ticks_another(request: OrgRequest, change: UUID) -> bool:
    """Say whether something else is ticked than what the quote is of: its button was not pressed for that."""
    form = ChoiceForm(request.POST)
    quoted = PlanChange.objects.filter(org=request.org, pk=change).select_related("new__plan").first()
    if not form.is_valid() or quoted is None or quoted.new is None or quoted.new.plan is None:
        return False
    return form.choice() != (quoted.new.plan.key, quoted.new.interval, quoted.when)


def _quoted(request: OrgRequest, refusal: Refused | None = None) -> HttpResponse:
    """Show what is ticked with new quotes; `refusal` says why the one before it did not do."""
    form = ChoiceForm(request.POST)
    if not form.is_valid():
        return _show(request, refusal=refusal or NO_SUCH_PLAN, place="preview")
    choice, standing = form.choice(), plans.read(request.org, clock())
    offer = offers.offer(_cards(standing), choice, standing.subscription, standing.change)
    if offer is None:
        return _show(request, refusal=NO_SUCH_PLAN, place="preview")
    try:
        shown = _quotes(request, offer, choice)
    except Refused as said:
        return _show(request, choice, offer, refusal=refusal or said, place="preview")
    return _show(request, choice, offer, shown, refusal=refusal, place="preview")


def _quotes(request: OrgRequest, offer: Offer, choice: Choice) -> Shown | None:
    """Ask for the quote of each way to make the change; Refused: the one that was ticked cannot be."""
    if offer.kind not in (Kind.UPGRADE, Kind.RENEWAL):
        return None
    ways = [PlanChange.When.RENEWAL, PlanChange.When.NOW] if offer.kind == Kind.UPGRADE else [choice.when]
    if offer.planned:
        ways = [PlanChange.When.NOW]
    quotes = {
        way: changes.quote(request.org, request.user, choice.plan, choice.interval, PlanChange.When(way))
        for way in ways
    }
    return Shown(quotes.get(PlanChange.When.RENEWAL), quotes.get(PlanChange.When.NOW), choice.when)


def _show(
    request: OrgRequest,
    choice: Choice | None = None,
    offer: Offer | None = None,
    shown: Shown | None = None,
    *,
    refusal: Refused | None = None,
    place: str = "page",
    chosen_pack: str = "",
) -> HttpResponse:
    """The page, or the part of it that was asked for; `place` is where a refusal stands."""
    standing = plans.read(request.org, clock())
    subscription, cards = standing.subscription, _cards(standing)
    if choice is None:
        own = subscription and any(card.is_current for card in cards)
        interval = subscription.price.interval if subscription else Price.Interval.MONTH.value
        choice = Choice(subscription.plan.key if subscription and own else "", interval)
        offer = offers.offer(cards, choice, subscription, standing.change)
    may_plan = access.may(request.role, "plan")
    context: dict[str, Any] = {
        "section": "plan",
        "standing": standing,
        "ends_at": _ends_at(standing),
        # What is wrong with a change stands in its own card here.
        "notices": notices.notices(
            request.org,
            replace(standing, change=None),
            may_buy=may_plan,
            wish=top_ups.of(request.org),
            asked=top_ups.asked(request.org),
        ),
        "cards": cards,
        "intervals": INTERVALS if any(card.price("year") for card in cards) else [],
        "packs": plans.packs(),
        "card": subscription.customer.card if subscription else "",
        "may_buy": may_plan and standing.configured,
        "may_cancel": access.may(request.role, "cancel_subscription"),
        "choice": choice,
        "offer": offer or Offer(Kind.NOTHING),
        "shown": shown,
        "refusal": refusal,
        "place": place,
        "chosen_pack": chosen_pack,
    }
    return page(request, "billing/subscribe.html", context, place, status=refusal.status if refusal else 200)


def _cards(standing: Standing) -> list[offers.Card]:
    return offers.cards(plans.on_sale(), standing.subscription, standing.change)


def _ends_at(standing: Standing) -> Any:
    """When the subscription ends for good, where that is settled."""
    subscription, change = standing.subscription, standing.change
    ending = change and change.new is None and change.state == PlanChange.State.SCHEDULED
    return subscription.period_end if subscription and (ending or subscription.cancel_at_period_end) else None


# ------------------------------------------------------------------ addresses


def _here(request: OrgRequest) -> str:
    return reverse("billing:subscribe", args=[request.org.slug])


def _returned(request: OrgRequest) -> str:
    return reverse("billing:returned", args=[request.org.slug])


def _urls(request: OrgRequest) -> tuple[str, str]:
    """Where Checkout leads back to: once paid, with the session's id put in by Stripe, or else."""
    back = request.build_absolute_uri(_returned(request))
    return f"{back}?session_id={{CHECKOUT_SESSION_ID}}", request.build_absolute_uri(_here(request))
