"""The palette's list: one's organizations, the pages of the one at hand that one may open, one's agencies' boards."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing import orgs, switcher
from billing.models import Agency, Organization, Role, User
from tests.conftest import person

pytestmark = pytest.mark.django_db


def palette(user: User, here: str = "", **headers: str) -> str:
    client = Client()
    client.force_login(user)
    asks = {"HX-Request": "true", "HX-Target": "palette-list"} | headers
    answer = client.get("/orgs/", {"here": here} if here else {}, headers=asks)
    assert answer.status_code == 200
    return answer.content.decode()


def leads(html: str) -> list[str]:
    return re.findall(r'role="option"[^>]* href="([^"]+)"', html)


def test_it_brings_all_orgs_at_once_and_the_pages_of_the_one_at_hand(acme: Organization, alice: User) -> None:
    orgs.create("Zephyr", "UTC", owner=alice)
    found = leads(palette(alice, "acme"))
    assert found[:2] == ["/orgs/acme/billing/", "/orgs/zephyr/billing/"]
    assert found[2:] == [reverse(address, args=["acme"]) for _, address, _ in switcher.PAGES]


def test_it_is_a_listbox_of_options_that_each_have_a_name_and_an_id(acme: Organization, alice: User) -> None:
    html = palette(alice, "acme")
    options = re.findall(r'<a role="option" aria-selected="false" tabindex="-1" id="([^"]+)"', html)
    assert html.strip().startswith('<div id="palette-list" role="listbox"')
    assert len(options) == len(set(options)) == 1 + len(switcher.PAGES)


def test_a_page_one_may_not_open_is_not_named(acme: Organization) -> None:
    vera = person("Vera")
    orgs.add_member(acme, vera, Role.VIEWER)
    found = leads(palette(vera, "acme"))
    assert "/orgs/acme/billing/" in found
    assert "/orgs/acme/runs/new/" not in found
    client = Client()
    client.force_login(vera)
    assert {client.get(address).status_code for address in found} == {200}


def test_it_names_the_boards_of_ones_agencies(harbor: Agency, harriet: User) -> None:
    html = palette(harriet)
    assert leads(html) == ["/orgs/bluefin/billing/", f"/agency/?agency={harbor.pk}"]
    assert "Clients of Harbor" in html


@pytest.mark.parametrize("here", ["globex", "nowhere", "\0", "../acme"])
def test_of_an_org_that_is_not_ones_own_no_page_is_named(
    acme: Organization, alice: User, globex: Organization, here: str
) -> None:
    assert leads(palette(alice, here)) == ["/orgs/acme/billing/"]


def test_without_scripts_its_button_leads_to_the_list(acme: Organization, alice: User) -> None:
    client = Client()
    client.force_login(alice)
    html = client.get("/orgs/acme/billing/").content.decode()
    assert re.search(r'<form class="switcher" action="/orgs/">\s*<button class="switch"', html)
    assert "Acme" in client.get("/orgs/?").content.decode()


def test_it_costs_the_same_at_any_number(harbor: Agency, harriet: User, django_assert_max_num_queries: Any) -> None:
    for n in range(40):
        orgs.create(f"Client {n}", "UTC", agency=harbor)
    client = Client()
    client.force_login(harriet)
    headers = {"HX-Request": "true", "HX-Target": "palette-list"}
    with django_assert_max_num_queries(12):
        client.get("/orgs/?here=bluefin", headers=headers)
