"""What open runs hold of an org's balance, run by run. Reads only.

The law: the holds add up to what is reserved, on the page as in the ledger.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import FETCH_RAISE, Count, F, Sum

from billing.models import Organization, Reservation

PAGE = 50


@dataclass(frozen=True)
class Holds:
    reservations: list[Reservation]  # the newest first
    total: Decimal  # of all pages
    in_flight: Decimal
    count: int
    next: UUID | None  # `before` of the following page

    @property
    def column(self) -> list[Decimal]:
        return [self.total, *(held.open for held in self.reservations)]

    @property
    def flying(self) -> list[Decimal]:
        return [self.in_flight, *(held.held for held in self.reservations)]


def read(org: Organization, before: UUID | None = None) -> Holds:
    """List the open runs' reservations, fifty a page, with the sums of all of them. Two queries."""
    open_ones = Reservation.objects.filter(org=org.pk, closed_at=None)
    sums = open_ones.annotate(open_credits=F("reserved") - F("captured")).aggregate(
        total=Sum("open_credits", default=Decimal(0)),
        in_flight=Sum("held", default=Decimal(0)),
        count=Count("run"),
    )
    listed = open_ones.filter(run__lt=before) if before else open_ones
    found = list(listed.order_by("-run").fetch_mode(FETCH_RAISE)[: PAGE + 1])
    return Holds(found[:PAGE], **sums, next=found[PAGE - 1].run if len(found) > PAGE else None)
