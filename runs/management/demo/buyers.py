"""Who of the demo pays: real subscriptions at its local Stripe, bought as everybody buys, by pressing its pages.

For `seed_demo`; nothing where payments go elsewhere. That Stripe begins when the demo's past does, and lives through it
beside business time. Nobody who has subscribed does so again.
"""

import json
from contextlib import suppress
from datetime import datetime
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from django.conf import settings

from billing.models import Organization, PlanChange, StripeEvent, Subscription, User
from billing.payments import changes, inbox, purchases
from oxygen_site.clock import clock
from runs.management.demo.cast import BUYERS, Buyer


def begin(at: datetime) -> None:
    """Set the local Stripe to the beginning of the demo's past."""
    if _at_the_sandbox():
        _order("begin", at=int(at.timestamp()))


def buy(name: str = "") -> None:
    """Have the buyer of a name subscribe, or all of them, and do what is told of each afterwards."""
    for buyer in BUYERS:
        org = Organization.objects.get(name=buyer.org)
        if _at_the_sandbox() and name in ("", buyer.org) and not Subscription.objects.filter(org=org).exists():
            follow()
            _subscribe(org, buyer)
            follow()


def follow() -> None:
    """Bring the local Stripe to business time, and apply what it tells of the time between."""
    if not _at_the_sandbox():
        return
    with suppress(HTTPError):  # it is there already
        _order("clock", to=int(clock().timestamp()))
    inbox.catch_up()
    waiting = StripeEvent.objects.filter(state=StripeEvent.State.RECEIVED).order_by()
    for customer, thing in waiting.values_list("customer", "object").distinct():
        inbox.apply_waiting(customer or thing)


def _at_the_sandbox() -> bool:
    return bool(settings.STRIPE_ALLOW_SANDBOX and settings.STRIPE_API_BASE)


def _order(verb: str, **asked: int) -> None:
    """Use its control API."""
    with urlopen(f"{settings.STRIPE_API_BASE}/_emu/{verb}", json.dumps(asked).encode(), timeout=30) as answer:  # noqa: S310
        answer.read()


def _subscribe(org: Organization, buyer: Buyer) -> None:
    by = User.objects.get(email=buyer.by)
    back = f"{settings.STRIPE_API_BASE}/_emu"  # a page that is there: the site may not be up yet
    purchase = purchases.subscribe(org, by, buyer.plan, buyer.interval, (back, back))
    _press(purchase.url, "pay", buyer.card)
    purchases.confirm_return(org, purchase.session)
    if buyer.later_card:
        _press(purchases.portal(org, by, back), "card", buyer.later_card)
    if buyer.next_plan:
        change = changes.quote(org, by, buyer.next_plan, buyer.interval, PlanChange.When.RENEWAL)
        changes.confirm(org, by, change.pk)


def _press(page: str, act: str, number: str) -> None:
    """Send the form of a hosted page, as a browser without scripts."""
    with urlopen(page, urlencode({"act": act, "number": number}).encode(), timeout=30) as answer:  # noqa: S310
        answer.read()
