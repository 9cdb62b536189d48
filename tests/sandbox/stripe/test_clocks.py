"""What time brings: renewals, tries to be paid, the end of trying; by test clocks and by the control API."""

from itertools import pairwise
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import NEW_YEAR, Sandbox
from tests.sandbox.stripe.test_subscriptions import DAY, subscribe


def test_a_renewal_is_drafted_at_the_boundary_and_paid_an_hour_later(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    pass_time(ada, 31 * DAY)
    (draft,) = sandbox.stripe.invoices.list(params={"customer": ada.id, "status": "draft"}).data
    assert draft.automatically_finalizes_at == NEW_YEAR + 31 * DAY + 3600
    item = sandbox.stripe.subscriptions.retrieve(subscription.id)["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (NEW_YEAR + 31 * DAY, NEW_YEAR + 59 * DAY)
    pass_time(ada, 3600)
    paid = sandbox.stripe.invoices.retrieve(draft.id)
    assert (paid.status, paid.billing_reason, paid.amount_paid) == ("paid", "subscription_cycle", 2000)
    line = paid.lines.data[0]
    assert (line.period.start, line.period.end) == (item.current_period_start, item.current_period_end)
    assert sandbox.told("invoice.paid") == ["invoice.paid", "invoice.paid"]


def test_many_months_pass_in_their_order(sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any) -> None:
    ada = buyer(at=NEW_YEAR + 30 * DAY)  # 31 January
    subscribe(sandbox, ada, prices("starter", 2000))
    for _ in range(6):
        pass_time(ada, 61 * DAY)
    rows = sandbox.stripe.invoices.list(params={"customer": ada.id, "limit": 100}).data[::-1]
    assert [row.status for row in rows] == ["paid"] * len(rows)
    periods = [row.lines.data[0].period for row in rows]
    assert all(one.end == two.start for one, two in pairwise(periods))
    assert len(rows) == 13


def test_a_renewal_that_fails_is_tried_three_times_more_and_then_canceled(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    card = sandbox.stripe.payment_methods.attach("pm_card_chargeCustomerFail", params={"customer": ada.id})
    sandbox.stripe.customers.update(ada.id, params={"invoice_settings": {"default_payment_method": card.id}})
    pass_time(ada, 31 * DAY + 3600)
    past_due = sandbox.stripe.subscriptions.retrieve(subscription.id, params={"expand": ["latest_invoice"]})
    invoice: Any = past_due.latest_invoice
    assert (past_due.status, invoice.status, invoice.attempt_count) == ("past_due", "open", 1)
    assert invoice.next_payment_attempt == NEW_YEAR + 31 * DAY + 3600 + 3 * DAY
    pass_time(ada, 8 * DAY)
    assert sandbox.stripe.invoices.retrieve(invoice.id).attempt_count == 3
    pass_time(ada, 7 * DAY)
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "canceled"
    assert sandbox.told("invoice.payment_failed") == ["invoice.payment_failed"] * 4
    assert sandbox.stripe.invoices.retrieve(invoice.id).status == "open"


def test_a_renewal_that_waits_for_3ds_is_dunned_like_one_that_failed(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    card = sandbox.stripe.payment_methods.attach("pm_card_authenticationRequired", params={"customer": ada.id})
    sandbox.stripe.customers.update(ada.id, params={"invoice_settings": {"default_payment_method": card.id}})
    pass_time(ada, 31 * DAY + 3600)
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "past_due"
    assert sandbox.told("invoice.payment_action_required") == ["invoice.payment_action_required"]
    pass_time(ada, 15 * DAY)
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "canceled"


@pytest.mark.parametrize("outcome", ["unpaid", "past_due"])
def test_what_becomes_of_one_that_nobody_pays_is_a_setting(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any, outcome: str
) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    sandbox.order("settings", after_retries=outcome, fail_next_payments=["generic_decline"] * 4)
    pass_time(ada, 47 * DAY)
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == outcome


def test_a_late_payment_makes_it_active_again(sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    sandbox.order("settings", fail_next_payments=["generic_decline"])
    pass_time(ada, 31 * DAY + 3600)
    (invoice,) = sandbox.stripe.invoices.list(params={"customer": ada.id, "status": "open"}).data
    assert "Pay invoice" in sandbox.http.get(f"/i/{invoice.id}").text
    answer = sandbox.press(f"/i/{invoice.id}", "pay", number="4242424242424242")
    assert "Status: paid" in answer.text
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "active"


def test_a_test_clock_goes_forwards_by_two_intervals_at_most(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscribe(sandbox, ada, prices("starter", 2000))
    advance = sandbox.stripe.test_helpers.test_clocks.advance
    with pytest.raises(stripe.InvalidRequestError, match="two intervals"):
        advance(ada.test_clock, params={"frozen_time": NEW_YEAR + 63 * DAY})
    with pytest.raises(stripe.InvalidRequestError, match="after"):
        advance(ada.test_clock, params={"frozen_time": NEW_YEAR})
    for n in range(2):
        sandbox.stripe.customers.create(params={"test_clock": ada.test_clock, "name": str(n)})
    with pytest.raises(stripe.InvalidRequestError, match="up to 3 customers"):
        sandbox.stripe.customers.create(params={"test_clock": ada.test_clock})


def test_a_deleted_clock_takes_its_customers_with_it(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    sandbox.stripe.test_helpers.test_clocks.delete(ada.test_clock)
    assert sandbox.stripe.customers.retrieve(ada.id).deleted
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "canceled"


def test_the_main_time_is_moved_by_the_control_api_and_renews_what_has_no_clock(sandbox: Sandbox, prices: Any) -> None:
    ada = sandbox.stripe.customers.create(
        params={
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
    )
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    end = subscription["items"].data[0].current_period_end
    assert sandbox.order("clock", to=end + 3600)["now"] == end + 3600
    assert [each["created"] for each in sandbox.events() if each["type"] == "invoice.paid"][-1] == end + 3600
    renewed = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert renewed["items"].data[0].current_period_start == end
    answer = sandbox.http.post("/_emu/clock", json={"to": end})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Time only moves forwards.")
