"""Grants whose money went back although their credits were captured: what Oxygen is short of. Reads only.

For the admin alone, over all organizations. Nobody owes it to the ledger: captured credits stay captured and are never
taken from other grants, so a shortfall is for operators to take up with the customer or to write off.
"""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import F

from billing.models import Grant, Organization

SHOWN = 100


@dataclass(frozen=True)
class Shortfall:
    """A grant of which more is owed than was left: `short` = captured by closed runs + owed - amount."""

    org: Organization
    grant: Grant
    short: Decimal


def newest() -> list[Shortfall]:
    """The newest grants that are short, SHOWN at most and one more where there are more. Two queries."""
    owing = Grant.objects.filter(owed__gt=0).annotate(short=F("burned") + F("owed") - F("amount"))
    grants = list(owing.filter(short__gt=0).order_by("-effective_at", "id")[: SHOWN + 1])
    orgs = Organization.objects.in_bulk({grant.org for grant in grants})
    return [Shortfall(orgs[grant.org], grant, grant.short) for grant in grants]
