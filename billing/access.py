"""The one tenancy gate: who may do what in which org, for pages and API alike.

The tables below are PRODUCT.md §6. Who is no member of an org gets 404 for everything in it; a member without the right
gets 403, which names who has it. An API key may what its scopes say, and never more than whoever made it may today.
Nothing else in the house decides this; tests walk every URL and every API operation by role, scope and org.
"""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Protocol
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from billing import keys
from billing.models import Agency, AgencyStaff, ApiKey, Membership, Organization, Role, Scope, User
from oxygen_site.transactions import Refused

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
# What only an owner may do takes no key: its rights stand in no row.
SCOPES: dict[Scope, tuple[str, ...]] = {
    Scope.READ: ("read",),
    Scope.RUN: ("read", "start_runs", "steer_own"),
    Scope.STEER: ("read", "steer_own", "steer_runs"),
    Scope.APPROVE: ("read", "approve"),
    Scope.ADMIN: ("read", "settings", "plan"),
}
SLUG = re.compile(r"[\w-]{1,60}", re.ASCII)


class OrgRequest(HttpRequest):
    """A request that has passed the gate. `actor` is what the ledger writes down."""

    user: User  # of a request with an API key, whoever made the key
    org: Organization
    role: Role
    by_agency: bool  # here as the agency's staff, not as a member
    key: ApiKey | None
    actor: str


class AgencyRequest(HttpRequest):
    """A request of whoever works at an agency, or at several."""

    user: User
    agencies: list[Agency]  # by name; never none
    agency: Agency  # the one a page is about, where it is about one


class HasMember(Protocol):
    member_id: UUID


def may(role: Role, right: str) -> bool:
    return role in RIGHTS[right]


def has_right(user: User, org: Organization, right: str, key: ApiKey | None = None) -> bool:
    """Say whether a person, with a key of theirs where they came with one, has a right in an org.

    For where no request has passed the gate. Two queries at most.
    """
    role, _ = _role_of_maker(key, org) if key else _role(user, org)
    return role is not None and may(role, right) and (key is None or _opens(key, right))


def actor(user: User, key: ApiKey | None = None) -> str:
    """Name whoever acts as the ledger writes it down."""
    return f"key:{key.pk}" if key else f"user:{user.pk}"


def may_steer(request: OrgRequest, run: HasMember) -> bool:
    """Say whether this person may pause, resume, cancel or continue the run: an admin any, a member their own."""
    return allows(request, "steer_runs") or (allows(request, "steer_own") and run.member_id == request.user.pk)


def allows(request: OrgRequest, right: str) -> bool:
    """Say whether the request's role has a right, and so does its key where it came with one."""
    return may(request.role, right) and (request.key is None or _opens(request.key, right))


def require(request: OrgRequest, right: str) -> None:
    if not may(request.role, right):
        raise PermissionDenied(who_has(right))
    if request.key and not _opens(request.key, right):
        raise PermissionDenied(_which_key(right))


def require_steering(request: OrgRequest, run: HasMember) -> None:
    if not may_steer(request, run):
        raise PermissionDenied("Only whoever started this run, or an admin or owner of the organization, may do that.")


def who_has(right: str) -> str:
    """Tell somebody without the right whom to ask."""
    roles = [role.label.lower() for role in RIGHTS[right]]
    return f"Your role does not allow that. Ask {_either(roles)} of the organization."


def who_may(right: str, key: ApiKey | None) -> str:
    """Tell somebody without the right, or with a key that does not open it, what would."""
    return _which_key(right) if key and not _opens(key, right) else who_has(right)


def orgs_of(user: User) -> QuerySet[Organization]:
    """Read the orgs a person may enter, as a member or as their agency's staff, by name. One query."""
    return Organization.objects.filter(
        Q(pk__in=Membership.objects.filter(user=user).values("org")) | Q(agency__in=user.agencies.all())
    )


def people_of(of: Organization | Agency) -> QuerySet[User]:
    """Read who may enter an org, or works at an agency, and may sign in. One query."""
    if isinstance(of, Agency):
        return of.staff.filter(is_active=True)
    staff = AgencyStaff.objects.filter(agency=of.agency_id).values("user")
    return User.objects.filter(Q(pk__in=of.memberships.values("user")) | Q(pk__in=staff), is_active=True)


def enter(request: HttpRequest, slug: str) -> None:
    """Set the request's org, role and actor; 404 for whoever does not belong there. Two queries at most."""
    org = Organization.objects.filter(slug=slug).select_related("agency").first()
    role, by_agency = _role(request.user, org) if org else (None, False)
    if org is None or role is None:
        raise Http404("There is no such organization, or you are not in it.")
    request.org, request.role, request.by_agency = org, role, by_agency  # type: ignore[attr-defined]
    request.key, request.actor = None, actor(request.user)  # type: ignore[attr-defined,arg-type]


def enter_by_key(request: HttpRequest, right: str) -> None:
    """Gate an API operation: a valid key, of whoever still belongs to its org, with the right.

    Sets what `enter` sets; an agency's key says in the header Oxygen-Organization which client org it means. Four
    queries at most, and one write a minute.
    Refused: what `keys.presented` refuses (401), organization_required (400).
    """
    key = keys.presented(request.headers.get("Authorization", ""))
    org = _named(key, request.headers.get("Oxygen-Organization", ""))
    role, by_agency = _role_of_maker(key, org) if org and key.made_by.is_active else (None, False)
    if org is None or role is None:
        raise Http404("There is no such organization, or whoever made this key is not in it any more.")
    request.org, request.role, request.by_agency = org, role, by_agency  # type: ignore[attr-defined]
    request.user, request.key, request.actor = key.made_by, key, actor(key.made_by, key)  # type: ignore[attr-defined]
    require(request, right)  # type: ignore[arg-type]


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


def agency_page[**P, R: HttpResponseBase](
    view: Callable[Concatenate[AgencyRequest, P], R],
) -> Callable[..., Any]:
    """Gate a view at `/agency/…`: signed in, and on the staff of an agency, else there is nothing here."""

    @login_required
    @wraps(view)
    def gated(request: AgencyRequest, *args: P.args, **kwargs: P.kwargs) -> R:
        request.agencies = list(request.user.agencies.all())
        if not request.agencies:
            raise Http404("You are on the staff of no agency.")
        return view(request, *args, **kwargs)

    gated.right = "agency"  # type: ignore[attr-defined]  # for the test that walks every URL
    return gated


def _role(user: Any, org: Organization) -> tuple[Role | None, bool]:
    """A membership speaks first where it gives more; agency staff are as admins in each client org."""
    membership = Membership.objects.filter(org=org, user=user).first()
    if membership and membership.role in (Role.ADMIN, Role.OWNER):
        return Role(membership.role), False
    if org.agency_id and org.agency.staff.filter(pk=user.pk).exists():  # type: ignore[union-attr]
        return Role.ADMIN, True
    return (Role(membership.role), False) if membership else (None, False)


def _named(key: ApiKey, slug: str) -> Organization | None:
    """The org a request with a key is about, as long as it is the key's own or a client of the key's agency."""
    if key.org:
        return key.org if slug in ("", key.org.slug) else None
    if not slug:
        sentence = "This key is an agency's: say in the header Oxygen-Organization which client organization you mean."
        raise Refused("organization_required", sentence, 400)
    if not SLUG.fullmatch(slug):
        return None
    return Organization.objects.filter(slug=slug, agency=key.agency_id).select_related("agency").first()


def _role_of_maker(key: ApiKey, org: Organization) -> tuple[Role | None, bool]:
    """An agency's key reaches as its staff do, whatever else its maker is in the org."""
    if key.agency_id is None:
        return _role(key.made_by, org)
    at_work = AgencyStaff.objects.filter(agency=key.agency_id, user=key.made_by).exists()
    return (Role.ADMIN, True) if at_work else (None, False)


def _opens(key: ApiKey, right: str) -> bool:
    return any(right in SCOPES[Scope(scope)] for scope in key.scopes)


def _which_key(right: str) -> str:
    scopes = [scope.value for scope, rights in SCOPES.items() if right in rights]
    if not scopes:
        return f"No key may do that: it takes {_either([role.label.lower() for role in RIGHTS[right]])}, signed in."
    return f"This key may not do that: it takes one with the scope {' or '.join(scopes)}."


def _either(roles: list[str]) -> str:
    named = [f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in roles]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} or {named[-1]}"
