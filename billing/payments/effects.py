"""What follows from what was read at Stripe: the only place where being paid, or paid back, has an effect.

For `inbox.py`, and `billing/jobs.py` for the months that begin by themselves. Each function is a verb of one intention,
under the customer's row, and gives the same whenever and however often it is called: grants have keys made from what
was paid for, what is owed of one is set and never added to, and what was read earlier never overwrites the later.
"""

import logging
from decimal import Decimal
from uuid import UUID

from billing import invoices, ledger, mails
from billing.cycles import credit_month, months_later
from billing.models import (
    AutoTopUp,
    Customer,
    Grant,
    Invoice,
    Organization,
    PaidPeriod,
    Payment,
    Plan,
    PlanChange,
    Purchase,
    Subscription,
)
from billing.payments import bought, facts, months
from oxygen_site.clock import clock

log = logging.getLogger("oxygen.billing")

DISPUTED = "A payment is disputed, so nothing more is bought by itself."
CANCELED = ("canceled", "incomplete_expired")


class Ignored(Exception):
    """Nothing follows, for a reason an operator can read."""


def _locked(customer: Customer) -> Customer:
    return Customer.objects.select_for_update().select_related("org").get(pk=customer.pk)


# ------------------------------------------------------------------ invoices


def is_known(invoice: str) -> bool:
    """Say whether it was taken down that an invoice is paid, and what it paid for."""
    return Invoice.objects.filter(pk=invoice, status=Invoice.Status.PAID).exists()


def invoice_read(
    customer: Customer, number: int, invoice: facts.Invoice, prices: bought.Prices, payment: facts.Payment | None
) -> None:
    """Take down what an invoice says: a paid one gives what it paid for; an open or void one tells who waits for it."""
    org = _locked(customer).org
    if not invoices.keep(org, number, invoice, prices.known):
        return  # a later look was here before, and told more
    _tell_subscription(invoice)
    _tell_change(org, invoice)
    _tell_purchase(org, invoice)
    if invoice.status != "paid":
        return
    if payment:
        _write_payment(org, number, payment)
    for period in bought.bought(org, invoice, prices, payment):
        give(_taken_down(period))


def _tell_subscription(invoice: facts.Invoice) -> None:
    """Keep the way to pay what is open, for a renewal that failed."""
    its = Subscription.objects.filter(pk=invoice.subscription) if invoice.subscription else None
    if its is None or invoice.reason == "subscription_update":
        return
    if invoice.status == "open" and invoice.attempted:
        its.update(pay_url=invoice.url)
    elif invoice.status in ("paid", "void", "uncollectible"):
        its.filter(pay_url=invoice.url).update(pay_url="")


def _tell_change(org: Organization, invoice: facts.Invoice) -> None:
    """A change of plan happens when its invoice is paid, and waits or fails with it."""
    change = PlanChange.objects.filter(org=org, invoice=invoice.id).first()
    if change is None or change.state not in PlanChange.OPEN:
        return
    if invoice.status == "paid":
        change.state, change.why = PlanChange.State.APPLIED, ""
    elif invoice.status == "open" and (invoice.attempted or invoice.needs_person):
        change.state, change.why, change.pay_url = PlanChange.State.UNPAID, invoice.unpaid_because[:400], invoice.url
    elif invoice.status in ("void", "uncollectible"):
        change.state, change.why = PlanChange.State.FAILED, "It was not paid in time, so the plan stayed as it was."
    change.save(update_fields=["state", "why", "pay_url"])


def _tell_purchase(org: Organization, invoice: facts.Invoice) -> None:
    purchase = _purchase(org, invoice.metadata)
    if purchase and invoice.status == "paid":
        _close(purchase, Purchase.State.PAID)
    elif purchase and not purchase.automatic and invoice.status in ("void", "uncollectible"):
        _close(purchase, Purchase.State.FAILED, purchase.why or "It was not paid.")


def _taken_down(period: PaidPeriod) -> PaidPeriod:
    """Write a paid period, or find it as it was taken down before."""
    PaidPeriod.objects.bulk_create([period], ignore_conflicts=True)
    return PaidPeriod.objects.select_related("price__plan", "price__pack").get(pk=period.key)


# ------------------------------------------------------------------ payments


def payment_read(customer: Customer, number: int, payment: facts.Payment) -> None:
    """Take down a payment, and set what each grant it paid for owes. A pack's gives the pack, as its invoice does."""
    org = _locked(customer).org
    if payment.paid_at is None:
        return
    _write_payment(org, number, payment)
    if payment.disputed and AutoTopUp.objects.filter(org=org, on=True).update(on=False, why=DISPUTED):
        mails.tell(org, "off", DISPUTED)
    purchase = _purchase(org, payment.metadata)
    if purchase and purchase.price.pack:
        pack = bought.pack_period(
            purchase.price,
            1,
            str(purchase.pk),
            payment.amount,
            org=org,
            currency=payment.currency,
            paid_at=payment.paid_at,
            invoice=purchase.invoice,
            payment=payment.id,
        )
        _taken_down(pack)
        _close(purchase, Purchase.State.PAID)
    for period in PaidPeriod.objects.filter(payment=payment.id).select_related("price__plan", "price__pack"):
        give(period)


def _write_payment(org: Organization, number: int, payment: facts.Payment) -> None:
    seen = {
        "org": org,
        "reading": number,
        "amount": payment.amount,
        "currency": payment.currency,
        "paid_at": payment.paid_at,
        "gone_back": payment.gone_back,
        "gone_back_at": payment.gone_back_at,
        "disputed": payment.disputed,
    }
    row = Payment.objects.filter(pk=payment.id).first()
    if row is None:
        Payment.objects.create(pk=payment.id, **seen)
    elif row.reading < number:
        Payment.objects.filter(pk=payment.id).update(**seen)


def _purchase(org: Organization, metadata: dict[str, str]) -> Purchase | None:
    """Find the purchase an object of Stripe's names. Metadata may hold anything: others write there, too."""
    try:
        id = UUID(metadata.get("purchase", ""))
    except ValueError:
        return None
    return Purchase.objects.filter(pk=id, org=org).select_related("price__pack").first()


def _close(purchase: Purchase, state: str, why: str = "") -> None:
    if purchase.state != state and purchase.state != Purchase.State.PAID:
        Purchase.objects.filter(pk=purchase.pk).update(state=state, why=why, closed_at=clock(), url="")


def give(period: PaidPeriod) -> None:
    """Give what is due of a paid period by now, and set what each of its grants owes of money that went back.

    A month that was wholly owed before it began is not given.
    """
    now, payment = clock(), Payment.objects.filter(pk=period.payment).first() if period.payment else None
    its = months.months(period)
    owed = months.owed([month.credits for month in its], payment.amount, payment.gone_back) if payment else None
    given = dict(Grant.objects.filter(org=period.org_id, key__in=[month.key for month in its]).values_list("key", "id"))
    actor = f"stripe:{period.invoice or period.payment}"
    until = period.end
    for n, month in enumerate(its):
        if month.start > now:
            until = month.start
            break
        owes = owed[n] if owed else Decimal(0)
        grant = given.get(month.key)
        if grant is None:
            gone = payment.gone_back_at if payment else None
            if not month.credits or (owes == month.credits and gone is not None and gone < month.start):
                continue
            grant = ledger.grant(
                period.org_id,
                key=month.key,
                source=period.source,
                amount=month.credits,
                effective_at=month.effective_at,
                expires_at=month.expires_at,
                paid=Decimal(period.amount),
                currency=period.currency,
                stripe_line=period.line or None,
                stripe_payment=period.payment or None,
                actor=actor,
            )
        if owes or month.key in given:
            ledger.claw_back(period.org_id, grant, owed=owes, actor=actor)
    if until != period.given_until:
        PaidPeriod.objects.filter(pk=period.pk).update(given_until=until)


# ------------------------------------------------------------------ subscriptions


def subscription_read(customer: Customer, number: int, seen: facts.Subscription, prices: bought.Prices) -> bool:
    """Take down a subscription as it stands; answer whether it is a second one beside the org's own, to be ended."""
    org = _locked(customer).org
    if seen.items != 1:
        raise bought.Unclear(f"{seen.id} has {seen.items} items; a subscription of ours has one.")
    row = Subscription.objects.filter(pk=seen.id).first()
    if row and row.reading >= number:
        return False
    live = seen.status in Subscription.LIVE
    others = Subscription.objects.filter(org=org, status__in=Subscription.LIVE, surplus=False).exclude(pk=seen.id)
    surplus = row.surplus if row else live and others.exists()
    stands = {
        "customer": customer,
        "org": org,
        "reading": number,
        "item": seen.item,
        "price": prices.of(seen.price),
        "status": seen.status,
        "period_start": seen.period_start,
        "period_end": seen.period_end,
        "started_at": seen.started,
        "ended_at": seen.ended,
        "cancel_at_period_end": seen.cancel_at_period_end,
        "schedule": seen.schedule or None,
        "next_price": prices.of(seen.next_price) if seen.next_price else None,
        "surplus": surplus,
    }
    if not live or seen.status == "active":
        stands["pay_url"] = ""
    Subscription.objects.update_or_create(pk=seen.id, defaults=stands)
    if live and not surplus:
        for purchase in Purchase.objects.filter(org=org, is_plan=True, state__in=("asked", "open")):
            if seen.metadata.get("purchase") == str(purchase.pk):
                _close(purchase, Purchase.State.PAID)
    if row:
        _settle_scheduled(row, seen, stands)
    return surplus and seen.ended is None


def _settle_scheduled(before: Subscription, seen: facts.Subscription, stands: dict[str, object]) -> None:
    """Say of a change that was to come at the renewal whether it came, or was taken back at Stripe."""
    change = PlanChange.objects.filter(subscription=seen.id, state=PlanChange.State.SCHEDULED).first()
    if change is None:
        return
    state, why = "", ""
    if change.new is None:
        if seen.status in CANCELED:
            state = PlanChange.State.APPLIED
        elif before.cancel_at_period_end and not seen.cancel_at_period_end:
            state, why = PlanChange.State.UNDONE, "The subscription goes on: this was changed at Stripe."
    elif seen.status in CANCELED:
        state, why = PlanChange.State.FAILED, "The subscription ended before."
    elif seen.period_start >= change.at:
        happened = stands["price"] == change.new
        state = PlanChange.State.APPLIED if happened else PlanChange.State.FAILED
        why = "" if happened else "The subscription renewed without it."
    elif before.schedule and not seen.schedule:
        state, why = PlanChange.State.UNDONE, "It was taken back at Stripe."
    if state:
        PlanChange.objects.filter(pk=change.pk).update(state=state, why=why)


# ------------------------------------------------------------------ the rest


def session_read(customer: Customer, session: facts.Session) -> None:
    """Close the purchase of a Checkout session that is over; what it bought came with its invoice or payment."""
    org = _locked(customer).org
    purchase = _purchase(org, session.metadata)
    if purchase is None:
        return
    if session.status == "expired":
        _close(purchase, Purchase.State.ABANDONED)
    elif session.status == "complete" and session.paid:
        _close(purchase, Purchase.State.PAID)


def customer_read(customer: Customer, number: int, seen: facts.CustomerFacts) -> None:
    """Keep a customer's address and card; one deleted at Stripe is closed, and the next purchase makes another."""
    _locked(customer)
    if seen.deleted:
        Customer.objects.filter(pk=customer.pk, closed_at=None).update(closed_at=clock())
    else:
        earlier = Customer.objects.filter(pk=customer.pk, reading__lt=number)
        earlier.update(reading=number, email=seen.email, card=seen.card)


# ------------------------------------------------------------------ months that begin by themselves


def give_due(key: str) -> None:
    """Give the months of a paid period that have begun since the last time."""
    period = PaidPeriod.objects.select_related("price__plan", "price__pack").get(pk=key)
    customer = Customer.objects.filter(org=period.org_id).order_by("-pk").first()
    if customer:
        _locked(customer)
    give(period)


def give_free(org: Organization, plan: Plan) -> None:
    """Give the free plan's credits for the month that runs, counted from the org's creation, unless it began under a
    paid subscription.
    """
    now = clock()
    customer = Customer.objects.filter(org=org).order_by("-pk").first()
    if customer:
        _locked(customer)
    start, end = credit_month(org.created_at, now)
    paid_for = any(
        each.status not in ("incomplete", "incomplete_expired")
        and each.started_at <= start
        and (each.ended_at is None or each.ended_at > start)
        for each in Subscription.objects.filter(org=org, surplus=False)
    )
    key = f"free:{start:%Y-%m-%dT%H:%M:%SZ}"
    if not paid_for and plan.credits and not Grant.objects.filter(org=org.pk, key=key).exists():
        ledger.grant(
            org.pk,
            key=key,
            source=Grant.Source.PLAN_REFILL,
            amount=plan.credits,
            effective_at=start,
            expires_at=months_later(end, plan.rollover_months) + months.GRACE,
            actor="system:free_plan",
        )
    Organization.objects.filter(pk=org.pk).update(free_until=end)
