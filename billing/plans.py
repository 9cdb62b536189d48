"""Which plan an organization is on, what is on sale, which credit month runs. Reads only; for pages, API and jobs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db.models import FETCH_RAISE, QuerySet

from billing.cycles import credit_month, months_later
from billing.models import Organization, Pack, Plan, PlanChange, Price, Purchase, Subscription
from billing.payments import months

REFILLED = ("active", "trialing")  # nothing comes while a payment is missing


@dataclass(frozen=True)
class Refill:
    """What a plan gives when the next credit month begins, and then each month, as far as anybody knows."""

    at: datetime
    plan: Plan
    until: datetime | None = None  # the subscription ends then

    @property
    def credits(self) -> Decimal:
        return self.plan.credits

    def expiry(self, at: datetime) -> datetime:
        """When the credits expire that come at `at`."""
        return months_later(at, 1 + self.plan.rollover_months) + months.GRACE

    def times(self, count: int) -> list[datetime]:
        """When it comes, so many times at most."""
        times = [months_later(self.at, n) for n in range(count)]
        return [at for at in times if self.until is None or at < self.until]


@dataclass(frozen=True)
class Standing:
    """Where an org stands: its plan in force, what it subscribed to, the credit month that runs, and what is open."""

    plan: Plan | None  # None only where no plan was ever set up
    subscription: Subscription | None  # the live one, which may be past due
    month: tuple[datetime, datetime]
    change: PlanChange | None  # asked for, waiting to be paid, or scheduled
    purchase: Purchase | None  # a first subscription that is being bought
    configured: bool  # payment is set up here

    @property
    def price(self) -> Price | None:
        return self.subscription.price if self.subscription else None

    @property
    def past_due(self) -> bool:
        return self.subscription is not None and self.subscription.is_past_due

    def next_refill(self, now: datetime) -> Refill | None:
        return next_refill(self.plan, self.subscription, self.month[1], now)


def next_refill(plan: Plan | None, live: Subscription | None, at: datetime, now: datetime) -> Refill | None:
    """Say what comes as the credit month ends at `at`, as far as it is known: nothing without a plan, while a payment
    is missing, or where the subscription ends with that month.
    """
    if plan is None or at <= now:  # over, and the renewal not told yet
        return None
    if live is not None:
        renews = at >= live.period_end
        if live.status not in REFILLED or (renews and live.cancel_at_period_end):
            return None
        if renews and live.next_price and live.next_price.plan:
            plan = live.next_price.plan
    ends = live.period_end if live is not None and live.cancel_at_period_end else None
    return Refill(at, plan, ends) if plan.credits else None


def read(org: Organization, now: datetime) -> Standing:
    """Read where an org stands. Four queries at most."""
    live = subscription(org)
    in_force = live is not None and live.status in Subscription.PAID_FOR
    plan = live.plan if live and in_force else free()
    change = (
        PlanChange.objects.filter(org=org, state__in=PlanChange.OPEN)
        .select_related("old__plan", "new__plan", "subscription__price__plan", "by")
        .first()
    )
    purchase = None
    if live is None:
        bought = Purchase.objects.filter(org=org, is_plan=True, state__in=("asked", "open"))
        purchase = bought.select_related("price__plan").first()
    return Standing(plan, live, month(org, live, now), change, purchase, bool(settings.STRIPE_SECRET_KEY))


def subscription(org: Organization) -> Subscription | None:
    """Read an org's own live subscription. One query."""
    live = Subscription.objects.filter(org=org, status__in=Subscription.LIVE, surplus=False)
    return live.select_related("org", "price__plan", "next_price__plan", "customer").first()


def subscriptions(orgs: Iterable[UUID]) -> QuerySet[Subscription]:
    """Read the live subscriptions of many orgs, with their plans, what comes next included. One query."""
    live = Subscription.objects.filter(org__in=orgs, status__in=Subscription.LIVE, surplus=False)
    return live.select_related("price__plan", "next_price__plan").fetch_mode(FETCH_RAISE)


def month(org: Organization, live: Subscription | None, now: datetime) -> tuple[datetime, datetime]:
    """Give the credit month that runs: of the paid period, else counted from the org's creation."""
    if live and live.status in Subscription.PAID_FOR and live.period_start <= now:
        return months.month_of(live.price, live.period_start, live.period_end, now)
    return credit_month(org.created_at, now)


def month_before(org: Organization, live: Subscription | None, start: datetime) -> tuple[datetime, datetime]:
    """Give the credit month that ended when the one that runs began, counted from where that one is."""
    paid = live is not None and live.status in Subscription.PAID_FOR and live.period_start <= start
    anchor = live.period_start if live and paid else org.created_at
    return credit_month(anchor, start - timedelta(microseconds=1))


def free() -> Plan | None:
    """Read the free plan on sale, None where no plan was ever set up. One query."""
    return Plan.objects.filter(rank=0, on_sale=True).first()


def on_sale() -> QuerySet[Plan]:
    """Read the plans on sale, cheapest first, with their prices. Two queries."""
    return Plan.objects.filter(on_sale=True).prefetch_related("prices").fetch_mode(FETCH_RAISE)


def packs() -> QuerySet[Pack]:
    """Read the packs on sale, smallest first, with their prices. One query."""
    return Pack.objects.filter(on_sale=True, price__isnull=False).select_related("price").fetch_mode(FETCH_RAISE)
