"""Operations of the JSON API about credits and money: the balance and the subscription. Reads, each of one instant.

What is shown is declared here field by field, and nothing else gets out. `docs/api.md` tells people.
"""

from datetime import date, datetime
from typing import Literal

from django.db.models import Sum
from ninja import Router

from billing import books, plans, usage
from billing.access import OrgRequest
from billing.models import Grant, Organization, Plan, PlanChange
from oxygen_site.api import Credits, Data, Instant, Shown, may
from oxygen_site.clock import clock
from oxygen_site.transactions import one_snapshot

router = Router(tags=["billing"])
REFILLED = ("active", "trialing")  # nothing comes while a payment is missing


class Org(Shown):
    slug: str
    name: str


class Span(Shown):
    """From `start` up to, but not including, `end`."""

    start: Instant
    end: Instant


# ------------------------------------------------------------------ balance


class TieOut(Shown):
    """granted = available + reserved + captured + expired + clawed_back − restored + adjusted, since the beginning."""

    granted: Credits
    available: Credits
    reserved: Credits
    captured: Credits
    expired: Credits
    clawed_back: Credits
    restored: Credits
    adjusted: Credits
    ties: bool
    proven_at: Instant | None


class Expiry(Shown):
    at: Instant
    credits: Credits


class Balance(Shown):
    """What an organization has and holds. `captured`: since the organization's day on which the credit month began."""

    organization: Org
    as_of: Instant
    available: Credits
    reserved: Credits
    captured: Credits
    credit_month: Span
    next_refill_at: Instant | None
    next_expiry: Expiry | None
    tie_out: TieOut


@router.get("/balance", auth=may("read"), response=Data[Balance], summary="Read the balance")
@one_snapshot()
def balance(request: OrgRequest) -> Data[Balance]:
    """What new work may hold, what open runs hold, what this credit month captured, and where every credit is.

    `next_refill_at` is null while nothing is known to come: no plan, a payment that is missing, a subscription that
    ends with this credit month. `next_expiry` is what expires first if nothing burns it before.
    """
    # Eight queries at most, in one snapshot.
    org, now = request.org, clock()
    standing, tie_out = plans.read(org, now), books.tie_out(org.pk)
    return Data(
        data=Balance(
            organization=_org(org),
            as_of=now,
            available=tie_out.available,
            reserved=tie_out.reserved,
            captured=usage.captured_since(org, _day(org, standing.month[0])),
            credit_month=_span(*standing.month),
            next_refill_at=_next_refill(standing, now),
            next_expiry=_next_expiry(org),
            tie_out=TieOut.model_validate(tie_out, from_attributes=True),
        )
    )


def _next_refill(standing: plans.Standing, now: datetime) -> datetime | None:
    live, end = standing.subscription, standing.month[1]
    if standing.plan is None or not standing.plan.credits or end <= now:  # over, and the renewal not told yet
        return None
    if live is None:
        return end
    ends_with_it = live.cancel_at_period_end and end >= live.period_end
    return end if live.status in REFILLED and not ends_with_it else None


def _next_expiry(org: Organization) -> Expiry | None:
    left = Grant.objects.filter(org=org.pk, open=True).values("expires_at").annotate(credits=Sum("remaining"))
    first = left.order_by("expires_at").first()
    return Expiry(at=first["expires_at"], credits=first["credits"]) if first else None


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
                "organization": _org(org),
                "as_of": now,
                "plan": standing.plan and _plan(standing.plan),
                "status": live.status if live else "free",
                "interval": price and price.interval,
                "amount": price and price.amount,
                "currency": price and price.currency,
                "period": live and _span(live.period_start, live.period_end),
                "credit_month": _span(*standing.month),
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


# ------------------------------------------------------------------ what both show


def _org(org: Organization) -> Org:
    return Org(slug=org.slug, name=org.name)


def _plan(plan: Plan) -> PlanShown:
    return PlanShown(key=plan.key, name=plan.name, version=plan.version, credits_per_month=plan.credits)


def _span(start: datetime, end: datetime) -> Span:
    return Span(start=start, end=end)


def _day(org: Organization, at: datetime) -> date:
    return at.astimezone(org.tz).date()
