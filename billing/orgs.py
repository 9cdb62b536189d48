"""Verbs of organizations: make one with its balance, name it, say who belongs to it, and what its settings are.

For the pages, /admin and seeding. An org and its account are made together, and its zone is changed in both together.
An org never loses its last owner.
"""

from decimal import Decimal
from uuid import UUID
from zoneinfo import available_timezones

from anyascii import anyascii
from django.db.models import Q
from django.utils.text import slugify

from billing import jobs, ledger, plans
from billing.models import Agency, Membership, Organization, Role, User
from oxygen_site.clock import clock
from oxygen_site.jobs import defer
from oxygen_site.transactions import Refused, intention

MOST = 10**9  # credits, as of a cap
# "localtime" is whatever this machine is set to, which the database does not know.
ZONES = frozenset(available_timezones() - {"localtime"})


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


def rename(org: Organization, name: str) -> None:
    """Give an org another name; its address stays. Refused: invalid_name."""
    name = _name(name)
    intention(lambda: Organization.objects.filter(pk=org.pk).update(name=name))
    org.name = name


# ------------------------------------------------------------------ who belongs to it


def add_member(org: Organization, user: User, role: Role) -> Membership:
    """Give a person a role in an org, instead of the one they had."""
    return Membership.objects.update_or_create(org=org, user=user, defaults={"role": role})[0]


def change_role(org: Organization, member: UUID, role: Role) -> Membership:
    """Give a member another role. Refused: no_member, last_owner."""

    def verb() -> Membership:
        membership = _membership(org, member, stays_owner=role == Role.OWNER)
        membership.role = role
        membership.save(update_fields=["role"])
        return membership

    return intention(verb)


def remove_member(org: Organization, member: UUID) -> Membership:
    """Take a person out of an org; keys they made there open nothing any more. Refused: no_member, last_owner."""

    def verb() -> Membership:
        membership = _membership(org, member, stays_owner=False)
        membership.delete()
        return membership

    return intention(verb)


def _membership(org: Organization, member: UUID, *, stays_owner: bool) -> Membership:
    """Read a membership for changing it, with all owners' locked, so that no two of them go at once."""
    members = Membership.objects.filter(org=org).filter(Q(user=member) | Q(role=Role.OWNER)).order_by("pk")
    locked = list(members.select_for_update(of=("self",)).select_related("user"))
    membership = next((each for each in locked if each.user_id == member), None)
    if membership is None:
        raise Refused("no_member", "This person is no member of the organization any more.", 409)
    owners = [each.user_id for each in locked if each.role == Role.OWNER]
    if owners == [member] and not stays_owner:
        sentence = f"{membership.user} is the last owner. Make somebody else an owner first."
        raise Refused("last_owner", sentence, 409)
    return membership


# ------------------------------------------------------------------ its settings


def ask_for_zone(org: Organization, zone: str) -> None:
    """Have a job cut the org's days by another time zone; the last one asked for wins. Refused: zone."""
    zone = _zone(zone)

    def verb() -> str:
        held = Organization.objects.select_for_update(no_key=True).get(pk=org.pk)
        held.zone_asked = "" if zone == held.zone else zone
        held.save(update_fields=["zone_asked"])
        if held.zone_asked:
            defer(jobs.cut_days_of, org=str(org.pk))
        return held.zone_asked

    org.zone_asked = intention(verb)


def change_zone(org: Organization, zone: str) -> None:
    """Cut the org's days, past ones too, by another time zone: about a second per million entries. Refused: zone."""
    zone = _zone(zone)

    def verb() -> None:
        Organization.objects.select_for_update(no_key=True).get(pk=org.pk)  # before its account, as the job does
        ledger.change_zone(org.pk, zone)
        Organization.objects.filter(pk=org.pk).update(zone=zone, zone_asked="")

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
    if zone not in ZONES:
        raise Refused("invalid_zone", "Choose a time zone by its name, such as Europe/Lisbon or UTC.", 422, "zone")
    return zone


def _slug(name: str) -> str:
    """The name as an address, in Latin letters; a second Acme becomes acme-2, a name of signs alone org."""
    stem = slugify(anyascii(name))[:50].strip("-") or "org"
    taken = set(Organization.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(slug for slug in candidates if slug not in taken)
