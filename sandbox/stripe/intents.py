"""Payment and setup intents of the API, and charges."""

import secrets

from sandbox.stripe import invoices, payments
from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.cards import BY_NAME
from sandbox.stripe.customers import attach, card_of, method_with
from sandbox.stripe.events import tell
from sandbox.stripe.lines import least, shown_amount
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.refusals import Refusal, declined, unknown_to_the_sandbox
from sandbox.stripe.state import Json, World

GONE = "payment_method_types_no_longer_supported"


def check_method_types(world: World, asked: Json, name: str) -> None:
    """Refuse what the pinned version has no more; the Stripe CLI, which pins none, may still ask for cards."""
    if "payment_method_types" not in asked or (not world.caller.pinned and asked["payment_method_types"] == ["card"]):
        return
    raise Refusal(
        f"payment_method_types is no longer supported; use allowed_payment_method_types for this {name}.",
        code=GONE,
        param="payment_method_types",
        keeps=False,
    )


@operation(
    "POST",
    "/v1/payment_intents",
    "amount!:int currency! customer payment_method confirm:bool off_session:bool description metadata:map"
    " setup_future_usage:(off_session|on_session) receipt_email return_url allowed_payment_method_types:list"
    " shipping{name! address!{line1 line2 city state postal_code country} phone carrier tracking_number}"
    " automatic_payment_methods{enabled!:bool allow_redirects:(always|never)} payment_method_types:list",
)
def make(world: World, asked: Json) -> Json:
    check_method_types(world, asked, "PaymentIntent")
    if asked["amount"] < (minimum := least(asked["currency"].lower())):
        told = shown_amount(minimum, asked["currency"].lower())
        raise Refusal(f"Amount must be at least {told}.", code="amount_too_small", param="amount")
    customer = world.living_customer(asked["customer"]) if "customer" in asked else None
    method = _method(world, asked["payment_method"]) if "payment_method" in asked else None
    if method and method["customer"] not in (None, asked.get("customer")):
        raise Refusal("The provided PaymentMethod belongs to another customer.", param="payment_method")
    intent = payments.intend(world, asked["amount"], asked["currency"].lower(), customer)
    merged(intent, asked, "description", "setup_future_usage", "receipt_email", "allowed_payment_method_types")
    if shipping := asked.get("shipping"):
        address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")) | shipping["address"]
        intent["shipping"] = shipping | {"address": address}
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    if asked.get("confirm"):
        return _confirm(world, intent, asked)
    return intent


def _method(world: World, id: str) -> Json:
    """A payment method, or a new one of a `pm_card_…` kind."""
    return method_with(world, BY_NAME[id]) if id in BY_NAME else world.get("payment_method", id, "payment_method")


def _confirm(world: World, intent: Json, asked: Json) -> Json:
    if intent["status"] in ("succeeded", "canceled"):
        raise Refusal(
            f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    method = intent["payment_method"]
    refusal = payments.confirm(world, intent, method, off_session=asked.get("off_session", False))
    if intent["status"] == "requires_action" and asked.get("return_url"):
        intent["next_action"]["redirect_to_url"]["return_url"] = asked["return_url"]
    if intent["status"] == "succeeded" and intent["setup_future_usage"] and intent["customer"]:
        attach(world, intent["payment_method"], world.get("customer", intent["customer"]))
    invoices.after_attempt(world, intent, refusal)
    if refusal:
        raise refusal
    return intent


@operation("POST", "/v1/payment_intents/{intent}/confirm", "payment_method off_session:bool return_url")
def confirm(world: World, asked: Json, id: str) -> Json:
    intent = world.get("payment_intent", id)
    if "payment_method" in asked:
        intent["payment_method"] = _method(world, asked["payment_method"])["id"]
    return _confirm(world, intent, asked)


@operation("POST", "/v1/payment_intents/{intent}", "description metadata:map receipt_email")
def change(world: World, asked: Json, id: str) -> Json:
    intent = world.get("payment_intent", id)
    merged(intent, asked, "description", "receipt_email")
    return intent


@operation(
    "POST",
    "/v1/payment_intents/{intent}/cancel",
    "cancellation_reason:(abandoned|duplicate|fraudulent|requested_by_customer)",
)
def cancel(world: World, asked: Json, id: str) -> Json:
    intent = world.get("payment_intent", id)
    if world.keep(id).get("invoice"):
        raise Refusal("You cannot cancel the PaymentIntent of an invoice; void the invoice instead.")
    payments.cancel(world, intent, asked.get("cancellation_reason"))
    return intent


retrieval("payment_intent", "/v1/payment_intents/{intent}")


@operation("GET", "/v1/payment_intents", f"{LISTING} customer created:range")
def intents(world: World, asked: Json) -> Json:
    facts = {"customer": asked["customer"]} if "customer" in asked else {}
    return page(world.where("payment_intent", **facts), asked, "/v1/payment_intents")


retrieval("charge", "/v1/charges/{charge}")


@operation("POST", "/v1/charges/{charge}", "description metadata:map")
def change_charge(world: World, asked: Json, id: str) -> Json:
    charge = world.get("charge", id)
    merged(charge, asked, "description")
    return charge


@operation("GET", "/v1/charges", f"{LISTING} customer payment_intent created:range")
def charges(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("customer", "payment_intent") if name in asked}
    return page(world.where("charge", **facts), asked, "/v1/charges")


@operation(
    "POST",
    "/v1/setup_intents",
    "customer payment_method confirm:bool description metadata:map usage:(off_session|on_session)"
    " payment_method_types:list return_url",
)
def make_setup(world: World, asked: Json) -> Json:
    check_method_types(world, asked, "SetupIntent")
    customer = world.living_customer(asked["customer"]) if "customer" in asked else None
    if "payment_method" in asked:
        card_of(world, asked["payment_method"])
    intent = world.make("setup_intent", customer=customer["id"] if customer else None)
    intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(8)}"
    merged(intent, asked, "description", "usage")
    tell(world, "setup_intent.created", intent)
    if "payment_method" in asked:
        intent |= {"payment_method": _method(world, asked["payment_method"])["id"], "status": "requires_confirmation"}
    return set_up(world, intent) if asked.get("confirm") else intent


@operation("POST", "/v1/setup_intents/{intent}/confirm", "payment_method return_url")
def confirm_setup(world: World, asked: Json, id: str) -> Json:
    intent = world.get("setup_intent", id)
    if "payment_method" in asked:
        intent["payment_method"] = _method(world, asked["payment_method"])["id"]
    return set_up(world, intent)


def set_up(world: World, intent: Json, *, authenticated: bool = False) -> Json:
    """Keep a card for later; one that needs authentication must have had it."""
    if not intent["payment_method"]:
        raise Refusal("This SetupIntent has no payment method.", code="setup_intent_unexpected_state")
    card = world.cards[intent["payment_method"]]
    if card.attach:
        refusal = declined(card.attach)
        intent |= {"status": "requires_payment_method", "payment_method": None, "last_setup_error": refusal.error}
        tell(world, "setup_intent.setup_failed", intent)
        raise refusal
    if card.authentication and not authenticated:
        raise unknown_to_the_sandbox("setup intents that wait for authentication; use Checkout or the portal")
    if intent["customer"]:
        attach(world, intent["payment_method"], world.get("customer", intent["customer"]))
    world.set_up.add(intent["payment_method"])
    intent["status"] = "succeeded"
    tell(world, "setup_intent.succeeded", intent)
    return intent


retrieval("setup_intent", "/v1/setup_intents/{intent}")


@operation("GET", "/v1/setup_intents", f"{LISTING} customer created:range")
def setups(world: World, asked: Json) -> Json:
    facts = {"customer": asked["customer"]} if "customer" in asked else {}
    return page(world.where("setup_intent", **facts), asked, "/v1/setup_intents")
