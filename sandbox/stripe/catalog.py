"""Products and their prices, found by lookup key."""

from decimal import Decimal

from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.events import tell, told
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

PRODUCT = "active:bool description metadata:map statement_descriptor unit_label url tax_code images:list"
KEYS_AT_ONCE = 10


@operation("POST", "/v1/products", f"id name! {PRODUCT}")
def make_product(world: World, asked: Json) -> Json:
    if world.kinds.get("product", {}).get(asked.get("id", "")):
        raise Refusal("Product already exists.", code="resource_already_exists", param="id")
    product = world.make("product", name=asked["name"])
    if "id" in asked:
        world.drop(product)
        product["id"] = asked["id"]
        world.kinds["product"][product["id"]] = product
    product["updated"] = product["created"]
    merged(product, asked, "active", "description", "statement_descriptor", "unit_label", "url", "tax_code", "images")
    tell(world, "product.created", product)
    return product


@operation("POST", "/v1/products/{id}", f"name default_price {PRODUCT}")
def change_product(world: World, asked: Json, id: str) -> Json:
    product = world.get("product", id)
    if "default_price" in asked:
        world.get("price", asked["default_price"], "default_price")
    with told(world, "product.updated", product):
        merged(
            product, asked, "name", "default_price", "active", "description", "statement_descriptor", "unit_label",
            "url", "tax_code", "images",
        )  # fmt: skip
        product["updated"] = world.real()
    return product


@operation("DELETE", "/v1/products/{id}")
def delete_product(world: World, asked: Json, id: str) -> Json:
    product = world.get("product", id)
    if any(world.where("price", product=id)):
        raise Refusal("This product cannot be deleted because it has one or more user-created prices.")
    world.drop(product)
    tell(world, "product.deleted", product)
    return {"id": id, "object": "product", "deleted": True}


retrieval("product", "/v1/products/{id}")


@operation("GET", "/v1/products", f"{LISTING} active:bool ids:list created:range")
def products(world: World, asked: Json) -> Json:
    rows = [
        each
        for each in world.all("product")
        if asked.get("active", each["active"]) == each["active"] and each["id"] in asked.get("ids", [each["id"]])
    ]
    return page(rows, asked, "/v1/products")


@operation(
    "POST",
    "/v1/prices",
    "currency! product product_data{name! metadata:map} unit_amount:int unit_amount_decimal:decimal lookup_key"
    " transfer_lookup_key:bool nickname active:bool metadata:map tax_behavior:(exclusive|inclusive|unspecified)"
    " recurring{interval!:(day|week|month|year) interval_count:int usage_type:(licensed)} billing_scheme:(per_unit)",
)
def make_price(world: World, asked: Json) -> Json:
    sent = [asked[name] for name in ("unit_amount", "unit_amount_decimal") if name in asked]
    if not sent:
        raise Refusal("Missing required param: unit_amount.", code="parameter_missing", param="unit_amount")
    amount = Decimal(sent[0])
    if amount != amount.to_integral_value() or amount < 0:
        raise Refusal("The Stripe sandbox knows whole, positive amounts only.", param="unit_amount_decimal")
    if ("product" in asked) == ("product_data" in asked):
        raise Refusal("You must provide one of product or product_data.", param="product")
    product = world.get("product", asked["product"], "product") if "product" in asked else None
    _free(world, asked)
    product = product or make_product(world, asked["product_data"])
    recurring = asked.get("recurring")
    price = world.make(
        "price",
        currency=asked["currency"].lower(),
        product=product["id"],
        unit_amount=int(amount),
        unit_amount_decimal=str(int(amount)),
        type="recurring" if recurring else "one_time",
    )
    if recurring:
        price["recurring"] = {
            "interval": recurring["interval"],
            "interval_count": recurring.get("interval_count", 1),
            "meter": None,
            "usage_type": "licensed",
        }
    merged(price, asked, "lookup_key", "nickname", "active", "tax_behavior")
    tell(world, "price.created", price)
    return price


def _free(world: World, asked: Json, mine: str = "") -> None:
    """Refuse a lookup key that another price has, or take it away from that one where that was asked."""
    key = asked.get("lookup_key")
    for other in list(world.where("price", lookup_key=key)) if key else []:
        if other["id"] == mine:
            continue
        if not asked.get("transfer_lookup_key"):
            raise Refusal(
                f"A price (`{other['id']}`) already uses that lookup key.",
                code="resource_already_exists",
                param="lookup_key",
            )
        other["lookup_key"] = None


@operation(
    "POST",
    "/v1/prices/{price}",
    "active:bool lookup_key transfer_lookup_key:bool nickname metadata:map"
    " tax_behavior:(exclusive|inclusive|unspecified)",
)
def change_price(world: World, asked: Json, id: str) -> Json:
    price = world.get("price", id)
    _free(world, asked, id)
    with told(world, "price.updated", price):
        merged(price, asked, "active", "lookup_key", "nickname", "tax_behavior")
    return price


retrieval("price", "/v1/prices/{price}")


@operation(
    "GET",
    "/v1/prices",
    f"{LISTING} active:bool lookup_keys:list product currency type:(one_time|recurring) created:range",
)
def prices(world: World, asked: Json) -> Json:
    if len(asked.get("lookup_keys", [])) > KEYS_AT_ONCE:
        raise Refusal(f"You may only specify up to {KEYS_AT_ONCE} lookup_keys.", param="lookup_keys")
    facts = {name: asked[name] for name in ("active", "product", "currency", "type") if name in asked}
    rows = [
        each
        for each in world.where("price", **facts)
        if "lookup_keys" not in asked or each["lookup_key"] in asked["lookup_keys"]
    ]
    return page(rows, asked, "/v1/prices")
