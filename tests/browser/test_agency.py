"""The agency board and the palette in a real browser: by keyboard alone, and without scripts."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from billing import ledger, orgs
from billing.models import Agency, Organization, User
from oxygen_site import clock
from oxygen_site.transactions import intention
from tests.billing.moves import open_run
from tests.billing.test_overview import spend
from tests.browser.conftest import Open
from tests.conftest import give


@pytest.fixture
def clients(harbor: Agency) -> Agency:
    """Harbor's Bluefin, and more: one that is paused, one that is low, names of all kinds."""
    for name in ("Northwind Labs", "Calder Studio", "Ørsund Marine", "واحة للخدمات اللوجستية", "W" * 120):
        give(orgs.create(name, "Europe/London", agency=harbor), 30)
    low, paused = (Organization.objects.get(name=name) for name in ("Calder Studio", "Northwind Labs"))
    for _ in range(3):
        intention(lambda: spend(low, 9))
        clock.advance(timedelta(days=1))
    intention(lambda: ledger.pause(paused.pk, open_run(paused.pk, 4), True))
    return harbor


def test_two_keystrokes_lead_to_a_client_from_anywhere(window: Open, harriet: User, clients: Agency) -> None:
    page = window(harriet)
    page.goto("/agency/")
    page.keyboard.press("Control+k")
    page.keyboard.type("no")
    expect(page.get_by_role("option", selected=True)).to_contain_text("Northwind Labs")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/orgs/northwind-labs/billing/"))
    expect(page.locator(".by-agency")).to_contain_text("Viewing as agency: Harbor")

    page.wait_for_load_state()
    page.keyboard.press("Meta+k")  # and on, without waiting for the list
    page.keyboard.type("orsund")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/orgs/orsund-marine/billing/"))

    page.get_by_role("link", name="All its clients").click()
    expect(page.get_by_role("heading", level=1, name="Clients")).to_be_visible()


def test_the_palette_is_walked_by_arrows_and_left_by_escape(window: Open, harriet: User, clients: Agency) -> None:
    page = window(harriet)
    page.goto("/orgs/bluefin/billing/")
    page.get_by_role("button", name="Switch organization").click()
    box = page.get_by_role("combobox", name="Find an organization or a page")
    expect(box).to_be_focused()
    box.fill("stat")
    expect(page.get_by_role("option", selected=True)).to_have_text("Statement of the month")
    box.fill("")
    first = page.get_by_role("option", selected=True)
    expect(first).to_contain_text("Bluefin")
    page.keyboard.press("ArrowDown")
    expect(first).to_contain_text("Calder Studio")
    assert box.get_attribute("aria-activedescendant") == first.get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # round, to the last page named
    expect(first).to_have_text("Clients of Harbor")
    box.fill("zzz")
    expect(page.get_by_role("option", selected=True)).to_have_count(0)
    expect(page.locator("#palette")).to_contain_text("Nothing is called like that.")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).not_to_be_visible()
    expect(page.get_by_role("button", name="Switch organization")).to_be_focused()


def test_a_client_is_found_while_one_types_and_back_leads_back(window: Open, harriet: User, clients: Agency) -> None:
    page = window(harriet)
    page.goto("/agency/?sort=name")
    page.get_by_role("searchbox", name="Find a client").press_sequentially("cald")
    expect(page.locator("#clients tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"q=cald.*sort=name"))
    page.get_by_role("searchbox", name="Find a client").fill("")
    expect(page.locator("#clients tbody tr")).to_have_count(6)
    page.get_by_role("radio", name=re.compile("Low runway")).check()
    expect(page).to_have_url(re.compile("show=low"))
    expect(page.locator("#clients tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Client", exact=True).click()
    expect(page.locator("#clients th[aria-sort=descending]")).to_contain_text("Client")
    page.go_back()
    expect(page.locator("#clients th[aria-sort=ascending]")).to_contain_text("Client")
    page.go_back()
    expect(page.locator("#clients tbody tr")).to_have_count(6)


def test_without_scripts_the_board_is_filtered_sorted_and_left_for_a_client(
    window: Open, harriet: User, clients: Agency
) -> None:
    page = window(harriet, java_script_enabled=False)
    page.goto("/agency/")
    page.get_by_role("searchbox", name="Find a client").fill("studio")
    page.get_by_role("radio", name=re.compile("Need attention")).check()
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#clients tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Available", exact=True).click()
    expect(page.locator("#clients th[aria-sort=ascending]")).to_contain_text("Available")
    page.locator("#clients tbody th a").click()
    expect(page).to_have_url(re.compile("/orgs/calder-studio/billing/"))
    page.get_by_role("button", name="Switch organization").click()
    expect(page.get_by_role("heading", level=1, name="Organizations")).to_be_visible()
    page.get_by_role("link", name="Clients of Harbor").click()
    expect(page.get_by_role("heading", level=1, name="Clients")).to_be_visible()
