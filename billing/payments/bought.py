"""What a paid invoice bought: months by its plain lines, an upgrade by its prorations, packs. It writes nothing.

For `effects.py`. Credits follow from the line's price and its version of the plan, never from amounts of money.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db.models import Max

from billing.cycles import months_later
from billing.models import Grant, Organization, PaidPeriod, Price, Subscription
from billing.payments import facts, gateway, months

log = logging.getLogger("oxygen.billing")


class Unclear(Exception):
    """What was paid for cannot be told: an operator has to look."""


class Prices:
    """Our prices by Stripe's ids. One that is not known yet is looked up at Stripe, by its lookup key, beforehand."""

    def __init__(self, ids: Iterable[str]) -> None:
        wanted = set(ids)
        found = Price.objects.filter(stripe_id__in=wanted).select_related("plan", "pack")
        self.known = {str(price.stripe_id): price for price in found}
        for id in wanted - self.known.keys():
            if price := self._learn(id):
                self.known[id] = price

    def _learn(self, id: str) -> Price | None:
        key = gateway.price(id).lookup_key
        return Price.objects.filter(pk=key).select_related("plan", "pack").first() if key else None

    def of(self, id: str) -> Price:
        if id not in self.known:
            raise Unclear(f"The price {id} is none of ours. Run sync_plans, or look where it comes from.")
        return self.known[id]


def bought(
    org: Organization, invoice: facts.Invoice, prices: Prices, payment: facts.Payment | None
) -> Iterable[PaidPeriod]:
    """Say what a paid invoice bought: months by its plain lines, an upgrade by its prorations, packs."""
    if Subscription.objects.filter(pk=invoice.subscription, surplus=True).exists():
        log.error("%s paid for a second subscription and gives nothing", invoice.id)
        return
    paid_at = payment.paid_at if payment and payment.paid_at else invoice.paid_at
    assert paid_at is not None, "a paid invoice says when"
    plain = [line for line in invoice.lines if not line.proration and line.amount >= 0 and line.price]
    prorations = [line for line in invoice.lines if line.proration]
    whole = sum(line.amount for line in plain) + sum(line.amount for line in prorations)
    common = {
        "org": org,
        "currency": invoice.currency,
        "paid_at": paid_at,
        "invoice": invoice.id,
        "payment": payment.id if payment else "",
    }

    def share(amount: int) -> int:  # of what was paid, tax and all
        return max(0, invoice.amount_paid * amount // whole) if whole > 0 else 0

    for line in plain:
        price = prices.of(line.price)
        if price.pack:
            yield pack_period(
                price, line.quantity, invoice.metadata.get("purchase") or line.id, share(line.amount), **common
            )
        else:
            yield _refill(price, line, share(line.amount), **common)
    for item in sorted({line.item for line in prorations}):
        lines = [line for line in prorations if line.item == item]
        if upgrade := _upgrade(item, lines, prices, share(sum(line.amount for line in lines)), **common):
            yield upgrade


def _refill(price: Price, line: facts.Line, amount: int, **common: object) -> PaidPeriod:
    assert price.plan is not None
    credits = price.plan.credits * line.quantity
    return PaidPeriod(
        key=f"refill:{line.item}:{line.start:%Y-%m-%dT%H:%M:%SZ}",
        source=Grant.Source.PLAN_REFILL,
        price=price,
        item=line.item,
        anchor=line.start,
        start=line.start,
        end=line.end,
        first=credits,
        credits=credits,
        level=credits,
        amount=amount,
        line=line.id,
        given_until=line.start,
        **common,
    )


def _upgrade(item: str, lines: list[facts.Line], prices: Prices, amount: int, **common: object) -> PaidPeriod | None:
    """What a pair of prorations adds: the new plan's credits over the most its month was at before, for the time left.

    Over the most, not over the last: going down and up again within a month buys nothing twice.
    """
    debits = [line for line in lines if line.amount >= 0]
    if not debits:
        return None  # a downgrade at once, made at Stripe: nothing is clawed back
    line = max(debits, key=lambda each: each.start)
    price = prices.of(line.price)
    assert price.plan is not None
    org = common["org"]
    assert isinstance(org, Organization)
    spanning = PaidPeriod.objects.filter(org_id=org.pk, item=item, start__lte=line.start, end__gt=line.start)
    base = spanning.filter(source=Grant.Source.PLAN_REFILL).select_related("price").order_by("-start").first()
    if base is None:
        raise Unclear(f"{common['invoice']} upgrades a month that no invoice here has paid for.")
    level = spanning.exclude(invoice=common["invoice"]).aggregate(most=Max("level"))["most"]
    credits = price.plan.credits * line.quantity
    first = months.added(level, credits, line.start, months.month_of(base.price, base.anchor, base.end, line.start))
    if credits <= level:
        return None
    return PaidPeriod(
        key=f"upgrade:{common['invoice']}",
        source=Grant.Source.PLAN_UPGRADE,
        price=price,
        item=item,
        anchor=base.anchor,
        start=line.start,
        end=base.end,
        first=first,
        credits=credits - level,
        level=credits,
        amount=amount,
        line=line.id,
        given_until=line.start,
        **common,
    )


def pack_period(price: Price, quantity: int, bought: str, amount: int, **common: object) -> PaidPeriod:
    """What a pack gives. `bought`: the purchase it came with, or its line, where Stripe's own dashboard sold it."""
    assert price.pack is not None
    paid_at = common["paid_at"]
    assert isinstance(paid_at, datetime)
    credits = price.pack.credits * quantity
    return PaidPeriod(
        key=f"top_up:{bought}",
        source=Grant.Source.TOP_UP,
        price=price,
        anchor=paid_at,
        start=paid_at,
        end=months_later(paid_at, months.PACK_MONTHS),
        first=credits,
        credits=credits,
        level=Decimal(0),
        amount=amount,
        given_until=paid_at,
        **common,
    )
