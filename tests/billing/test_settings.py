"""/orgs/<slug>/billing/settings/: what holds for everybody in an org, and who belongs to it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing import books, jobs, low_balance, orgs
from billing.models import Account, Agency, Membership, Organization, Role, UsageByTool, User
from oxygen_site.clock import clock
from oxygen_site.jobs import line
from oxygen_site.transactions import Refused
from tests.billing.moves import attempt, open_run, settle
from tests.billing.test_overview import words
from tests.conftest import person

pytestmark = pytest.mark.django_db

type Send = Callable[..., tuple[int, str]]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def at(org: Organization, name: str = "settings") -> str:
    return reverse(f"billing:{name}", args=[org.slug])


def sender(user: User, org: Organization) -> Send:
    """Sends a form as a person does; answers the status and the words of the page that comes in the end."""
    client = signed_in(user)

    def send(address: str = "settings", /, *, to: str = "", **facts: Any) -> tuple[int, str]:
        headers = {"HX-Request": "true", "HX-Target": to} if to else {}
        answer = client.post(at(org, address), facts, headers=headers, follow=not to)
        return answer.status_code, words(answer.content.decode())

    return send


@pytest.fixture
def send(alice: User, acme: Organization) -> Send:
    return sender(alice, acme)


@pytest.fixture
def ada(acme: Organization) -> User:
    """An admin of Acme's, beside Alice, who owns it."""
    ada = person("Ada")
    orgs.add_member(acme, ada, Role.ADMIN)
    return ada


# ------------------------------------------------------------------ the organization


def test_an_org_gets_another_name_and_keeps_its_address(send: Send, acme: Organization) -> None:
    status, said = send(section="organization", name="  Acme   Labs ")
    acme.refresh_from_db()
    assert (status, acme.name, acme.slug) == (200, "Acme Labs", "acme")
    assert "Saved. Settings What holds for everybody in Acme Labs." in said


@pytest.mark.parametrize("name", ["", "   ", "x" * 121])
def test_a_name_that_is_none_is_refused_beside_it(send: Send, acme: Organization, name: str) -> None:
    assert send(section="organization", name=name)[0] == 422
    acme.refresh_from_db()
    assert acme.name == "Acme"


def test_a_zone_is_asked_for_and_cut_by_a_job(send: Send, acme: Organization) -> None:
    settle(acme.pk, open_run(acme.pk, 1, begin=1), attempt(1))
    assert "Its days are being cut by Asia/Tokyo" in send("change_zone", zone="Asia/Tokyo")[1]
    assert Account.objects.get(org=acme.pk).zone == "Europe/Lisbon"
    for asked, _ in line(jobs.cut_days_of):
        jobs.cut_days_of(**asked)
    acme.refresh_from_db()
    assert (acme.zone, acme.zone_asked, Account.objects.get(org=acme.pk).zone) == ("Asia/Tokyo", "", "Asia/Tokyo")
    assert books.drifts(acme.pk) == []


def test_a_lost_job_is_made_up_for_within_a_minute(send: Send, acme: Organization) -> None:
    send("change_zone", zone="Asia/Tokyo")
    jobs.cut_days()
    acme.refresh_from_db()
    assert (acme.zone, acme.zone_asked) == ("Asia/Tokyo", "")
    jobs.cut_days_of(org=str(acme.pk))  # there is nothing left to do
    assert books.drifts(acme.pk) == []


def test_asking_for_the_zone_one_has_takes_the_wish_back(send: Send, acme: Organization) -> None:
    send("change_zone", zone="Asia/Tokyo")
    send("change_zone", zone="Europe/Lisbon")
    jobs.cut_days()
    acme.refresh_from_db()
    assert (acme.zone, acme.zone_asked) == ("Europe/Lisbon", "")


def test_a_zone_nobody_knows_is_refused(send: Send, acme: Organization) -> None:
    assert send("change_zone", zone="Mars/Olympus")[0] == 422
    acme.refresh_from_db()
    assert acme.zone_asked == ""


# ------------------------------------------------------------------ thresholds


@pytest.mark.parametrize(("typed", "kept"), [("500", Decimal(500)), ("0.0001", Decimal("0.0001")), ("", None)])
def test_an_approval_threshold_is_kept_or_taken_away(send: Send, acme: Organization, typed: str, kept: Any) -> None:
    orgs.change_approval_threshold(acme, Decimal(7))
    assert send(section="approval", approval_threshold=typed)[0] == 200
    acme.refresh_from_db()
    assert acme.approval_threshold == kept


@pytest.mark.parametrize("typed", ["-1", "many", "NaN", "1.00001", "1000000001"])
def test_an_approval_threshold_that_is_none_is_refused(send: Send, acme: Organization, typed: str) -> None:
    assert send(section="approval", approval_threshold=typed)[0] == 422
    acme.refresh_from_db()
    assert acme.approval_threshold is None


def test_with_htmx_a_form_answers_its_section_alone(alice: User, acme: Organization) -> None:
    headers = {"HX-Request": "true", "HX-Target": "approval"}
    facts = {"section": "approval", "approval_threshold": "12"}
    answer = signed_in(alice).post(at(acme), facts, headers=headers)
    assert answer.content.decode().strip().startswith('<section id="approval"')
    assert answer["HX-Trigger"] == '{"toast": {"text": "Saved."}}'


def test_when_to_hear_of_a_low_balance_is_kept_shown_and_taken_away(send: Send, acme: Organization) -> None:
    send(section="low-balance", threshold="7", unit="days")
    wish = low_balance.of(acme)
    assert wish
    assert (wish.threshold, wish.unit) == (7, "days")
    send(section="low-balance", threshold="", unit="days")
    assert low_balance.of(acme) is None


@pytest.mark.parametrize(("typed", "unit"), [("0", "credits"), ("-1", "days"), ("1.5", "days"), ("366", "days")])
def test_a_low_balance_that_is_none_is_refused(send: Send, acme: Organization, typed: str, unit: str) -> None:
    status, said = send(section="low-balance", threshold=typed, unit=unit)
    assert status == 422
    assert "a number of credits above 0, or whole days from 1 to 365" in said
    assert low_balance.of(acme) is None


def test_a_section_that_is_not_there_changes_nothing(send: Send) -> None:
    assert send(section="credits", name="More")[0] == 422
    assert send()[0] == 422


# ------------------------------------------------------------------ members


def test_an_owner_gives_another_role_and_takes_people_out(send: Send, acme: Organization, ada: User) -> None:
    send("change_member", member=ada.pk, do="role", role="viewer")
    assert Membership.objects.get(org=acme, user=ada).role == Role.VIEWER
    send("change_member", member=ada.pk, do="remove")
    assert not Membership.objects.filter(org=acme, user=ada).exists()
    assert signed_in(ada).get(at(acme)).status_code == 404


def test_the_last_owner_stays(send: Send, alice: User, acme: Organization) -> None:
    for facts in ({"do": "remove"}, {"do": "role", "role": "admin"}):
        status, said = send("change_member", to="members", member=alice.pk, **facts)
        assert status == 409
        assert "Alice is the last owner. Make somebody else an owner first." in said
    assert Membership.objects.get(org=acme, user=alice).role == Role.OWNER


def test_an_owner_may_go_where_another_stays(send: Send, alice: User, ada: User, acme: Organization) -> None:
    send("change_member", member=ada.pk, do="role", role="owner")
    status, said = send("change_member", member=alice.pk, do="remove")
    assert (status, "Create your organization" in said) == (200, True)
    with pytest.raises(Refused) as refused:
        orgs.remove_member(acme, ada.pk)
    assert refused.value.code == "last_owner"


def test_who_gives_up_being_owner_stays_on_the_page_as_admin(send: Send, alice: User, ada: User) -> None:
    send("change_member", member=ada.pk, do="role", role="owner")
    said = send("change_member", member=alice.pk, do="role", role="admin")[1]
    assert "Only an owner changes this list." in said


def test_whoever_is_no_member_is_not_made_one(send: Send, acme: Organization, mallory: User) -> None:
    for facts in ({"do": "role", "role": "owner"}, {"do": "remove"}):
        status, said = send("change_member", to="members", member=mallory.pk, **facts)
        assert (status, "no member of the organization any more" in said) == (409, True)
    assert Membership.objects.filter(org=acme).count() == 1


@pytest.mark.parametrize("facts", [{}, {"do": "role"}, {"do": "role", "role": "king"}, {"do": "sell", "role": "admin"}])
def test_what_makes_no_sense_changes_no_member(
    send: Send, ada: User, acme: Organization, facts: dict[str, str]
) -> None:
    assert send("change_member", member=ada.pk, **facts)[0] == 422
    assert Membership.objects.get(org=acme, user=ada).role == Role.ADMIN


def test_an_admin_sees_the_members_and_changes_none(ada: User, acme: Organization, alice: User) -> None:
    html = signed_in(ada).get(at(acme)).content.decode()
    assert "alice@oxygen.example" in html
    assert at(acme, "change_member") not in html
    answer = signed_in(ada).post(at(acme, "change_member"), {"member": alice.pk, "do": "remove"})
    assert (answer.status_code, "Ask an owner" in answer.content.decode()) == (403, True)


def test_the_agency_is_named_and_no_member(harbor: Agency, harriet: User) -> None:
    said = words(signed_in(harriet).get(at(harbor.clients.get())).content.decode())
    assert "Looked after by Harbor Its staff may what an admin may." in said.replace("HarborIts", "Harbor Its")
    assert "harriet@oxygen.example" not in said.partition("Members")[2]


def test_a_viewer_has_no_settings(acme: Organization) -> None:
    vera = person("Vera")
    orgs.add_member(acme, vera, Role.VIEWER)
    assert signed_in(vera).get(at(acme)).status_code == 403
    assert at(acme) not in signed_in(vera).get(reverse("billing:overview", args=[acme.slug])).content.decode()


def test_members_page_at_fifty_and_cost_the_same(acme: Organization, alice: User) -> None:
    def read(after: str = "") -> tuple[int, int, str]:
        with CaptureQueriesContext(connection) as queries:
            html = client.get(at(acme), {"after": after} if after else {}).content.decode()
        return len(queries), html.count('name="member"'), html

    client = signed_in(alice)
    client.get(at(acme))
    few = read()
    for n in range(59):
        orgs.add_member(acme, person(f"Person{n:02}"), Role.MEMBER)
    many = read()
    assert (few[1], many[1]) == (1, 50)
    assert few[0] == many[0] <= 12
    assert "after=person48%40oxygen.example" in many[2]
    assert read("person48@oxygen.example")[1] == 10


@pytest.mark.parametrize("name", ["change_member", "invite", "revoke_invitation"])
def test_nothing_is_changed_by_looking(alice: User, acme: Organization, name: str) -> None:
    assert signed_in(alice).get(at(acme, name)).status_code == 405


def test_odd_names_are_shown_as_they_are(acme: Organization, alice: User) -> None:
    orgs.add_member(acme, User.objects.create_user("noa@oxygen.example", name="נועה <b>"), Role.MEMBER)
    html = signed_in(alice).get(at(acme)).content.decode()
    assert "<bdi>נועה &lt;b&gt;</bdi>" in html


def test_the_days_after_a_change_of_zone_are_the_new_ones(send: Send, acme: Organization) -> None:
    settle(acme.pk, open_run(acme.pk, 1, begin=1), attempt(1))
    send("change_zone", zone="Pacific/Kiritimati")
    jobs.cut_days()
    acme.refresh_from_db()
    today = clock().astimezone(ZoneInfo("Pacific/Kiritimati")).date()
    assert set(UsageByTool.objects.filter(org=acme.pk).values_list("day", flat=True)) == {today}
