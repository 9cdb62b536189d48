"""Invitations: an owner asks somebody by e-mail, and the link makes them a member, once."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.urls import reverse

from billing import invitations, mails, orgs
from billing.models import Invitation, Membership, Organization, Role, User
from oxygen_site import clock
from oxygen_site.jobs import line
from oxygen_site.transactions import Refused
from tests.billing.test_overview import words
from tests.billing.test_settings import Send, at, sender, signed_in
from tests.conftest import person

pytestmark = pytest.mark.django_db
BOB = "bob@oxygen.example"


@pytest.fixture
def send(alice: User, acme: Organization) -> Send:
    return sender(alice, acme)


def delivered() -> str:
    """Send what waits to be sent; the way to the page of the last link."""
    for asked, _ in line(mails.send_invitation):
        mails.send_invitation(**asked)
    found = re.search(r"http://localhost:8000(/join/\S+/)", str(mail.outbox[-1].body))
    assert found
    return found[1]


@pytest.fixture
def link(alice: User, acme: Organization) -> str:
    """Bob's link, as it stands in his mail."""
    invitations.invite(acme, BOB, Role.MEMBER, by=alice)
    return delivered()


def role_of(user: User) -> str:
    return Membership.objects.get(user=user).role


# ------------------------------------------------------------------ inviting


def test_an_owner_invites_and_the_mail_has_the_link(send: Send) -> None:
    assert "bob@oxygen.example" in send("invite", email=" Bob@Oxygen.example ", role="admin")[1]
    delivered()
    (letter,) = mail.outbox
    assert (letter.to, letter.subject) == ([BOB], "Alice invites you to Acme")
    assert str(letter.body).startswith("Alice invites you to Acme on Oxygen, as an admin. Join here:\n\nhttp")


def test_with_htmx_the_section_comes_back(send: Send) -> None:
    status, said = send("invite", to="invitations", email=BOB, role="viewer")
    assert (status, said.startswith("Invitations bob@oxygen.example")) == (200, True)


@pytest.mark.parametrize(
    "email", ["", "bob", "bob@", "a@b.example, c@d.example", "bob@oxygen.example\nBcc: x@y.example"]
)
def test_what_is_no_address_is_refused_beside_it(send: Send, email: str) -> None:
    assert send("invite", email=email, role="member")[0] == 422
    assert not Invitation.objects.exists()
    assert line(mails.send_invitation) == []


def test_a_role_nobody_knows_is_refused(send: Send) -> None:
    assert send("invite", email=BOB, role="king")[0] == 422


def test_who_is_a_member_is_not_invited(send: Send) -> None:
    status, said = send("invite", email="ALICE@oxygen.example", role="viewer")
    assert (status, "is a member already" in said) == (409, True)


def test_admins_and_the_agency_invite_nobody(acme: Organization) -> None:
    ada = person("Ada")
    orgs.add_member(acme, ada, Role.ADMIN)
    assert signed_in(ada).post(at(acme, "invite"), {"email": BOB, "role": "owner"}).status_code == 403
    assert at(acme, "invite") not in signed_in(ada).get(at(acme)).content.decode()
    assert not Invitation.objects.exists()


def test_fifty_are_open_at_most(acme: Organization, alice: User) -> None:
    for n in range(50):
        invitations.invite(acme, f"person{n}@oxygen.example", Role.VIEWER, by=alice)
    invitations.invite(acme, "person7@oxygen.example", Role.MEMBER, by=alice)  # again is not one more
    with pytest.raises(Refused) as refused:
        invitations.invite(acme, BOB, Role.VIEWER, by=alice)
    assert refused.value.code == "too_many_invitations"


# ------------------------------------------------------------------ joining


def test_who_has_no_account_makes_one_and_joins(link: str, acme: Organization) -> None:
    client = Client()
    html = client.get(link).content.decode()
    signup = re.search(r'href="(/accounts/signup/[^"]+)"', html)
    assert signup
    page = client.get(signup[1].replace("&amp;", "&")).content.decode()
    assert f'value="{BOB}"' in page
    facts = {"email": BOB, "password1": "a long enough password", "password2": "a long enough password", "next": link}
    assert client.post("/accounts/signup/", facts)["Location"] == link
    assert "Join" in client.get(link).content.decode()
    assert client.post(link)["Location"] == reverse("billing:overview", args=[acme.slug])
    assert role_of(User.objects.get(email=BOB)) == Role.MEMBER
    assert not Invitation.objects.exists()


def test_who_has_one_signs_in_and_joins(link: str) -> None:
    bob = person("Bob")
    assert Client().post(link)["Location"] == f"/accounts/login/?next={link}"
    answer = signed_in(bob).post(link, follow=True)
    assert "You belong to Acme now." in answer.content.decode()
    assert role_of(bob) == Role.MEMBER


def test_a_link_is_good_once(link: str) -> None:
    bob = signed_in(person("Bob"))
    bob.post(link)
    for answer in (bob.get(link), bob.post(link), Client().get(link)):
        assert answer.status_code == 410
        assert "This invitation is over" in answer.content.decode()


def test_looking_at_a_link_joins_nobody(link: str) -> None:
    bob = person("Bob")
    signed_in(bob).get(link)
    assert not Membership.objects.filter(user=bob).exists()


def test_a_link_is_for_its_own_address(link: str, mallory: User) -> None:
    client = signed_in(mallory)
    html = words(client.get(link).content.decode())
    assert "You are signed in as mallory@oxygen.example, and the invitation is for bob@oxygen.example alone." in html
    assert client.post(link).status_code == 409
    assert not Membership.objects.filter(user=mallory).exists()
    EmailAddress.objects.create(user=mallory, email=BOB, verified=False)
    assert client.post(link).status_code == 409
    EmailAddress.objects.update(verified=True)
    assert client.post(link).status_code == 302
    assert role_of(mallory) == Role.MEMBER


def test_a_link_is_good_for_seven_days(link: str) -> None:
    bob = signed_in(person("Bob"))
    clock.advance(timedelta(days=6, hours=23))
    assert bob.get(link).status_code == 200
    clock.advance(timedelta(hours=1))
    assert bob.get(link).status_code == bob.post(link).status_code == 410


def test_a_link_that_was_taken_back_leads_nowhere(send: Send, link: str) -> None:
    said = send("revoke_invitation", invitation=Invitation.objects.get().pk)[1]
    assert "No invitation is open." in said
    assert signed_in(person("Bob")).post(link).status_code == 410


def test_a_mail_that_was_taken_back_is_not_sent(acme: Organization, alice: User) -> None:
    invitations.revoke(acme, invitations.invite(acme, BOB, Role.MEMBER, by=alice).pk)
    for asked, _ in line(mails.send_invitation):
        mails.send_invitation(**asked)
    assert mail.outbox == []


def test_inviting_again_replaces_the_link(link: str, acme: Organization, alice: User) -> None:
    invitations.invite(acme, BOB, Role.ADMIN, by=alice)
    bob = person("Bob")
    assert signed_in(bob).post(link).status_code == 410
    signed_in(bob).post(delivered())
    assert role_of(bob) == Role.ADMIN


@pytest.mark.parametrize(
    "change", [lambda link: link[:-1] + "A/", lambda link: "/join/x/", lambda link: "/join/\0.\0/"]
)
def test_a_link_that_was_not_made_here_leads_nowhere(link: str, change: Callable[[str], str]) -> None:
    assert Client().get(change(link)).status_code == 410


@pytest.mark.parametrize(("had", "has"), [(Role.VIEWER, Role.MEMBER), (Role.OWNER, Role.OWNER)])
def test_who_joins_never_loses_a_role(link: str, acme: Organization, had: Role, has: Role) -> None:
    bob = person("Bob")
    orgs.add_member(acme, bob, had)
    signed_in(bob).post(link)
    assert role_of(bob) == has


def test_nobody_takes_back_what_another_org_sent(link: str, globex: Organization, mallory: User) -> None:
    theirs: Any = Invitation.objects.get().pk
    sender(mallory, globex)("revoke_invitation", invitation=theirs)
    assert Invitation.objects.filter(pk=theirs).exists()
