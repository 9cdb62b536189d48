"""What the plan page offers this org: a card for each plan, and what a change to the chosen one can be. Pure.

The law: a button tells the truth. Only an upgrade at the same interval can start now; everything else starts at the
renewal; what is the org's own already, or will be, is said and not sold.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import NamedTuple

from billing.models import Plan, PlanChange, Price, Subscription

MONTHS = {Price.Interval.MONTH.value: 1, Price.Interval.YEAR.value: 12}


class Choice(NamedTuple):
    """What is ticked on the page. No plan: nothing yet."""

    plan: str = ""
    interval: str = Price.Interval.MONTH.value
    when: str = PlanChange.When.RENEWAL.value


@dataclass(frozen=True)
class Card:
    plan: Plan
    prices: list[Price]
    is_current: bool
    is_next: bool

    def price(self, interval: str) -> Price | None:
        return next((price for price in self.prices if price.interval == interval), None)

    @property
    def tags(self) -> list[tuple[Price, int]]:
        """Each price, with what 1,000 credits cost at it."""
        return [(price, per_thousand(price)) for price in self.prices]


class Kind(StrEnum):
    NOTHING = "nothing"  # is chosen
    CURRENT = "current"
    NEXT = "next"  # scheduled already
    FIRST = "first"  # subscription, by Checkout
    UPGRADE = "upgrade"  # at the renewal, or now
    RENEWAL = "renewal"  # at the renewal only


@dataclass(frozen=True)
class Offer:
    """What may be done about the chosen plan. `why_not_now` says why a change waits for the renewal; `planned`: it is
    scheduled for the renewal already, and may still be had now."""

    kind: Kind
    card: Card | None = None
    price: Price | None = None
    why_not_now: str = ""
    planned: bool = False


def cards(plans: Iterable[Plan], subscription: Subscription | None, change: PlanChange | None) -> list[Card]:
    """Make a card of each plan that is sold, by rank; the free plan is no purchase."""
    current = subscription.plan.pk if subscription else None
    coming = change.new.plan_id if change and change.new and change.state == PlanChange.State.SCHEDULED else None
    order = list(MONTHS)
    return [
        Card(
            plan,
            sorted(plan.prices.all(), key=lambda price: order.index(price.interval)),
            is_current=plan.pk == current,
            is_next=plan.pk == coming,
        )
        for plan in plans
        if not plan.is_free
    ]


def offer(
    dealt: list[Card], choice: Choice, subscription: Subscription | None, change: PlanChange | None
) -> Offer | None:
    """Say what may be done about a choice; None where there is no such plan, or no such price of it."""
    if not choice.plan:
        return Offer(Kind.NOTHING)
    card = next((card for card in dealt if card.plan.key == choice.plan), None)
    price = card.price(choice.interval) if card else None
    if card is None or price is None:
        return None
    if subscription is None:
        return Offer(Kind.FIRST, card, price)
    if price.pk == subscription.price.pk:
        return Offer(Kind.CURRENT, card, price)
    scheduled = change.new if change and change.state == PlanChange.State.SCHEDULED else None
    planned, same_interval = scheduled == price, price.interval == subscription.price.interval
    if same_interval and card.plan.rank > subscription.plan.rank:
        return Offer(Kind.UPGRADE, card, price, planned=planned)
    if planned:
        return Offer(Kind.NEXT, card, price)
    if not same_interval:
        return Offer(Kind.RENEWAL, card, price, "Monthly and yearly change places at a renewal only.")
    return Offer(Kind.RENEWAL, card, price, "Only upgrades can start before the renewal.")


def per_thousand(price: Price) -> int:
    """What 1,000 of its plan's credits cost at a price, in minor units, half up."""
    assert price.plan is not None
    credits = price.plan.credits * MONTHS[price.interval]
    return int((Decimal(price.amount) * 1000 / credits).quantize(Decimal(1), ROUND_HALF_UP)) if credits else 0


# ------------------------------------------------------------------ the preview


@dataclass(frozen=True)
class Shown:
    """The quotes of one change side by side, and which of them is chosen."""

    renewal: PlanChange | None
    now: PlanChange | None
    when: str

    @property
    def chosen(self) -> PlanChange | None:
        return self.now if self.when == PlanChange.When.NOW else self.renewal

    @property
    def balance(self) -> int:
        """What an older balance with Stripe takes off (below 0) or adds: the due amount less lines and tax."""
        return self.now.due - self.now.tax - sum(amount for _, amount in self.now.lines) if self.now else 0
