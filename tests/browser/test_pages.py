"""What pages do in a browser, and what they weigh. What each looks like, and what axe says, is in `test_states.py`."""

import re

import brotli  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Page, expect

from billing import invitations
from billing.models import Organization, Role, User
from oxygen_site.postgres import CLONE
from runs import lifecycle
from runs.models import Run, WorkflowTemplate
from tests.browser.conftest import Open, driven
from tests.conftest import give
from tests.runs.conftest import Providers, start, table_of

LARGEST = 900  # elements of a page


@pytest.fixture
def busy(acme: Organization, alice: User, catalog: None, providers: Providers) -> Run:
    """Acme with 60 charges, one run at its cap, one paused by a person, and one that waits for approval."""
    give(acme, 400)
    lifecycle.create(table_of(acme, 9, "Leads"), WorkflowTemplate.objects.get(id="opening_line"), cap="40", by=alice)
    driven(start(acme, alice, "hunter.email_finder", "prospeo.email_finder", rows=60, cap=200))
    lifecycle.pause(start(acme, alice, "openai.ai_column", rows=20, cap=100), by=alice)
    return driven(start(acme, alice, "hunter.email_finder", rows=10, cap=4))


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


def test_an_invitation_makes_a_member_of_whom_it_is_for(
    window: Open, acme: Organization, alice: User, mallory: User
) -> None:
    page = window(mallory)
    page.goto(f"/join/{invitations.invite(acme, mallory.email, Role.MEMBER, by=alice).token}/")
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


def test_pages_stay_small(window: Open, alice: User, busy: Run) -> None:
    page = window(alice)
    for address in ("/orgs/acme/billing/?range=90d", "/orgs/acme/runs/", f"/orgs/acme/runs/{busy.id}/"):
        page.goto(address)
        assert page.evaluate("document.querySelectorAll('*').length") <= LARGEST, address


def test_our_own_style_and_scripts_stay_small() -> None:
    def weight(*names: str) -> int:
        return sum(len(brotli.compress((CLONE / "static" / name).read_bytes())) for name in names)

    assert weight("app.css") <= 9_000
    assert max(map(weight, ("agency.css", "overview.css", "plan.css", "manual.css"))) <= 2_000
    assert weight("app.js", "charts.js") <= 5_100


def point_at_today(page: Page) -> None:
    """Move about on the last bar until the chart says what stands in it: it may not be listening yet, or still speak of
    the bar that was pointed at before."""
    chart = page.locator("[data-chart=usage]")
    chart.hover()
    expect(page.locator(".chart.is-live")).to_be_visible()
    today = chart.bounding_box()
    assert today
    for n in range(60):
        page.mouse.move(today["x"] + today["width"] - 30, today["y"] + today["height"] - 40 - n % 2)
        if page.locator(".tip", has_text="Hunter").is_visible():
            return
        page.wait_for_timeout(250)
    expect(page.locator(".tip")).to_contain_text("Hunter")


def test_plotly_is_fetched_when_someone_reaches_for_the_chart_and_not_before(
    window: Open, alice: User, busy: Run
) -> None:
    page = window(alice)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto("/orgs/acme/billing/?range=7d")
    page.wait_for_load_state("networkidle")
    assert not any("plotly" in url for url in fetched)

    point_at_today(page)


def test_a_day_picked_in_the_chart_shows_its_charges_and_back_leads_back(window: Open, alice: User, busy: Run) -> None:
    page = window(alice)
    page.goto("/orgs/acme/billing/?range=7d")
    point_at_today(page)
    page.mouse.down()
    page.mouse.up()
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
