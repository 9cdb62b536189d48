"""From Stripe's JSON to plain facts. Pure; for the gateway, and it knows nothing of the SDK.

What is read here is all that this house believes of Stripe. A field that Stripe's schema promises and that is not
there is a KeyError: loud, and never a guess.
"""

import json
from datetime import UTC, datetime
from typing import Any

from billing.payments import facts

type Json = dict[str, Any]

TAKEN = ("needs_response", "under_review", "lost")  # disputes whose money is gone; an inquiry (warning_…) takes none
RETURNED = ("failed", "canceled")  # refunds that did not reach anybody
LONGEST, LONGEST_TYPE = 255, 120  # of what is kept of an event


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe(seconds: int | None) -> datetime | None:
    return instant(seconds) if seconds else None


def id_of(thing: Any) -> str:
    """The id of what Stripe names by its id, sends whole where that was asked, or leaves null."""
    if isinstance(thing, dict):
        thing = thing.get("id")
    return thing if isinstance(thing, str) else ""


def line(raw: Json) -> facts.Line:
    parent = raw["parent"] or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    credited = (details.get("proration_details") or {}).get("credited_items") or {}
    price = ((raw["pricing"] or {}).get("price_details") or {}).get("price")
    return facts.Line(
        id=raw["id"],
        text=raw["description"] or "",
        amount=raw["amount"],
        price=id_of(price),
        quantity=raw["quantity"] or 0,
        start=instant(raw["period"]["start"]),
        end=instant(raw["period"]["end"]),
        item=details.get("subscription_item") or "",
        proration=bool(details.get("proration")),
        credited=credited.get("invoice") or "",
    )


def invoice(raw: Json, lines: list[Json]) -> facts.Invoice:
    """`lines` are all of them; the invoice itself shows the first few."""
    about = (raw["parent"] or {}).get("subscription_details") or {}
    payments = (raw.get("payments") or {}).get("data", [])
    paying = next((each for status in ("paid", "open") for each in payments if each["status"] == status), None)
    intent = paying["payment"].get("payment_intent") if paying else None
    why, needs_person = _missing(intent) if raw["status"] == "open" and isinstance(intent, dict) else ("", False)
    return facts.Invoice(
        id=raw["id"],
        customer=id_of(raw["customer"]),
        status=raw["status"],
        reason=raw["billing_reason"] or "",
        total=raw["total"],
        amount_paid=raw["amount_paid"],
        amount_due=raw["amount_due"],
        tax=tax(raw),
        currency=raw["currency"],
        created=instant(raw["created"]),
        paid_at=_maybe(raw["status_transitions"]["paid_at"]),
        subscription=id_of(about.get("subscription")),
        number=raw["number"] or "",
        url=raw["hosted_invoice_url"] or "",
        pdf=raw["invoice_pdf"] or "",
        attempted=raw["attempted"],
        payment=id_of(intent),
        metadata=dict(raw["metadata"] or {}),
        lines=[line(each) for each in lines],
        why=why,
        needs_person=needs_person,
    )


def tax(raw: Json) -> int:
    return sum(each["amount"] for each in raw["total_taxes"] or [])


def _missing(intent: Json) -> tuple[str, bool]:
    """Why an open invoice's payment has not come: the card's last no, and whether a person has to act."""
    error = intent["last_payment_error"] or {}
    waits = intent["status"] == "requires_action" or error.get("code") == "authentication_required"
    return error.get("message") or "", waits


def preview(raw: Json) -> facts.Preview:
    return facts.Preview(
        due=raw["amount_due"],
        total=raw["total"],
        tax=tax(raw),
        currency=raw["currency"],
        lines=[line(each) for each in raw["lines"]["data"]],
    )


def subscription(raw: Json) -> facts.Subscription:
    """The schedule has to be sent whole: what comes next stands there."""
    items = raw["items"]["data"]
    item, schedule = items[0], raw["schedule"] or {}
    return facts.Subscription(
        id=raw["id"],
        customer=id_of(raw["customer"]),
        status=raw["status"],
        item=item["id"],
        price=id_of(item["price"]),
        quantity=item["quantity"] or 0,
        items=len(items),
        period_start=instant(item["current_period_start"]),
        period_end=instant(item["current_period_end"]),
        started=instant(raw["start_date"]),
        ended=_maybe(raw["ended_at"]),
        cancel_at_period_end=raw["cancel_at_period_end"],
        schedule=id_of(raw["schedule"]),
        next_price=_next_price(schedule) if isinstance(schedule, dict) else "",
        change=(schedule.get("metadata") or {}).get("change_id", "") if isinstance(schedule, dict) else "",
        pending=raw["pending_update"] is not None,
        latest_invoice=id_of(raw["latest_invoice"]),
        metadata=dict(raw["metadata"]),
    )


def _next_price(schedule: Json) -> str:
    now = schedule.get("current_phase")
    later = [each for each in schedule["phases"] if each["start_date"] >= now["end_date"]] if now else []
    return id_of(later[0]["items"][0]["price"]) if later else ""


def payment(intent: Json, refunds: list[Json], disputes: list[Json]) -> facts.Payment:
    """`intent` with its latest charge whole. What a failed refund or a dispute that was won took is here again."""
    paid = intent["status"] == "succeeded"
    amount = intent["amount_received"] if paid else intent["amount"]
    gone = [each for each in refunds if each["status"] not in RETURNED]
    taken = [each for each in disputes if each["status"] in TAKEN]
    return facts.Payment(
        id=intent["id"],
        customer=id_of(intent["customer"]),
        amount=amount,
        currency=intent["currency"],
        paid_at=instant(intent["latest_charge"]["created"]) if paid else None,
        gone_back=min(amount, sum(each["amount"] for each in gone + taken)),
        gone_back_at=_maybe(max((each["created"] for each in gone + taken), default=None)),
        disputed=bool(taken),
        metadata=dict(intent["metadata"]),
    )


def session(raw: Json) -> facts.Session:
    return facts.Session(
        id=raw["id"],
        customer=id_of(raw["customer"]),
        status=raw["status"],
        paid=raw["payment_status"] in ("paid", "no_payment_required"),
        url=raw["url"] or "",
        subscription=id_of(raw["subscription"]),
        invoice=id_of(raw["invoice"]),
        payment=id_of(raw["payment_intent"]),
        metadata=dict(raw["metadata"] or {}),
    )


def default_card(raw: Json) -> Json | None:
    """The customer's own default, else its subscription's."""
    if raw.get("deleted"):
        return None
    of_subscriptions = [each["default_payment_method"] for each in raw["subscriptions"]["data"]]
    return next(filter(None, [raw["invoice_settings"]["default_payment_method"], *of_subscriptions]), None)


def customer(raw: Json, card: Json | None) -> facts.CustomerFacts:
    if raw.get("deleted"):
        return facts.CustomerFacts(raw["id"], email="", card="", deleted=True)
    shown = card["card"] if card and card.get("card") else None
    return facts.CustomerFacts(
        id=raw["id"],
        email=raw["email"] or "",
        card=f"{shown['brand']} {shown['last4']}" if shown else (card["type"] if card else ""),
        deleted=False,
    )


def price(raw: Json) -> facts.PriceFacts:
    """One of a kind that nothing here is sold by (tiers, every 3 months) reads as none of ours: -1, or “3 month”."""
    recurring = raw["recurring"]
    interval = "once"
    if recurring:
        count = recurring["interval_count"]
        interval = recurring["interval"] if count == 1 else f"{count} {recurring['interval']}"
    return facts.PriceFacts(
        id=raw["id"],
        lookup_key=raw["lookup_key"] or "",
        amount=-1 if raw["unit_amount"] is None else raw["unit_amount"],
        currency=raw["currency"],
        interval=interval,
        active=raw["active"],
    )


def event(raw: Json) -> facts.Event:
    """ValueError, TypeError or KeyError where it is no event that could be stored."""
    text = json.dumps(raw, ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")  # half a surrogate pair has no place in the database, and neither has the character 0
    if "\\u0000" in text:
        raise ValueError("a character that cannot be stored")
    if raw["object"] != "event":
        raise ValueError("no event")
    about = raw["data"]["object"]
    read = facts.Event(
        id=raw["id"],
        type=raw["type"],
        created=instant(raw["created"]),
        livemode=raw["livemode"],
        api_version=raw["api_version"] or "",
        account=raw.get("account") or "",
        kind=about["object"],
        about=id_of(about),
        customer=id_of(about) if about["object"] == "customer" else id_of(about.get("customer")),
        payload=raw,
    )
    names: tuple[object, ...] = (
        read.id,
        read.type,
        read.api_version,
        read.account,
        read.kind,
        read.about,
        read.customer,
    )
    if not all(isinstance(each, str) and len(each) <= LONGEST for each in names):
        raise ValueError("not as an event is")
    if not read.id or not 0 < len(read.type) <= LONGEST_TYPE:
        raise ValueError("not as an event is")
    if not isinstance(read.livemode, bool):
        raise TypeError("neither live nor a test")
    return read
