"""What keeps the sandbox honest: spec and overlay say what the SDK says, and nothing is accepted beyond them."""

import re
from typing import Any

import pytest
import stripe

import sandbox.stripe.app
from sandbox.stripe import API_VERSION
from sandbox.stripe.forms import Field
from sandbox.stripe.operations import OPERATIONS, Operation
from sandbox.stripe.state import BLANKS
from tests.sandbox.stripe.schema import SCHEMAS, SPEC, Json, judged, judged_event, violations

CLASSES: dict[str, type] = {
    "product": stripe.Product,
    "price": stripe.Price,
    "customer": stripe.Customer,
    "payment_method": stripe.PaymentMethod,
    "setup_intent": stripe.SetupIntent,
    "payment_intent": stripe.PaymentIntent,
    "charge": stripe.Charge,
    "refund": stripe.Refund,
    "dispute": stripe.Dispute,
    "credit_note": stripe.CreditNote,
    "credit_note_line_item": stripe.CreditNoteLineItem,
    "checkout.session": stripe.checkout.Session,
    "item": stripe.LineItem,
    "billing_portal.configuration": stripe.billing_portal.Configuration,
    "billing_portal.session": stripe.billing_portal.Session,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
    "subscription_schedule": stripe.SubscriptionSchedule,
    "invoice": stripe.Invoice,
    "line_item": stripe.InvoiceLineItem,
    "invoiceitem": stripe.InvoiceItem,
    "invoice_payment": stripe.InvoicePayment,
    "event": stripe.Event,
    "webhook_endpoint": stripe.WebhookEndpoint,
    "test_helpers.test_clock": stripe.test_helpers.TestClock,
    "customer_balance_transaction": stripe.CustomerBalanceTransaction,
    "balance_transaction": stripe.BalanceTransaction,
}


@pytest.mark.parametrize("kind", CLASSES)
def test_the_sdk_names_the_same_fields_as_spec_and_overlay(kind: str) -> None:
    annotated = {name for name in CLASSES[kind].__annotations__ if not name.startswith("_")}
    assert annotated - {"OBJECT_NAME", "deleted"} == set(SCHEMAS[kind]["properties"]) - {"deleted"}


def test_every_kind_of_object_is_compared() -> None:
    assert set(BLANKS) == set(CLASSES)


def test_the_sandbox_speaks_the_version_that_the_sdk_pins() -> None:
    assert stripe._api_version._ApiVersion.CURRENT == API_VERSION


# ---------------------------------------------------------------- what is accepted is Stripe's, too

ENDIVE = {"allowed_payment_method_types", "billing_cycle_anchor"}  # what the newer version has otherwise
TO_BE_REFUSED = {"payment_method_types"}


def _parameters(operation: Json) -> Json:
    sent = {each["name"]: each["schema"] for each in operation.get("parameters", []) if each["in"] == "query"}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        sent |= content["schema"].get("properties", {})
    return sent


def _unknown(fields: dict[str, Field], known: Json, at: str) -> list[str]:
    strange = []
    for name, field in fields.items():
        schema = known.get(name)
        if schema is None:
            strange += [f"{at}[{name}]"] if name not in ENDIVE else []
        elif field.fields and name not in ENDIVE:
            strange += _unknown(field.fields, _inside(schema), f"{at}[{name}]")
    return strange


def _inside(schema: Json) -> Json:
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found: Json = {}
        for choice in schema["anyOf"]:
            found |= _inside(choice)
        return found
    return _inside(schema["items"]) if "items" in schema else schema.get("properties", {})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_an_operation_accepts_nothing_that_stripe_does_not_know(operation: Operation) -> None:
    paths = {re.sub(r"\{\w+\}", "{}", path): operations for path, operations in SPEC["paths"].items()}
    known = paths[re.sub(r"\{\w+\}", "{}", operation.path)][operation.method.lower()]
    assert _unknown(operation.fields, _parameters(known), operation.path) == []


def test_the_table_is_whole() -> None:
    assert sandbox.stripe.app.TABLE
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS) > 80


# ---------------------------------------------------------------- the judge is awake


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"soul": 1}, "customer.soul is unknown"),
        ({"created": "today"}, "customer.created is no integer"),
        ({"livemode": None}, "customer.livemode is null"),
        ({"balance": True}, "customer.balance is no integer"),
        ({"tax_exempt": "perhaps"}, "customer.tax_exempt is none of"),
        ({"preferred_locales": [1]}, "customer.preferred_locales[0] is no string"),
        ({"object": "invoice"}, "customer.object is none of"),
        ({"currency": "x" * 5001}, "longer"),
    ],
)
def test_the_judge_sees_what_is_wrong(change: dict[str, Any], complaint: str) -> None:
    customer = BLANKS["customer"] | {"id": "cus_1"}
    assert list(violations(customer, SCHEMAS["customer"], "customer")) == []
    faults = list(violations(customer | change, SCHEMAS["customer"], "customer"))
    assert any(complaint in fault for fault in faults)


def test_the_judge_sees_what_is_missing_and_inside_of_lists_and_choices() -> None:
    invoice = BLANKS["invoice"] | {"currency": "usd", "customer": {"object": "customer", "id": "cus_1"}}
    assert "invoice.customer.created is missing" in list(violations(invoice, SCHEMAS["invoice"], "invoice"))
    event = BLANKS["event"] | {"data": {"object": {"object": "refund"}}, "type": "refund.created"}
    assert "refund.created: refund.id is missing" in judged_event(event)
    assert judged("get", "/v1/wonders", 200, {"object": "wonder"}) != []
    assert judged("get", "/v1/customers", 400, {"error": {"message": "no"}}) != []
    price = BLANKS["price"] | {"unit_amount_decimal": ""}
    assert any("is no decimal" in fault for fault in violations(price, SCHEMAS["price"], "price"))
