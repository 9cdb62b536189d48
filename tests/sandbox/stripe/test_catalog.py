"""What is sold, and that each thing can be read, listed, described and taken away as Stripe does it."""

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import Sandbox
from tests.sandbox.stripe.test_subscriptions import subscribe


def test_products_and_prices_are_made_changed_listed_and_taken_away(sandbox: Sandbox) -> None:
    v = sandbox.stripe
    pro = v.products.create(params={"id": "prod_pro", "name": "Pro", "metadata": {"credits": "500", "old": "1"}})
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        v.products.create(params={"id": "prod_pro", "name": "Pro"})
    old = v.prices.create(params={"product": pro.id, "currency": "usd", "unit_amount": 5000, "lookup_key": "pro"})
    new = v.prices.create(
        params={
            "product": pro.id,
            "currency": "usd",
            "unit_amount": 6000,
            "lookup_key": "pro",
            "transfer_lookup_key": True,
        }
    )
    assert [each.id for each in v.prices.list(params={"lookup_keys": ["pro"]}).data] == [new.id]
    assert v.prices.retrieve(old.id).lookup_key is None
    assert v.prices.update(old.id, params={"active": False}).active is False
    changed = v.products.update(pro.id, params={"default_price": new.id, "metadata": {"old": ""}})
    assert changed.metadata.to_dict() == {"credits": "500"}
    assert v.products.retrieve(pro.id).default_price == new.id
    with pytest.raises(stripe.InvalidRequestError, match="cannot be deleted"):
        v.products.delete(pro.id)
    idle = v.products.create(params={"name": "Idle"})
    assert v.products.delete(idle.id).deleted
    assert [each.id for each in v.products.list(params={"active": True}).data] == [pro.id]
    assert sandbox.told("product.updated", "price.updated", "product.deleted") == [
        "price.updated",
        "product.updated",
        "product.deleted",
    ]


def test_an_inactive_price_is_not_sold(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    price = prices("starter", 2000)
    sandbox.stripe.prices.update(price.id, params={"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        subscribe(sandbox, buyer(), price)


def test_all_that_a_purchase_leaves_can_be_read_and_listed(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    v, ada = sandbox.stripe, buyer()
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    (item,) = v.subscription_items.list(params={"subscription": subscription.id}).data
    assert v.subscription_items.retrieve(item.id).id == item.id
    (intent,) = v.payment_intents.list(params={"customer": ada.id}).data
    assert v.payment_intents.update(intent.id, params={"metadata": {"a": "b"}}).metadata["a"] == "b"
    charge = v.charges.update(str(intent.latest_charge), params={"description": "First"})
    assert v.balance_transactions.retrieve(str(charge.balance_transaction)).net == 2000
    (paid,) = v.invoice_payments.list(params={"invoice": subscription.latest_invoice.id}).data
    assert v.invoice_payments.retrieve(paid.id).status == "paid"
    (invoice,) = v.invoices.list(params={"customer": ada.id, "expand": ["data.payments"]}).data
    assert invoice.payments.data[0].id == paid.id  # type: ignore[union-attr]
    refund = v.refunds.create(params={"charge": charge.id, "amount": 5})
    assert v.refunds.update(refund.id, params={"metadata": {"why": "test"}}).metadata["why"] == "test"  # type: ignore[index]
    assert [each.id for each in v.refunds.list(params={"charge": charge.id}).data] == [v.refunds.retrieve(refund.id).id]
    note = v.credit_notes.create(params={"invoice": invoice.id, "amount": 10, "credit_amount": 10})
    assert v.credit_notes.retrieve(note.id).id == v.credit_notes.list(params={"invoice": invoice.id}).data[0].id
    assert v.credit_notes.preview(params={"invoice": invoice.id, "amount": 7, "credit_amount": 7}).total == 7
    event = v.events.list(params={"type": "credit_note.created"}).data[0]
    assert v.events.retrieve(event.id).data.object["id"] == note.id
    (card,) = v.payment_methods.list(params={"customer": ada.id, "type": "card"}).data
    v.payment_methods.update(card.id, params={"metadata": {"of": "Ada"}})
    assert v.payment_methods.retrieve(card.id).metadata["of"] == "Ada"  # type: ignore[index]
    assert len(v.test_helpers.test_clocks.list().data) == 1
    assert v.accounts.retrieve_current().id == "acct_sandbox"


def test_invoices_and_their_items_are_edited_while_they_are_drafts(sandbox: Sandbox, buyer: Any) -> None:
    v, ada = sandbox.stripe, buyer()
    loose = v.invoice_items.create(params={"customer": ada.id, "amount": 100, "currency": "usd"})
    assert v.invoice_items.retrieve(loose.id).invoice is None
    spare = v.invoice_items.create(params={"customer": ada.id, "amount": 900, "currency": "usd"})
    assert v.invoice_items.delete(spare.id).deleted
    invoice = v.invoices.create(params={"customer": ada.id, "pending_invoice_items_behavior": "include"})
    assert (invoice.total, v.invoice_items.list(params={"pending": True}).data) == (100, [])
    assert v.invoices.update(invoice.id, params={"description": "Thanks"}).description == "Thanks"
    unwanted = v.invoices.create(params={"customer": ada.id})
    assert v.invoices.delete(unwanted.id).deleted
    v.invoices.finalize_invoice(invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="draft"):
        v.invoices.update(invoice.id, params={"description": "Too late"})
    with pytest.raises(stripe.InvalidRequestError, match="attached to an invoice"):
        v.invoice_items.delete(loose.id)


def test_payments_and_cards_are_confirmed_in_a_second_step(sandbox: Sandbox) -> None:
    v = sandbox.stripe
    intent = v.payment_intents.create(params={"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        v.payment_intents.confirm(intent.id)
    assert v.payment_intents.confirm(intent.id, params={"payment_method": "pm_card_visa"}).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="status of succeeded"):
        v.payment_intents.confirm(intent.id)
    setup = v.setup_intents.create(params={})
    assert v.setup_intents.confirm(setup.id, params={"payment_method": "pm_card_visa"}).status == "succeeded"
    assert v.setup_intents.list().data[0].id == v.setup_intents.retrieve(setup.id).id
    with pytest.raises(stripe.CardError):
        v.setup_intents.create(params={"payment_method": "pm_card_chargeDeclined", "confirm": True})


def test_checkouts_schedules_and_portal_configurations_are_found_again(
    sandbox: Sandbox, buyer: Any, prices: Any
) -> None:
    v, ada, starter = sandbox.stripe, buyer(), prices("starter", 2000)
    session = v.checkout.sessions.create(
        params={
            "mode": "subscription",
            "customer": ada.id,
            "line_items": [{"price": starter.id, "quantity": 1}],
            "success_url": "http://oxygen.example/",
        }
    )
    assert v.checkout.sessions.list(params={"customer": ada.id}).data[0].id == session.id
    assert v.checkout.sessions.line_items.list(session.id).data[0].quantity == 1
    subscription = subscribe(sandbox, ada, starter)
    schedule = v.subscription_schedules.create(params={"from_subscription": subscription.id})
    assert v.subscription_schedules.list(params={"customer": ada.id}).data[0].id == schedule.id
    made = v.billing_portal.configurations.create(params={"features": {"invoice_history": {"enabled": True}}})
    v.billing_portal.configurations.update(made.id, params={"active": False})
    assert v.billing_portal.configurations.retrieve(made.id).active is False


def test_customers_are_found_by_email_and_described(sandbox: Sandbox) -> None:
    v = sandbox.stripe
    ada, ben = (v.customers.create(params={"email": f"{name}@acme.example"}) for name in ("ada", "ben"))
    assert [each.id for each in v.customers.list(params={"email": "ben@acme.example"}).data] == [ben.id]
    v.customers.update(ada.id, params={"address": {"city": "Lisboa", "country": "PT"}, "phone": "1"})
    seen = v.customers.retrieve(ada.id, params={"expand": ["subscriptions"]})
    assert (seen.address.city, seen.subscriptions.data) == ("Lisboa", [])  # type: ignore[union-attr]
    assert v.customers.update(ada.id, params={"phone": "", "metadata": {"org_id": "7"}}).phone is None
