"""The one tenancy gate: who may do what in which org, for pages and API alike.

The table below is PRODUCT.md §6. Who is no member of an org gets 404 for everything in it; a member without the right
gets 403, which names who has it. Nothing else in the house decides this; a test walks every URL by role and org.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Protocol
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from billing.models import Membership, Organization, Role, User

RIGHTS: dict[str, tuple[Role, ...]] = {
    "read": (Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER),
    "start_runs": (Role.MEMBER, Role.ADMIN, Role.OWNER),
    "steer_own": (Role.MEMBER, Role.ADMIN, Role.OWNER),
    "steer_runs": (Role.ADMIN, Role.OWNER),
    "approve": (Role.ADMIN, Role.OWNER),
    "settings": (Role.ADMIN, Role.OWNER),
    "plan": (Role.ADMIN, Role.OWNER),
    "members": (Role.OWNER,),
    "cancel_subscription": (Role.OWNER,),
}


class OrgRequest(HttpRequest):
    """A request that has passed the gate. `actor` is what the ledger writes down."""

    user: User
    org: Organization
    role: Role
    by_agency: bool  # here as the agency's staff, not as a member
    actor: str


class HasMember(Protocol):
    member_id: UUID


def may(role: Role, right: str) -> bool:
    return role in RIGHTS[right]


def has_right(user: User, org: Organization, right: str) -> bool:
    """Say whether a person has a right in an org, where no request has passed the gate. Two queries at most."""
    role, _ = _role(user, org)
    return role is not None and may(role, right)


def may_steer(request: OrgRequest, run: HasMember) -> bool:
    """Say whether this person may pause, resume, cancel or continue the run: an admin any, a member their own."""
    return may(request.role, "steer_runs") or (may(request.role, "steer_own") and run.member_id == request.user.pk)


def require(request: OrgRequest, right: str) -> None:
    if not may(request.role, right):
        raise PermissionDenied(who_has(right))


def require_steering(request: OrgRequest, run: HasMember) -> None:
    if not may_steer(request, run):
        raise PermissionDenied("Only whoever started this run, or an admin or owner of the organization, may do that.")


def who_has(right: str) -> str:
    """Tell somebody without the right whom to ask."""
    roles = [role.label.lower() for role in RIGHTS[right]]
    return f"Your role does not allow that. Ask {_either(roles)} of the organization."


def orgs_of(user: User) -> QuerySet[Organization]:
    """Read the orgs a person may enter, as a member or as their agency's staff, by name. One query."""
    return Organization.objects.filter(
        Q(pk__in=Membership.objects.filter(user=user).values("org")) | Q(agency__in=user.agencies.all())
    )


def enter(request: HttpRequest, slug: str) -> None:
    """Set the request's org, role and actor; 404 for whoever does not belong there. Two queries at most."""
    org = Organization.objects.filter(slug=slug).select_related("agency").first()
    role, by_agency = _role(request.user, org) if org else (None, False)
    if org is None or role is None:
        raise Http404("There is no such organization, or you are not in it.")
    request.org, request.role, request.by_agency = org, role, by_agency  # type: ignore[attr-defined]
    request.actor = f"user:{request.user.pk}"  # type: ignore[attr-defined]


def org_page[**P, R: HttpResponseBase](
    may: str = "read",
) -> Callable[[Callable[Concatenate[OrgRequest, P], R]], Callable[..., Any]]:
    """Gate a view at `/orgs/<slug>/…`: signed in, belongs to the org, has the right. The view loses the slug."""

    def gate(view: Callable[Concatenate[OrgRequest, P], R]) -> Callable[..., Any]:
        @login_required
        @wraps(view)
        def gated(request: OrgRequest, slug: str, **kwargs: Any) -> R:
            enter(request, slug)
            require(request, may)
            if request.session.get("org") != slug:  # else each look at a page would commit
                request.session["org"] = slug
            return view(request, **kwargs)  # type: ignore[call-arg]

        gated.right = may  # type: ignore[attr-defined]  # for the test that walks every URL
        return gated

    return gate


def _role(user: Any, org: Organization) -> tuple[Role | None, bool]:
    """A membership speaks first where it gives more; agency staff are as admins in each client org."""
    membership = Membership.objects.filter(org=org, user=user).first()
    if membership and membership.role in (Role.ADMIN, Role.OWNER):
        return Role(membership.role), False
    if org.agency_id and org.agency.staff.filter(pk=user.pk).exists():  # type: ignore[union-attr]
        return Role.ADMIN, True
    return (Role(membership.role), False) if membership else (None, False)


def _either(roles: list[str]) -> str:
    named = [f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in roles]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} or {named[-1]}"
