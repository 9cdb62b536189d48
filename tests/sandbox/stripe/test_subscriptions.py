"""Subscriptions: started, changed now and when paid, canceled; and the cents that a change costs."""

from fractions import Fraction
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from sandbox.stripe.periods import period_at, share, stepped, whole
from tests.sandbox.stripe.local import NEW_YEAR, Sandbox

DAY = 24 * 3600
MONTH = {"interval": "month", "interval_count": 1}
PAID = ["latest_invoice.payments", "latest_invoice.confirmation_secret"]


def subscribe(sandbox: Sandbox, buyer: stripe.Customer, price: stripe.Price, **more: Any) -> Any:
    asked: Any = {"customer": buyer.id, "items": [{"price": price.id, "quantity": 1}], "expand": PAID, **more}
    return sandbox.stripe.subscriptions.create(params=asked)


def change(sandbox: Sandbox, subscription: stripe.Subscription, price: stripe.Price, at: int, **more: Any) -> Any:
    item = subscription["items"].data[0]
    asked: Any = {
        "items": [{"id": item.id, "price": price.id, "quantity": 1}],
        "proration_behavior": "always_invoice",
        "proration_date": at,
        "payment_behavior": "pending_if_incomplete",
        "expand": PAID,
        **more,
    }
    return sandbox.stripe.subscriptions.update(subscription.id, params=asked)


def preview(sandbox: Sandbox, subscription: stripe.Subscription, price: stripe.Price, at: int) -> stripe.Invoice:
    item = subscription["items"].data[0]
    return sandbox.stripe.invoices.create_preview(
        params={
            "customer": str(subscription.customer),
            "subscription": subscription.id,
            "subscription_details": {
                "items": [{"id": item.id, "price": price.id, "quantity": 1}],
                "proration_behavior": "always_invoice",
                "proration_date": at,
            },
        }
    )


def test_the_first_period_is_paid_and_told_of(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    subscription = subscribe(sandbox, buyer(), prices("starter", 2000), metadata={"org_id": "7"})
    item, invoice = subscription["items"].data[0], subscription.latest_invoice
    assert (subscription.status, item.current_period_start) == ("active", NEW_YEAR)
    assert item.current_period_end == stepped(NEW_YEAR, MONTH, 1)
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == ("paid", 2000, "subscription_create")
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.parent.subscription_details.metadata.to_dict() == {"org_id": "7"}
    (line,) = invoice.lines.data
    assert line.parent.subscription_item_details.proration is False
    assert (line.pricing.price_details.price, line.period.end) == (item.price.id, item.current_period_end)
    assert invoice.payments.data[0].status == "paid"
    told = sandbox.told("customer.subscription.created", "invoice.created", "invoice.finalized", "invoice.paid")
    assert told == ["customer.subscription.created", "invoice.created", "invoice.finalized", "invoice.paid"]
    assert sandbox.events()[-1]["data"]["previous_attributes"] == {"status": "incomplete"}


def test_an_upgrade_costs_what_the_preview_showed_and_is_recorded_to_the_cent(
    sandbox: Sandbox, buyer: Any, prices: Any
) -> None:
    starter, pro = prices("starter", 2000), prices("pro", 5000)
    subscription = subscribe(sandbox, buyer(), starter)
    first = subscription.latest_invoice
    at = NEW_YEAR + 10 * DAY + 1234
    shown = preview(sandbox, subscription, pro, at)
    sandbox.stripe.test_helpers.test_clocks.advance(subscription.test_clock, params={"frozen_time": at + 600})
    changed = change(sandbox, subscription, pro, at)
    invoice = changed.latest_invoice
    left = Fraction(subscription["items"].data[0].current_period_end - at, 31 * DAY)
    assert [line.amount for line in invoice.lines.data] == [whole(-2000 * left), whole(5000 * left)]
    assert [line.amount for line in shown.lines.data] == [line.amount for line in invoice.lines.data]
    assert (shown.total, invoice.total, invoice.amount_paid) == (shown.amount_due, shown.total, shown.total)
    assert invoice.parent.subscription_details.subscription_proration_date == at
    credit, debit = invoice.lines.data
    credited = credit.parent.subscription_item_details.proration_details.credited_items
    assert (credited.invoice, credited.invoice_line_items) == (first.id, [first.lines.data[0].id])
    assert debit.parent.subscription_item_details.proration is True
    assert (debit.period.start, debit.period.end) == (at, changed["items"].data[0].current_period_end)
    assert credit.description == "Unused time on Starter after 11 Jan 2027"
    assert changed["items"].data[0].price.id == pro.id
    assert changed.pending_update is None


def test_a_second_upgrade_credits_what_the_first_one_debited(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    subscription = subscribe(sandbox, buyer(), prices("starter", 2000))
    pro, scale = prices("pro", 5000), prices("scale", 9900)
    first = change(sandbox, subscription, pro, NEW_YEAR + 7 * DAY).latest_invoice.lines.data[1]
    second = change(sandbox, subscription, scale, NEW_YEAR + 19 * DAY + 5).latest_invoice.lines.data[0]
    part, of = (second.period.start, second.period.end), (first.period.start, first.period.end)
    assert second.amount == share(-first.amount, part, of)
    credited = second.parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice_line_items == [first.id]


def test_a_declined_upgrade_changes_nothing_and_lapses_after_23_hours(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada, starter, pro = buyer(), prices("starter", 2000), prices("pro", 5000)
    subscription = subscribe(sandbox, ada, starter)
    sandbox.order("settings", fail_next_payments=["insufficient_funds"])
    waiting = change(sandbox, subscription, pro, NEW_YEAR)
    assert waiting["items"].data[0].price.id == starter.id
    assert waiting.pending_update.subscription_items[0].price.id == pro.id
    assert (waiting.status, waiting.latest_invoice.status) == ("active", "open")
    assert "invoice.payment_failed" in sandbox.told()
    assert preview(sandbox, waiting, pro, NEW_YEAR).lines.data[0].amount == -2000
    pass_time(ada, 23 * 3600)
    after = sandbox.stripe.subscriptions.retrieve(subscription.id, params={"expand": ["latest_invoice"]})
    assert (after.pending_update, after["items"].data[0].price.id) == (None, starter.id)
    assert after.latest_invoice.status == "void"  # type: ignore[union-attr]
    assert sandbox.told("customer.subscription.pending_update_expired", "invoice.voided") != []
    credit = preview(sandbox, after, pro, NEW_YEAR).lines.data[0]
    assert credit.amount == -2000  # of the plan that was paid, not of the one that was not


def test_an_upgrade_that_waits_for_3ds_applies_when_that_is_finished(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada, starter, pro = buyer(), prices("starter", 2000), prices("pro", 5000)
    subscription = subscribe(sandbox, ada, starter)
    card = sandbox.stripe.payment_methods.attach("pm_card_threeDSecure2Required", params={"customer": ada.id})
    sandbox.stripe.customers.update(ada.id, params={"invoice_settings": {"default_payment_method": card.id}})
    waiting = change(sandbox, subscription, pro, NEW_YEAR)
    invoice = waiting.latest_invoice
    assert waiting.pending_update.expires_at == NEW_YEAR + 23 * 3600
    assert (invoice.attempted, invoice.attempt_count, invoice.payments.data[0].status) == (True, 0, "open")
    intent = invoice.payments.data[0].payment.payment_intent
    assert invoice.confirmation_secret.client_secret.startswith(intent)
    page = sandbox.http.get(f"/i/{invoice.id}").text
    assert f"/3ds/{intent}" in page
    assert sandbox.press(f"/3ds/{intent}", "authenticate").headers["location"] == f"/i/{invoice.id}"
    after = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert (after["items"].data[0].price.id, after.pending_update) == (pro.id, None)
    assert sandbox.told("customer.subscription.pending_update_applied", "invoice.payment_action_required") == [
        "invoice.payment_action_required",
        "customer.subscription.pending_update_applied",
    ]


def test_a_3ds_that_fails_leaves_the_old_plan(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada, starter = buyer(), prices("starter", 2000)
    subscription = subscribe(sandbox, ada, starter)
    card = sandbox.stripe.payment_methods.attach("pm_card_authenticationRequired", params={"customer": ada.id})
    sandbox.stripe.customers.update(ada.id, params={"invoice_settings": {"default_payment_method": card.id}})
    waiting = change(sandbox, subscription, prices("pro", 5000), NEW_YEAR)
    sandbox.press(f"/3ds/{waiting.latest_invoice.payments.data[0].payment.payment_intent}", "refuse")
    after = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert (after.status, after["items"].data[0].price.id) == ("active", starter.id)
    assert "invoice.payment_failed" in sandbox.told()


def test_an_error_if_incomplete_changes_nothing_at_all(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    subscription = subscribe(sandbox, buyer(), prices("starter", 2000))
    before = sandbox.told()
    sandbox.order("settings", fail_next_payments=["expired_card"])
    with pytest.raises(stripe.CardError) as declined:
        change(sandbox, subscription, prices("pro", 5000), NEW_YEAR, payment_behavior="error_if_incomplete")
    assert (declined.value.http_status, declined.value.code) == (402, "expired_card")
    assert [name for name in sandbox.told() if not name.startswith(("price.", "product."))] == [
        name for name in before if not name.startswith(("price.", "product."))
    ]


def test_a_downgrade_now_leaves_credit_on_the_balance_that_the_next_invoice_uses(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada, starter = buyer(), prices("starter", 2000)
    subscription = subscribe(sandbox, ada, prices("pro", 5000))
    changed = change(sandbox, subscription, starter, NEW_YEAR)
    invoice = changed.latest_invoice
    assert (invoice.total, invoice.amount_due, invoice.status, invoice.ending_balance) == (-3000, 0, "paid", -3000)
    assert sandbox.stripe.customers.retrieve(ada.id).balance == -3000
    assert invoice.payments.data == []
    pass_time(ada, 31 * DAY + 3700)
    renewal = sandbox.stripe.invoices.list(params={"customer": ada.id, "limit": 1}).data[0]
    assert (renewal.total, renewal.amount_due, renewal.status) == (2000, 0, "paid")
    assert sandbox.stripe.customers.retrieve(ada.id).balance == -1000


def test_prorations_that_are_not_invoiced_wait_for_the_renewal(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada, pro = buyer(), prices("pro", 5000)
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    change(
        sandbox,
        subscription,
        pro,
        NEW_YEAR,
        proration_behavior="create_prorations",
        payment_behavior="allow_incomplete",
    )
    upcoming = sandbox.stripe.invoices.create_preview(params={"subscription": subscription.id})
    assert [line.amount for line in upcoming.lines.data] == [-2000, 5000, 5000]
    pass_time(ada, 31 * DAY + 3700)
    renewal = sandbox.stripe.invoices.list(params={"subscription": subscription.id, "limit": 1}).data[0]
    assert [line.amount for line in renewal.lines.data] == [-2000, 5000, 5000]
    assert renewal.status == "paid"


def test_monthly_to_yearly_now_keeps_the_anchor_and_prorates_the_year(
    sandbox: Sandbox, buyer: Any, prices: Any
) -> None:
    subscription = subscribe(sandbox, buyer(), prices("starter", 2000))
    changed = change(sandbox, subscription, prices("yearly", 20000, "year"), NEW_YEAR + 10 * DAY)
    item = changed["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (NEW_YEAR, NEW_YEAR + 365 * DAY)
    assert [line.amount for line in changed.latest_invoice.lines.data] == [
        whole(Fraction(-2000 * 21, 31)),
        whole(Fraction(20000 * 355, 365)),
    ]


def test_less_than_can_be_charged_stays_on_the_balance(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada, pro = buyer(), prices("pro", 5000)
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    at = subscription["items"].data[0].current_period_end - 3600
    shown = preview(sandbox, subscription, pro, at)
    invoice = change(sandbox, subscription, pro, at).latest_invoice
    assert (shown.total, shown.amount_due) == (invoice.total, invoice.amount_due) == (4, 0)
    assert (invoice.status, invoice.ending_balance) == ("paid", 4)
    pass_time(ada, 31 * DAY + 3600)
    assert sandbox.stripe.invoices.list(params={"customer": ada.id, "limit": 1}).data[0].amount_paid == 5004


def test_changing_a_price_without_a_quantity_makes_it_one(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    subscription = subscribe(sandbox, buyer(), prices("starter", 2000))
    item = subscription["items"].data[0].id
    more = sandbox.stripe.subscriptions.update(subscription.id, params={"items": [{"id": item, "quantity": 3}]})
    assert more["items"].data[0].quantity == 3
    pro = prices("pro", 5000).id
    changed = sandbox.stripe.subscriptions.update(subscription.id, params={"items": [{"id": item, "price": pro}]})
    assert changed["items"].data[0].quantity == 1


def test_a_change_outside_of_the_period_or_of_another_currency_is_refused(
    sandbox: Sandbox, buyer: Any, prices: Any
) -> None:
    subscription = subscribe(sandbox, buyer(), prices("starter", 2000))
    with pytest.raises(stripe.InvalidRequestError, match="outside of the current billing period"):
        change(sandbox, subscription, prices("pro", 5000), NEW_YEAR - 1)
    product = sandbox.stripe.products.create(params={"name": "Euro"})
    euro = sandbox.stripe.prices.create(
        params={"product": product.id, "currency": "eur", "unit_amount": 5, "recurring": {"interval": "month"}}
    )
    with pytest.raises(stripe.InvalidRequestError, match="another currency"):
        change(sandbox, subscription, euro, NEW_YEAR)
    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        change(sandbox, subscription, prices("pack", 900, None), NEW_YEAR)
    with pytest.raises(stripe.InvalidRequestError, match="cannot pass description"):
        change(sandbox, subscription, prices("scale", 9900), NEW_YEAR, description="x")


def test_a_first_payment_that_fails_or_waits_leaves_it_incomplete(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada = buyer("pm_card_chargeCustomerFail")
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    assert (subscription.status, subscription.latest_invoice.status) == ("incomplete", "open")
    pass_time(ada, DAY)
    after = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert (after.status, after.ended_at) == ("incomplete_expired", NEW_YEAR + 23 * 3600)
    ben = buyer("pm_card_threeDSecure2Required")
    waiting = subscribe(sandbox, ben, prices("pro", 5000))
    assert waiting.status == "incomplete"
    sandbox.press(f"/3ds/{waiting.latest_invoice.payments.data[0].payment.payment_intent}", "authenticate")
    assert sandbox.stripe.subscriptions.retrieve(waiting.id).status == "active"


def test_cancel_at_the_end_can_be_taken_back_until_then(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    update = sandbox.stripe.subscriptions.update
    leaving = update(
        subscription.id, params={"cancel_at_period_end": True, "cancellation_details": {"feedback": "too_expensive"}}
    )
    assert (leaving.status, leaving.cancel_at) == ("active", leaving["items"].data[0].current_period_end)
    assert update(subscription.id, params={"cancel_at_period_end": False}).cancel_at is None
    update(subscription.id, params={"cancel_at_period_end": True})
    pass_time(ada, 31 * DAY)
    ended = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", leaving.cancel_at)
    assert sandbox.told("customer.subscription.deleted") == ["customer.subscription.deleted"]
    assert len(sandbox.stripe.invoices.list(params={"customer": ada.id}).data) == 1


def test_cancel_now_ends_it_now(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    ended = sandbox.stripe.subscriptions.cancel(subscription.id, params={"invoice_now": False, "prorate": False})
    assert ended.status == "canceled"
    assert sandbox.stripe.subscriptions.list(params={"customer": ada.id}).data == []
    assert len(sandbox.stripe.subscriptions.list(params={"customer": ada.id, "status": "all"}).data) == 1
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.stripe.subscriptions.cancel(subscription.id)


# ---------------------------------------------------------------- arithmetic


@pytest.mark.parametrize(
    ("exact", "cents"),
    [("-2499.996", -2500), ("24999.997", 25000), ("-166.35", -166), ("-2.5", -3), ("4.5", 4), ("0", 0), ("0.51", 1)],
)
def test_shares_of_cents_round_as_recorded(exact: str, cents: int) -> None:
    assert whole(Fraction(exact)) == cents


def test_a_31st_is_clamped_and_comes_back() -> None:
    anchor = NEW_YEAR + 30 * DAY  # 31 January
    days = [(stepped(anchor, MONTH, n) - NEW_YEAR) // DAY for n in range(4)]
    assert days == [30, 58, 89, 119]  # 31 January, 28 February, 31 March, 30 April


@given(st.integers(0, 400 * DAY), st.integers(0, 1500 * DAY), st.sampled_from(["month", "year"]))
def test_periods_follow_each_other_without_a_gap(offset: int, later: int, interval: str) -> None:
    anchor, rhythm = NEW_YEAR + offset, {"interval": interval, "interval_count": 1}
    start, end = period_at(anchor, rhythm, anchor + later)
    assert start <= anchor + later < end
    assert period_at(anchor, rhythm, end)[0] == end
