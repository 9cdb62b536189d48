"""Checkout, as a browser without scripts goes through it: what is bought, declined, authenticated, left, expired."""

from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

from tests.sandbox.stripe.local import Sandbox

BACK = "http://oxygen.example/return?session_id={CHECKOUT_SESSION_ID}"
CARD, DECLINED, SECURE = "4242 4242 4242 4242", "4000000000000002", "4000002500003155"


@pytest.fixture
def acme(sandbox: Sandbox) -> stripe.Customer:
    return sandbox.stripe.customers.create(params={"email": "ada@acme.example", "metadata": {"org_id": "7"}})


def plan(sandbox: Sandbox, customer: stripe.Customer, price: stripe.Price) -> stripe.checkout.Session:
    return sandbox.stripe.checkout.sessions.create(
        params={
            "mode": "subscription",
            "customer": customer.id,
            "client_reference_id": "7",
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": BACK,
            "cancel_url": "http://oxygen.example/plans",
            "metadata": {"org_id": "7"},
            "subscription_data": {
                "metadata": {"org_id": "7", "plan": "starter"},
                "billing_mode": {"type": "flexible"},
            },
            "payment_method_collection": "always",
        }
    )


def pack(sandbox: Sandbox, customer: stripe.Customer, price: stripe.Price, **more: Any) -> stripe.checkout.Session:
    about = {"kind": "topup", "topup_id": "9"}
    asked: Any = {
        "mode": "payment",
        "customer": customer.id,
        "line_items": [{"price": price.id, "quantity": 2}],
        "success_url": BACK,
        "cancel_url": "http://oxygen.example/plans",
        "payment_intent_data": {"metadata": about, "setup_future_usage": "off_session"},
        "invoice_creation": {"enabled": True, "invoice_data": {"metadata": about}},
        "metadata": about,
        **more,
    }
    return sandbox.stripe.checkout.sessions.create(params=asked)


def test_a_plan_is_bought_on_the_page_and_the_buyer_comes_back(
    sandbox: Sandbox, acme: stripe.Customer, prices: Any
) -> None:
    session = plan(sandbox, acme, prices("starter", 2000))
    page = sandbox.http.get(urlsplit(str(session.url)).path)
    assert "Stripe sandbox: no real money" in page.text
    assert "1 × Starter: 20.00 USD" in page.text
    answer = sandbox.press(str(session.url), "pay", number=CARD)
    assert (answer.status_code, answer.headers["location"]) == (303, BACK.replace("{CHECKOUT_SESSION_ID}", session.id))
    done = sandbox.stripe.checkout.sessions.retrieve(
        session.id, params={"expand": ["subscription.latest_invoice", "line_items"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    subscription: Any = done.subscription
    assert (subscription.status, subscription.latest_invoice.status) == ("active", "paid")
    assert subscription.metadata.to_dict() == {"org_id": "7", "plan": "starter"}
    assert subscription.default_payment_method is not None
    assert done.line_items.data[0].amount_total == 2000  # type: ignore[union-attr]
    assert sandbox.told()[-1] == "checkout.session.completed"
    assert sandbox.press(f"/c/pay/{session.id}", "pay", number=CARD).status_code == 410
    assert sandbox.http.get(f"/c/pay/{session.id}").status_code == 410


def test_a_top_up_brings_an_invoice_and_a_payment_with_its_metadata(
    sandbox: Sandbox, acme: stripe.Customer, prices: Any
) -> None:
    session = pack(sandbox, acme, prices("pack", 900, None))
    assert (session.amount_total, session.status) == (1800, "open")
    sandbox.press(str(session.url), "pay", number=CARD)
    done = sandbox.stripe.checkout.sessions.retrieve(session.id, params={"expand": ["payment_intent", "invoice"]})
    intent: Any = done.payment_intent
    invoice: Any = done.invoice
    assert (intent.status, intent.amount_received, intent.metadata["topup_id"]) == ("succeeded", 1800, "9")
    assert (invoice.status, invoice.amount_paid, invoice.metadata["topup_id"]) == ("paid", 1800, "9")
    assert (invoice.parent, invoice.lines.data[0].quantity) == (None, 2)
    about: Any = {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    assert [each.invoice for each in sandbox.stripe.invoice_payments.list(params=about).data] == [invoice.id]


def test_a_top_up_without_an_invoice_is_a_bare_payment(sandbox: Sandbox, acme: stripe.Customer, prices: Any) -> None:
    session = pack(sandbox, acme, prices("pack", 900, None), invoice_creation={"enabled": False})
    sandbox.press(str(session.url), "pay", number=CARD)
    done = sandbox.stripe.checkout.sessions.retrieve(session.id, params={"expand": ["payment_intent.latest_charge"]})
    intent: Any = done.payment_intent
    assert (done.invoice, intent.latest_charge.amount) == (None, 1800)
    about: Any = {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    assert sandbox.stripe.invoice_payments.list(params=about).data == []


@pytest.mark.parametrize("kind", ["plan", "pack"])
def test_a_declined_card_is_said_on_the_page_and_another_one_works(
    sandbox: Sandbox, acme: stripe.Customer, prices: Any, kind: str
) -> None:
    if kind == "plan":
        session = plan(sandbox, acme, prices("starter", 2000))
    else:
        session = pack(sandbox, acme, prices("pack", 900, None))
    answer = sandbox.press(str(session.url), "pay", number=DECLINED)
    assert answer.status_code == 200
    assert '<p role="alert">Your card was declined.</p>' in answer.text
    assert sandbox.stripe.subscriptions.list(params={"customer": acme.id}).data == []
    assert sandbox.stripe.checkout.sessions.retrieve(session.id).status == "open"
    assert "not one of the sandbox" in sandbox.press(str(session.url), "pay", number="1234").text
    assert sandbox.press(str(session.url), "pay", number=CARD).status_code == 303


def test_3ds_can_be_finished_failed_and_left(sandbox: Sandbox, acme: stripe.Customer, prices: Any) -> None:
    session = plan(sandbox, acme, prices("starter", 2000))
    url = str(session.url)
    asked = sandbox.press(url, "pay", number=SECURE)
    assert "Complete authentication" in asked.text
    assert "unable to authenticate" in sandbox.press(url, "refuse", number=SECURE).text
    assert sandbox.press(url, "abandon", number=SECURE).headers["location"] == "http://oxygen.example/plans"
    assert sandbox.stripe.checkout.sessions.retrieve(session.id).status == "open"
    assert sandbox.stripe.subscriptions.list(params={"customer": acme.id}).data == []
    assert "session_id=" in sandbox.press(url, "authenticate", number=SECURE).headers["location"]
    (subscription,) = sandbox.stripe.subscriptions.list(params={"customer": acme.id}).data
    assert subscription.status == "active"
    sandbox.order("clock", to=subscription["items"].data[0].current_period_end + 3600)
    assert [each.status for each in sandbox.stripe.invoices.list(params={"customer": acme.id}).data] == ["paid"] * 2


def test_a_session_expires_by_hand_and_by_time(sandbox: Sandbox, acme: stripe.Customer, prices: Any) -> None:
    first, second = (plan(sandbox, acme, prices(key, 2000)) for key in ("a", "b"))
    assert sandbox.stripe.checkout.sessions.expire(first.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        sandbox.stripe.checkout.sessions.expire(first.id)
    sandbox.order("clock", to=second.expires_at)
    open_ones = sandbox.stripe.checkout.sessions.list(params={"customer": acme.id, "status": "open"})
    assert open_ones.data == []
    assert sandbox.told("checkout.session.expired") == ["checkout.session.expired"] * 2


def test_a_card_is_saved_without_paying(sandbox: Sandbox, acme: stripe.Customer) -> None:
    session = sandbox.stripe.checkout.sessions.create(
        params={"mode": "setup", "currency": "usd", "customer": acme.id, "success_url": BACK}
    )
    sandbox.press(str(session.url), "authenticate", number=SECURE)
    done = sandbox.stripe.checkout.sessions.retrieve(session.id, params={"expand": ["setup_intent"]})
    assert done.setup_intent.status == "succeeded"  # type: ignore[union-attr]
    (method,) = sandbox.stripe.customers.payment_methods.list(acme.id).data
    intent = sandbox.stripe.payment_intents.create(
        params={
            "amount": 500,
            "currency": "usd",
            "customer": acme.id,
            "payment_method": method.id,
            "off_session": True,
            "confirm": True,
        }
    )
    assert intent.status == "succeeded"


def test_a_visitor_becomes_a_customer(sandbox: Sandbox, prices: Any) -> None:
    session = sandbox.stripe.checkout.sessions.create(
        params={
            "mode": "subscription",
            "line_items": [{"price": prices("starter", 2000).id, "quantity": 1}],
            "success_url": BACK,
        }
    )
    sandbox.press(str(session.url), "pay", number=CARD, email="new@globex.example")
    done = sandbox.stripe.checkout.sessions.retrieve(session.id, params={"expand": ["customer"]})
    assert done.customer.email == "new@globex.example"  # type: ignore[union-attr]


def test_tax_is_a_fixed_rate_that_the_control_api_sets(sandbox: Sandbox, acme: stripe.Customer, prices: Any) -> None:
    sandbox.order("settings", tax_percent="8.25")
    session = plan(sandbox, acme, prices("starter", 1999))
    assert (session.amount_subtotal, session.amount_total) == (1999, 2164)  # 164.9175 is 165
    sandbox.press(str(session.url), "pay", number=CARD)
    (invoice,) = sandbox.stripe.invoices.list(params={"customer": acme.id}).data
    assert (invoice.subtotal, invoice.total, invoice.amount_paid) == (1999, 2164, 2164)
    assert invoice.total_taxes[0].amount == 165  # type: ignore[index]
    assert invoice.lines.data[0].taxes[0].amount == 165  # type: ignore[index]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mode": "payment"}, "recurring price"),
        ({"line_items": []}, "line_items"),
        ({"payment_method_types": ["card"]}, "no longer supported"),
        ({"expires_at": 1}, "30 minutes"),
        ({"payment_intent_data": {"metadata": {"a": "b"}}}, "subscription` mode"),
        ({"customer": "cus_none"}, "No such customer"),
    ],
)
def test_a_session_that_makes_no_sense_is_refused(
    sandbox: Sandbox, acme: stripe.Customer, prices: Any, wrong: dict[str, Any], words: str
) -> None:
    asked: Any = {
        "mode": "subscription",
        "customer": acme.id,
        "line_items": [{"price": prices("starter", 2000).id}],
        "success_url": BACK,
    }
    with pytest.raises(stripe.InvalidRequestError, match=words):
        sandbox.stripe.checkout.sessions.create(params=asked | wrong)
