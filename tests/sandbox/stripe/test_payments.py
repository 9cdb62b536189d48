"""Money that comes and goes: invoices by hand, payments, refunds, credit notes, disputes, and the portal."""

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import NEW_YEAR, Sandbox
from tests.sandbox.stripe.test_subscriptions import subscribe


def top_up(sandbox: Sandbox, customer: stripe.Customer, price: stripe.Price) -> stripe.Invoice:
    """An automatic top-up, in the product's calls, up to the one that pays."""
    invoice = sandbox.stripe.invoices.create(
        params={
            "customer": customer.id,
            "collection_method": "charge_automatically",
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "metadata": {"kind": "topup", "topup_id": "9"},
        }
    )
    sandbox.stripe.invoice_items.create(
        params={"customer": customer.id, "invoice": invoice.id, "pricing": {"price": price.id}, "quantity": 3}
    )
    return sandbox.stripe.invoices.finalize_invoice(invoice.id, params={"auto_advance": False})


def charge_of(sandbox: Sandbox, customer: stripe.Customer) -> stripe.Charge:
    return sandbox.stripe.charges.list(params={"customer": customer.id}).data[0]


def test_an_automatic_top_up_is_an_invoice_that_is_paid_off_session(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    invoice = top_up(sandbox, buyer(), prices("pack", 900, None))
    assert (invoice.status, invoice.amount_due, invoice.billing_reason) == ("open", 2700, "manual")
    paid = sandbox.stripe.invoices.pay(invoice.id, params={"off_session": True, "expand": ["payments"]})
    assert (paid.status, paid.amount_paid, paid.parent) == ("paid", 2700, None)
    (line,) = sandbox.stripe.invoices.line_items.list(invoice.id, params={"limit": 100}).data
    assert line.parent.invoice_item_details.proration is False  # type: ignore[union-attr]
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        sandbox.stripe.invoices.pay(invoice.id)


@pytest.mark.parametrize(
    ("card", "code"),
    [("pm_card_chargeCustomerFail", "card_declined"), ("pm_card_authenticationRequired", "authentication_required")],
)
def test_a_top_up_that_is_declined_off_session_is_voided(
    sandbox: Sandbox, buyer: Any, prices: Any, card: str, code: str
) -> None:
    invoice = top_up(sandbox, buyer(card), prices("pack", 900, None))
    with pytest.raises(stripe.CardError) as declined:
        sandbox.stripe.invoices.pay(invoice.id, params={"off_session": True})
    assert (declined.value.http_status, declined.value.code) == (402, code)
    assert declined.value.error.payment_intent.status == "requires_payment_method"  # type: ignore[union-attr]
    assert sandbox.stripe.invoices.void_invoice(invoice.id).status == "void"
    assert sandbox.told("invoice.payment_failed", "invoice.voided", "payment_intent.canceled") == [
        "invoice.payment_failed",
        "payment_intent.canceled",
        "invoice.voided",
    ]


def test_an_invoice_shows_ten_lines_and_lists_them_all(sandbox: Sandbox, buyer: Any) -> None:
    ada = buyer()
    invoice = sandbox.stripe.invoices.create(params={"customer": ada.id})
    for n in range(12):
        sandbox.stripe.invoice_items.create(
            params={"customer": ada.id, "invoice": invoice.id, "amount": 100 + n, "currency": "usd"}
        )
    seen = sandbox.stripe.invoices.retrieve(invoice.id)
    assert (len(seen.lines.data), seen.lines.has_more, seen.total) == (10, True, sum(range(100, 112)))
    assert len(list(sandbox.stripe.invoices.line_items.list(invoice.id).auto_paging_iter())) == 12


def test_a_bare_payment_is_declined_and_authenticated(sandbox: Sandbox) -> None:
    create = sandbox.stripe.payment_intents.create
    asked: Any = {"amount": 500, "currency": "usd", "confirm": True}
    with pytest.raises(stripe.CardError, match="insufficient funds") as declined:
        create(params=asked | {"payment_method": "pm_card_chargeDeclinedInsufficientFunds"})
    assert declined.value.error.decline_code == "insufficient_funds"  # type: ignore[union-attr]
    waits = create(
        params=asked | {"payment_method": "pm_card_threeDSecure2Required", "return_url": "http://x.example/"}
    )
    assert waits.status == "requires_action"
    assert sandbox.press(f"/3ds/{waits.id}", "authenticate").headers["location"] == "http://x.example/"
    assert sandbox.stripe.payment_intents.retrieve(waits.id).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="no longer supported"):
        create(params=asked | {"payment_method_types": ["card"]})
    idle = create(params={"amount": 500, "currency": "usd"})
    assert sandbox.stripe.payment_intents.cancel(idle.id).status == "canceled"


def test_refunds_add_up_to_the_charge_and_no_further(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscribe(sandbox, ada, prices("starter", 2000))
    charge = charge_of(sandbox, ada)
    refund = sandbox.stripe.refunds.create
    part = refund(params={"payment_intent": str(charge.payment_intent), "amount": 500, "metadata": {"by": "op"}})
    assert (part.status, part.amount, part.charge) == ("succeeded", 500, charge.id)
    with pytest.raises(stripe.InvalidRequestError, match=r"\(1501\) is greater than unrefunded amount"):
        refund(params={"charge": charge.id, "amount": 1501})
    refund(params={"charge": charge.id})
    seen = sandbox.stripe.charges.retrieve(charge.id, params={"expand": ["refunds"]})
    assert (seen.amount_refunded, seen.refunded, len(seen.refunds.data)) == (2000, True, 2)  # type: ignore[union-attr]
    with pytest.raises(stripe.InvalidRequestError, match="already been refunded"):
        refund(params={"charge": charge.id})
    assert sandbox.told("charge.refunded", "refund.created") == ["charge.refunded", "refund.created"] * 2


def test_a_refund_from_the_dashboard_may_fail_later(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscribe(sandbox, ada, prices("starter", 2000))
    charge = charge_of(sandbox, ada)
    made = sandbox.order("refunds", charge=charge.id, amount=700)
    assert sandbox.order("refunds", fail=made["id"])["status"] == "failed"
    seen = sandbox.stripe.charges.retrieve(charge.id)
    assert (seen.amount_refunded, seen.refunded) == (0, False)
    assert "refund.failed" in sandbox.told()


@pytest.mark.parametrize(("outcome", "events"), [("won", ["charge.dispute.funds_reinstated"]), ("lost", [])])
def test_a_dispute_is_opened_and_decided(
    sandbox: Sandbox, buyer: Any, prices: Any, outcome: str, events: list[str]
) -> None:
    ada = buyer()
    subscribe(sandbox, ada, prices("starter", 2000))
    charge = charge_of(sandbox, ada)
    dispute = sandbox.order("disputes", charge=charge.id)
    assert (dispute["status"], dispute["amount"]) == ("needs_response", 2000)
    assert sandbox.stripe.charges.retrieve(charge.id).disputed
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        sandbox.stripe.refunds.create(params={"charge": charge.id})
    sandbox.order("disputes", dispute=dispute["id"], outcome=outcome)
    assert sandbox.stripe.disputes.retrieve(dispute["id"]).status == outcome
    told = [name for name in sandbox.told() if "dispute" in name]
    assert told == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        *events,
        "charge.dispute.closed",
    ]


def test_a_dispute_is_answered_or_given_up_through_the_api(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer("pm_card_createDispute")
    subscribe(sandbox, ada, prices("starter", 2000))
    (first,) = sandbox.stripe.disputes.list().data
    won = sandbox.stripe.disputes.update(first.id, params={"evidence": {"uncategorized_text": "winning_evidence"}})
    assert won.status == "won"
    subscribe(sandbox, ada, prices("pro", 5000))
    second = sandbox.stripe.disputes.list().data[0]
    assert sandbox.stripe.disputes.close(second.id).status == "lost"
    assert sandbox.stripe.invoices.list(params={"customer": ada.id}).data[0].status == "paid"


def test_an_inquiry_takes_no_money_and_leaves_the_charge_refundable(sandbox: Sandbox) -> None:
    intent = sandbox.stripe.payment_intents.create(
        params={"amount": 500, "currency": "usd", "payment_method": "pm_card_createDisputeInquiry", "confirm": True}
    )
    (inquiry,) = sandbox.stripe.disputes.list(params={"payment_intent": intent.id}).data
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert "charge.dispute.funds_withdrawn" not in sandbox.told()
    assert sandbox.stripe.disputes.close(inquiry.id).status == "warning_closed"
    assert sandbox.stripe.refunds.create(params={"payment_intent": intent.id}).amount == 500


def test_an_invoice_that_somebody_pays_waits_for_authentication(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    invoice = top_up(sandbox, buyer("pm_card_threeDSecure2Required"), prices("pack", 900, None))
    with pytest.raises(stripe.CardError) as waits:
        sandbox.stripe.invoices.pay(invoice.id)
    assert waits.value.code == "invoice_payment_intent_requires_action"
    assert waits.value.error.payment_intent.status == "requires_action"  # type: ignore[union-attr]
    assert sandbox.told("invoice.payment_action_required") == ["invoice.payment_action_required"]


def test_a_credit_note_gives_back_to_the_card_and_the_balance(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    invoice = subscription.latest_invoice.id
    note = sandbox.stripe.credit_notes.create(
        params={"invoice": invoice, "amount": 600, "refund_amount": 400, "credit_amount": 200, "reason": "order_change"}
    )
    assert (note.type, note.refunds[0].amount_refunded) == ("post_payment", 400)
    assert charge_of(sandbox, ada).amount_refunded == 400
    assert sandbox.stripe.customers.retrieve(ada.id).balance == -200
    assert sandbox.stripe.invoices.retrieve(invoice).post_payment_credit_notes_amount == 600
    with pytest.raises(stripe.InvalidRequestError, match="greater than what is left"):
        sandbox.stripe.credit_notes.create(params={"invoice": invoice, "amount": 1401, "refund_amount": 1401})
    with pytest.raises(stripe.InvalidRequestError, match="must equal"):
        sandbox.stripe.credit_notes.create(params={"invoice": invoice, "amount": 100})


def test_a_credit_note_lowers_what_an_open_invoice_asks(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    invoice = top_up(sandbox, buyer(), prices("pack", 900, None))
    sandbox.stripe.credit_notes.create(params={"invoice": invoice.id, "amount": 700})
    assert sandbox.stripe.invoices.pay(invoice.id).amount_paid == 2000


def test_an_uncollectible_invoice_is_written_off(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    invoice = top_up(sandbox, buyer(), prices("pack", 900, None))
    assert sandbox.stripe.invoices.mark_uncollectible(invoice.id).status == "uncollectible"
    assert "invoice.marked_uncollectible" in sandbox.told()


def test_an_invoice_has_a_page_and_a_pdf(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    invoice = top_up(sandbox, buyer(), prices("pack", 900, None))
    assert "Due: 27.00 USD" in sandbox.http.get(f"/i/{invoice.id}").text
    assert "Your card was declined" in sandbox.press(f"/i/{invoice.id}", "pay", number="4000000000000341").text
    pdf = sandbox.http.get(f"/i/{invoice.id}/pdf")
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert sandbox.http.get("/i/in_none").status_code == 404


# ---------------------------------------------------------------- the portal


def test_the_portal_shows_invoices_and_takes_a_new_card(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    configuration = sandbox.stripe.billing_portal.configurations.create(
        params={
            "features": {
                "invoice_history": {"enabled": True},
                "payment_method_update": {"enabled": True},
                "customer_update": {"enabled": True, "allowed_updates": ["email", "tax_id"]},
                "subscription_cancel": {"enabled": False},
                "subscription_update": {"enabled": False},
            }
        }
    )
    session = sandbox.stripe.billing_portal.sessions.create(
        params={
            "customer": ada.id,
            "return_url": "http://oxygen.example/billing",
            "configuration": configuration.id,
            "flow_data": {
                "type": "payment_method_update",
                "after_completion": {"type": "redirect", "redirect": {"return_url": "http://oxygen.example/done"}},
            },
        }
    )
    page = sandbox.http.get(f"/p/session/{session.id}").text
    assert subscription.latest_invoice.number in page
    assert "•••• 4242" in page
    assert "was declined" in sandbox.press(session.url, "card", number="4000000000000002").text
    answer = sandbox.press(session.url, "card", number="5555555555554444")
    assert answer.headers["location"] == "http://oxygen.example/done"
    customer = sandbox.stripe.customers.retrieve(ada.id, params={"expand": ["invoice_settings.default_payment_method"]})
    assert customer.invoice_settings.default_payment_method.card.last4 == "4444"  # type: ignore[union-attr]
    assert "payment_method.attached" in sandbox.told()


def test_the_portal_has_a_configuration_of_its_own_and_refuses_what_it_cannot(sandbox: Sandbox, buyer: Any) -> None:
    ada = buyer()
    session = sandbox.stripe.billing_portal.sessions.create(params={"customer": ada.id})
    (default,) = sandbox.stripe.billing_portal.configurations.list().data
    assert (default.is_default, session.configuration) == (True, default.id)
    assert "Complete authentication" in sandbox.press(session.url, "card", number="4000002500003155").text
    assert "•••• 3155" in sandbox.press(session.url, "authenticate", number="4000002500003155").text
    with pytest.raises(stripe.InvalidRequestError, match="does not know"):
        sandbox.stripe.billing_portal.configurations.create(
            params={"features": {"subscription_cancel": {"enabled": True}}}
        )


# ---------------------------------------------------------------- customers and cards


def test_a_card_is_attached_detached_and_refused(sandbox: Sandbox) -> None:
    ada = sandbox.stripe.customers.create(params={})
    card = sandbox.stripe.payment_methods.create(params={"type": "card", "card": {"token": "tok_visa"}})
    sandbox.stripe.payment_methods.attach(card.id, params={"customer": ada.id})
    sandbox.stripe.customers.update(ada.id, params={"invoice_settings": {"default_payment_method": card.id}})
    assert sandbox.stripe.payment_methods.detach(card.id).customer is None
    assert sandbox.stripe.customers.retrieve(ada.id).invoice_settings.default_payment_method is None  # type: ignore[union-attr]
    with pytest.raises(stripe.CardError, match="insufficient funds"):
        sandbox.stripe.payment_methods.attach("pm_card_chargeDeclinedInsufficientFunds", params={"customer": ada.id})
    setup = sandbox.stripe.setup_intents.create(
        params={"customer": ada.id, "payment_method": "pm_card_visa", "confirm": True}
    )
    assert (setup.status, len(sandbox.stripe.customers.payment_methods.list(ada.id).data)) == ("succeeded", 1)


def test_a_deleted_customer_says_so_and_buys_nothing_more(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    assert sandbox.stripe.customers.delete(ada.id).deleted
    assert sandbox.stripe.customers.retrieve(ada.id).deleted
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        sandbox.stripe.billing_portal.sessions.create(params={"customer": ada.id})
    assert sandbox.told("customer.deleted") == ["customer.deleted"]


def test_the_balance_of_a_customer_has_a_history(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    ada = buyer()
    entry = sandbox.stripe.customers.balance_transactions.create(ada.id, params={"amount": -500, "currency": "usd"})
    assert (entry.type, entry.ending_balance) == ("adjustment", -500)
    invoice = subscribe(sandbox, ada, prices("starter", 2000)).latest_invoice
    assert (invoice.starting_balance, invoice.amount_due, invoice.ending_balance) == (-500, 1500, 0)
    history = sandbox.stripe.customers.balance_transactions.list(ada.id).data
    assert [(each.type, each.amount) for each in history] == [("applied_to_invoice", 500), ("adjustment", -500)]
    assert history[0].created == NEW_YEAR
