"""The balance: as it is, and as it was at an instant."""

from datetime import date, datetime

from django.db.models import Sum
from ninja import Router

from billing import books, plans, usage
from billing.access import OrgRequest
from billing.api.shown import InstantIn, Org, Span, org_shown, span_shown
from billing.models import Grant, Organization
from oxygen_site.api import Credits, Data, Instant, Shown, may
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, one_snapshot

router = Router(tags=["balance"])


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


class BalanceAt(Shown):
    """What an organization had and held at an instant. `captured`: since the beginning."""

    organization: Org
    as_of: Instant
    available: Credits
    reserved: Credits
    captured: Credits
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
            organization=org_shown(org),
            as_of=now,
            available=tie_out.available,
            reserved=tie_out.reserved,
            captured=usage.captured_since(org, _day(org, standing.month[0])),
            credit_month=span_shown(*standing.month),
            next_refill_at=refill.at if (refill := standing.next_refill(now)) else None,
            next_expiry=_next_expiry(org),
            tie_out=TieOut.model_validate(tie_out, from_attributes=True),
        )
    )


@router.get("/balance/at", auth=may("read"), response=Data[BalanceAt], summary="Read the balance at an instant")
@one_snapshot()
def balance_at(request: OrgRequest, instant: InstantIn) -> Data[BalanceAt]:
    """What the ledger had booked up to and including `instant`: what was available, what the runs then open held.

    The figures tie out as the present ones do. `proven_at` is when the books were last proved.
    """
    # Two queries besides the clock's, in one snapshot.
    if instant > clock():
        raise Refused("instant_to_come", "That instant has not come yet. Name one that has passed.", 422)
    tie_out = books.tie_out_at(request.org.pk, instant)
    return Data(
        data=BalanceAt(
            organization=org_shown(request.org),
            as_of=instant,
            available=tie_out.available,
            reserved=tie_out.reserved,
            captured=tie_out.captured,
            tie_out=TieOut.model_validate(tie_out, from_attributes=True),
        )
    )


def _next_expiry(org: Organization) -> Expiry | None:
    left = Grant.objects.filter(org=org.pk, open=True).values("expires_at").annotate(credits=Sum("remaining"))
    first = left.order_by("expires_at").first()
    return Expiry(at=first["expires_at"], credits=first["credits"]) if first else None


def _day(org: Organization, at: datetime) -> date:
    return at.astimezone(org.tz).date()
