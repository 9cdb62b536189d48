"""A buyer: somebody at a browser who finds the way by words, on our pages and on Stripe's; and how time passes."""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from playwright.sync_api import Locator, Page, expect

from billing import jobs
from oxygen_site.clock import clock
from oxygen_site.jobs import quiet
from tests.billing.payments.conftest import VISA, pass_time
from tests.browser.test_journey import figure
from tests.sandbox.stripe.local import Sandbox

PLAN, CREDITS, INVOICES = "/orgs/acme/subscribe/", "/orgs/acme/billing/", "/orgs/acme/billing/invoices/"
SWITCH = re.compile("^Pay .* and switch now")
SOON = 20_000
FINISH = "Pay it, or finish the check with your bank"


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
        expect(self.page.get_by_role("main")).to_contain_text(words, timeout=SOON)

    def gone(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", name=heading)).to_have_count(0, timeout=SOON)

    def press(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name).click()

    def tick(self, name: str, wait: str | re.Pattern[str]) -> None:
        """Tick a plan, or when it shall start, and wait for what it costs."""
        self.page.get_by_role("radio", name=re.compile(f"^{name}")).click()
        if not self.scripts:
            self.press("Show what it costs")
        expect(self.preview).to_contain_text(wait, timeout=SOON)

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
        self.page.wait_for_url(re.compile("/return/"))
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
