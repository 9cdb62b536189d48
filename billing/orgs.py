"""Verbs of organizations: make one with its balance, add members, change its time zone and approval threshold.

For the pages, /admin and seeding. An org and its account are made together, and its zone is changed in both together.
"""

from decimal import Decimal
from zoneinfo import available_timezones

from anyascii import anyascii
from django.utils.text import slugify

from billing import jobs, ledger, plans
from billing.models import Agency, Membership, Organization, Role, User
from oxygen_site.clock import clock
from oxygen_site.jobs import defer
from oxygen_site.transactions import Refused, intention

MOST = 10**9  # credits, as of a cap


def create(name: str, zone: str, *, owner: User | None = None, agency: Agency | None = None) -> Organization:
    """Make an organization with an empty balance, and its owner a member. Refused: name, zone."""
    name = _name(name)
    zone = _zone(zone)

    def verb() -> Organization:
        org = Organization.objects.create(name=name, slug=_slug(name), zone=zone, agency=agency, created_at=clock())
        ledger.open_account(org.pk, zone)
        if owner:
            Membership.objects.create(org=org, user=owner, role=Role.OWNER)
        if plans.free():
            defer(jobs.welcome, org=str(org.pk))
        return org

    return intention(verb, certain=True)


def add_member(org: Organization, user: User, role: Role) -> Membership:
    """Give a person a role in an org, instead of the one they had."""
    return Membership.objects.update_or_create(org=org, user=user, defaults={"role": role})[0]


def change_zone(org: Organization, zone: str) -> None:
    """Cut the org's days, past ones too, by another time zone: about a second per million entries. Refused: zone."""
    zone = _zone(zone)

    def verb() -> None:
        ledger.change_zone(org.pk, zone)
        Organization.objects.filter(pk=org.pk).update(zone=zone)

    intention(verb)
    org.zone = zone


def change_approval_threshold(org: Organization, credits: Decimal | None) -> None:
    """Have runs that would hold more than so many credits wait for approval; None: no run for its size.

    Runs that have started go on. Refused: invalid_threshold.
    """
    if credits is not None and not (credits.is_finite() and 0 <= credits <= MOST and credits == round(credits, 4)):
        raise Refused(
            "invalid_threshold",
            f"The threshold is a number of credits from 0 to {MOST:,}, with at most four decimals.",
            422,
            "approval_threshold",
        )
    intention(lambda: Organization.objects.filter(pk=org.pk).update(approval_threshold=credits))
    org.approval_threshold = credits


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 120:
        raise Refused("invalid_name", "Give the organization a name of at most 120 characters.", 422, "name")
    return name


def _zone(zone: str) -> str:
    if zone not in available_timezones():
        raise Refused("invalid_zone", "Choose a time zone by its name, such as Europe/Lisbon or UTC.", 422, "zone")
    return zone


def _slug(name: str) -> str:
    """The name as an address, in Latin letters; a second Acme becomes acme-2, a name of signs alone org."""
    stem = slugify(anyascii(name))[:50].strip("-") or "org"
    taken = set(Organization.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(slug for slug in candidates if slug not in taken)
