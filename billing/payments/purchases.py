"""Purchases at Stripe's Checkout: a first subscription, or a pack; and the way to the customer portal.

For the plan page, the API and `billing/jobs.py`. The laws: the customer is ours before anything is bought, so whatever
Stripe says can be told to an org; one first subscription and one purchase of a pack at a time, so a double click is one
purchase; what was bought is the inbox's to say. A Checkout that nobody was shown costs nobody anything: a purchase that
broke off before is given up, and the next press begins anew. Every verb may refuse with not_set_up, stripe_unreachable
and not_possible, beside what it names.
"""

import logging
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import NoReturn

from billing import plans
from billing.models import Customer, Organization, Price, Purchase, Subscription, User
from billing.payments import facts, gateway, inbox
from billing.payments.changes import must_be_set_up, price_on_sale
from billing.payments.effects import Ignored
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention

log = logging.getLogger("oxygen.billing")

BROKEN_OFF = timedelta(minutes=5)  # longer than a press can take
FORGOTTEN = timedelta(hours=25)  # a Checkout session lives for 24
TRIES = 4
State = Purchase.State
OPEN = (State.ASKED, State.OPEN)


def subscribe(org: Organization, by: User, plan: str, interval: str, urls: tuple[str, str]) -> Purchase:
    """Open the Checkout of a first subscription; `urls` are where it leads to, paid or not.

    Refused: unknown_plan (422), already_subscribed (409).
    """
    price = price_on_sale(plan, interval)
    if plans.subscription(org):
        raise _subscribed()
    return _bought(org, by, price, urls)


def top_up(org: Organization, by: User, pack: str, urls: tuple[str, str]) -> Purchase:
    """Open the Checkout of a pack. Refused: unknown_pack (422)."""
    must_be_set_up()
    price = Price.objects.filter(pack=pack, pack__on_sale=True).exclude(stripe_id=None).first()
    if price is None:
        raise Refused("unknown_pack", "There is no such pack of credits.", 422)
    return _bought(org, by, price, urls)


def _subscribed() -> Refused:
    return Refused("already_subscribed", "There is a subscription already. Change its plan instead.")


def _bought(org: Organization, by: User, price: Price, urls: tuple[str, str]) -> Purchase:
    try:
        for _ in range(TRIES):
            customer = _customer(org, by)
            if price.plan_id:
                _must_be_first(customer)
            purchase, begun = intention(partial(_begin, customer, by, price))
            if opened := _opened(purchase, customer, price, urls, begun=begun):
                return opened
    except gateway.Unreachable as error:
        _unreachable(error)
    raise Refused("not_possible", "Something else is being bought at the same time. Try again in a moment.")


def _unreachable(error: gateway.Unreachable) -> NoReturn:
    raise Refused(
        "stripe_unreachable", "Stripe does not answer just now. Nothing was charged. Try again in a moment."
    ) from error


# ------------------------------------------------------------------ the customer


def _customer(org: Organization, by: User) -> Customer:
    """Find the org at Stripe, or make it there; kept here before anything is bought under it."""
    if known := Customer.objects.filter(org=org, closed_at=None).first():
        return known
    closed = Customer.objects.filter(org=org).count()
    try:
        made = gateway.make_customer(org.pk, org.name, by.email, key=f"customer:{org.pk}:{closed}:{by.pk}")
    except gateway.Rejected as no:
        raise _not_possible(no) from no
    row = Customer(org=org, stripe_id=made.id, email=made.email)
    # Two at once: the second waits for the first, and takes its customer.
    intention(lambda: Customer.objects.bulk_create([row], ignore_conflicts=True))
    return Customer.objects.get(org=org, closed_at=None)


def _must_be_first(customer: Customer) -> None:
    """Refuse where Stripe knows of a subscription that has not been read here yet."""
    for each in gateway.subscriptions(customer.stripe_id):
        if each.status in Subscription.LIVE:
            intention(partial(inbox.wake, "subscription", each.id))
            raise _subscribed()


def _not_possible(no: gateway.Rejected) -> Refused:
    log.error("a purchase was refused: %s", no)
    return Refused("not_possible", f"Stripe does not allow this: {no.why}")


# ------------------------------------------------------------------ the purchase


def _begin(customer: Customer, by: User, price: Price) -> tuple[Purchase, bool]:
    """Find the purchase that is open already, or begin one; one person at a time, by the customer's row."""
    Customer.objects.select_for_update().get(pk=customer.pk)
    is_plan = price.plan_id is not None
    same = Purchase.objects.filter(org=customer.org_id, automatic=False, is_plan=is_plan, state__in=OPEN)
    if there := (same if is_plan else same.filter(price=price)).select_related("price").first():
        return there, False
    now = clock()
    purchase = Purchase(
        org_id=customer.org_id, by=by, price=price, is_plan=is_plan, state=State.ASKED, asked_at=now, tried_at=now
    )
    purchase.save(force_insert=True)
    return purchase, True


def _opened(
    purchase: Purchase, customer: Customer, price: Price, urls: tuple[str, str], *, begun: bool
) -> Purchase | None:
    """Answer the purchase with its Checkout open; None where another is to be begun in its place."""
    if purchase.session:
        return _reused(purchase, customer, price)
    asks = gateway.open_subscription_checkout if purchase.is_plan else gateway.open_pack_checkout
    try:
        session = asks(
            customer.stripe_id,
            str(purchase.price.stripe_id),
            org=purchase.org_id,
            purchase=purchase.pk,
            success_url=urls[0],
            cancel_url=urls[1],
            key=f"purchase:{purchase.pk}",
        )
    except gateway.Rejected as no:
        _close(purchase, State.FAILED if begun else State.ABANDONED, no.why)
        if begun and not _gone(customer):
            raise _not_possible(no) from no
        return None  # of a press that broke off, or of a customer that was deleted at Stripe
    opened = {"state": State.OPEN, "session": session.id, "url": session.url}
    mine = Purchase.objects.filter(pk=purchase.pk)
    intention(lambda: mine.filter(state=State.ASKED).update(**opened))
    now = mine.select_related("price").get()
    if now.session != session.id:  # given up meanwhile: nobody was shown it, and nobody shall be
        gateway.expire_session(session.id, key=f"expire:{purchase.pk}")
        return None
    return _reused(now, customer, price, session) if purchase.price_id != price.pk else now


def _gone(customer: Customer) -> bool:
    """Say whether Stripe has no such customer any more; it is closed here then."""
    inbox.look("customer", customer.stripe_id)
    return not Customer.objects.filter(pk=customer.pk, closed_at=None).exists()


def _reused(
    purchase: Purchase, customer: Customer, price: Price, session: facts.Session | None = None
) -> Purchase | None:
    """Take the Checkout that is open, where it sells the same; close one that sells another, or whose time is over."""
    session = session or gateway.session(purchase.session)
    if session.status == "open":
        if purchase.price_id == price.pk and session.customer == customer.stripe_id:
            return purchase
        session = gateway.expire_session(session.id, key=f"expire:{purchase.pk}")
    if session.status == "complete":
        with suppress(Ignored):
            inbox.look("session", session.id)
        if purchase.is_plan:
            raise _subscribed()
        return None
    _close(purchase, State.ABANDONED, "")
    return None


def _close(purchase: Purchase, state: str, why: str) -> None:
    facts = {"state": state, "why": why[:400], "closed_at": clock(), "url": ""}
    intention(lambda: Purchase.objects.filter(pk=purchase.pk, state__in=OPEN).update(**facts))


# ------------------------------------------------------------------ afterwards


def confirm_return(org: Organization, session: str) -> str:
    """Look at a Checkout session of the org's anew, as its webhook does; answers what became of the purchase.

    Refused: unknown_session (404).
    """
    mine = Purchase.objects.filter(org=org, session=session) if session else Purchase.objects.none()
    if not mine.exists():
        raise Refused("unknown_session", "There is no such purchase.", 404)
    look_again(session)
    state: str = mine.values_list("state", flat=True)[0]
    return state


def look_again(session: str) -> None:
    """Look at a session, and leave it to the webhook where that cannot be."""
    try:
        inbox.look("session", session)
    except (Ignored, gateway.Unreachable) as reason:
        log.info("%s was not read: %s", session, reason)


def portal(org: Organization, by: User, return_url: str, flow: str = "") -> str:
    """Open the customer portal for the org, or its page for the card; answers its address. Refused: no_customer."""
    must_be_set_up()
    customer = Customer.objects.filter(org=org, closed_at=None).first()
    if customer is None:
        raise Refused("no_customer", "Nothing was bought yet, so there is nothing to manage at Stripe.")
    key = f"portal:{customer.pk}:{flow}:{clock():%Y-%m-%dT%H:%M:%S.%f}"
    try:
        return gateway.portal(customer.stripe_id, return_url, flow, key=key)
    except gateway.Unreachable as error:
        _unreachable(error)
    except gateway.Rejected as no:
        raise _not_possible(no) from no


def carry_on_due() -> None:
    """Give up what broke off before anybody was shown its Checkout, and look at what was left open for a day."""
    now = clock()
    left = Purchase.objects.filter(automatic=False)
    for broken in left.filter(state=State.ASKED, tried_at__lt=now - BROKEN_OFF):
        _close(broken, State.ABANDONED, "It broke off before Checkout was opened.")
    for forgotten in left.filter(state=State.OPEN, asked_at__lt=now - FORGOTTEN):
        look_again(forgotten.session)
