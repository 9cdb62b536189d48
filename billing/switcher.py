"""Finding one organization among hundreds by a few letters. Reads only; for the switcher and its page."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Case, IntegerField, When
from django.db.models.functions import Lower

from billing import access
from billing.models import Account, Organization, Reservation, User

SHOWN = 20


@dataclass(frozen=True)
class Line:
    org: Organization
    available: Decimal
    paused: int


@dataclass(frozen=True)
class Found:
    lines: list[Line]
    more: int


def find(user: User, text: str, shown: int = SHOWN) -> Found:
    """Find the orgs whose name holds `text`, those that begin with it first, with what each has. Four queries."""
    matches = access.orgs_of(user).filter(name__icontains=text)
    best_first = Case(
        When(name__istartswith=text, then=0),
        When(name__icontains=f" {text}", then=1),
        default=2,
        output_field=IntegerField(),
    )
    orgs = list(matches.order_by(best_first, Lower("name"), "slug")[:shown])
    ids = [org.pk for org in orgs]
    available = dict(Account.objects.filter(org__in=ids).values_list("org", "available"))
    paused = Counter(Reservation.objects.filter(org__in=ids, closed_at=None, paused=True).values_list("org", flat=True))
    lines = [Line(org, available.get(org.pk, Decimal(0)), paused[org.pk]) for org in orgs]
    return Found(lines, max(0, matches.count() - shown) if len(orgs) == shown else 0)
