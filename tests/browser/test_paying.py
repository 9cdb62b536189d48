"""The way of the money: bought, changed, declined, dropped and canceled by a person, on our pages and on Stripe's.

Everything runs as in life: a real browser, the site, a worker that applies Stripe's events, and the local Stripe that
sends them. Each journey says that money is money (shown, charged, billed), that credits are credits (shown, given), and
leaves clean books.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from billing import books, jobs, orgs, plans
from billing.models import Organization, StripeEvent, User
from oxygen_site.clock import clock
from oxygen_site.jobs import quiet
from tests.billing.payments.conftest import SECRET, VISA, pass_time, subscribed
from tests.browser.conftest import Open, working
from tests.browser.test_journey import figure
from tests.sandbox.stripe.local import Sandbox

FAILS, ASKS, OTHER = "4000000000000341", "4000002760003184", "5555555555554444"
PLAN, CREDITS, INVOICES = "/orgs/acme/subscribe/", "/orgs/acme/billing/", "/orgs/acme/billing/invoices/"
SWITCH = re.compile("^Pay .* and switch now")
FINISH = "Pay it, or finish the check with your bank"
both_ways = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])


@pytest.fixture
def acme(site: str, alice: User) -> Organization:
    """Alice's organization, with nothing but the free plan."""
    return orgs.create("Acme", "Europe/Lisbon", owner=alice)


@pytest.fixture
def shop(site: str, sold: Sandbox, acme: Organization) -> Iterator[Sandbox]:
    """Stripe, whose events reach the site, where a worker applies them. In the end all are, and the books are clean."""
    sold.order("webhook", url=f"{site}/stripe/webhook/", secret=SECRET)
    with working(
        STRIPE_SECRET_KEY="sk_test_product",
        STRIPE_WEBHOOK_SECRETS=SECRET,
        STRIPE_API_BASE=sold.url,
        STRIPE_ALLOW_SANDBOX="true",
    ):
        settle(sold)
        yield sold
        settle(sold)
    assert not StripeEvent.objects.exclude(state__in=("applied", "ignored")).exists()
    assert books.drifts(acme.pk) == []


def settle(local: Sandbox) -> None:
    """Wait until all events have arrived and nothing they woke is still to be done."""
    calm, give_up = 0, time.monotonic() + 30
    while calm < 2:
        local.delivered()
        calm = calm + 1 if quiet(besides=("maint",)) else 0
        assert time.monotonic() < give_up
        time.sleep(0.03)


def live_until(local: Sandbox, at: datetime) -> None:
    """Let time pass until `at`, and do what has come due."""
    pass_time(local, seconds=int((at - clock()).total_seconds()) + 1)
    settle(local)
    for do_what_is_due in (jobs.expire_due, jobs.give_due, jobs.carry_on_with_stripe, jobs.apply_events):
        do_what_is_due()
    settle(local)


def cents(text: str) -> int:
    """Read an amount of dollars."""
    dollars, _, rest = re.sub(r"[^\d.]", "", text).partition(".")
    return int(dollars) * 100 + int(rest or 0)


@dataclass
class Buyer:
    """Somebody at a browser, and what is to be known beside: whether it runs scripts, and what stands at Stripe."""

    page: Page
    scripts: bool
    local: Sandbox

    def see(self, words: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_role("main")).to_contain_text(words)

    def gone(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", name=heading)).to_have_count(0)

    def press(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name).click()

    def tick(self, name: str, wait: str | re.Pattern[str]) -> None:
        """Tick a plan, or when it shall start, and wait for what it costs."""
        self.page.get_by_role("radio", name=re.compile(f"^{name}")).click()
        if not self.scripts:
            self.press("Show what it costs")
        expect(self.preview).to_contain_text(wait)

    @property
    def preview(self) -> Locator:
        return self.page.locator("#preview")

    def shown(self) -> tuple[int, Decimal]:
        """What is due today, in cents, and the credits it adds, as shown before it is bought."""
        due, credits = (
            self.preview.get_by_role("row", name=name).get_by_role("cell").inner_text()
            for name in ("Due today", "Credits added today")
        )
        return cents(due), Decimal(credits.replace(",", ""))

    def see_upgrade(self) -> tuple[int, Decimal]:
        """Look at what Scale costs now."""
        self.page.goto(PLAN)
        self.tick("Scale", "Nothing to pay today")
        self.tick("Now, prorated", "This price holds until")
        return self.shown()

    def upgrade(self) -> tuple[int, Decimal]:
        """Ask for Scale now, at what it is shown to cost."""
        shown = self.see_upgrade()
        self.press(SWITCH)
        return shown

    def schedule(self, plan: str) -> None:
        """Have the plan change at the renewal."""
        self.tick(plan, "Due today")
        expect(self.preview.get_by_role("row", name="Due today")).to_contain_text("$0.00")
        self.press("Switch on")
        self.see(f"Growth to {plan}")
        self.see("Until then nothing changes.")

    def leave(self, button: str | re.Pattern[str]) -> None:
        """Press what leads to Stripe; without scripts, a page with the link stands between."""
        self.press(button)
        if not self.scripts:
            self.follow("Continue to Stripe")

    def pay(self, button: str, card: str = VISA) -> None:
        """Pay on a page of Stripe's."""
        expect(self.page.get_by_text("no real money")).to_be_visible()
        self.page.get_by_label("Card number").fill(card)
        self.press(button)

    def await_outcome(self, words: str | re.Pattern[str]) -> None:
        """Wait on the page that confirms: with scripts it looks again by itself."""
        if not self.scripts and self.page.get_by_role("button", name="Look again").count():
            self.press("Look again")
        self.see(words)

    def available(self) -> Decimal:
        settle(self.local)
        self.page.goto(CREDITS)
        return figure(self.page, "Available")

    def charges(self) -> list[int]:
        """What Stripe has charged, the newest first."""
        return [each.amount for each in self.local.stripe.charges.list().data if each.paid]

    def billed(self) -> list[int]:
        """What the invoices page says was paid, the newest first."""
        self.page.goto(INVOICES)
        rows = self.page.get_by_role("row").filter(has_text="Paid")
        return [cents(row.locator(".amount").inner_text()) for row in rows.all()]

    def on(self, plan: str) -> None:
        self.page.goto(PLAN)
        self.see(f"You are on {plan}")


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


@both_ways
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


@both_ways
def test_an_upgrade_now_costs_and_adds_what_was_shown(customer: Buyer) -> None:
    before = customer.available()
    due, credits = customer.upgrade()
    assert due > 0
    assert credits > 0
    customer.await_outcome("Scale since")
    assert customer.available() == before + credits
    assert customer.charges() == customer.billed() == [due, 24900]
    customer.on("Scale")


@both_ways
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


@both_ways
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


def test_a_declined_upgrade_changes_nothing_until_another_card_pays_it(customer: Buyer) -> None:
    before = customer.available()
    customer.page.goto(PLAN)
    customer.press("Open the portal")
    customer.pay("Save card", FAILS)
    customer.follow("Return")

    due, credits = customer.upgrade()
    customer.await_outcome("The payment is not finished")
    customer.see("Your card was declined.")
    assert (customer.available(), customer.charges()) == (before, [24900])
    customer.on("Growth")

    customer.follow(FINISH)
    customer.pay("Pay invoice", FAILS)
    expect(customer.page.get_by_role("alert")).to_contain_text("declined")
    customer.pay("Pay invoice", OTHER)
    expect(customer.page.get_by_text("Status: paid")).to_be_visible()
    assert customer.available() == before + credits
    assert customer.charges() == customer.billed() == [due, 24900]
    customer.on("Scale")
    customer.gone("Growth to Scale")


def test_a_declined_upgrade_can_be_dropped(customer: Buyer) -> None:
    before = customer.available()
    customer.local.order("settings", fail_next_payments=["insufficient_funds"])
    customer.upgrade()
    customer.await_outcome("insufficient funds")
    customer.follow("To your plan")
    customer.press("Drop it")
    customer.gone("Growth to Scale")
    assert (customer.available(), customer.charges(), customer.billed()) == (before, [24900], [24900])
    customer.see("Void, nothing is owed")
    customer.on("Growth")


def test_what_a_bank_asks_about_is_bought_once_that_is_finished(buyer: Buyer) -> None:
    start = buyer.available()
    buyer.page.goto(PLAN)
    buyer.tick("Growth", "Subscribe to Growth")
    buyer.leave("Subscribe for")
    buyer.pay("Subscribe", ASKS)
    buyer.press("Complete authentication")
    buyer.await_outcome("You are on Growth")
    assert buyer.available() == start + 30000

    due, credits = buyer.upgrade()
    buyer.await_outcome("Your bank asks you to confirm the payment.")
    assert buyer.available() == start + 30000
    buyer.page.go_back()
    buyer.follow(FINISH)
    buyer.follow("Finish authentication")
    buyer.press("Complete authentication")
    assert buyer.available() == start + 30000 + credits
    assert buyer.charges() == buyer.billed() == [due, 24900]
    buyer.on("Scale")


def test_what_a_bank_asks_about_is_not_bought_where_that_is_abandoned(
    buyer: Buyer, acme: Organization, alice: User
) -> None:
    start = buyer.available()
    buyer.page.goto(PLAN)
    buyer.tick("Growth", "Subscribe to Growth")
    buyer.leave("Subscribe for")
    buyer.pay("Subscribe", ASKS)
    buyer.press("Go back without paying")
    buyer.see("Growth is not paid yet")
    assert (buyer.available(), buyer.charges()) == (start, [])

    subscribed(buyer.local, acme, alice, "growth", card=ASKS)
    buyer.upgrade()
    buyer.await_outcome("The payment is not finished")
    buyer.follow(FINISH)
    buyer.follow("Finish authentication")
    buyer.press("Go back without paying")
    buyer.on("Growth")
    buyer.see("It waits for its payment")
    live_until(buyer.local, clock() + timedelta(hours=24))
    buyer.on("Growth")
    buyer.gone("Growth to Scale")
    assert (buyer.available(), buyer.charges(), buyer.billed()) == (start + 30000, [24900], [24900])


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
