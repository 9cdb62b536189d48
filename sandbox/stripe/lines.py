"""What stands on an invoice: lines for periods, for what was left of them, and for single things; and their sums."""

from datetime import UTC, datetime

from sandbox.stripe.periods import share, whole
from sandbox.stripe.state import Json, World


def line(world: World, price: Json, quantity: int, period: tuple[int, int], **fields: object) -> Json:
    """A line for some quantity of a price; its amount unless `fields` say another."""
    amount = int(price["unit_amount"]) * quantity
    made = world.draft(
        "line_item",
        amount=amount,
        currency=price["currency"],
        period={"start": period[0], "end": period[1]},
        quantity=quantity,
        quantity_decimal=str(quantity),
        pricing={
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
    )
    made |= {"description": f"{quantity} × {_name(world, price)}", **fields}
    made["subtotal"] = made["amount"]
    return made


def period_line(world: World, subscription: Json, item: Json) -> Json:
    """A line for an item's whole present period."""
    price, period = item["price"], (item["current_period_start"], item["current_period_end"])
    every = f"{_money(price)} / {price['recurring']['interval']}"
    return line(
        world,
        price,
        item["quantity"],
        period,
        description=f"{item['quantity']} × {_name(world, price)} (at {every})",
        subscription=subscription["id"],
        parent=_item_parent(subscription, item, proration=False),
    )


def proration_lines(world: World, subscription: Json, old: Json | None, new: Json | None, at: int) -> list[Json]:
    """What changing an item at an instant gives back and costs: two lines, each rounded by itself.

    The credit is a share of what was actually debited for the rest of the period (flexible billing mode).
    """
    made, after = [], datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")
    if old:
        debited = debit(world, old)
        end = debited["end"]
        made.append(
            line(
                world,
                old["price"],
                old["quantity"],
                (at, end),
                amount=share(-debited["amount"], (at, end), (debited["start"], end)),
                description=f"Unused time on {_name(world, old['price'])} after {after}",
                discountable=False,
                subscription=subscription["id"],
                parent=_item_parent(subscription, old, proration=True, credited=debited),
            )
        )
    if new:
        start, end = new["current_period_start"], new["current_period_end"]
        full = int(new["price"]["unit_amount"]) * new["quantity"]
        made.append(
            line(
                world,
                new["price"],
                new["quantity"],
                (at, end),
                amount=share(full, (at, end), (start, end)),
                description=f"Remaining time on {_name(world, new['price'])} after {after}",
                discountable=False,
                subscription=subscription["id"],
                parent=_item_parent(subscription, new, proration=True),
            )
        )
    return made


def debit(world: World, item: Json) -> Json:
    """What was last debited for an item, and for which time."""
    told: Json = world.keep(item["id"]).get("debit") or {
        "amount": int(item["price"]["unit_amount"]) * item["quantity"],
        "start": item["current_period_start"],
        "end": item["current_period_end"],
    }
    return told


def remember_debits(world: World, invoice: Json) -> None:
    """Keep what an invoice debits for each item, for the credit when that changes."""
    for each in invoice["lines"]["data"]:
        details = (each["parent"] or {}).get("subscription_item_details")
        if details and each["amount"] >= 0 and not details["proration_details"]["credited_items"]:
            period = each["period"]
            world.keep(details["subscription_item"])["debit"] = {
                "amount": each["amount"],
                "start": period["start"],
                "end": period["end"],
                "invoice": invoice["id"],
                "line": each["id"],
            }


def _item_parent(subscription: Json, item: Json, *, proration: bool, credited: Json | None = None) -> Json:
    items = None
    if credited and "invoice" in credited:
        items = {"invoice": credited["invoice"], "invoice_line_items": [credited["line"]]}
    return {
        "type": "subscription_item_details",
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": proration,
            "proration_details": {"credited_items": items},
            "subscription": subscription["id"],
            "subscription_item": item["id"],
        },
    }


def add_up(world: World, invoice: Json) -> None:
    """Work out an invoice's taxes and sums from its lines; tax is a fixed, exclusive rate that the control API sets."""
    rate = world.tax_rate
    for each in invoice["lines"]["data"]:
        each["invoice"] = invoice["id"]
        each["taxes"] = [_tax(whole(each["amount"] * rate), each["amount"])] if rate else []
    data = invoice["lines"]["data"]
    subtotal = sum(each["amount"] for each in data)
    tax = sum(tax["amount"] for each in data for tax in each["taxes"])
    invoice |= {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": subtotal + tax,
        "total_excluding_tax": subtotal,
        "total_taxes": [_tax(tax, subtotal)] if rate else [],
    }
    due = invoice["total"] + invoice["starting_balance"]
    invoice["amount_due"] = 0 if due < least(invoice["currency"]) else due
    invoice["amount_remaining"] = invoice["amount_due"]


def _tax(amount: int, taxable: int) -> Json:
    return {
        "amount": amount,
        "tax_behavior": "exclusive",
        "tax_rate_details": None,
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def _name(world: World, price: Json) -> str:
    return str(price["nickname"] or world.get("product", price["product"])["name"])


def _money(price: Json) -> str:
    return shown_amount(price["unit_amount"], price["currency"])


def least(currency: str) -> int:
    """The smallest amount that can be charged; what is less stays on the customer's balance."""
    return LEAST.get(currency, 50)


LEAST = {"gbp": 30, "kwd": 150}
PLACES = {"jpy": 0, "krw": 0, "vnd": 0, "clp": 0, "kwd": 3, "bhd": 3, "jod": 3}


def shown_amount(amount: int, currency: str) -> str:
    """Write an amount of minor units for people."""
    places = PLACES.get(currency, 2)
    digits = str(abs(amount)).rjust(places + 1, "0")
    number = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"{'−' if amount < 0 else ''}{number} {currency.upper()}"
