"""Automatic top-ups: a pack is bought when an org's credits run low, and never on and on.

For the plan page, its own page and `billing/jobs.py`. Laws: one in flight an org; a pause after each, longer after each
decline, and switched off after the third; never above the month's maximum, nor while a payment of the org is disputed.
It is paid like anything else: credits come when the inbox has read the paid invoice, not here. That one failed is said
here alone, so that no event about its void invoice is quicker than the pause that follows.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing import mails, plans
from billing.models import Account, AutoTopUp, Customer, Organization, Pack, Payment, Purchase
from billing.payments import gateway, inbox
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, connection_lost, intention

log = logging.getLogger("oxygen.billing")

COOL_OFF = timedelta(minutes=10)
BACK_OFF = (timedelta(hours=1), timedelta(hours=6))  # after the first decline, and the second
MOST_DECLINES = 3
FOR_A_PERSON = timedelta(hours=23)  # also as long as Stripe surely keeps an answer to a key
STALE = timedelta(minutes=1)
MOST = Decimal(10**9)
State = Purchase.State
OPEN = (State.ASKED, State.OPEN)
NOT_SOLD = "The pack is no longer sold. Choose another one."


# ------------------------------------------------------------------ the wish


def of(org: Organization) -> AutoTopUp | None:
    """Read an org's wish, on or off. One query."""
    return AutoTopUp.objects.filter(org=org).select_related("pack__price").first()


def asked(org: Organization) -> Purchase | None:
    """Read the automatic top-up that waits for a person's confirmation. One query."""
    return Purchase.objects.filter(org=org, automatic=True, state=Purchase.State.OPEN).first()


def change(org: Organization, *, on: bool, threshold: Decimal, pack: Pack, monthly_max: int) -> AutoTopUp:
    """Set when to top up by itself, with what and for how much a month. Switching on forgets earlier declines.

    Refused: invalid_threshold, invalid_maximum (422), no_card, disputed (409).
    """
    if not (threshold.is_finite() and 0 < threshold <= MOST and threshold == round(threshold, 4)):
        raise Refused(
            "invalid_threshold",
            "The threshold is a number of credits above 0, with at most four decimals.",
            422,
            "threshold",
        )
    if monthly_max < pack.price.amount:
        raise Refused(
            "invalid_maximum",
            "The monthly maximum is less than one pack costs, so nothing would be bought.",
            422,
            "maximum",
        )
    customer = Customer.objects.filter(org=org, closed_at=None).first()
    if on and (customer is None or not customer.card):
        raise Refused("no_card", "There is no card on file yet: subscribe or top up once, and it is kept.", 409)
    if on and _disputed(org.pk):
        raise Refused("disputed", "A payment is disputed, so nothing is bought by itself.", 409)
    facts = {"on": on, "threshold": threshold, "pack": pack, "monthly_max": monthly_max}
    if on:
        facts |= {"declines": 0, "not_before": None, "why": ""}
    return intention(lambda: AutoTopUp.objects.update_or_create(org=org, defaults=facts)[0])


# ------------------------------------------------------------------ buying


def top_up_due() -> None:
    """Buy for every org that has run low, carry on what was left, and end what waited too long for a person."""
    for wish in _low(clock()):
        if begun := intention(partial(_begin, wish.org_id)):
            _try(begun, carry_on)
    now = clock()
    open_ones = Purchase.objects.filter(automatic=True, state__in=OPEN).select_related("org", "price")
    for old in open_ones.filter(asked_at__lt=now - FOR_A_PERSON):
        _try(old, partial(_end, why="It was not paid in time."))
    for left in open_ones.filter(state=State.ASKED, asked_at__lt=now - STALE):
        _try(left, carry_on)


def _try(purchase: Purchase, verb: Callable[[Purchase], None]) -> None:
    """Do what may fail for one org without failing for the next; what is open is tried again a minute later."""
    try:
        verb(purchase)
    except gateway.Unreachable as reason:
        log.warning("automatic top-up %s waits for Stripe: %s", purchase.pk, reason)
    except Exception as bug:
        if connection_lost(bug):
            raise
        log.exception("automatic top-up %s could not go on", purchase.pk)


def _low(now: datetime) -> QuerySet[AutoTopUp]:
    available = Account.objects.filter(org=OuterRef("org")).values("available")
    rested = Q(not_before=None) | Q(not_before__lte=now)
    wishes = AutoTopUp.objects.annotate(available=Subquery(available))
    return wishes.filter(rested, on=True, available__lt=F("threshold"))


def _locked(org: UUID) -> Customer | None:
    return Customer.objects.select_for_update().filter(org=org, closed_at=None).first()


def _disputed(org: UUID) -> bool:
    return Payment.objects.filter(org=org, disputed=True).exists()


def _begin(org: UUID) -> Purchase | None:
    """Write down the one purchase in flight, where everything still asks for it. The customer's row is locked."""
    customer, now = _locked(org), clock()
    wish = _low(now).filter(org=org).select_related("pack__price", "org").first()
    if customer is None or wish is None or _disputed(org):
        return None
    if not wish.pack.on_sale:
        _switch_off(wish, NOT_SOLD)
        return None
    earlier = Purchase.objects.filter(org=org, automatic=True)
    price = wish.pack.price
    if price.stripe_id is None or earlier.filter(state__in=OPEN).exists():
        return None
    if spent(wish.org, now) + price.amount > wish.monthly_max:
        return None
    last = earlier.order_by("-asked_at").first()
    if last and last.state == State.PAID:
        wish.declines = 0
    wish.not_before = now + COOL_OFF
    wish.save(update_fields=["declines", "not_before"])
    return Purchase.objects.create(
        org=wish.org, price=price, is_plan=False, automatic=True, state=State.ASKED, asked_at=now
    )


def carry_on(purchase: Purchase) -> None:
    """Ask Stripe for the pack, with the same keys however often: a crash between two steps buys nothing twice."""
    customer = Customer.objects.filter(org=purchase.org, closed_at=None).first()
    if customer is None:
        return _end(purchase, "The customer is gone at Stripe.")
    try:
        invoice = gateway.buy_pack_off_session(
            customer.stripe_id,
            str(purchase.price.stripe_id),
            org=purchase.org_id,
            purchase=purchase.pk,
            key=f"top_up:{purchase.pk}",
        )
    except gateway.Declined as no:
        return _ask(purchase, no) if no.needs_person else _end(purchase, no.why, invoice=no.invoice)
    except gateway.Rejected as no:
        if no.code == "not_let_in":  # our own key is at fault, and nobody's wish
            return None
        return _end(purchase, no.why, off=True)
    intention(lambda: Purchase.objects.filter(pk=purchase.pk).update(invoice=invoice.id))
    return inbox.look("invoice", invoice.id)


def _ask(purchase: Purchase, no: gateway.Declined) -> None:
    """The bank wants the person: leave the invoice open for a day, and tell who may pay it."""
    url = gateway.invoice(no.invoice).url

    def verb() -> None:
        _locked(purchase.org_id)
        waiting = {"state": State.OPEN, "invoice": no.invoice, "url": url, "why": no.why[:400]}
        if Purchase.objects.filter(pk=purchase.pk, state=State.ASKED).update(**waiting):
            mails.tell(purchase.org, "confirm", f"{no.why}\n\nYour bank asks for your confirmation: {url}")

    intention(verb)


def _end(purchase: Purchase, why: str, *, invoice: str = "", off: bool = False) -> None:
    """Give up a purchase that was not paid: its invoice can be paid no more, and the next one waits or never comes."""
    invoice = invoice or purchase.invoice or _invoice_of(purchase)
    if invoice and gateway.void_invoice(invoice, key=f"void:{purchase.pk}").status == "paid":
        return inbox.look("invoice", invoice)  # somebody was quicker
    return intention(partial(_failed, purchase, why[:400], invoice, off))


def _invoice_of(purchase: Purchase) -> str:
    """Find the invoice of a purchase at Stripe, where the answer that named it was lost; a draft binds nobody."""
    customer = Customer.objects.filter(org=purchase.org_id, closed_at=None).first()
    made = gateway.invoices(customer.stripe_id) if customer else []
    its = [each for each in made if each.metadata.get("purchase") == str(purchase.pk) and each.status != "draft"]
    return its[0].id if its else ""


def _failed(purchase: Purchase, why: str, invoice: str, off: bool) -> None:
    _locked(purchase.org_id)
    facts = {"state": State.FAILED, "why": why, "closed_at": clock(), "invoice": invoice, "url": ""}
    if not Purchase.objects.filter(pk=purchase.pk, state__in=OPEN).update(**facts):
        return
    wish = AutoTopUp.objects.select_related("org").get(org=purchase.org_id)
    wish.declines += 1
    wish.not_before = clock() + BACK_OFF[min(wish.declines, len(BACK_OFF)) - 1]
    wish.save(update_fields=["declines", "not_before"])
    if wish.on and (off or wish.declines >= MOST_DECLINES):
        times = "once" if wish.declines == 1 else f"{wish.declines} times in a row"
        _switch_off(wish, f"It failed {times}: {why}"[:400])


def _switch_off(wish: AutoTopUp, why: str) -> None:
    wish.on, wish.why = False, why
    wish.save(update_fields=["on", "why"])
    mails.tell(wish.org, "off", why)


# ------------------------------------------------------------------ what it did


def spent(org: Organization, now: datetime) -> int:
    """Add up what automatic top-ups cost this credit month, before tax; those that wait for a payment, too."""
    bought = of_this_month(org, now).filter(state__in=(*OPEN, State.PAID))
    minor_units: int = bought.aggregate(spent=Coalesce(Sum("price__amount"), 0))["spent"]
    return minor_units


def of_this_month(org: Organization, now: datetime) -> QuerySet[Purchase]:
    """Read an org's automatic top-ups of its credit month, the newest first."""
    since, _ = plans.month(org, plans.subscription(org), now)
    its = Purchase.objects.filter(org=org, automatic=True, asked_at__gte=since)
    return its.select_related("price__pack").order_by("-asked_at")
