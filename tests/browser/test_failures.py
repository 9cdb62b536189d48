"""What fails says so where it was asked for, in its own words, and is asked for again there; nothing else is lost."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from playwright.sync_api import Page, Request, Route, expect

from billing.models import Organization, User
from runs import dispatch, lifecycle
from runs.models import Run
from tests.browser.conftest import Open
from tests.effort import SOAK
from tests.runs.conftest import start
from tests.runs.test_views import FOUND

BILLING = "/orgs/acme/billing/"
CARD = re.compile(r"/orgs/acme/billing/\?range=")
TOOL = "hunter.email_finder"
BROKEN = ("Failed to load resource", "htmx:", "Response Status Error Code", "Failed to ")


@pytest.fixture(autouse=True)
def broken(window: Open, complaints: list[str]) -> Iterator[None]:
    """What the console says of requests that are broken on purpose is no complaint: taken out before it is judged."""
    yield
    complaints[:] = [said for said in complaints if not said.startswith(BROKEN)]


@pytest.fixture
def live(acme: Organization, alice: User, catalog: None) -> Run:
    """Five rows that nobody works on."""
    return start(acme, alice, TOOL, rows=5, cap=5)


def asked_of(page: Page) -> list[Request]:
    """What the page's scripts ask for from now on."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if request.resource_type == "xhr" else None)
    return asked


WAYS: list[tuple[Callable[[Route], None], str, str]] = [
    (lambda route: route.fulfill(status=500), "The server failed (500)", "90 days"),
    (lambda route: route.abort(), "The server cannot be reached", "30 days"),
    (lambda route: None, "The answer took too long", "7 days"),
]


def test_a_card_that_failed_says_why_and_its_try_again_loads_that_card_alone(
    window: Open, alice: User, acme: Organization
) -> None:
    page = window(alice)
    page.goto(BILLING)
    for fail, why, days in WAYS:
        was, note, again = page.url, page.locator("#usage > .failure"), page.get_by_role("link", name="Try again")
        page.route(CARD, fail)
        page.evaluate("ms => { htmx.config.timeout = ms }", 300 if "too long" in why else 0)
        page.get_by_role("link", name=days).click()
        expect(note).to_contain_text(f"{why}, so this may be old.")
        assert again.evaluate("link => link.href") == was
        note.evaluate("note => { note.id = 'earlier' }")
        again.click()  # once more in vain
        expect(page.locator("#earlier")).to_have_count(0)
        expect(note).to_have_count(1)

        page.unroute(CARD)
        page.evaluate("() => { htmx.config.timeout = 0 }")
        asked = asked_of(page)
        again.click()
        expect(page.get_by_role("link", name=days)).to_have_attribute("aria-current", "true")
        expect(note).to_have_count(0)
        assert [request.headers["hx-target"] for request in asked] == ["usage"]
        assert page.url != was


def test_offline_is_said_once_and_taken_back_when_one_is_back(window: Open, alice: User, live: Run) -> None:
    page = window(alice)
    page.goto(BILLING)
    page.context.set_offline(True)
    page.get_by_role("link", name="90 days").click()
    page.get_by_role("link", name="30 days").click()
    expect(page.locator("#runs > .failure")).to_have_text("You are offline, so this may be old.")  # its poll
    expect(page.locator("#usage > .failure")).to_have_count(1)
    expect(page.locator(".toast")).to_have_text(["You are offline. What you see may be old."])
    page.context.set_offline(False)
    expect(page.locator(".toast")).to_have_count(0)
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")
    expect(page.locator(".failure")).to_have_count(0)


ACTIONS: list[tuple[Callable[[Route], None], str]] = [
    (lambda route: route.fulfill(status=500), "The server failed (500), so nothing was changed."),
    (lambda route: route.fulfill(status=403), "You may not do that here, so nothing was changed."),
    (lambda route: route.abort(), "The server cannot be reached: look whether it was done before you do it again."),
]


def test_an_action_that_failed_says_so_and_its_button_has_the_focus_back(window: Open, alice: User, live: Run) -> None:
    page = window(alice)
    page.goto(BILLING)
    for fail, said in ACTIONS:
        page.route("**/pause/", fail)
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".toast").last).to_have_text(said)
        expect(page.get_by_role("button", name="Pause")).to_be_focused()


def test_a_confirmation_that_cannot_be_loaded_is_said_where_one_sees_it(window: Open, alice: User, live: Run) -> None:
    page = window(alice)
    page.goto(BILLING)
    page.route("**/cancel/**", lambda route: route.fulfill(status=503))
    page.locator("#runs").get_by_role("link", name="Cancel run").click()
    expect(page.locator(".toast")).to_have_text("The server failed (503), so nothing was changed.")
    expect(page.locator("dialog[open]")).to_have_count(0)


@pytest.mark.parametrize("how", ["link", *(["poll"] if SOAK else [])])
def test_a_session_that_ended_leads_to_the_sign_in_page_and_back(
    window: Open, alice: User, live: Run, how: str
) -> None:
    page = window(alice)
    page.goto(f"{BILLING}?range=7d&group=tool")
    page.context.clear_cookies(name="sessionid")
    if how == "link":
        page.get_by_role("link", name="90 days").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Email").fill(alice.email)
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/orgs/acme/billing/\?range=7d&group=tool$"))


# ------------------------------------------------------------------ live


def elsewhere(act: Callable[[], object]) -> None:
    """Act in a thread of its own: Playwright's event loop runs in this one."""

    def acted() -> None:
        act()
        connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(acted).result()


def settle_one(run: Run) -> None:
    calls = dispatch.claim(run, me := uuid4(), 1)
    dispatch.settle(run, me, [dispatch.Answer(call, FOUND, 9) for call in calls])


def test_a_poll_leaves_alone_what_stands_brings_what_moved_and_rests_in_a_hidden_tab(
    window: Open, alice: User, live: Run
) -> None:
    page = window(alice)
    page.goto(BILLING)
    link = page.locator("#split-reserved")

    def polled() -> None:
        with page.expect_response(re.compile("/runs/attention/")):
            pass

    polled()
    link.focus()
    page.evaluate("() => { document.querySelector('#balance').stood = true }")
    polled()
    page.wait_for_timeout(100)
    assert page.evaluate("() => document.querySelector('#balance').stood")
    elsewhere(lambda: settle_one(live))
    expect(link).to_have_text("4")
    expect(page.locator("#outlook")).to_contain_text("Captured this credit month 1")
    expect(link).to_be_focused()  # the same by its id

    page.evaluate("() => Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    asked = asked_of(page)
    page.wait_for_timeout(2_200)
    assert asked == []


@pytest.mark.parametrize("where", ["billing", "runs", "run"])
def test_a_decision_is_answered_at_once_and_no_second_request_follows(
    window: Open, alice: User, live: Run, where: str
) -> None:
    elsewhere(lambda: lifecycle.pause(live, by=alice))
    own = f"/orgs/acme/runs/{live.id}/"
    page = window(alice)
    page.goto({"billing": BILLING, "runs": "/orgs/acme/runs/", "run": own}[where])
    asked = asked_of(page)
    page.locator("#runs, #run").get_by_role("link", name="Cancel run").click()
    page.locator("dialog").get_by_role("button", name="Cancel run").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    if where == "billing":
        expect(page.locator("#runs")).to_contain_text("No run is open")
        expect(page.locator("#split-reserved")).to_have_text("0")
        expect(page.locator("#tie-out")).to_contain_text("100 available + 0 reserved")
    elif where == "runs":
        expect(page.locator("#list tbody .how")).to_have_text("Cancelled")
    else:
        expect(page.locator("#receipt")).to_contain_text("5 released")
    page.wait_for_timeout(700)
    cancel = f"{own}cancel/"
    assert [(request.method, urlsplit(request.url).path) for request in asked] == [("GET", cancel), ("POST", cancel)]
