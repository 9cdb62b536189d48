"""The billing page by keyboard, by links, and without scripts: each way leads to the same calls."""

from playwright.sync_api import Page, expect

from billing.models import User
from runs.models import Run
from tests.browser.conftest import Open
from tests.browser.test_pages import busy

__all__ = ["busy"]  # a fixture


def at(window: Open, alice: User, query: str = "", **facts: object) -> Page:
    page = window(alice, **facts)
    page.goto(f"/orgs/acme/billing/{query}")
    return page


def test_the_chart_is_read_and_opened_by_keyboard(window: Open, alice: User, busy: Run) -> None:
    page = at(window, alice, "?range=7d")
    page.locator("#usage-chart").focus()
    expect(page.locator("[data-chart=usage].is-live")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#usage-chart .tip")).to_contain_text("Hunter")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#usage-chart .tip")).not_to_contain_text("Hunter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#charges .chip")).to_have_count(1)
    assert "day=" in page.url


def test_the_balance_is_read_by_keyboard(window: Open, alice: User, busy: Run) -> None:
    page = at(window, alice, "?range=7d")
    page.locator("#course-chart").focus()
    expect(page.locator("[data-chart=course].is-live")).to_be_visible()
    page.keyboard.press("ArrowRight")
    tip = page.locator("#course-chart .tip")
    expect(tip).to_contain_text("Available")
    expect(tip).to_contain_text("Given 500")


def test_groups_and_filters_go_into_the_address_and_back_leads_back(window: Open, alice: User, busy: Run) -> None:
    page = at(window, alice, "?range=7d")
    page.get_by_role("link", name="Tool", exact=True).click()
    expect(page.locator("#by-h")).to_have_text("By tool")
    page.get_by_role("link", name="hunter.email_finder").click()
    expect(page.locator("#chips .chip")).to_contain_text(["hunter.email_finder"])
    assert page.url.endswith("?range=7d&group=tool&tool=hunter.email_finder")
    page.go_back()
    expect(page.locator("#chips")).to_have_count(0)
    expect(page.locator("#by-h")).to_have_text("By tool")
    page.get_by_role("link", name="Filter").click()
    page.get_by_label("Outcome").select_option("succeeded")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#chips .chip")).to_contain_text(["Found"])
    assert page.url.endswith("?range=7d&group=tool&outcome=succeeded")


def test_without_scripts_the_form_filters_and_tables_stand_in_for_charts(window: Open, alice: User, busy: Run) -> None:
    page = at(window, alice, "?range=7d", java_script_enabled=False)
    page.get_by_role("link", name="Filter").click()
    page.get_by_label("Provider", exact=True).select_option("hunter")
    page.get_by_role("button", name="Show").click()
    assert page.url.split("#")[0].endswith("/billing/?range=7d&provider=hunter")
    page.get_by_role("link", name="Daily totals as a table").click()
    expect(page.locator("#daily tbody tr")).to_have_count(7)
    page.locator("#daily tbody a").first.click()
    expect(page.locator("#charges .chip")).to_have_count(1)
    expect(page.locator("#charges tbody tr").first).to_contain_text("hunter.email_finder")
