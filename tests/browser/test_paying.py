"""The way of the money: bought, changed, declined, dropped and canceled by a person, on our pages and on Stripe's.

Each journey says that money is money (shown, charged, billed), that credits are credits (shown, given), and leaves
clean books: the fixture `shop` looks.
"""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from billing import books, orgs, plans
from billing.models import Organization, StripeEvent, User
from oxygen_site.clock import clock
from tests.billing.payments.conftest import SECRET, subscribed
from tests.browser.buying import FINISH, PLAN, SWITCH, Buyer, live_until, settle
from tests.browser.conftest import Open, working
from tests.effort import SOAK
from tests.sandbox.stripe.local import Sandbox

FAILS, ASKS, OTHER = "4000000000000341", "4000002760003184", "5555555555554444"
# Without scripts in the soak alone: how such forms do there is seen in test_keyboard.py.
both_in_the_soak = pytest.mark.parametrize(
    "scripts", [True, False] if SOAK else [True], ids=lambda has: "with scripts" if has else "without scripts"
)
in_the_soak = pytest.mark.skipif(not SOAK, reason="half a minute of a browser; its rules are tested without one too")


@pytest.fixture
def acme(site: str, alice: User) -> Organization:
    """Alice's organization, with nothing but the free plan."""
    return orgs.create("Acme", "Europe/Lisbon", owner=alice)


@pytest.fixture
def clerk(site: str, local: Sandbox) -> Iterator[None]:
    """A worker that can ask Stripe; it gets ready while the rest is set up."""
    with working(
        STRIPE_SECRET_KEY="sk_test_product",
        STRIPE_WEBHOOK_SECRETS=SECRET,
        STRIPE_API_BASE=local.url,
        STRIPE_ALLOW_SANDBOX="true",
    ):
        yield


@pytest.fixture
def shop(clerk: None, site: str, sold: Sandbox, acme: Organization) -> Iterator[Sandbox]:
    """Stripe, whose events reach the site, where a worker applies them. In the end all are, and the books are clean."""
    sold.order("webhook", url=f"{site}/stripe/webhook/", secret=SECRET)
    yield sold
    settle(sold)
    assert not StripeEvent.objects.exclude(state__in=("applied", "ignored")).exists()
    assert books.drifts(acme.pk) == []


@pytest.fixture
def scripts() -> bool:
    return True


@pytest.fixture
def buyer(shop: Sandbox, window: Open, alice: User, scripts: bool) -> Buyer:
    return Buyer(window(alice, java_script_enabled=scripts), scripts, shop)


@pytest.fixture
def customer(buyer: Buyer, acme: Organization, alice: User) -> Buyer:
    """Alice, on Growth by the month since just now."""
    subscribed(buyer.local, acme, alice, "growth")
    settle(buyer.local)
    return buyer


# ------------------------------------------------------------------ the ways things are bought


@both_in_the_soak
def test_a_first_subscription_is_paid_at_checkout_or_left(buyer: Buyer) -> None:
    before = buyer.available()
    buyer.page.goto("/subscribe")
    buyer.tick("Growth", "Subscribe to Growth")
    due, credits = buyer.shown()
    buyer.leave("Subscribe for")
    buyer.follow("Back")
    buyer.see("Growth is not paid yet")
    assert (buyer.charges(), buyer.available()) == ([], before)

    buyer.page.goto(PLAN)
    buyer.tick("Growth", "Subscribe to Growth")
    buyer.leave("Subscribe for")
    buyer.local.order("post", hold=True)
    buyer.pay("Subscribe")
    buyer.see("Confirming your payment…")
    buyer.local.order("post", hold=False)
    buyer.await_outcome("You are on Growth")
    assert buyer.available() == before + credits
    assert buyer.charges() == buyer.billed() == [due]
    buyer.on("Growth")


@both_in_the_soak
def test_an_upgrade_now_costs_and_adds_what_was_shown(customer: Buyer) -> None:
    before = customer.available()
    due, credits = customer.upgrade()
    assert due > 0
    assert credits > 0
    customer.await_outcome("Scale since")
    assert customer.available() == before + credits
    assert customer.charges() == customer.billed() == [due, 24900]
    customer.on("Scale")


@both_in_the_soak
def test_a_downgrade_is_scheduled_undone_scheduled_again_and_comes_at_the_renewal(
    customer: Buyer, acme: Organization
) -> None:
    before = customer.available()
    customer.page.goto(PLAN)
    customer.schedule("Starter")
    customer.press("Undo")
    customer.gone("Growth to Starter")
    customer.schedule("Starter")
    assert (customer.available(), customer.charges()) == (before, [24900])

    standing = plans.subscription(acme)
    assert standing
    live_until(customer.local, standing.period_end + timedelta(hours=2))
    assert customer.available() == before + 8000
    assert customer.charges() == customer.billed() == [7900, 24900]
    customer.on("Starter")
    customer.gone("Growth to Starter")


@both_in_the_soak
def test_a_pack_is_paid_once_and_works_at_once(buyer: Buyer) -> None:
    buyer.page.set_viewport_size({"width": 390, "height": 800})
    before = buyer.available()
    buyer.page.goto(PLAN)
    buyer.page.get_by_role("radio", name=re.compile("^5,000")).click()
    buyer.leave("Buy these credits")
    buyer.pay("Pay")
    buyer.await_outcome("5,000 credits were added")
    assert buyer.available() == before + 5000
    assert buyer.charges() == buyer.billed() == [5500]


# ------------------------------------------------------------------ what goes wrong, and the way on


def test_a_declined_upgrade_changes_nothing_and_is_dropped_or_paid_with_another_card(customer: Buyer) -> None:
    before = customer.available()
    customer.page.goto(PLAN)
    customer.press("Open the portal")
    customer.pay("Save card", FAILS)
    customer.follow("Return")

    customer.upgrade()
    customer.await_outcome("The payment is not finished")
    customer.see("Your card was declined.")
    assert (customer.available(), customer.charges()) == (before, [24900])
    customer.on("Growth")
    customer.press("Drop it")
    customer.gone("Growth to Scale")
    assert (customer.charges(), customer.billed()) == ([24900], [24900])
    customer.see("Void, nothing is owed")

    due, credits = customer.upgrade()
    customer.follow(FINISH)
    customer.pay("Pay invoice", FAILS)
    expect(customer.page.get_by_role("alert")).to_contain_text("declined")
    customer.pay("Pay invoice", OTHER)
    expect(customer.page.get_by_text("Status: paid")).to_be_visible()
    assert customer.available() == before + credits
    assert customer.charges() == customer.billed() == [due, 24900]
    customer.on("Scale")
    customer.gone("Growth to Scale")


def test_what_a_bank_asks_about_is_bought_once_that_is_finished_and_not_where_it_is_abandoned(buyer: Buyer) -> None:
    start = buyer.available()
    buyer.page.goto(PLAN)
    buyer.tick("Growth", "Subscribe to Growth")
    buyer.leave("Subscribe for")
    buyer.pay("Subscribe", ASKS)
    buyer.press("Go back without paying")
    buyer.see("Growth is not paid yet")
    assert (buyer.available(), buyer.charges()) == (start, [])
    buyer.page.goto(PLAN)
    buyer.follow("Go on at Stripe")
    buyer.pay("Subscribe", ASKS)
    buyer.press("Complete authentication")
    buyer.await_outcome("You are on Growth")
    assert (buyer.available(), buyer.charges()) == (start + 30000, [24900])

    buyer.upgrade()
    buyer.await_outcome("Your bank asks you to confirm the payment.")
    buyer.follow(FINISH)
    buyer.follow("Finish authentication")
    buyer.press("Go back without paying")
    buyer.on("Growth")
    buyer.see("It waits for its payment")
    live_until(buyer.local, clock() + timedelta(hours=24))
    buyer.on("Growth")
    buyer.gone("Growth to Scale")
    assert (buyer.available(), buyer.charges()) == (start + 30000, [24900])

    due, credits = buyer.upgrade()
    buyer.follow(FINISH)
    buyer.follow("Finish authentication")
    buyer.press("Complete authentication")
    assert buyer.available() == start + 30000 + credits
    assert buyer.charges() == buyer.billed() == [due, 24900]
    buyer.on("Scale")


@in_the_soak
def test_the_return_may_be_quicker_than_the_webhook(buyer: Buyer) -> None:
    before = buyer.available()
    buyer.page.goto(PLAN)
    buyer.tick("Growth", "Subscribe to Growth")
    buyer.leave("Subscribe for")
    buyer.local.order("post", hold=True)
    buyer.pay("Subscribe")
    buyer.see("Confirming your payment…")
    buyer.see("You are on Growth")
    buyer.local.order("post", hold=False, order="reversed", times=2)
    assert buyer.available() == before + 30000
    assert buyer.charges() == buyer.billed() == [24900]


@in_the_soak
def test_a_quote_that_is_too_old_is_answered_with_a_new_one_in_its_place(customer: Buyer) -> None:
    before, old = customer.available(), customer.see_upgrade()
    live_until(customer.local, clock() + timedelta(minutes=16))
    customer.press(SWITCH)
    expect(customer.preview.get_by_role("alert")).to_contain_text("Here is a new one.")
    due, credits = customer.shown()
    assert old[1] > credits
    customer.press(SWITCH)
    customer.await_outcome("Scale since")
    assert customer.available() == before + credits
    assert customer.charges() == customer.billed() == [due, 24900]


# ------------------------------------------------------------------ beside buying


def test_the_owner_cancels_and_keeps_it_after_all(customer: Buyer) -> None:
    before = customer.available()
    customer.page.goto(PLAN)
    customer.follow("Cancel the subscription")
    expect(customer.page.get_by_role("dialog").get_by_role("heading", name="Cancel Growth?")).to_be_visible()
    customer.press("Cancel the subscription")
    customer.see("It ends on")
    customer.press("Keep the subscription")
    customer.see("It renews on")
    assert (customer.available(), customer.charges()) == (before, [24900])


@in_the_soak
def test_invoices_have_their_document_and_lead_to_the_portal_and_back(customer: Buyer) -> None:
    page = customer.page
    assert customer.billed() == [24900]
    link = page.get_by_role("link", name="PDF of")
    document = page.context.request.get(str(link.get_attribute("href")))
    assert document.headers["content-type"] == "application/pdf"
    customer.press("Card, tax id, e-mail")
    customer.pay("Save card", OTHER)
    customer.see("4444")
    customer.follow("Return")
    expect(page.get_by_role("heading", level=1, name="Invoices")).to_be_visible()
    settle(customer.local)
    page.goto(PLAN)
    customer.see("mastercard 4444")
