"""/orgs/<slug>/settings/keys/ and /agency/keys/: keys as people make, rotate and revoke them."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from billing import keys, orgs
from billing.models import Agency, ApiKey, Membership, Organization, Role, User
from oxygen_site.clock import advance
from tests.billing.test_overview import words
from tests.conftest import person
from tests.contract import ask

WISH = {"name": "My script", "scopes": ["read", "run"], "expiry": "90"}
SECRET = re.compile(r"oxy_live_\w{8}_\w{49}")


class Page:
    """Alice's browser on Acme's page."""

    def __init__(self, client: Client, org: Organization) -> None:
        self.client, self.org = client, org
        self.url = reverse("billing:keys", args=[org.slug])

    def read(self) -> str:
        return words(self.client.get(self.url).content.decode())

    def make(self, **changes: Any) -> Any:
        return self.client.post(self.url, WISH | changes)

    def of(self, key: ApiKey, do: str) -> str:
        return reverse(f"billing:{do}_key", args=[self.org.slug, key.pk])


@pytest.fixture
def visit(client: Client, alice: User, acme: Organization) -> Page:
    client.force_login(alice)
    return Page(client, acme)


def secret(answer: Any) -> str:
    (found,) = set(SECRET.findall(answer.content.decode()))
    return found


# ------------------------------------------------------------------ making one


def test_a_key_is_shown_once_right_after_it_was_made(visit: Page) -> None:
    assert "No keys yet. Make the first one below." in visit.read()
    answer = visit.make()
    shown = secret(answer)
    assert f"export OXYGEN_API_URL=http://testserver\nexport OXYGEN_API_KEY={shown}" in answer.content.decode()
    assert ask("/balance", shown).status == 200
    assert SECRET.findall(visit.client.get(visit.url).content.decode()) == []
    assert answer["Cache-Control"] == "no-store"


def test_no_session_cookie_log_or_address_holds_it(visit: Page, written: Any) -> None:
    answer = visit.make()
    hidden = secret(answer)[18:]
    assert hidden not in written.getvalue()
    assert hidden not in str(dict(visit.client.session.items())) + str(answer.headers) + str(answer.cookies)
    assert hidden not in str(list(ApiKey.objects.values()))


def test_the_list_says_what_it_is_and_how_it_stands(visit: Page, alice: User) -> None:
    visit.make()
    key = ApiKey.objects.get()
    said = visit.read()
    assert f"My script{key.prefix}…{key.last_four}" in said
    assert "read, run" in said
    assert "by Alice" in said
    assert "Never Works until" in said
    assert key.expires_at is not None
    assert timedelta(0) <= key.created_at + timedelta(days=90) - key.expires_at < timedelta(minutes=1)


def test_a_key_may_live_for_ever(visit: Page) -> None:
    visit.make(expiry="never")
    assert ApiKey.objects.get().expires_at is None
    assert "does not expire" in visit.read()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": " "}, "This field is required."),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"scopes": []}, "Tick at least one."),
        ({"scopes": ["owner"]}, "Select a valid choice"),
        ({"expiry": "0"}, "Select a valid choice"),
    ],
)
def test_what_makes_no_key_is_refused_where_it_was_typed(visit: Page, changes: dict[str, Any], why: str) -> None:
    answer = visit.make(**changes)
    assert answer.status_code == 422
    assert why in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_what_it_is_called_is_written_as_text(visit: Page) -> None:
    assert "<b>x" not in visit.make(name="<b>x").content.decode()


# ------------------------------------------------------------------ rotating and revoking


def test_a_rotated_key_is_shown_once_and_both_name_each_other(visit: Page, acme: Organization, alice: User) -> None:
    old, first = keys.make(acme, alice, "My script", ["read"])
    assert "goes on working" in words(visit.client.get(visit.of(old, "rotate")).content.decode())
    answer = visit.client.post(visit.of(old, "rotate"), {"overlap": "24"})
    second = secret(answer)
    assert answer["Cache-Control"] == "no-store"
    assert (ask("/balance", first).status, ask("/balance", second).status) == (200, 200)
    said = visit.read()
    assert f"by …{second[-4:]}, works until" in said
    assert f"in the place of …{old.last_four}" in said
    advance(timedelta(days=1))
    assert ask("/balance", first).code == "expired_key"
    assert f"replaced by …{second[-4:]}" in visit.read()


def test_a_key_that_was_replaced_is_not_rotated_again(visit: Page, acme: Organization, alice: User) -> None:
    old, _ = keys.make(acme, alice, "My script", ["read"])
    keys.rotate(old, alice, timedelta(days=1))
    answer = visit.client.post(visit.of(old, "rotate"), {"overlap": "24"})
    assert (answer.status_code, "replaced already" in answer.content.decode()) == (409, True)
    assert visit.client.post(visit.of(old, "rotate"), {"overlap": "5"}).status_code == 422


def test_a_revoked_key_stops_at_once_and_says_who_did_it(visit: Page, acme: Organization, alice: User) -> None:
    key, opens = keys.make(acme, alice, "My script", ["read"])
    asked = visit.client.get(visit.of(key, "revoke"))
    assert "refused from its next call on" in words(asked.content.decode())
    assert ask("/balance", opens).status == 200
    assert visit.client.post(visit.of(key, "revoke")).headers["Location"] == visit.url
    assert ask("/balance", opens).code == "revoked_key"
    said = visit.read()
    assert "Revoked" in said
    assert "by Alice" in said
    assert "Rotate" not in said


def test_a_key_of_somebody_who_left_says_that_it_opens_nothing(visit: Page, acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.ADMIN)
    keys.make(acme, mallory, "Hers", ["read"])
    assert "Opens nothing" not in visit.read()
    Membership.objects.filter(user=mallory).delete()
    assert "Opens nothing Mallory is not here any more" in visit.read()


def test_the_question_comes_alone_into_the_dialog(visit: Page, acme: Organization, alice: User) -> None:
    key, _ = keys.make(acme, alice, "My script", ["read"])
    for do in ("revoke", "rotate"):
        html = visit.client.get(visit.of(key, do), headers={"HX-Request": "true"}).content.decode()
        assert html.strip().startswith("<form")


def test_many_keys_are_paged(visit: Page, acme: Organization, alice: User, django_assert_max_num_queries: Any) -> None:
    for n in range(52):
        keys.make(acme, alice, f"Number {n}", ["read"])
    visit.read()  # the session notes where it is
    with django_assert_max_num_queries(8):
        first = visit.client.get(visit.url).content.decode()
    older = re.search(r'href="([^"]*before=[^"]*)"', first)
    assert older
    rest = visit.client.get(older[1].replace("&amp;", "&")).content.decode()
    names = re.findall(r"Number \d+(?=</bdi></strong>)", first + rest)
    assert names == [f"Number {n}" for n in range(51, -1, -1)]
    assert visit.client.get(f"{visit.url}?before=here").status_code == 404


# ------------------------------------------------------------------ who may


def test_who_may_not_is_told_whom_to_ask_and_sees_no_link(client: Client, acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.MEMBER)
    client.force_login(mallory)
    url = reverse("billing:keys", args=[acme.slug])
    for answer in (client.get(url), client.post(url, WISH)):
        assert answer.status_code == 403
        assert "Ask an admin or an owner of the organization." in answer.content.decode()
    assert url not in client.get(reverse("billing:overview", args=[acme.slug])).content.decode()
    assert not ApiKey.objects.exists()


def test_anothers_key_is_not_to_be_found(visit: Page, globex: Organization, mallory: User, harbor: Agency) -> None:
    hers, opens = keys.make(globex, mallory, "Hers", ["read"])
    for do in ("revoke", "rotate"):
        assert visit.client.post(visit.of(hers, do), {"overlap": "24"}).status_code == 404
        assert visit.client.post(reverse(f"billing:agency_{do}_key", args=[hers.pk])).status_code == 404
    assert ask("/balance", opens).status == 200


# ------------------------------------------------------------------ an agency's


@pytest.fixture
def staff(client: Client, harbor: Agency, harriet: User) -> Client:
    client.force_login(harriet)
    return client


AGENCY = "/agency/keys/"


def test_staff_make_a_key_that_opens_each_of_their_clients(staff: Client, harbor: Agency) -> None:
    assert f'href="{AGENCY}"' in staff.get(reverse("billing:orgs")).content.decode()
    shown = secret(staff.post(AGENCY, WISH))
    assert ApiKey.objects.get().agency == harbor
    assert ask("/balance", shown).code == "organization_required"
    assert ask("/balance", shown, oxygen_organization="bluefin").status == 200
    assert "My script" in staff.get(AGENCY).content.decode()


def test_staff_rotate_and_revoke_their_agencys_keys(staff: Client, harbor: Agency, harriet: User) -> None:
    key, opens = keys.make(harbor, harriet, "The board", ["read"])
    second = secret(staff.post(reverse("billing:agency_rotate_key", args=[key.pk]), {"overlap": "1"}))
    assert ask("/balance", second, oxygen_organization="bluefin").status == 200
    answer = staff.post(reverse("billing:agency_revoke_key", args=[key.pk]))
    assert answer.headers["Location"] == f"{AGENCY}?agency={harbor.pk}"
    assert ask("/balance", opens, oxygen_organization="bluefin").code == "revoked_key"


def test_a_clients_page_leads_staff_to_the_agencys_keys_and_shows_none_of_them(
    staff: Client, harbor: Agency, harriet: User
) -> None:
    keys.make(harbor, harriet, "The board", ["read"])
    html = staff.get(reverse("billing:keys", args=["bluefin"])).content.decode()
    assert f'href="{AGENCY}"' in html
    assert "The board" not in html


def test_who_works_at_two_agencies_names_one(staff: Client, harbor: Agency, harriet: User) -> None:
    second = Agency.objects.create(name="Second")
    second.staff.add(harriet)
    assert f"{AGENCY}?agency={second.pk}" in staff.get(AGENCY).content.decode()
    staff.post(AGENCY, WISH | {"agency": str(second.pk)})
    assert ApiKey.objects.get().agency == second
    assert "My script" not in staff.get(AGENCY).content.decode()
    assert staff.get(f"{AGENCY}?agency={uuid4()}").status_code == 404


def test_nobody_else_finds_an_agencys_keys(client: Client, harbor: Agency, harriet: User) -> None:
    key, _ = keys.make(harbor, harriet, "The board", ["read"])
    others = [person("Otto"), person("Olga")]
    Agency.objects.create(name="Elsewhere").staff.add(others[0])
    orgs.add_member(harbor.clients.get(), others[1], Role.OWNER)
    ways = [AGENCY, *(reverse(f"billing:agency_{do}_key", args=[key.pk]) for do in ("revoke", "rotate"))]
    assert [client.get(way).status_code for way in ways] == [302] * 3
    client.force_login(others[0])
    assert client.get(f"{AGENCY}?agency={harbor.pk}").status_code == 404
    assert [client.post(way, {"overlap": "1"}).status_code for way in ways[1:]] == [404, 404]
    client.force_login(others[1])
    assert [client.get(way).status_code for way in ways] == [404] * 3
    assert ApiKey.objects.get().revoked_at is None
