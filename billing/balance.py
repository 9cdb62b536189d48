"""What an org has, holds and spends, and for how long it lasts. Reads only; for pages, the API and the runs' pages."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing import books, usage
from billing.cycles import credit_month
from billing.models import Grant, Organization


@dataclass(frozen=True)
class Balance:
    """One org's balance as booked, beside what this credit month captured. Credits."""

    tie_out: books.TieOut
    since: date  # the org's day on which the credit month began
    next: date
    captured: Decimal
    expiring: Grant | None  # what is left in it expires next
    pace: Decimal | None

    @property
    def available(self) -> Decimal:
        return self.tie_out.available

    @property
    def reserved(self) -> Decimal:
        return self.tie_out.reserved

    @property
    def captured_share(self) -> Decimal:
        return self._share(self.captured)

    @property
    def reserved_share(self) -> Decimal:
        return self._share(self.reserved)

    @property
    def is_empty(self) -> bool:
        return not any(self.column)

    @property
    def daily(self) -> Decimal | None:
        """The pace, to the whole credit where it is above 10: it is an estimate."""
        return self.pace and self.pace.quantize(Decimal(1) if self.pace > 10 else Decimal("0.1"))

    @property
    def days(self) -> int | None:
        """How many days the available credits last at the pace; None where there is none yet."""
        return int(self.available / self.pace) if self.pace else None

    @property
    def column(self) -> list[Decimal]:
        return [self.captured, self.reserved, self.available]

    def _share(self, part: Decimal) -> Decimal:
        whole = sum(self.column, Decimal(0))
        return part / whole if whole else Decimal(0)


def read(org: Organization, now: datetime) -> Balance:
    """Read an org's balance. Four queries."""
    since, following, today = (at.astimezone(org.tz).date() for at in (*credit_month(org.created_at, now), now))
    return Balance(
        tie_out=books.tie_out(org.pk),
        since=since,
        next=following,
        captured=usage.captured_since(org, since),
        expiring=Grant.objects.filter(org=org.pk, remaining__gt=0)
        .order_by("expires_at", "effective_at", "key")
        .first(),
        pace=usage.pace(org, today),
    )
