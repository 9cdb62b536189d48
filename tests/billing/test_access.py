"""Who may do what: the gate's own answers. That every address stands behind it is test_every_url's."""

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from billing import access, keys, orgs
from billing.access import OrgRequest
from billing.models import Agency, Organization, Role, Scope, User

# PRODUCT.md's table, a row a right: viewer, member, admin, owner.
TABLE = {
    "read": "yes yes yes yes",
    "start_runs": "no yes yes yes",
    "steer_own": "no yes yes yes",
    "steer_runs": "no no yes yes",
    "approve": "no no yes yes",
    "settings": "no no yes yes",
    "plan": "no no yes yes",
    "members": "no no no yes",
    "cancel_subscription": "no no no yes",
}


def entered(user: User, slug: str) -> OrgRequest:
    request = OrgRequest()
    request.user = user
    access.enter(request, slug)
    return request


def entered_by_key(of: Organization, by: User, right: str, *scopes: str) -> OrgRequest:
    request = OrgRequest()
    request.META["HTTP_AUTHORIZATION"] = f"Bearer {keys.make(of, by, 'A script', scopes)[1]}"
    access.enter_by_key(request, right)
    return request


class Run:
    def __init__(self, member: User) -> None:
        self.member_id = member.pk


def test_each_role_may_what_the_table_says() -> None:
    rights = {right: [access.may(role, right) for role in Role] for right in access.RIGHTS}
    assert rights == {right: [word == "yes" for word in row.split()] for right, row in TABLE.items()}


def test_a_member_enters_in_their_role_and_acts_under_their_id(acme: Organization, alice: User) -> None:
    request = entered(alice, "acme")
    assert (request.org, request.role, request.by_agency, request.actor) == (acme, "owner", False, f"user:{alice.pk}")


def test_who_belongs_nowhere_finds_nothing(acme: Organization, mallory: User) -> None:
    for slug in ("acme", "no-such-org"):
        with pytest.raises(Http404):
            entered(mallory, slug)


def test_agency_staff_enter_their_clients_as_admins(harbor: Agency, harriet: User, acme: Organization) -> None:
    request = entered(harriet, "bluefin")
    assert (request.role, request.by_agency) == (Role.ADMIN, True)
    with pytest.raises(Http404):
        entered(harriet, "acme")


def test_a_right_is_known_without_a_request(
    harbor: Agency, harriet: User, acme: Organization, alice: User, mallory: User
) -> None:
    assert access.has_right(alice, acme, "approve")
    assert access.has_right(harriet, harbor.clients.get(), "approve")
    assert not access.has_right(harriet, harbor.clients.get(), "members")
    assert not access.has_right(mallory, acme, "read")


@pytest.mark.parametrize(
    ("own", "role", "by_agency"),
    [(Role.VIEWER, Role.ADMIN, True), (Role.MEMBER, Role.ADMIN, True), (Role.OWNER, Role.OWNER, False)],
)
def test_a_membership_speaks_first_where_it_gives_more(
    harbor: Agency, harriet: User, own: Role, role: Role, by_agency: bool
) -> None:
    orgs.add_member(harbor.clients.get(), harriet, own)
    request = entered(harriet, "bluefin")
    assert (request.role, request.by_agency) == (role, by_agency)


def test_a_person_reads_of_the_orgs_they_may_enter_each_once(
    harbor: Agency, harriet: User, acme: Organization, globex: Organization
) -> None:
    orgs.add_member(acme, harriet, Role.VIEWER)
    orgs.add_member(harbor.clients.get(), harriet, Role.MEMBER)
    assert [org.slug for org in access.orgs_of(harriet)] == ["acme", "bluefin"]


def test_a_missing_right_names_who_has_it(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    request = entered(mallory, "acme")
    for right, who in {
        "start_runs": "a member, an admin or an owner",
        "plan": "an admin or an owner",
        "members": "an owner",
    }.items():
        with pytest.raises(PermissionDenied, match=f"Ask {who} of the organization"):
            access.require(request, right)


def test_a_member_steers_their_own_runs_and_an_admin_all(acme: Organization, alice: User, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.MEMBER)
    member, owner = entered(mallory, "acme"), entered(alice, "acme")
    assert [access.may_steer(member, Run(who)) for who in (mallory, alice)] == [True, False]
    assert [access.may_steer(owner, Run(who)) for who in (mallory, alice)] == [True, True]
    with pytest.raises(PermissionDenied, match="whoever started this run"):
        access.require_steering(member, Run(alice))


def test_a_viewer_steers_nothing_not_even_what_they_once_started(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    assert not access.may_steer(entered(mallory, "acme"), Run(mallory))


# ------------------------------------------------------------------ keys


def test_each_scope_may_what_the_page_says() -> None:
    assert access.SCOPES.keys() == set(Scope)
    assert all("read" in rights for rights in access.SCOPES.values())
    assert {right for rights in access.SCOPES.values() for right in rights} == access.RIGHTS.keys() - {
        "members",
        "cancel_subscription",
    }


def test_a_key_acts_under_its_own_id_and_steers_its_makers_runs(acme: Organization, alice: User, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.MEMBER)
    request = entered_by_key(acme, mallory, "steer_own", "run")
    assert request.key is not None
    assert (request.org, request.role, request.user) == (acme, "member", mallory)
    assert request.actor == f"key:{request.key.pk}"
    assert [access.may_steer(request, Run(who)) for who in (mallory, alice)] == [True, False]


def test_a_scope_never_adds_to_the_role(acme: Organization, alice: User, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.MEMBER)
    steering = entered_by_key(acme, mallory, "read", "steer", "admin")
    assert [access.may_steer(steering, Run(who)) for who in (mallory, alice)] == [True, False]
    with pytest.raises(PermissionDenied, match="Ask an admin or an owner"):
        access.require(steering, "settings")


def test_a_role_never_adds_to_the_scope(acme: Organization, alice: User, mallory: User) -> None:
    request = entered_by_key(acme, alice, "read", "run")
    assert [access.may_steer(request, Run(who)) for who in (alice, mallory)] == [True, False]
    for right, scope in {"steer_runs": "steer", "approve": "approve", "plan": "admin"}.items():
        with pytest.raises(PermissionDenied, match=f"the scope {scope}"):
            access.require(request, right)
    with pytest.raises(PermissionDenied, match="the scope run or steer"):
        access.require(entered_by_key(acme, alice, "read", "read"), "steer_own")


@pytest.mark.parametrize("right", ["members", "cancel_subscription"])
def test_what_only_an_owner_may_do_takes_no_key(acme: Organization, alice: User, right: str) -> None:
    with pytest.raises(PermissionDenied, match="No key may do that: it takes an owner, signed in"):
        entered_by_key(acme, alice, right, *Scope.values)
