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
both_ways = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])


@pytest.fixture
def acme(site: str, alice: User) -> Organization:
    """Alice's organization, with nothing but the free plan."""
    return orgs.create("Acme", "Europe/Lisbon", owner=alice)


@pytest.fixture
def shop(site: str, sold: Sandbox, acme: Organization) -> Iterator[Sandbox]:
    """Stripe, whose events reach the site, where a worker applies them. In the end all were, and the books are clean."""
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
        return self.page.get_by_role("region", name=re.compile("to|Subscribe"))

    def shown(self, name: str) -> str:
        """Read one line of what a change costs."""
        return self.preview.get_by_role("row", name=name).get_by_role("cell").inner_text()

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
    due, credits = cents(buyer.shown("Due today")), Decimal(buyer.shown("Credits added today").replace(",", ""))
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
    customer.page.goto(PLAN)
    customer.tick("Scale", "Nothing to pay today")
    customer.tick("Now, prorated", "This price holds until")
    due, credits = cents(customer.shown("Due today")), Decimal(customer.shown("Credits added today").replace(",", ""))
    assert due > 0
    customer.press(re.compile("^Pay .* and switch now"))
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
    for _ in range(2):
        customer.tick("Starter", "Only upgrades can start before the renewal.")
        assert cents(customer.shown("Due today")) == 0
        customer.press("Switch on")
        customer.see("Growth to Starter")
        customer.see("Until then nothing changes.")
        if _ == 0:
            customer.press("Undo")
            expect(customer.page.get_by_role("heading", name="Growth to Starter")).to_have_count(0)
    assert (customer.available(), customer.charges()) == (before, [24900])

    standing = plans.subscription(acme)
    assert standing
    live_until(customer.local, standing.period_end + timedelta(hours=2))
    assert customer.available() == before + 8000
    assert customer.charges() == customer.billed() == [7900, 24900]
    customer.on("Starter")
    expect(customer.page.get_by_role("heading", name="Growth to Starter")).to_have_count(0)


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
