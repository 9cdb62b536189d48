"""Checkout sessions: what is offered on the hosted page, and what paying there brings about."""

from sandbox.stripe import invoices, payments, subscriptions
from sandbox.stripe.answers import LISTING, listed, page, rendered
from sandbox.stripe.cards import BY_NUMBER, Card
from sandbox.stripe.customers import attach, make_customer, method_with
from sandbox.stripe.events import tell
from sandbox.stripe.intents import check_method_types, set_up
from sandbox.stripe.lines import least, line
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.periods import whole
from sandbox.stripe.refusals import Refusal, declined
from sandbox.stripe.state import Json, World

HOUR = 3600


@operation(
    "POST",
    "/v1/checkout/sessions",
    "mode!:(payment|subscription|setup) customer customer_email client_reference_id currency success_url! cancel_url"
    " line_items[price! quantity:count] metadata:map expires_at:int ui_mode:(hosted_page)"
    " payment_method_collection:(always|if_required) locale billing_address_collection:(auto|required)"
    " subscription_data{metadata:map description billing_mode{type!:(flexible)}}"
    " payment_intent_data{metadata:map description setup_future_usage:(off_session|on_session)}"
    " setup_intent_data{metadata:map description}"
    " invoice_creation{enabled!:bool invoice_data{metadata:map description}}"
    " allowed_payment_method_types:list payment_method_types:list",
)
def make(world: World, asked: Json) -> Json:
    check_method_types(world, asked, "Checkout Session")
    mode, now = asked["mode"], world.real()
    customer = world.living_customer(asked["customer"]) if "customer" in asked else None
    _belongs_to_mode(asked, mode)
    items = [_item(world, each, mode) for each in asked.get("line_items", [])]
    if len({each["currency"] for each in items}) > 1:
        raise Refusal("All line items must be of one currency.", param="line_items")
    if mode == "payment" and sum(each["amount_total"] for each in items) < least(items[0]["currency"]):
        raise Refusal(
            "The Checkout Session's total amount is below the least that can be charged.", code="amount_too_small"
        )
    expires = asked.get("expires_at", now + 24 * HOUR)
    if not now + HOUR // 2 <= expires <= now + 24 * HOUR:
        raise Refusal(
            "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from Checkout Session"
            " creation.",
            param="expires_at",
        )
    session = world.make("checkout.session", now, mode=mode, expires_at=expires, success_url=asked["success_url"])
    merged(
        session, asked, "cancel_url", "client_reference_id", "customer_email", "payment_method_collection", "locale",
        "billing_address_collection", "allowed_payment_method_types",
    )  # fmt: skip
    session["customer"] = customer["id"] if customer else None
    session["customer_creation"] = None if customer else ("always" if mode == "subscription" else "if_required")
    session["currency"] = items[0]["currency"] if items else asked.get("currency")
    session["url"] = f"{world.base}/c/pay/{session['id']}"
    if mode != "setup":
        tax = sum(each["amount_tax"] for each in items)
        session["amount_subtotal"] = sum(each["amount_subtotal"] for each in items)
        session["amount_total"] = session["amount_subtotal"] + tax
        session["total_details"] = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax}
    else:
        session["payment_status"] = "no_payment_required"
    if creation := asked.get("invoice_creation"):
        about = creation.get("invoice_data") or {}
        session["invoice_creation"] = {
            "enabled": creation["enabled"],
            "invoice_data": {
                **dict.fromkeys(("account_tax_ids", "custom_fields", "footer", "issuer", "rendering_options")),
                "description": about.get("description"),
                "metadata": about.get("metadata", {}),
            },
        }
    world.keep(session["id"]).update(line_items=items, asked=asked)
    return session


def _belongs_to_mode(asked: Json, mode: str) -> None:
    for name, only in (
        ("subscription_data", "subscription"),
        ("payment_intent_data", "payment"),
        ("invoice_creation", "payment"),
        ("setup_intent_data", "setup"),
    ):
        if name in asked and mode != only:
            raise Refusal(f"You can not pass `{name}` in `{mode}` mode.", param=name)
    if (mode == "setup") == bool(asked.get("line_items")):
        raise Refusal(
            "Missing required param: line_items."
            if mode != "setup"
            else "You can not pass `line_items` in setup mode.",
            code="parameter_missing" if mode != "setup" else "",
            param="line_items",
        )
    if mode == "setup" and "currency" not in asked:
        raise Refusal("Missing required param: currency.", code="parameter_missing", param="currency")
    if mode == "payment" and "payment_method_collection" in asked:
        raise Refusal("`payment_method_collection` is for subscription mode.", param="payment_method_collection")


def _item(world: World, asked: Json, mode: str) -> Json:
    price = world.get("price", asked["price"], "line_items[0][price]")
    if not price["active"]:
        raise Refusal("The price specified is inactive. This field only accepts active prices.", param="line_items")
    if (price["type"] == "recurring") != (mode == "subscription"):
        raise Refusal(
            "You must provide at least one recurring price in `subscription` mode when using prices."
            if mode == "subscription"
            else "You specified `payment` mode but passed a recurring price.",
            param="line_items",
        )
    made = line(world, price, asked.get("quantity", 1), (0, 0))
    tax = whole(made["amount"] * world.tax_rate)
    return world.draft(
        "item",
        amount_subtotal=made["amount"],
        amount_tax=tax,
        amount_total=made["amount"] + tax,
        currency=price["currency"],
        description=world.get("product", price["product"])["name"],
        price=rendered(price),
        quantity=made["quantity"],
    )


retrieval("checkout.session", "/v1/checkout/sessions/{session}")


@operation(
    "GET",
    "/v1/checkout/sessions",
    f"{LISTING} customer payment_intent subscription status:(open|complete|expired) created:range",
)
def sessions(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("customer", "payment_intent", "subscription", "status") if name in asked}
    return page(world.where("checkout.session", **facts), asked, "/v1/checkout/sessions")


@operation("GET", "/v1/checkout/sessions/{session}/line_items", LISTING)
def line_items(world: World, asked: Json, id: str) -> Json:
    world.get("checkout.session", id)
    return listed(world.keep(id)["line_items"], f"/v1/checkout/sessions/{id}/line_items")


@operation("POST", "/v1/checkout/sessions/{session}/expire")
def expire(world: World, asked: Json, id: str) -> Json:
    session = world.get("checkout.session", id)
    if session["status"] != "open":
        raise Refusal(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of'
            f" {session['status']}."
        )
    lapse(world, session)
    return session


def lapse(world: World, session: Json) -> None:
    session |= {"status": "expired", "url": None}
    tell(world, "checkout.session.expired", session)


def card_typed(number: str) -> Card:
    """The test card of a number typed on a page."""
    card = BY_NUMBER.get(number.replace(" ", ""))
    if card is None:
        raise Refusal("Your card number is not one of the sandbox's test cards.", code="incorrect_number", status=402)
    return card


def complete(world: World, session: Json, card: Card, email: str = "", *, authenticated: bool = False) -> None:
    """Pay for a session with a card. A declined card leaves nothing behind but the refusal."""
    if session["status"] != "open":
        raise Refusal(f"This Checkout Session is {session['status']}.")
    failing = world.settings.fail_next_payments
    if no := (failing.pop(0) if failing else card.charge):
        raise declined(no)
    if card.authentication and not authenticated:
        raise declined("authentication_required")
    asked = world.keep(session["id"])["asked"]
    email = email or session["customer_email"] or "buyer@example.com"
    customer = world.get("customer", session["customer"]) if session["customer"] else None
    if customer is None:
        customer = make_customer(world, {"email": email})
        session["customer"] = customer["id"]
    method = method_with(world, card)
    attach(world, method["id"], customer)
    customer["currency"] = customer["currency"] or session["currency"]
    if session["mode"] == "subscription":
        _subscribe(world, session, customer, method, asked, authenticated)
    elif session["mode"] == "payment":
        _buy(world, session, customer, method, asked, authenticated)
    else:
        about = asked.get("setup_intent_data") or {}
        intent = world.make("setup_intent", customer=customer["id"], payment_method=method["id"])
        intent |= {"metadata": about.get("metadata", {}), "description": about.get("description")}
        session["setup_intent"] = set_up(world, intent, authenticated=authenticated)["id"]
    session |= {"status": "complete", "url": None}
    session["customer_details"] = {
        **dict.fromkeys(("address", "business_name", "individual_name", "name", "phone")),
        "email": customer["email"] or email,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    if session["mode"] != "setup":
        session["payment_status"] = "paid"
    tell(world, "checkout.session.completed", session)


def _subscribe(world: World, session: Json, customer: Json, method: Json, asked: Json, authenticated: bool) -> None:
    about = asked.get("subscription_data") or {}
    wanted = {
        "items": [{"price": each["price"], "quantity": each.get("quantity", 1)} for each in asked["line_items"]],
        "default_payment_method": method["id"],
        "metadata": about.get("metadata", {}),
        "description": about.get("description") or "",
    }
    subscription = subscriptions.begin(world, customer, wanted, authenticated=authenticated)
    session |= {"subscription": subscription["id"], "invoice": subscription["latest_invoice"]}


def _buy(world: World, session: Json, customer: Json, method: Json, asked: Json, authenticated: bool) -> None:
    about = asked.get("payment_intent_data") or {}
    metadata, later = about.get("metadata", {}), about.get("setup_future_usage")
    creation = session["invoice_creation"]
    if creation and creation["enabled"]:
        now = world.now(customer["test_clock"])
        rows = world.keep(session["id"])["line_items"]
        lines = [line(world, each["price"], each["quantity"], (now, now)) for each in rows]
        invoice = invoices.draft(
            world, customer, lines, "manual", auto_advance=False, metadata=dict(creation["invoice_data"]["metadata"])
        )
        invoice["description"] = creation["invoice_data"]["description"]
        invoices.finalize(world, invoice, metadata, setup_future_usage=later)
        session["invoice"] = invoice["id"]
        if invoice["status"] == "open":
            session["payment_intent"] = invoices.intent_of(world, invoice)["id"]
            invoices.pay(world, invoice, method["id"], authenticated=authenticated)
        return
    intent = payments.intend(world, session["amount_total"], session["currency"], customer, metadata=metadata)
    intent |= {"description": about.get("description"), "setup_future_usage": later}
    session["payment_intent"] = intent["id"]
    invoices.after_attempt(world, intent, payments.confirm(world, intent, method["id"], authenticated=authenticated))
