"""The way through: sign in, find the org, decide about paused runs; the books stay right. With scripts, and without.

Without them in the soak: what `make test` asks of a browser that has none is in test_keyboard.
"""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from billing import books, orgs
from billing.models import Organization, Role, User
from runs import lifecycle
from runs.models import Run
from tests.browser.conftest import Open
from tests.conftest import give, person
from tests.effort import SOAK
from tests.runs.conftest import Providers, column_of, start, table_of

TOOL = "hunter.email_finder"  # one credit a call, never more
SOON = 30_000


@pytest.fixture
def zephyr(alice: User, acme: Organization, mallory: User) -> Organization:
    """Alice's second organization, 100 credits, with two runs paused by a person."""
    org = orgs.create("Zephyr", "Europe/Paris", owner=mallory)
    orgs.add_member(org, alice, Role.ADMIN)
    give(org, 100)
    return org


@pytest.fixture
def short(zephyr: Organization, alice: User, catalog: None) -> Run:
    """Six rows under a cap of three credits, paused before the first call."""
    return lifecycle.pause(start(zephyr, alice, TOOL, rows=6, cap=3), by=alice)


@pytest.fixture
def spare(zephyr: Organization, alice: User, short: Run) -> Run:
    """Five rows under a cap of five credits, paused before the first call."""
    return lifecycle.pause(start(zephyr, alice, TOOL, rows=5, cap=5), by=alice)


@pytest.fixture(params=[True, False] if SOAK else [True], ids=lambda has: "with scripts" if has else "without scripts")
def scripts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def figure(page: Page, name: str) -> Decimal:
    term = page.locator("#balance dt", has_text=name)
    return Decimal(term.locator("xpath=following-sibling::dd").inner_text().replace(",", ""))


def see(page: Page, scripts: bool, words: str | re.Pattern[str]) -> None:
    """Wait until the card of runs says it: by itself with scripts, by loading the page again without."""
    card = page.locator("#runs")
    if scripts:
        expect(card).to_contain_text(words, timeout=SOON)
        return
    for _ in range(60):
        page.wait_for_timeout(500)  # the answer to what was said may still be coming
        page.reload()
        if re.search(words, card.inner_text()):
            return
    expect(card).to_contain_text(words)


@pytest.mark.usefixtures("worker", "spare")
def test_from_signing_in_to_books_that_tie_out(
    window: Open, alice: User, zephyr: Organization, short: Run, providers: Providers, scripts: bool
) -> None:
    providers.script(latency=0.2)
    page = window(java_script_enabled=scripts)

    # Sign in, and land on the first organization's billing page.
    page.goto("/billing")
    page.get_by_label("Email").fill(alice.email)
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Billing")).to_be_visible()
    expect(page).to_have_url(re.compile("/orgs/acme/billing/"))

    # Switch to the other one.
    if scripts:
        page.get_by_role("button", name="Switch organization").click()
        page.get_by_role("combobox", name="Find an organization or a page").fill("zeph")
        page.get_by_role("option", name=re.compile("Zephyr")).click()
    else:
        page.goto("/orgs/?q=zeph")
        page.get_by_role("link", name=re.compile("Zephyr")).click()
    expect(page).to_have_url(re.compile("/orgs/zephyr/billing/"))
    expect(page.locator("#runs")).to_contain_text("2 runs need a decision")
    assert (figure(page, "Available"), figure(page, "Reserved")) == (92, 8)
    stale = page.context.new_page()
    stale.goto(page.url)

    # Resume: it goes on, reaches its cap, and pauses.
    mine = page.locator("#runs li", has=page.locator(f"#run-{short.id.hex}"))
    mine.get_by_role("button", name="Resume").click()
    see(page, scripts, "Reached its cap of 3 credits")
    expect(mine.get_by_role("button", name="Resume")).to_be_disabled()
    if not scripts:
        page.reload()
    assert (figure(page, "Available"), figure(page, "Reserved"), figure(page, "Captured")) == (92, 5, 3)

    # Resuming from a page that is behind is refused, and the refusal names the way on.
    behind = stale.locator("#runs li", has=stale.locator(f"#run-{short.id.hex}"))
    with stale.expect_response(lambda response: "/resume/" in response.url) as refused:
        behind.get_by_role("button", name="Resume").click()
    assert refused.value.status == 409
    expect(stale.get_by_role("alert")).to_contain_text("Continue with a new cap")
    stale.close()

    # Continue with a new cap finishes the rest.
    mine.get_by_role("link", name="Continue with a new cap").click()
    page.get_by_label("New cap, in credits").fill("2.5.1")
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not a number")
    page.get_by_label("New cap, in credits").fill("10")
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.get_by_label("New cap, in credits")).to_have_count(0)
    if not scripts:
        page.goto("/orgs/zephyr/billing/")
    see(page, scripts, "1 run needs a decision")
    see(page, scripts, re.compile(r"^(?!.*(Running since|Waits for a worker)).*$", re.DOTALL))
    page.goto("/orgs/zephyr/billing/")
    assert (figure(page, "Available"), figure(page, "Reserved"), figure(page, "Captured")) == (89, 5, 6)

    # Cancel the other: what it held comes back, exactly, and the tie-out line still ties out.
    page.locator("#runs").get_by_role("link", name="Cancel run").click()
    expect(page.get_by_role("heading", name=re.compile("^Cancel"))).to_be_visible()
    page.get_by_role("button", name="Cancel run").click()
    expect(page.locator("#runs")).to_contain_text("No run is open")
    assert (figure(page, "Available"), figure(page, "Reserved"), figure(page, "Captured")) == (94, 0, 6)
    expect(page.locator("#tie-out")).to_contain_text(
        "100 granted = 94 available + 0 reserved + 6 captured. It ties out."
    )
    assert books.drifts(zephyr.pk) == []


@pytest.mark.usefixtures("catalog")
def test_a_member_asks_and_the_owner_approves(window: Open, acme: Organization, alice: User, scripts: bool) -> None:
    bob = person("Bob")
    orgs.add_member(acme, bob, Role.MEMBER)
    column_of(table_of(acme, 10, "Leads"), TOOL)

    # Bob chooses a table and a template, sees what it may cost, and asks.
    page = window(bob, java_script_enabled=scripts)
    page.goto("/orgs/acme/runs/new/")
    page.get_by_label("Table").focus()
    page.get_by_label("Table").select_option(label="Leads")
    if scripts:  # the choices follow, and the focus stays
        expect(page.locator('optgroup[label="Columns of this table"] option')).to_have_text("Found")
        expect(page.get_by_label("Table")).to_be_focused()
    page.get_by_label("Fill").select_option(label="Opening line")
    page.get_by_role("button", name="Estimate").click()
    expect(page.get_by_text("Available after it starts")).to_be_visible()
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_role("heading", name="Waits for approval")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)

    # Alice finds it on the billing page, beside what it would leave, and approves.
    page = window(alice, java_script_enabled=scripts)
    page.goto("/orgs/acme/billing/")
    expect(page.locator("#runs")).to_contain_text("1 run needs a decision")
    assert figure(page, "Available") == 100
    page.get_by_role("button", name="Approve").click()
    see(page, scripts, "Waits for a worker")
    assert (figure(page, "Available"), figure(page, "Reserved")) == (65, 35)
