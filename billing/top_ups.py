"""Automatic top-ups: a pack is bought when an org's credits run low, and never on and on.

For the settings page and `billing/jobs.py`. Laws: one in flight an org; a pause after each, longer after each decline,
and switched off after the third; never above the month's maximum, nor while a payment of the org is disputed. It is
paid like anything else: credits come when the inbox has read the paid invoice, not here.
"""

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.core.mail import send_mail
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing import plans
from billing.models import Account, AutoTopUp, Customer, Membership, Organization, Pack, Payment, Purchase, Role
from billing.payments import gateway, inbox
from oxygen_site.clock import clock
from oxygen_site.jobs import defer, task
from oxygen_site.transactions import Refused, intention

log = logging.getLogger("oxygen.billing")

COOL_OFF = timedelta(minutes=10)
BACK_OFF = (timedelta(hours=1), timedelta(hours=6))  # after the first decline, and the second
MOST_DECLINES = 3
FOR_A_PERSON = timedelta(hours=23)
STALE = timedelta(minutes=1)
MOST = Decimal(10**9)
OPEN = (Purchase.State.ASKED, Purchase.State.OPEN)


# ------------------------------------------------------------------ the wish


def of(org: Organization) -> AutoTopUp | None:
    """Read an org's wish, on or off. One query."""
    return AutoTopUp.objects.filter(org=org).select_related("pack__price").first()


def asked(org: Organization) -> Purchase | None:
    """Read the automatic top-up that waits for a person's confirmation. One query."""
    return Purchase.objects.filter(org=org, automatic=True, state=Purchase.State.OPEN).first()


def change(org: Organization, *, on: bool, threshold: Decimal, pack: Pack, monthly_max: int) -> AutoTopUp:
    """Set when to top up by itself, with what and for how much a month. Switching on forgets earlier declines.

    Refused: invalid_threshold, invalid_maximum (422), no_card (409).
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
    facts = {"on": on, "threshold": threshold, "pack": pack, "monthly_max": monthly_max}
    if on:
        facts |= {"declines": 0, "not_before": None, "why": ""}
    return intention(lambda: AutoTopUp.objects.update_or_create(org=org, defaults=facts)[0])


# ------------------------------------------------------------------ buying


def top_up_due() -> None:
    """Buy for every org that has run low, carry on what was left, and end what waited too long for a person."""
    for wish in _low(clock()):
        if purchase := intention(partial(_begin, wish.org_id)):
            carry_on(purchase)
    now = clock()
    automatic = Purchase.objects.filter(automatic=True).select_related("org", "price")
    for left in automatic.filter(state=Purchase.State.ASKED, asked_at__lt=now - STALE):
        carry_on(left)
    for waiting in automatic.filter(state=Purchase.State.OPEN, asked_at__lt=now - FOR_A_PERSON):
        _end(waiting, "Nobody confirmed the payment in time.")


def _low(now: datetime) -> QuerySet[AutoTopUp]:
    available = Account.objects.filter(org=OuterRef("org")).values("available")
    rested = Q(not_before=None) | Q(not_before__lte=now)
    wishes = AutoTopUp.objects.annotate(available=Subquery(available))
    return wishes.filter(rested, on=True, available__lt=F("threshold"))


def _begin(org: UUID) -> Purchase | None:
    """Write down the one purchase in flight, where everything still asks for it. The customer's row is locked."""
    customer = Customer.objects.select_for_update().filter(org=org, closed_at=None).first()
    now = clock()
    wish = _low(now).filter(org=org).select_related("pack__price", "org").first()
    if customer is None or wish is None or Payment.objects.filter(org=org, disputed=True).exists():
        return None
    if Purchase.objects.filter(org=org, automatic=True, state__in=OPEN).exists():
        return None
    if _spent(wish.org, now) + wish.pack.price.amount > wish.monthly_max:
        return None
    return Purchase.objects.create(
        org=wish.org, price=wish.pack.price, is_plan=False, automatic=True, state=Purchase.State.ASKED, asked_at=now
    )


def _spent(org: Organization, now: datetime) -> int:
    since, _ = plans.month(org, plans.subscription(org), now)
    bought = Purchase.objects.filter(org=org, automatic=True, asked_at__gte=since)
    bought = bought.filter(state__in=(*OPEN, Purchase.State.PAID))
    spent: int = bought.aggregate(spent=Coalesce(Sum("price__amount"), 0))["spent"]
    return spent


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
    except gateway.Unreachable as reason:
        log.warning("automatic top-up %s waits for Stripe: %s", purchase.pk, reason)
        return None
    except gateway.Declined as no:
        return _ask(purchase, no) if no.needs_person else _end(purchase, no.why, invoice=no.invoice)
    except gateway.Rejected as no:
        return _end(purchase, no.why, off=True)
    intention(partial(_bought, purchase, invoice.id))
    inbox.look("invoice", invoice.id)
    return None


def _bought(purchase: Purchase, invoice: str) -> None:
    Purchase.objects.filter(pk=purchase.pk).update(invoice=invoice)
    AutoTopUp.objects.filter(org=purchase.org).update(declines=0, not_before=clock() + COOL_OFF, why="")


def _ask(purchase: Purchase, no: gateway.Declined) -> None:
    """The bank wants the person: leave the invoice open for a day, and tell who may pay it."""
    url = gateway.invoice(no.invoice).url

    def verb() -> None:
        waiting = {"state": Purchase.State.OPEN, "invoice": no.invoice, "url": url, "why": no.why}
        if Purchase.objects.filter(pk=purchase.pk, state=Purchase.State.ASKED).update(**waiting):
            _tell(purchase.org, "confirm", f"{no.why}\n\nYour bank asks for your confirmation: {url}")

    intention(verb)


def _end(purchase: Purchase, why: str, *, invoice: str = "", off: bool = False) -> None:
    """Give up a purchase that was not paid: its invoice can be paid no more, and the next one waits or never comes."""
    invoice = invoice or purchase.invoice
    if invoice and gateway.void_invoice(invoice, key=f"void:{purchase.pk}").status == "paid":
        return inbox.look("invoice", invoice)  # somebody was quicker

    def verb() -> None:
        facts = {"state": Purchase.State.FAILED, "why": why, "closed_at": clock(), "invoice": invoice, "url": ""}
        if not Purchase.objects.filter(pk=purchase.pk, state__in=OPEN).update(**facts):
            return
        wish = AutoTopUp.objects.select_for_update().get(org=purchase.org)
        wish.declines += 1
        if off or wish.declines >= MOST_DECLINES:
            wish.on = False
            wish.why = f"It was switched off after {wish.declines} failed payment{'s' * (wish.declines > 1)}: {why}"[
                :400
            ]
            _tell(purchase.org, "off", wish.why)
        else:
            wish.not_before = clock() + BACK_OFF[wish.declines - 1]
        wish.save(update_fields=["on", "declines", "not_before", "why"])

    return intention(verb)


# ------------------------------------------------------------------ telling


SUBJECTS = {
    "confirm": "{org}: confirm the automatic top-up",
    "off": "{org}: automatic top-up was switched off",
}


def _tell(org: Organization, what: str, words: str) -> None:
    defer(send, org=str(org.pk), subject=SUBJECTS[what].format(org=org.name), words=words)


@task()
def send(org: str, subject: str, words: str) -> None:
    """Send a mail to an org's admins and owners."""
    them = Membership.objects.filter(org=UUID(org), role__in=(Role.ADMIN, Role.OWNER), user__is_active=True)
    if addresses := list(them.values_list("user__email", flat=True)):
        send_mail(subject, words, None, addresses)


def switch_off(org: Organization, why: str) -> None:
    """Stop topping up by itself; a step of a transaction that has learned why."""
    if AutoTopUp.objects.filter(org=org, on=True).update(on=False, why=why):
        _tell(org, "off", why)
