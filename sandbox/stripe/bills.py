"""The invoices of the API: made by hand, previewed, finalized, paid, voided; their lines, items and payments."""

from sandbox.stripe import invoices, standing
from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.clocks import pending_line
from sandbox.stripe.events import tell, told
from sandbox.stripe.items import billed, changed, first_items, must_be_in_period
from sandbox.stripe.lines import add_up, period_line
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.periods import period_at
from sandbox.stripe.refusals import Refusal, unknown_to_the_sandbox
from sandbox.stripe.state import Json, World


@operation(
    "POST",
    "/v1/invoices",
    "customer! auto_advance:bool collection_method:(charge_automatically) currency description metadata:map"
    " default_payment_method pending_invoice_items_behavior:(include|exclude)",
)
def make(world: World, asked: Json) -> Json:
    customer = world.living_customer(asked["customer"])
    advance = asked.get("auto_advance", False)
    items = []
    if asked.get("pending_invoice_items_behavior") == "include":
        items = list(world.where("invoiceitem", customer=customer["id"], invoice=None))
    lines = [pending_line(world, each) for each in items]
    invoice = invoices.draft(world, customer, lines, "manual", auto_advance=advance)
    if "currency" in asked:
        invoice["currency"] = asked["currency"]
    if advance:
        invoice["automatically_finalizes_at"] = invoice["created"] + invoices.FINALIZES_AFTER
    merged(invoice, asked, "description", "default_payment_method")
    for each in items:
        each["invoice"] = invoice["id"]
    return invoice


@operation("POST", "/v1/invoices/{invoice}", "auto_advance:bool description metadata:map default_payment_method")
def change(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    if asked.keys() - {"metadata", "auto_advance", "default_payment_method"}:
        invoices.must_be(invoice, "draft", "edit")
    with told(world, "invoice.updated", invoice):
        merged(invoice, asked, "auto_advance", "description", "default_payment_method")
    return invoice


@operation("DELETE", "/v1/invoices/{invoice}")
def delete(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    invoices.must_be(invoice, "draft", "delete")
    if invoice["parent"]:
        raise Refusal("You can only delete one-off invoices.")
    world.drop(invoice)
    tell(world, "invoice.deleted", invoice)
    return {"id": id, "object": "invoice", "deleted": True}


retrieval("invoice", "/v1/invoices/{invoice}")


@operation(
    "GET",
    "/v1/invoices",
    f"{LISTING} customer subscription status:(draft|open|paid|uncollectible|void) created:range",
)
def listing(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("customer", "status") if name in asked}
    rows = list(world.where("invoice", **facts))
    if "subscription" in asked:
        mine = world.get("subscription", asked["subscription"], "subscription")
        rows = [each for each in rows if standing.subscription_of(world, each) is mine]
    return page(rows, asked, "/v1/invoices")


@operation(
    "POST",
    "/v1/invoices/create_preview",
    "customer subscription subscription_details{items[id price quantity:count deleted:bool] proration_date:int"
    " proration_behavior:(create_prorations|always_invoice|none) cancel_at_period_end:bool}",
)
def preview(world: World, asked: Json) -> Json:
    details = asked.get("subscription_details") or {}
    if "subscription" not in asked:
        return _preview_first(world, asked, details)
    subscription = world.get("subscription", asked["subscription"], "subscription")
    customer = world.living_customer(subscription["customer"])
    if asked.get("customer", customer["id"]) != customer["id"]:
        raise Refusal("The subscription belongs to another customer.", param="subscription")
    if subscription["status"] in standing.ENDED or details.get("cancel_at_period_end"):
        raise Refusal("No upcoming invoices for customer: " + customer["id"], code="invoice_upcoming_none")
    if subscription["schedule"] and details.get("proration_behavior") != "always_invoice":
        raise unknown_to_the_sandbox("the next invoice of a subscription that has a schedule", "subscription")
    at = details.get("proration_date", world.now(subscription["test_clock"]))
    must_be_in_period(subscription, at)
    difference = changed(world, subscription, details.get("items", []), at)
    behavior = details.get("proration_behavior", "create_prorations")
    lines = billed(world, subscription, difference, at) if behavior != "none" else []
    reason = "subscription_update" if behavior == "always_invoice" else "upcoming"
    period = None
    if behavior != "always_invoice":
        ends = min(each["current_period_end"] for each in difference.items)
        pending = [
            pending_line(world, each)
            for each in world.where("invoiceitem", customer=customer["id"], invoice=None)
            if (each["parent"] or {}).get("subscription_details", {}).get("subscription") == subscription["id"]
        ]
        lines = pending + lines + _next_lines(world, subscription, difference.items, ends)
        period = (min(each["current_period_start"] for each in difference.items), ends)
    invoice = invoices.draft(world, customer, lines, reason, subscription=subscription, period=period, preview=True)
    if difference.pairs:
        invoice["parent"]["subscription_details"]["subscription_proration_date"] = at
    invoice["created"] = at
    return invoice


def _next_lines(world: World, subscription: Json, items: list[Json], ends: int) -> list[Json]:
    lines = []
    for each in items:
        if each["current_period_end"] == ends:
            start, end = period_at(subscription["billing_cycle_anchor"], each["price"]["recurring"], ends)
            following = each | {"current_period_start": start, "current_period_end": end}
            lines.append(period_line(world, subscription, following))
    return lines


def _preview_first(world: World, asked: Json, details: Json) -> Json:
    if "customer" not in asked or not details.get("items"):
        raise Refusal(
            "You must give a subscription, or a customer and items.", code="parameter_missing", param="customer"
        )
    customer = world.living_customer(asked["customer"])
    now = world.now(customer["test_clock"])
    imagined = world.draft("subscription", now, billing_cycle_anchor=now, customer=customer["id"])
    items = first_items(world, imagined, details["items"])
    lines = [period_line(world, imagined, each) for each in items]
    for each in lines:
        each["parent"]["subscription_item_details"]["subscription"] = each["subscription"] = None
    return invoices.draft(world, customer, lines, "upcoming", preview=True)


@operation("POST", "/v1/invoices/{invoice}/finalize", "auto_advance:bool")
def finalize(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    if "auto_advance" in asked:
        invoice["auto_advance"] = asked["auto_advance"]
    invoices.finalize(world, invoice, dict(invoice["metadata"]))
    if invoice["auto_advance"] and invoice["status"] == "open":
        invoice["next_payment_attempt"] = world.now(invoice["test_clock"]) + invoices.FINALIZES_AFTER
    return invoice


@operation("POST", "/v1/invoices/{invoice}/pay", "payment_method off_session:bool paid_out_of_band:(false)")
def pay(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    if invoice["status"] == "paid":
        raise Refusal("Invoice is already paid", code="invoice_already_paid")
    method = asked.get("payment_method")
    if method:
        world.get("payment_method", method, "payment_method")
    if invoice["status"] == "draft":
        invoices.finalize(world, invoice, dict(invoice["metadata"]))
    if invoice["status"] == "paid":
        return invoice
    refusal = invoices.pay(world, invoice, method, off_session=asked.get("off_session", False))
    if refusal:
        raise refusal
    if invoice["status"] == "open":
        raise Refusal(
            "This payment requires additional user action before it can be completed successfully.",
            status=402,
            kind="card_error",
            code="invoice_payment_intent_requires_action",
            payment_intent=dict(invoices.intent_of(world, invoice)),
        )
    return invoice


@operation("POST", "/v1/invoices/{invoice}/void")
def void(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    invoices.void(world, invoice)
    return invoice


@operation("POST", "/v1/invoices/{invoice}/mark_uncollectible")
def write_off(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    invoices.write_off(world, invoice)
    return invoice


@operation("GET", "/v1/invoices/{invoice}/lines", LISTING)
def lines(world: World, asked: Json, id: str) -> Json:
    invoice = world.get("invoice", id)
    return page(invoice["lines"]["data"], asked, f"/v1/invoices/{id}/lines", oldest_first=True)


@operation(
    "POST",
    "/v1/invoiceitems",
    "customer! invoice subscription amount:int currency pricing{price} quantity:count description metadata:map"
    " period{start!:int end!:int}",
)
def make_item(world: World, asked: Json) -> Json:
    customer = world.living_customer(asked["customer"])
    if "subscription" in asked:
        raise unknown_to_the_sandbox("invoice items for a subscription", "subscription")
    quantity, price, pricing = asked.get("quantity", 1), None, asked.get("pricing") or {}
    if "price" in pricing:
        price = world.get("price", pricing["price"], "pricing[price]")
        if price["recurring"]:
            raise Refusal("The price specified is recurring; this field only accepts one-time prices.", param="pricing")
    elif "amount" not in asked or "currency" not in asked:
        raise Refusal("You must give a price, or an amount and a currency.", code="parameter_missing", param="amount")
    invoice = world.get("invoice", asked["invoice"], "invoice") if "invoice" in asked else None
    if invoice:
        invoices.must_be(invoice, "draft", "add items to")
    now = world.now(customer["test_clock"])
    item = world.make(
        "invoiceitem",
        amount=int(price["unit_amount"]) * quantity if price else asked["amount"],
        currency=price["currency"] if price else asked["currency"],
        customer=customer["id"],
        date=now,
        description=world.get("product", price["product"])["name"] if price else None,
        discountable=True,
        invoice=invoice["id"] if invoice else None,
        period=asked.get("period") or {"start": now, "end": now},
        quantity=quantity,
        quantity_decimal=str(quantity),
        test_clock=customer["test_clock"],
    )
    item["net_amount"] = item["amount"]
    if price:
        item["pricing"] = {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        }
    merged(item, asked, "description")
    tell(world, "invoiceitem.created", item)
    if invoice:
        with told(world, "invoice.updated", invoice):
            invoice["currency"] = item["currency"]
            invoice["lines"]["data"].append(pending_line(world, item))
            add_up(world, invoice)
    return item


@operation("GET", "/v1/invoiceitems", f"{LISTING} customer invoice pending:bool")
def items(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("customer", "invoice") if name in asked}
    rows = list(world.where("invoiceitem", **facts))
    if "pending" in asked:
        rows = [each for each in rows if (each["invoice"] is None) == asked["pending"]]
    return page(rows, asked, "/v1/invoiceitems")


retrieval("invoiceitem", "/v1/invoiceitems/{invoiceitem}")


@operation("DELETE", "/v1/invoiceitems/{invoiceitem}")
def delete_item(world: World, asked: Json, id: str) -> Json:
    item = world.get("invoiceitem", id)
    if item["invoice"]:
        raise Refusal("You can only delete invoice items that are not attached to an invoice.")
    world.drop(item)
    tell(world, "invoiceitem.deleted", item)
    return {"id": id, "object": "invoiceitem", "deleted": True}


@operation(
    "GET",
    "/v1/invoice_payments",
    f"{LISTING} invoice status:(open|paid|canceled) payment{{type!:(payment_intent) payment_intent!}}",
)
def invoice_payments(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("invoice", "status") if name in asked}
    wanted = (asked.get("payment") or {}).get("payment_intent")
    rows = [
        each for each in world.where("invoice_payment", **facts) if wanted in (None, each["payment"]["payment_intent"])
    ]
    return page(rows, asked, "/v1/invoice_payments")


retrieval("invoice_payment", "/v1/invoice_payments/{invoice_payment}")
