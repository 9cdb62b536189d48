"""What is asked of Stripe, in Stripe's own words: the parameters of its calls. Pure; for the gateway."""

from datetime import datetime
from typing import Any

from billing.payments import facts

type Json = dict[str, Any]

PORTAL_NAME = {"made_by": "oxygen-billing-1"}  # tells our portal configuration from others
PORTAL: Json = {
    "metadata": PORTAL_NAME,
    "features": {
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "customer_update": {"enabled": True, "allowed_updates": ["email", "address", "tax_id"]},
        # Changing and ending the plan is this product's own.
        "subscription_cancel": {"enabled": False},
        "subscription_update": {"enabled": False},
    },
}


def _about(kind: str, org: object, purchase: object) -> dict[str, str]:
    return {"kind": kind, "org": str(org), "purchase": str(purchase)}


def plan_checkout(customer: str, price: str, org: object, purchase: object, urls: tuple[str, str]) -> Json:
    about = _about("plan", org, purchase)
    return {
        **_checkout(customer, price, about, urls),
        "mode": "subscription",
        "subscription_data": {"metadata": about, "billing_mode": {"type": "flexible"}},
        "payment_method_collection": "always",
    }


def pack_checkout(customer: str, price: str, org: object, purchase: object, urls: tuple[str, str]) -> Json:
    """The card may be kept for top-ups later, and there is an invoice of it."""
    about = _about("top_up", org, purchase)
    return {
        **_checkout(customer, price, about, urls),
        "mode": "payment",
        "payment_intent_data": {"metadata": about, "setup_future_usage": "off_session"},
        "invoice_creation": {"enabled": True, "invoice_data": {"metadata": about}},
    }


def _checkout(customer: str, price: str, about: dict[str, str], urls: tuple[str, str]) -> Json:
    return {
        "customer": customer,
        "client_reference_id": about["org"],
        "line_items": [{"price": price, "quantity": 1}],
        "success_url": urls[0],
        "cancel_url": urls[1],
        "metadata": about,
    }


def pack_invoice(customer: str, org: object, purchase: object) -> Json:
    return {
        "customer": customer,
        "collection_method": "charge_automatically",
        "auto_advance": False,
        "pending_invoice_items_behavior": "exclude",
        "metadata": _about("top_up", org, purchase),
    }


def pack_item(customer: str, price: str, invoice: str) -> Json:
    return {"customer": customer, "invoice": invoice, "pricing": {"price": price}, "quantity": 1}


def off_session(card: str) -> Json:
    return {"off_session": True, "payment_method": card}


def change(item: str, price: str, at: datetime) -> Json:
    """A change charged at `at`, for the preview and for itself. Without the quantity Stripe would fall back to 1."""
    return {
        "items": [{"id": item, "price": price, "quantity": 1}],
        "proration_behavior": "always_invoice",
        "proration_date": int(at.timestamp()),
    }


def schedule(standing: facts.Subscription, began: int, price: str, interval: str, change: object) -> Json:
    """The present phase exactly as it is, then one of the new price; nothing is prorated."""
    turns = int(standing.period_end.timestamp())
    now = {"start_date": began, "end_date": turns, "items": [{"price": standing.price, "quantity": standing.quantity}]}
    duration = {"interval": interval, "interval_count": 1}
    then = {"start_date": turns, "duration": duration, "items": [{"price": price, "quantity": 1}]}
    return {
        "end_behavior": "release",
        "proration_behavior": "none",
        "metadata": {"change_id": str(change)},
        "phases": [each | {"proration_behavior": "none"} for each in (now, then)],
    }


def price(product: str, lookup_key: str, amount: int, currency: str, interval: str) -> Json:
    recurring = {} if interval == "once" else {"recurring": {"interval": interval}}
    return {
        "product": product,
        "lookup_key": lookup_key,
        "unit_amount": amount,
        "currency": currency,
        **recurring,
    }


def portal(customer: str, return_url: str, flow: str, configuration: str) -> Json:
    after = {"type": "redirect", "redirect": {"return_url": return_url}}
    return {
        "customer": customer,
        "return_url": return_url,
        "configuration": configuration,
        **({"flow_data": {"type": flow, "after_completion": after}} if flow else {}),
    }
