"""What is sold, and what an organization is on."""

from typing import Literal

from ninja import Router

from billing import plans
from billing.access import OrgRequest
from billing.api.shown import Org, Span, org_shown, span_shown
from billing.models import Pack, Plan, PlanChange
from oxygen_site.api import Credits, Data, Instant, Shown, may
from oxygen_site.clock import clock
from oxygen_site.transactions import one_snapshot

router = Router(tags=["plan"])


class PlanPrice(Shown):
    """In minor units, before tax, by `interval`."""

    interval: Literal["month", "year"]
    amount: int
    currency: str


class PlanOnSale(Shown):
    key: str
    name: str
    version: int
    credits_per_month: Credits
    rollover_months: int
    prices: list[PlanPrice]


class TopUpOnSale(Shown):
    """Credits to buy at once; `amount` in minor units, before tax."""

    key: str
    credits: Credits
    amount: int
    currency: str


class Plans(Shown):
    plans: list[PlanOnSale]
    top_ups: list[TopUpOnSale]


@router.get("/plans", auth=may("read"), response=Data[Plans], summary="List the plans on sale")
@one_snapshot()
def list_plans(request: OrgRequest) -> Data[Plans]:
    """The plans on sale, cheapest first, and the packs of credits to top up with, smallest first.

    A plan without prices is free. Credits of a plan live `rollover_months` longer than their credit month.
    """
    # Three queries.
    return Data(data=Plans(plans=list(map(_on_sale, plans.on_sale())), top_ups=list(map(_pack, plans.packs()))))


def _on_sale(plan: Plan) -> PlanOnSale:
    prices = sorted(plan.prices.all(), key=lambda price: price.interval)  # by the month first
    return PlanOnSale(
        **_plan(plan).model_dump(),
        rollover_months=plan.rollover_months,
        prices=[PlanPrice.model_validate(price, from_attributes=True) for price in prices],
    )


def _pack(pack: Pack) -> TopUpOnSale:
    return TopUpOnSale(key=pack.pk, credits=pack.credits, amount=pack.price.amount, currency=pack.price.currency)


# ------------------------------------------------------------------ subscription


class PlanShown(Shown):
    key: str
    name: str
    version: int
    credits_per_month: Credits


class PendingChange(Shown):
    """A change that was asked for and is not in force yet: `at` is when it is, or was, to happen."""

    plan: PlanShown | None
    interval: Literal["month", "year"] | None
    when: Literal["now", "renewal"]
    at: Instant
    state: Literal["asked", "unpaid", "scheduled"]


class Subscription(Shown):
    """What an organization is on. Money is in minor units, before tax, by `interval`; null on the free plan."""

    organization: Org
    as_of: Instant
    plan: PlanShown | None
    status: Literal["free", "active", "trialing", "past_due", "unpaid", "paused"]
    interval: Literal["month", "year"] | None
    amount: int | None
    currency: str | None
    period: Span | None
    credit_month: Span
    cancel_at_period_end: bool
    past_due: bool
    pending_change: PendingChange | None


@router.get("/subscription", auth=may("read"), response=Data[Subscription], summary="Read the subscription")
@one_snapshot()
def subscription(request: OrgRequest) -> Data[Subscription]:
    """The plan in force, what is paid for it, the periods that run, and the change of plan that is pending.

    `status` is `free` where nothing is subscribed to, also after a subscription has ended.
    """
    # Six queries at most, in one snapshot.
    org, now = request.org, clock()
    standing = plans.read(org, now)
    live, price = standing.subscription, standing.price
    return Data(
        data=Subscription.model_validate(
            {
                "organization": org_shown(org),
                "as_of": now,
                "plan": standing.plan and _plan(standing.plan),
                "status": live.status if live else "free",
                "interval": price and price.interval,
                "amount": price and price.amount,
                "currency": price and price.currency,
                "period": live and span_shown(live.period_start, live.period_end),
                "credit_month": span_shown(*standing.month),
                "cancel_at_period_end": live is not None and live.cancel_at_period_end,
                "past_due": standing.past_due,
                "pending_change": standing.change and _pending(standing.change),
            }
        )
    )


def _pending(change: PlanChange) -> PendingChange:
    plan = change.new.plan if change.new else plans.free()
    return PendingChange.model_validate(
        {
            "plan": plan and _plan(plan),
            "interval": change.new and change.new.interval,
            "when": change.when,
            "at": change.at,
            "state": change.state,
        }
    )


def _plan(plan: Plan) -> PlanShown:
    return PlanShown(key=plan.key, name=plan.name, version=plan.version, credits_per_month=plan.credits)
