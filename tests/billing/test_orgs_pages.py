"""The way to one's organization: home, the switcher, a new one; and the theme."""

from typing import Any

import pytest
from django.test import Client

from billing import ledger, orgs
from billing.models import Agency, Membership, Organization, User
from tests.billing.moves import open_run

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def results(client: Client, text: str) -> str:
    answer = client.get("/orgs/", {"q": text}, headers={"HX-Request": "true", "HX-Target": "org-results"})
    return answer.content.decode()


# ------------------------------------------------------------------ home


@pytest.mark.parametrize(("address", "room"), [("/", "billing"), ("/billing", "billing"), ("/runs", "runs")])
def test_short_addresses_lead_to_the_first_org(acme: Organization, alice: User, address: str, room: str) -> None:
    assert signed_in(alice).get(address)["Location"] == f"/orgs/acme/{room}/"


def test_they_lead_to_the_org_visited_last(acme: Organization, alice: User) -> None:
    orgs.create("Zephyr", "UTC", owner=alice)
    client = signed_in(alice)
    client.get("/orgs/zephyr/billing/")
    assert client.get("/billing")["Location"] == "/orgs/zephyr/billing/"


def test_an_org_one_has_left_is_not_led_to(acme: Organization, alice: User) -> None:
    zephyr = orgs.create("Zephyr", "UTC", owner=alice)
    client = signed_in(alice)
    client.get("/orgs/zephyr/billing/")
    Membership.objects.filter(org=zephyr).delete()
    assert client.get("/billing")["Location"] == "/orgs/acme/billing/"


def test_an_agencys_staff_begin_with_their_clients(harbor: Agency, harriet: User) -> None:
    client = signed_in(harriet)
    assert client.get("/")["Location"] == client.get("/billing")["Location"] == "/agency/"
    assert client.get("/runs")["Location"] == "/orgs/bluefin/runs/"
    client.get("/orgs/bluefin/runs/")
    assert client.get("/")["Location"] == "/orgs/bluefin/billing/"


def test_who_has_none_makes_one(alice: User) -> None:
    assert signed_in(alice).get("/billing")["Location"] == "/orgs/new/"


def test_strangers_sign_in_first() -> None:
    assert Client().get("/billing")["Location"] == "/accounts/login/?next=/billing"


# ------------------------------------------------------------------ the switcher


def test_it_finds_an_org_by_a_few_letters(harbor: Agency, harriet: User) -> None:
    for name in ("Quillon Foods", "Blue Quartz", "Yarrow"):
        orgs.create(name, "UTC", agency=harbor)
    html = results(signed_in(harriet), "qu")
    assert html.index("Quillon Foods") < html.index("Blue Quartz")
    assert "Yarrow" not in html
    assert "<!doctype" not in html


def test_it_shows_twenty_and_says_how_many_more(harbor: Agency, harriet: User) -> None:
    for n in range(24):
        orgs.create(f"Client {n}", "UTC", agency=harbor)
    html = results(signed_in(harriet), "client")
    assert html.count("<li>") == 20
    assert '<span class="num">4</span> more match' in html


def test_it_costs_the_same_at_any_number(harbor: Agency, harriet: User, django_assert_max_num_queries: Any) -> None:
    for n in range(30):
        orgs.create(f"Client {n}", "UTC", agency=harbor)
    client = signed_in(harriet)
    with django_assert_max_num_queries(7):
        results(client, "c")


def test_it_shows_who_waits_and_what_they_have(acme: Organization, alice: User) -> None:
    ledger.pause(acme.pk, open_run(acme.pk, 40), True)
    html = results(signed_in(alice), "")
    assert "1 paused" in html
    assert ">60<" in html


def test_it_never_finds_other_peoples(acme: Organization, alice: User, globex: Organization) -> None:
    assert "Globex" not in results(signed_in(alice), "glob")


@pytest.mark.parametrize("text", ["%", "\\", "\0", "<script>", "x" * 5000])
def test_any_text_may_be_looked_for(acme: Organization, alice: User, text: str) -> None:
    html = results(signed_in(alice), text)
    assert "<script" not in html


def test_without_scripts_it_is_a_page(acme: Organization, alice: User) -> None:
    html = signed_in(alice).get("/orgs/", {"q": "ac"}).content.decode()
    assert "<!doctype html>" in html
    assert "/orgs/acme/billing/" in html


# ------------------------------------------------------------------ a new one


def test_who_makes_an_org_owns_it(alice: User) -> None:
    answer = signed_in(alice).post("/orgs/new/", {"name": "Acme", "zone": "Asia/Tokyo"})
    assert answer["Location"] == "/orgs/acme/billing/"
    assert Membership.objects.get(user=alice).role == "owner"
    assert Organization.objects.get().zone == "Asia/Tokyo"


@pytest.mark.parametrize("facts", [{"name": "", "zone": "UTC"}, {"name": "Acme", "zone": "Atlantis"}, {"name": " "}])
def test_a_name_or_zone_that_cannot_be_is_422_beside_its_field(alice: User, facts: dict[str, str]) -> None:
    answer = signed_in(alice).post("/orgs/new/", facts)
    assert answer.status_code == 422
    assert 'class="wrong"' in answer.content.decode()
    assert not Organization.objects.exists()


# ------------------------------------------------------------------ the theme


def test_the_theme_is_a_cookie_that_the_page_obeys(acme: Organization, alice: User) -> None:
    client = signed_in(alice)
    answer = client.post("/theme/", {"theme": "dark", "next": "/orgs/acme/billing/?range=7d"})
    assert answer["Location"] == "/orgs/acme/billing/?range=7d"
    assert 'data-theme="dark"' in client.get("/orgs/acme/billing/").content.decode()


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_choosing_a_theme_leads_nowhere_else(back: str) -> None:
    assert Client().post("/theme/", {"theme": "dark", "next": back})["Location"] == "/"


def test_an_odd_theme_is_not_kept() -> None:
    client = Client()
    client.post("/theme/", {"theme": '"><script>', "next": "/"})
    assert "theme" not in client.cookies


def test_a_theme_is_not_chosen_by_get() -> None:
    assert Client().get("/theme/").status_code == 405
