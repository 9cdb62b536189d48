"""One journey by keyboard alone: no mouse, focus always to be seen and never lost. The same without scripts.

Sign in, switch the organization, filter, open a run, resume it, cancel it after its confirmation.
"""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from billing import books
from billing.models import Organization, User
from runs.models import Run
from tests.browser.conftest import Open
from tests.browser.test_journey import SOON, short, spare, zephyr
from tests.runs.conftest import Providers, booked

__all__ = ["short", "spare", "zephyr"]  # fixtures

# What has the focus, whether one sees that it has, and whether it is in the open dialog where there is one.
FOCUS = """
() => {
  const it = document.activeElement, dialog = document.querySelector("dialog[open]");
  const ringed = (element) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    return outlineStyle !== "none" && outlineWidth !== "0px" || boxShadow !== "none";
  };
  const near = [it, it.parentElement, it.nextElementSibling, it.closest("form")];
  return {
    tag: it.tagName, id: it.id, text: it.textContent.trim().slice(0, 40),
    seen: near.some((element) => element && ringed(element)),
    inside: !dialog || dialog.contains(it),
  };
}"""


def focus(page: Page) -> dict[str, Any]:
    """Tell what has the focus: something, which shows it."""
    told: dict[str, Any] = page.evaluate(FOCUS)
    assert told["tag"] != "BODY", "the focus is lost"
    assert told["seen"], told
    assert told["inside"], told
    return told


def reach(page: Page, target: Locator, key: str = "Tab") -> None:
    """Go there by keyboard."""
    passed = []
    for _ in range(90):
        page.keyboard.press(key)
        passed.append(focus(page)["text"])
        if target.count() == 1 and target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(passed)


@pytest.mark.usefixtures("worker", "spare")
def test_by_keyboard_alone(window: Open, alice: User, zephyr: Organization, short: Run, providers: Providers) -> None:
    page = window()
    keys = page.keyboard

    # Sign in.
    page.goto("/billing")
    reach(page, page.get_by_label("Email"))
    keys.type(alice.email)
    reach(page, page.get_by_label("Password"))
    keys.type("a long enough password")
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/orgs/acme/billing/"))

    # Skip to the content.
    keys.press("Tab")
    assert focus(page)["text"] == "Skip to content"
    keys.press("Enter")
    expect(page.locator("#main")).to_be_focused()

    # Switch the organization, from anywhere; Escape leaves things as they were.
    reach(page, page.get_by_role("link", name="New run"))
    keys.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("link", name="New run")).to_be_focused()
    keys.press("Control+k")
    keys.type("zeph")
    expect(page.get_by_role("option", name=re.compile("Zephyr"))).to_have_attribute("aria-selected", "true")
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/orgs/zephyr/billing/"))

    # Filter: what was pressed, or what is chosen in, keeps the focus through the swap.
    reach(page, page.get_by_role("link", name="90 days"))
    keys.press("Enter")
    expect(page).to_have_url(re.compile("range=90d"))
    expect(page.get_by_role("link", name="90 days")).to_be_focused()
    reach(page, page.get_by_role("link", name="Filter"))
    keys.press("Enter")
    expect(page.get_by_role("link", name="Close filters")).to_be_visible()
    focus(page)
    reach(page, page.get_by_label("Account", exact=True))
    keys.press("ArrowDown")
    reach(page, page.get_by_role("button", name="Show"))
    keys.press("Enter")
    expect(page.locator("#chips .chip")).to_have_count(1)
    focus(page)

    # Open a run, found by a letter among the pages and by its status among the runs.
    keys.press("Control+k")
    keys.type("runs")
    expect(page.get_by_role("option", name="Runs", exact=True)).to_have_attribute("aria-selected", "true")
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/orgs/zephyr/runs/$"))
    reach(page, page.get_by_label("Status"))
    keys.type("Paused")
    expect(page).to_have_url(re.compile("status=paused"))
    expect(page.get_by_label("Status")).to_be_focused()
    reach(page, page.locator(f"#list a[href*='{short.id}']"))
    keys.press("Enter")
    expect(page.locator("#receipt")).to_contain_text("Paused")

    # Resume it: it goes on, and stops at its cap. The card it was said in has the focus meanwhile.
    reach(page, page.get_by_role("button", name="Resume"))
    keys.press("Enter")
    expect(page.locator(".decision")).to_contain_text("Reached its cap of 3 credits", timeout=SOON)
    focus(page)

    # Cancel it: the dialog keeps the focus to itself, and gives it back.
    ask = page.locator("#run").get_by_role("link", name="Cancel run")
    reach(page, ask)
    keys.press("Enter")
    expect(page.locator("dialog[open]")).to_be_visible()
    assert focus(page)["text"] == "Keep it"
    keys.press("Tab")
    assert focus(page)["text"] == "Cancel run"
    keys.press("Shift+Tab")
    assert focus(page)["text"] == "Keep it"
    keys.press("Escape")
    expect(ask).to_be_focused()
    keys.press("Enter")
    expect(page.locator("dialog[open]")).to_be_visible()
    reach(page, page.locator("dialog").get_by_role("button", name="Cancel run"))
    keys.press("Enter")
    expect(page.locator("#receipt")).to_contain_text("Cancelled")
    expect(page.locator("dialog[open]")).to_have_count(0)
    focus(page)
    assert (booked(short).reserved, booked(short).captured) == (3, 3)
    assert books.drifts(zephyr.pk) == []


@pytest.mark.usefixtures("worker", "spare")
def test_without_scripts(window: Open, alice: User, zephyr: Organization, short: Run, providers: Providers) -> None:
    page = window(java_script_enabled=False)

    page.goto("/billing")
    page.get_by_label("Email").fill(alice.email)
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/orgs/acme/billing/"))
    page.get_by_role("button", name="Switch organization").click()
    page.get_by_role("link", name=re.compile("Zephyr")).click()
    expect(page).to_have_url(re.compile("/orgs/zephyr/billing/"))

    page.get_by_role("link", name="90 days").click()
    page.get_by_role("link", name="Filter").click()
    page.get_by_label("Account", exact=True).select_option(index=1)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#chips .chip")).to_have_count(1)
    page.get_by_role("link", name="Balance by day as a table").click()
    expect(page.locator("#course-table tbody tr").first).to_contain_text("92")

    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_label("Status").select_option(label="Paused")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("status=paused"))
    page.locator(f"#list a[href*='{short.id}']").click()
    page.get_by_role("button", name="Resume").click()
    for _ in range(60):
        if "Reached its cap of 3 credits" in page.locator(".decision").inner_text():
            break
        page.wait_for_timeout(250)
        page.reload()
    page.get_by_role("link", name="Cancel run").click()
    page.get_by_role("button", name="Cancel run").click()
    expect(page.locator("#receipt")).to_contain_text("Cancelled")
    assert (booked(short).reserved, booked(short).captured) == (3, 3)
    assert books.drifts(zephyr.pk) == []
