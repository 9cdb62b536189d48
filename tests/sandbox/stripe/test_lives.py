"""Random lives of customers: whatever they do, in whatever order, the sandbox keeps its own books.

Nothing but refusals in Stripe's words may come back; what was asked, paid, credited and owed must add up to the cent.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import stripe

from tests.effort import SEED, effort
from tests.sandbox.stripe.local import Sandbox
from tests.sandbox.stripe.test_schedules import downgrade
from tests.sandbox.stripe.test_subscriptions import DAY, change, preview, subscribe

STEPS = 24
CARDS = ("pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_threeDSecure2Required")


class Life:
    """One customer, what is for sale, and the dice."""

    def __init__(self, sandbox: Sandbox, ada: stripe.Customer, plans: list[stripe.Price], dice: Random) -> None:
        self.sandbox, self.ada, self.plans, self.dice = sandbox, ada, plans, dice
        self.subscription: Any = subscribe(sandbox, ada, plans[0])
        self.changed = 0

    def seen(self) -> Any:
        self.subscription = self.sandbox.stripe.subscriptions.retrieve(self.subscription.id)
        return self.subscription

    def moment(self) -> int:
        """Up to 15 minutes ago, never before the last change: a year begun since reaches over the month's end."""
        now = self.sandbox.stripe.test_helpers.test_clocks.retrieve(str(self.ada.test_clock)).frozen_time
        start = self.seen()["items"].data[0].current_period_start
        return max(start, self.changed, now - self.dice.randrange(900))

    def change_now(self) -> None:
        at, price = self.moment(), self.dice.choice(self.plans)
        waited = self.subscription.pending_update
        shown = preview(self.sandbox, self.subscription, price, at)
        done = change(self.sandbox, self.subscription, price, at)
        self.changed = at
        if shown.lines.data:
            assert done.latest_invoice.total == shown.total
            # An update that still waited is voided by the new one, and the balance it had used comes back.
            assert waited or done.latest_invoice.amount_due == shown.amount_due

    def schedule(self) -> None:
        downgrade(self.sandbox, self.seen(), self.dice.choice(self.plans))

    def release(self) -> None:
        self.sandbox.stripe.subscription_schedules.release(str(self.seen().schedule))

    def leave_or_stay(self) -> None:
        leaving = not self.seen().cancel_at_period_end
        self.sandbox.stripe.subscriptions.update(self.subscription.id, params={"cancel_at_period_end": leaving})

    def another_card(self) -> None:
        card = self.sandbox.stripe.payment_methods.attach(self.dice.choice(CARDS), params={"customer": self.ada.id})
        self.sandbox.stripe.customers.update(
            self.ada.id, params={"invoice_settings": {"default_payment_method": card.id}}
        )

    def pay_by_page(self) -> None:
        for invoice in self.sandbox.stripe.invoices.list(params={"customer": self.ada.id, "status": "open"}).data:
            self.sandbox.press(f"/i/{invoice.id}", "pay", number="4242424242424242")

    def give_back(self) -> None:
        charges = self.sandbox.stripe.charges.list(params={"customer": self.ada.id}).data
        charge = self.dice.choice(charges)
        self.sandbox.stripe.refunds.create(params={"charge": charge.id, "amount": self.dice.randrange(1, 900)})

    def come_back(self) -> None:
        if self.seen().status in ("canceled", "incomplete_expired"):
            self.subscription = subscribe(self.sandbox, self.ada, self.dice.choice(self.plans))

    def wait(self) -> None:
        clock = self.sandbox.stripe.test_helpers.test_clocks.retrieve(str(self.ada.test_clock))
        later = clock.frozen_time + self.dice.choice([3600, DAY, 5 * DAY, 12 * DAY, 31 * DAY]) + self.dice.randrange(99)
        self.sandbox.stripe.test_helpers.test_clocks.advance(clock.id, params={"frozen_time": later})


VERBS: list[Callable[[Life], None]] = [
    *[Life.change_now] * 4,
    *[Life.wait] * 4,
    *[Life.schedule, Life.release, Life.leave_or_stay, Life.another_card],
    *[Life.pay_by_page, Life.give_back, Life.come_back],
]


def books_tie_out(life: Life) -> None:
    """Each invoice's total is what was asked plus what moved on the balance; what was asked and paid was charged."""
    v, ada = life.sandbox.stripe, life.ada
    rows = list(v.invoices.list(params={"customer": ada.id, "limit": 100}).auto_paging_iter())
    final = [row for row in rows if row.status in ("open", "paid", "uncollectible")]
    for row in final:
        assert row.total + row.starting_balance == row.amount_due + (row.ending_balance or 0)
        assert row.total == sum(line.amount for line in v.invoices.line_items.list(row.id).auto_paging_iter())
        assert row.amount_paid == (row.amount_due if row.status == "paid" else 0)
    moved = sum((row.ending_balance or 0) - row.starting_balance for row in final)
    assert v.customers.retrieve(ada.id).balance == moved
    charges = list(v.charges.list(params={"customer": ada.id, "limit": 100}).auto_paging_iter())
    assert sum(row.amount_paid for row in final) == sum(each.amount for each in charges if each.paid)
    periods = [
        (line.period.start, line.period.end)
        for row in rows
        if row.billing_reason == "subscription_cycle"
        and row.parent.subscription_details.subscription == life.subscription.id  # type: ignore[union-attr]
        for line in row.lines.data
        if not line.parent.subscription_item_details.proration  # type: ignore[union-attr]
    ]
    assert len({start for start, _ in periods}) == len(periods)  # no period is billed twice


@pytest.mark.parametrize("number", range(effort(100)))
def test_a_life_at_random_keeps_the_books(sandbox: Sandbox, buyer: Any, prices: Any, number: int) -> None:
    dice = Random(f"{SEED}:{number}")
    plans = [prices("starter", 2000), prices("pro", 4999), prices("scale", 9901)]
    if dice.random() < 0.3:
        plans.append(prices("yearly", 20000, "year"))
    life, story = Life(sandbox, buyer(), plans, dice), []
    for _ in range(STEPS):
        verb = dice.choice(VERBS)
        story.append(verb.__name__)
        try:
            verb(life)
        except (stripe.InvalidRequestError, stripe.CardError) as refusal:
            story[-1] += f" ({refusal.user_message})"
        except Exception as error:
            error.add_note(f"SEED={SEED} number {number}: {', '.join(story)}")
            raise
        books_tie_out(life)
