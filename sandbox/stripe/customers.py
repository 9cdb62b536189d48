"""Customers, the cards they pay with, and the balance that Stripe keeps for them."""

from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.cards import BY_NAME, BY_TOKEN, Card
from sandbox.stripe.events import tell, told
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.refusals import Refusal, declined, missing, unknown_to_the_sandbox
from sandbox.stripe.state import Json, World

ADDRESS = "{line1 line2 city state postal_code country}"
CUSTOMER = (
    f"email name description phone metadata:map balance:int address{ADDRESS} preferred_locales:list"
    " invoice_settings{default_payment_method} tax_exempt:(none|exempt|reverse)"
)
CUSTOMERS_A_CLOCK = 3


@operation("POST", "/v1/customers", f"{CUSTOMER} payment_method test_clock")
def make_customer(world: World, asked: Json) -> Json:
    clock = asked.get("test_clock")
    if clock:
        world.get("test_helpers.test_clock", clock, "test_clock")
        if len(list(world.where("customer", test_clock=clock))) >= CUSTOMERS_A_CLOCK:
            raise Refusal(f"A test clock can have up to {CUSTOMERS_A_CLOCK} customers.", param="test_clock")
    customer = world.draft("customer", world.now(clock), test_clock=clock)
    customer["invoice_prefix"] = customer["id"][-8:].upper()
    _change(customer, asked)
    if "payment_method" in asked:
        card_of(world, asked["payment_method"], attaching=True)
    wanted = asked.get("invoice_settings", {}).get("default_payment_method")
    world.kinds.setdefault("customer", {})[customer["id"]] = customer
    if "payment_method" in asked:
        method = attach(world, asked["payment_method"], customer)
        wanted = method["id"] if wanted in (asked["payment_method"], method["id"]) else wanted
    if wanted:
        _set_default(world, customer, wanted)
    tell(world, "customer.created", customer)
    return customer


def _change(customer: Json, asked: Json) -> None:
    merged(customer, asked, "email", "name", "description", "phone", "balance", "preferred_locales", "tax_exempt")
    if "address" in asked:
        blank = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
        customer["address"] = blank | asked["address"] if asked["address"] else None


def _set_default(world: World, customer: Json, method: str) -> None:
    if method and world.get("payment_method", method, "default_payment_method")["customer"] != customer["id"]:
        raise missing("payment_method", method, "invoice_settings[default_payment_method]")
    customer["invoice_settings"]["default_payment_method"] = method or None


@operation("POST", "/v1/customers/{customer}", CUSTOMER)
def change_customer(world: World, asked: Json, id: str) -> Json:
    world.get("customer", id)
    customer = world.living_customer(id)
    with told(world, "customer.updated", customer):
        if asked.get("invoice_settings"):
            _set_default(world, customer, asked["invoice_settings"].get("default_payment_method", ""))
        _change(customer, asked)
    return customer


retrieval("customer", "/v1/customers/{customer}")


@operation("GET", "/v1/customers", f"{LISTING} email created:range test_clock")
def customers(world: World, asked: Json) -> Json:
    rows = [
        each
        for each in world.where("customer", test_clock=asked.get("test_clock"))
        if not each.get("deleted") and asked.get("email", each["email"]) == each["email"]
    ]
    return page(rows, asked, "/v1/customers")


@operation("GET", "/v1/customers/{customer}/payment_methods", f"{LISTING} type:(card)")
def methods_of(world: World, asked: Json, id: str) -> Json:
    world.get("customer", id)
    return page(world.where("payment_method", customer=id), asked, f"/v1/customers/{id}/payment_methods")


@operation("GET", "/v1/payment_methods", f"{LISTING} customer type:(card)")
def methods(world: World, asked: Json) -> Json:
    facts = {"customer": asked["customer"]} if "customer" in asked else {}
    return page(world.where("payment_method", **facts), asked, "/v1/payment_methods")


@operation("POST", "/v1/payment_methods", "type!:(card) card{token} metadata:map")
def make_method(world: World, asked: Json) -> Json:
    token = (asked.get("card") or {}).get("token", "")
    if token not in BY_TOKEN:
        raise unknown_to_the_sandbox(f"the card {token or '(none)'}; send a token such as tok_visa", "card")
    method = method_with(world, BY_TOKEN[token])
    merged(method, asked)
    return method


def method_with(world: World, card: Card) -> Json:
    """Make a payment method of a test card."""
    method = world.make("payment_method")
    method["card"] = {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": 2040,
        "fingerprint": f"sandbox{card.number[-8:]}",
        "funding": "credit",
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    world.cards[method["id"]] = card
    return method


retrieval("payment_method", "/v1/payment_methods/{payment_method}")


@operation("POST", "/v1/payment_methods/{payment_method}", "metadata:map")
def change_method(world: World, asked: Json, id: str) -> Json:
    method = world.get("payment_method", id)
    with told(world, "payment_method.updated", method):
        merged(method, asked)
    return method


@operation("POST", "/v1/payment_methods/{payment_method}/attach", "customer!")
def attach_method(world: World, asked: Json, id: str) -> Json:
    return attach(world, id, world.living_customer(asked["customer"]))


def card_of(world: World, id: str, *, attaching: bool = False) -> Card:
    """The card behind a payment method or a `pm_card_…` name; refuses one that cannot be attached."""
    card = BY_NAME.get(id) or world.cards.get(world.get("payment_method", id, "payment_method")["id"])
    assert card
    if attaching and card.attach:
        raise declined(card.attach, param="")
    return card


def attach(world: World, id: str, customer: Json) -> Json:
    """Attach a card to a customer; a `pm_card_…` name stands for a new card of that kind."""
    card = card_of(world, id, attaching=True)
    method = method_with(world, card) if id in BY_NAME else world.get("payment_method", id)
    if method["customer"] == customer["id"]:
        return method
    if method["customer"]:
        raise Refusal("The payment method you provided has already been attached to a customer.")
    method["customer"] = customer["id"]
    tell(world, "payment_method.attached", method)
    return method


@operation("POST", "/v1/payment_methods/{payment_method}/detach")
def detach(world: World, asked: Json, id: str) -> Json:
    method = world.get("payment_method", id)
    if not method["customer"]:
        raise Refusal("The payment method you provided is not attached to a customer so detachment is impossible.")
    customer, before = world.get("customer", method["customer"]), dict(method)
    if customer.get("invoice_settings", {}).get("default_payment_method") == id:
        customer["invoice_settings"]["default_payment_method"] = None
    for each in world.where("subscription", default_payment_method=id):
        each["default_payment_method"] = None
    method["customer"] = None
    tell(world, "payment_method.detached", method, before)
    return method


def change_balance(world: World, customer: Json, amount: int, why: str, **about: str) -> Json:
    """Move a customer's balance (negative is credit) and write down why."""
    entry = world.make(
        "customer_balance_transaction",
        world.now(customer["test_clock"]),
        amount=amount,
        currency=customer["currency"] or "usd",
        customer=customer["id"],
        ending_balance=customer["balance"] + amount,
        type=why,
        **about,
    )
    with told(world, "customer.updated", customer):
        customer["balance"] += amount
    return entry


@operation("GET", "/v1/customers/{customer}/balance_transactions", LISTING)
def balance_history(world: World, asked: Json, id: str) -> Json:
    world.get("customer", id)
    rows = world.where("customer_balance_transaction", customer=id)
    return page(rows, asked, f"/v1/customers/{id}/balance_transactions")


@operation("POST", "/v1/customers/{customer}/balance_transactions", "amount!:int currency! description metadata:map")
def adjust_balance(world: World, asked: Json, id: str) -> Json:
    customer = world.living_customer(id)
    if customer["currency"] not in (None, asked["currency"]):
        raise Refusal("The customer has another currency.", param="currency")
    customer["currency"] = asked["currency"]
    entry = change_balance(world, customer, asked["amount"], "adjustment")
    merged(entry, asked, "description")
    return entry
