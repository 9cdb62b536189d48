"""Every page: nothing for axe to find or the console to say, light and dark, wide and narrow; within its weight."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import pytest_playwright_axe
from playwright.sync_api import Page, expect

from billing import invitations, keys
from billing.models import Organization, Role, User
from oxygen_site.postgres import CLONE
from runs import lifecycle
from runs.models import Run, WorkflowTemplate
from tests.browser.conftest import Open, driven
from tests.conftest import give
from tests.effort import SOAK
from tests.runs.conftest import Providers, start, table_of

AXE = (Path(pytest_playwright_axe.__file__).parent / "resources" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag21a", "wcag2aa", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
LARGEST = 900  # elements of a page

# In `make test` two of the four that the soak looks at.
LOOKS = [("light", 1280), ("dark", 390), *([("dark", 1280), ("light", 390)] if SOAK else [])]


@pytest.fixture
def busy(acme: Organization, alice: User, catalog: None, providers: Providers) -> Run:
    """Acme with 60 charges, one run at its cap, one paused by a person, and one that waits for approval."""
    give(acme, 400)
    lifecycle.create(table_of(acme, 9, "Leads"), WorkflowTemplate.objects.get(id="opening_line"), cap="40", by=alice)
    driven(start(acme, alice, "hunter.email_finder", "prospeo.email_finder", rows=60, cap=200))
    lifecycle.pause(start(acme, alice, "openai.ai_column", rows=20, cap=100), by=alice)
    return driven(start(acme, alice, "hunter.email_finder", rows=10, cap=4))


def faults(page: Page) -> list[Any]:
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES)
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]]


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_no_page_has_anything_for_axe_to_find(
    window: Open, alice: User, busy: Run, mixed: Run, theme: str, width: int
) -> None:
    page = window(alice, color_scheme=theme, viewport={"width": width, "height": 900})
    own, odd = f"/orgs/acme/runs/{busy.id}/", f"/orgs/acme/runs/{mixed.id}/"
    asked = f"/orgs/acme/runs/{Run.objects.get(status='awaiting_approval').id}/"
    old, _ = keys.make(Organization.objects.get(slug="acme"), alice, "Nightly sync", ["run", "approve"])
    keys.revoke(keys.rotate(old, alice, timedelta(days=1))[0], by=alice)
    for address in (
        "/orgs/acme/billing/",
        "/orgs/acme/billing/?range=90d&daily=1&provider=hunter",
        "/orgs/acme/billing/?range=30d&group=member&filters=1&course=1",
        "/orgs/acme/billing/holds/",
        "/orgs/acme/runs/",
        "/orgs/acme/runs/new/",
        own,
        odd,
        f"{odd}?calls=failed_after_billing",
        f"{odd}?calls=unknown",
        f"{odd}?calls=absorbed",
        f"{odd}?row=5",
        f"{own}cancel/",
        f"{own}continue/",
        asked,
        f"{asked}cancel/",
        "/orgs/acme/subscribe/",
        "/orgs/acme/subscribe/cancel/",
        "/orgs/acme/billing/invoices/",
        "/orgs/acme/settings/keys/",
        f"/orgs/acme/settings/keys/{old.pk}/rotate/",
        f"/orgs/acme/settings/keys/{old.pk}/revoke/",
        "/orgs/acme/billing/ledger/",
        f"/orgs/acme/billing/ledger/?range=custom&kind=captured&provider=hunter&tool=hunter.email_finder&run={busy.id}",
        f"/orgs/acme/billing/ledger/{busy.id}:0:0/",
        f"/orgs/acme/billing/ledger/{busy.id}:1:0/",
        "/orgs/acme/billing/grants/",
        "/orgs/acme/billing/grants/?show=ended",
        "/orgs/acme/billing/settings/",
        "/orgs/acme/billing/settings/zone/",
        "/orgs/?q=ac",
        "/orgs/new/",
        "/accounts/email/",
        "/accounts/password/change/",
    ):
        answer = page.goto(address)
        assert answer
        assert answer.status == 200, address
        assert faults(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            f"{address} is wider than the screen"
        )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_operators_look_after_has_nothing_for_axe_to_find(window: Open, mixed: Run, theme: str) -> None:
    operator = User.objects.create_superuser("ops@oxygen.example", "a long enough password")
    page = window(operator, color_scheme=theme)
    for address in ("/admin/runs/run/doubts/", "/admin/billing/organization/shortfalls/"):
        answer = page.goto(address)
        assert answer
        assert answer.status == 200, address
        assert faults(page) == [], address


def test_a_kind_of_rows_is_found_by_its_tab_and_back_leads_back(window: Open, alice: User, mixed: Run) -> None:
    page = window(alice)
    page.goto(f"/orgs/acme/runs/{mixed.id}/")
    page.get_by_role("link", name="charged, then failed 1").click()
    expect(page.locator("#items tbody tr")).to_have_count(1)
    expect(page.locator("#items [aria-current]")).to_have_text("charged, then failed 1")
    page.get_by_role("link", name="unknown 2").click()
    expect(page.locator("#items tbody tr")).to_have_count(2)
    page.go_back()
    expect(page.locator("#items [aria-current]")).to_have_text("charged, then failed 1")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_door_has_nothing_for_axe_to_find(window: Open, theme: str) -> None:
    page = window(color_scheme=theme)
    for address in (
        *("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/inactive/"),
        *("/api/docs", "/api/docs/start_run"),
    ):
        page.goto(address)
        assert faults(page) == [], address


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_invitation_has_nothing_for_axe_to_find(
    window: Open, acme: Organization, alice: User, mallory: User, theme: str
) -> None:
    link = f"/join/{invitations.invite(acme, mallory.email, Role.MEMBER, by=alice).token}/"
    for who in (None, alice, mallory):
        page = window(who, color_scheme=theme)
        page.goto(link)
        assert faults(page) == [], who
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_text("You belong to Acme now.")).to_be_visible()


def test_a_setting_is_changed_in_its_place(window: Open, alice: User, acme: Organization) -> None:
    page = window(alice)
    page.goto("/orgs/acme/billing/settings/")
    page.get_by_label("Approve runs that would hold more than").fill("-5")
    page.get_by_role("button", name="Save the threshold").click()
    expect(page.locator("#approval .wrong")).to_contain_text("from 0 to 1,000,000,000")
    page.get_by_label("Approve runs that would hold more than").fill("500")
    page.get_by_role("button", name="Save the threshold").click()
    expect(page.locator(".toast")).to_have_text("Saved.")
    expect(page.locator("#approval .wrong")).to_have_count(0)
    page.get_by_label("E-mail address").fill("bob@oxygen.example")
    page.get_by_role("button", name="Send an invitation").click()
    page.get_by_role("button", name="Take back the invitation of bob@oxygen.example").click()
    expect(page.locator("#invitations")).to_contain_text("No invitation is open.")


def test_the_ledger_is_filtered_in_its_place_and_back_leads_back(window: Open, alice: User, busy: Run) -> None:
    page = window(alice)
    page.goto("/orgs/acme/billing/ledger/")
    page.get_by_label("Kind").select_option("reserved")
    expect(page.locator("#list tbody tr")).to_have_count(3)
    expect(page).to_have_url(re.compile("kind=reserved"))
    page.get_by_label("Days").select_option("custom")
    expect(page.get_by_label("First day")).to_be_visible()
    page.get_by_role("link", name="Any kind").click()
    expect(page.locator("#list tbody tr")).to_have_count(50)
    page.go_back()
    expect(page.locator("#list tbody tr")).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 4


def test_menus_and_the_dialog_have_nothing_for_axe_to_find(window: Open, alice: User, busy: Run) -> None:
    page = window(alice)
    page.goto("/orgs/acme/billing/")
    page.get_by_role("button", name="Switch organization").click()
    expect(page.get_by_role("option", name="Acme")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator("#runs").get_by_role("link", name="Cancel run").first.click()
    expect(page.locator("dialog[open]")).to_be_visible()
    assert faults(page) == []


def test_pages_stay_small(window: Open, alice: User, busy: Run) -> None:
    page = window(alice)
    for address in ("/orgs/acme/billing/?range=90d", "/orgs/acme/runs/", f"/orgs/acme/runs/{busy.id}/"):
        page.goto(address)
        assert page.evaluate("document.querySelectorAll('*').length") <= LARGEST, address


def test_our_own_style_and_scripts_stay_small() -> None:
    def weight(*names: str) -> int:
        return sum(len(brotli.compress((CLONE / "static" / name).read_bytes())) for name in names)

    assert weight("app.css") <= 9_000
    assert weight("agency.css") <= 2_000
    assert weight("app.js", "charts.js") <= 5_000


def test_plotly_is_fetched_when_someone_reaches_for_the_chart_and_not_before(
    window: Open, alice: User, busy: Run
) -> None:
    page = window(alice)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto("/orgs/acme/billing/?range=7d")
    page.wait_for_load_state("networkidle")
    assert not any("plotly" in url for url in fetched)

    chart = page.locator("[data-chart=usage]")
    chart.hover()
    expect(page.locator(".chart.is-live")).to_be_visible()
    today = chart.bounding_box()
    assert today
    page.mouse.move(today["x"] + today["width"] - 30, today["y"] + today["height"] - 40)
    expect(page.locator(".tip")).to_contain_text("Hunter")


def test_a_day_picked_in_the_chart_shows_its_charges_and_back_leads_back(window: Open, alice: User, busy: Run) -> None:
    page = window(alice)
    page.goto("/orgs/acme/billing/?range=7d")
    page.locator("[data-chart=usage]").hover()
    expect(page.locator(".chart.is-live")).to_be_visible()
    box = page.locator("[data-chart=usage]").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] - 30, box["y"] + box["height"] - 40)
    expect(page.locator("#charges .chip")).to_have_count(1)
    assert "day=" in page.url
    page.get_by_role("link", name="30 days").click()
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    expect(page.locator("#charges .chip")).to_have_count(1)


def test_a_card_that_cannot_be_loaded_says_so_and_keeps_what_it_shows(
    window: Open, alice: User, busy: Run, complaints: list[str]
) -> None:
    page = window(alice)
    page.goto("/orgs/acme/billing/")
    page.context.set_offline(True)
    page.get_by_role("link", name="90 days").click()
    expect(page.locator("#usage .failure")).to_contain_text("may be old")
    expect(page.locator("[data-chart=usage]")).to_be_visible()
    assert all(said.startswith(("Failed to load resource", "htmx:")) for said in complaints), complaints
    complaints.clear()


def test_the_theme_chosen_stays(window: Open, alice: User, acme: Organization) -> None:
    page = window(alice, color_scheme="light")
    page.goto("/orgs/acme/billing/?range=7d")
    page.get_by_role("button", name="Use the dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url.endswith("/orgs/acme/billing/?range=7d")
