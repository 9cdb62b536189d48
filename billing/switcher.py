"""Finding one organization among hundreds by a few letters, and the pages of the one at hand. Reads only.

For the list of organizations and for the palette, which has all of it at once and finds among it in the browser.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import FETCH_RAISE, Case, IntegerField, When
from django.db.models.functions import Lower
from django.urls import reverse

from billing import access
from billing.access import OrgRequest
from billing.models import Account, Agency, Organization, Reservation, User

SHOWN = 20
IN_PALETTE = 500
# The pages of an org that the palette names, each with its address and the right it takes.
PAGES = (
    ("Billing", "billing:overview", "read"),
    ("Ledger", "billing:ledger", "read"),
    ("Grants", "billing:grants", "read"),
    ("Reserved credits", "billing:holds", "read"),
    ("Runs", "runs:index", "read"),
    ("New run", "runs:new", "start_runs"),
    ("Plan and top-ups", "billing:subscribe", "read"),
    ("Automatic top-up", "billing:auto_top_up", "plan"),
    ("Invoices", "billing:invoices", "read"),
    ("Statement of the month", "billing:statement", "read"),
    ("Settings", "billing:settings", "settings"),
    ("Provider accounts", "runs:accounts", "settings"),
    ("API keys", "billing:keys", "settings"),
)


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
    orgs = list(matches.order_by(best_first, Lower("name"), "slug").fetch_mode(FETCH_RAISE)[:shown])
    ids = [org.pk for org in orgs]
    available = dict(Account.objects.filter(org__in=ids).values_list("org", "available"))
    paused = Counter(Reservation.objects.filter(org__in=ids, closed_at=None, paused=True).values_list("org", flat=True))
    lines = [Line(org, available.get(org.pk, Decimal(0)), paused[org.pk]) for org in orgs]
    return Found(lines, matches.count() - len(orgs))


@dataclass(frozen=True)
class Page:
    name: str
    href: str


@dataclass(frozen=True)
class Palette:
    orgs: Found
    pages: list[Page]


def palette(user: User, request: OrgRequest | None) -> Palette:
    """Read where one can go: one's orgs, the pages of the org of `request` one may open, the boards. Five queries."""
    pages = [
        Page(name, reverse(address, args=[request.org.slug]))
        for name, address, right in (PAGES if request else ())
        if request and access.allows(request, right)
    ]
    return Palette(find(user, "", IN_PALETTE), [*pages, *(_board(agency) for agency in user.agencies.all())])


def _board(agency: Agency) -> Page:
    return Page(f"Clients of {agency.name}", reverse("billing:agency", query={"agency": agency.pk}))
