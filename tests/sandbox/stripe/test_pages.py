"""The hosted pages in a real browser: a buyer reads, types, presses, and is where the product wants them."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from playwright.sync_api import Page, expect, sync_playwright

from tests.sandbox.stripe.local import Sandbox
from tests.sandbox.stripe.test_checkout import plan
from tests.sandbox.stripe.test_subscriptions import subscribe

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's own loop runs in this thread


@pytest.fixture(scope="module")
def window() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_page()
        page.route("http://oxygen.example/**", lambda route: route.fulfill(body="<h1>Back at Oxygen</h1>"))
        yield page
        browser.close()


@pytest.fixture
def session(sandbox: Sandbox, prices: Any) -> stripe.checkout.Session:
    acme = sandbox.stripe.customers.create(params={"email": "ada@acme.example"})
    return plan(sandbox, acme, prices("starter", 2000))


def test_a_buyer_is_declined_then_authenticates_and_comes_back(
    window: Page, sandbox: Sandbox, session: stripe.checkout.Session
) -> None:
    window.goto(str(session.url))
    expect(window.get_by_text("Total due today: 20.00 USD")).to_be_visible()
    window.get_by_label("Card number").fill("4000 0000 0000 0002")
    window.get_by_role("button", name="Subscribe").click()
    expect(window.get_by_role("alert")).to_have_text("Your card was declined.")
    window.get_by_label("Card number").fill("4000 0025 0000 3155")
    window.get_by_role("button", name="Subscribe").click()
    window.get_by_role("button", name="Fail authentication").click()
    expect(window.get_by_role("alert")).to_contain_text("unable to authenticate")
    window.get_by_label("Card number").fill("4000 0025 0000 3155")
    window.get_by_role("button", name="Subscribe").click()
    window.get_by_role("button", name="Complete authentication").click()
    expect(window.get_by_role("heading", name="Back at Oxygen")).to_be_visible()
    assert window.url == f"http://oxygen.example/return?session_id={session.id}"
    assert sandbox.stripe.checkout.sessions.retrieve(session.id).status == "complete"


def test_a_buyer_goes_back_without_paying(window: Page, sandbox: Sandbox, session: stripe.checkout.Session) -> None:
    window.goto(str(session.url))
    window.get_by_role("link", name="Back").click()
    expect(window.get_by_role("heading", name="Back at Oxygen")).to_be_visible()
    assert sandbox.stripe.checkout.sessions.retrieve(session.id).status == "open"


def test_an_open_invoice_is_paid_on_its_page_with_3ds(window: Page, sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    subscription = subscribe(sandbox, buyer("pm_card_chargeCustomerFail"), prices("starter", 2000))
    window.goto(subscription.latest_invoice.hosted_invoice_url)
    window.get_by_label("Card number").fill("4000000000003220")
    window.get_by_role("button", name="Pay invoice").click()
    window.get_by_role("button", name="Complete authentication").click()
    expect(window.get_by_text("Status: paid")).to_be_visible()
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "active"


def test_a_card_is_changed_in_the_portal(window: Page, sandbox: Sandbox, buyer: Any) -> None:
    portal = sandbox.stripe.billing_portal.sessions.create(
        params={"customer": buyer().id, "return_url": "http://oxygen.example/billing"}
    )
    window.goto(portal.url)
    expect(window.get_by_text("•••• 4242")).to_be_visible()
    window.get_by_label("Card number").fill("5555555555554444")
    window.get_by_role("button", name="Save card").click()
    expect(window.get_by_text("•••• 4444")).to_be_visible()
    window.get_by_role("link", name="Return").click()
    expect(window.get_by_role("heading", name="Back at Oxygen")).to_be_visible()
