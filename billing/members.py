"""Who belongs to an org, and who is asked to. Reads only; for the settings page. Verbs are in orgs and invitations."""

from dataclasses import dataclass

from django.db.models import FETCH_RAISE

from billing.models import Invitation, Membership, Organization

PAGE = 50


@dataclass(frozen=True)
class Members:
    """One page of memberships by e-mail address; `next` is the address after which the rest begins."""

    memberships: list[Membership]
    next: str | None


def listed(org: Organization, after: str = "") -> Members:
    """List an org's members, 50 a page. One query."""
    found = Membership.objects.filter(org=org, user__email__gt=after).select_related("user").order_by("user__email")
    page = list(found.fetch_mode(FETCH_RAISE)[: PAGE + 1])
    return Members(page[:PAGE], page[PAGE - 1].user.email if len(page) > PAGE else None)


def invited(org: Organization) -> list[Invitation]:
    """List an org's invitations, the newest first; `invitations.MOST` are all there can be. One query."""
    return list(Invitation.objects.filter(org=org).select_related("by").fetch_mode(FETCH_RAISE))
