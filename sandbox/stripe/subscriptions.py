"""Subscriptions: made, changed now or when paid, canceled now or at the end of the period."""

from sandbox.stripe import invoices, standing
from sandbox.stripe.answers import LISTING, page, rendered
from sandbox.stripe.events import tell, told
from sandbox.stripe.items import Change, billed, changed, first_items, must_be_in_period
from sandbox.stripe.lines import period_line
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.payments import verdict
from sandbox.stripe.refusals import Refusal, declined, unknown_to_the_sandbox
from sandbox.stripe.standing import ENDED, HOURS_TO_PAY
from sandbox.stripe.state import Json, World

PRORATION = "proration_behavior:(create_prorations|always_invoice|none)"
PAYMENT = "payment_behavior:(allow_incomplete|default_incomplete|error_if_incomplete|pending_if_incomplete)"
DETAILS = (
    "cancellation_details{comment feedback:(customer_service|low_quality|missing_features|other|switched_service"
    "|too_complex|too_expensive|unused)}"
)
CHANGEABLE = (
    f"{PRORATION} {PAYMENT} metadata:map default_payment_method description off_session:bool"
    " cancel_at_period_end:bool cancel_at:int payment_settings{save_default_payment_method:(off|on_subscription)}"
)
WHILE_PENDING = {
    *("items", "proration_behavior", "proration_date", "billing_cycle_anchor", "payment_behavior", "metadata"),
    "off_session",
}


@operation(
    "POST",
    "/v1/subscriptions",
    "customer! items![price! quantity:count metadata:map] currency"
    f" collection_method:(charge_automatically) billing_mode{{type!:(flexible)}} {CHANGEABLE}",
)
def make(world: World, asked: Json) -> Json:
    customer = world.living_customer(asked["customer"])
    return begin(world, customer, asked)


def begin(world: World, customer: Json, asked: Json, *, method: str | None = None, authenticated: bool = False) -> Json:
    """Start a subscription and charge its first period, by the payment behavior that was asked for."""
    behavior = asked.get("payment_behavior", "allow_incomplete")
    if behavior == "pending_if_incomplete":
        raise Refusal("pending_if_incomplete is for updates only.", param="payment_behavior")
    method = method or asked.get("default_payment_method") or customer["invoice_settings"]["default_payment_method"]
    if asked.get("default_payment_method"):
        world.get("payment_method", asked["default_payment_method"], "default_payment_method")
    now = world.now(customer["test_clock"])
    subscription = world.draft(
        "subscription",
        now,
        customer=customer["id"],
        billing_cycle_anchor=now,
        start_date=now,
        status="incomplete",
        test_clock=customer["test_clock"],
    )
    items = first_items(world, subscription, asked["items"])
    subscription["currency"] = items[0]["price"]["currency"]
    total = sum(int(each["price"]["unit_amount"]) * each["quantity"] for each in items)
    if total and not method and behavior != "default_incomplete":
        raise Refusal(
            "This customer has no attached payment source or default payment method. Please consider adding a default"
            " payment method.",
            code="resource_missing",
        )
    if total and method and behavior == "error_if_incomplete" and (no := verdict(world, method)):
        raise declined("authentication_required" if no == "authentication" else no)
    subscription["items"]["url"] = f"/v1/subscription_items?subscription={subscription['id']}"
    world.kinds.setdefault("subscription", {})[subscription["id"]] = subscription
    standing.apply_items(world, subscription, items)
    _take_over(world, subscription, asked)
    lines = [period_line(world, subscription, each) for each in items]
    tell(world, "customer.subscription.created", subscription)
    invoice = invoices.draft(
        world, customer, lines, "subscription_create", subscription=subscription, auto_advance=False
    )
    invoices.finalize(world, invoice, setup_future_usage="off_session")
    if invoice["status"] == "open" and behavior != "default_incomplete":
        invoices.pay(world, invoice, method, authenticated=authenticated, off_session=asked.get("off_session", False))
    return subscription


def _take_over(world: World, subscription: Json, asked: Json) -> None:
    merged(subscription, asked, "default_payment_method", "description")
    subscription["payment_settings"] |= asked.get("payment_settings") or {}
    subscription["cancellation_details"] |= asked.get("cancellation_details") or {}
    end = max((each["current_period_end"] for each in subscription["items"]["data"]), default=0)
    if "cancel_at_period_end" in asked:
        wanted, reason = asked["cancel_at_period_end"], "cancellation_requested"
        subscription |= {
            "cancel_at_period_end": wanted,
            "cancel_at": end if wanted else None,
            "canceled_at": world.now(subscription["test_clock"]) if wanted else None,
        }
        subscription["cancellation_details"]["reason"] = reason if wanted else None
    elif "cancel_at" in asked:
        subscription["cancel_at"] = asked["cancel_at"] or None


@operation(
    "POST",
    "/v1/subscriptions/{subscription}",
    "items[id price quantity:count deleted:bool metadata:map] proration_date:int"
    f" billing_cycle_anchor{{type!:(now|unchanged)}} {DETAILS} {CHANGEABLE}",
)
def update(world: World, asked: Json, id: str) -> Json:
    subscription = world.get("subscription", id)
    _may_change(world, subscription, asked)
    now = world.now(subscription["test_clock"])
    if "items" in asked:
        at = asked.get("proration_date", now)
        change = changed(world, subscription, asked["items"], at)
        if "proration_date" in asked:
            must_be_in_period(subscription, at)
        behavior = asked.get("proration_behavior", "create_prorations")
        if asked.get("payment_behavior") == "pending_if_incomplete":
            change_when_paid(world, subscription, change, asked, at, behavior)
            return subscription
        change_now(world, subscription, change, asked, at, behavior)
    else:
        with told(world, "customer.subscription.updated", subscription):
            _take_over(world, subscription, asked)
    return subscription


def _may_change(world: World, subscription: Json, asked: Json) -> None:
    if subscription["status"] in ENDED and asked.keys() - {"metadata", "cancellation_details"}:
        raise Refusal("A canceled subscription can only update its cancellation_details and metadata.")
    if asked.get("default_payment_method"):
        world.get("payment_method", asked["default_payment_method"], "default_payment_method")
    if asked.get("billing_cycle_anchor", {}).get("type") == "now":
        raise unknown_to_the_sandbox("billing_cycle_anchor of type now", "billing_cycle_anchor")
    if subscription["schedule"] and asked.keys() & {"cancel_at_period_end", "cancel_at"}:
        raise Refusal(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any"
            " cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    if subscription["schedule"] and "items" in asked:
        raise unknown_to_the_sandbox("a change of items beside a schedule; release the schedule first", "items")
    if asked.get("payment_behavior") == "pending_if_incomplete" and (other := asked.keys() - WHILE_PENDING):
        name = min(other)
        raise Refusal(f"When `payment_behavior` is set to `pending_if_incomplete`, you cannot pass {name}.", param=name)
    if subscription["status"] == "incomplete" and "items" in asked:
        raise Refusal("The items of a subscription whose first payment is not complete cannot be updated.")


def change_when_paid(world: World, subscription: Json, change: Change, asked: Json, at: int, behavior: str) -> None:
    """Charge first; what was asked for is so when that is paid, and never if it is not paid within 23 hours."""
    if subscription["pending_update"]:
        pending = world.get("invoice", world.keep(subscription["id"])["pending"]["invoice"])
        if pending["status"] == "open":
            invoices.void(world, pending)
    lines = billed(world, subscription, change, at) if behavior == "always_invoice" else []
    customer = world.get("customer", subscription["customer"])
    if not lines or sum(line["amount"] for line in lines) <= 0:
        change_now(world, subscription, change, asked, at, behavior)
        return
    invoice = invoices.draft(
        world, customer, lines, "subscription_update", subscription=subscription, auto_advance=False, counts=False
    )
    invoice["parent"]["subscription_details"]["subscription_proration_date"] = at
    kept = world.keep(subscription["id"])
    kept["pending"] = {"invoice": invoice["id"], "items": change.items, "metadata": asked.get("metadata", {})}
    before = rendered(subscription)
    invoices.finalize(world, invoice)
    if invoice["status"] == "open":
        # Declined or not, the answer is 200: the open invoice says what is missing.
        invoices.pay(world, invoice, off_session=asked.get("off_session", False))
        if invoice["status"] == "open":
            subscription["pending_update"] = {
                **dict.fromkeys(("billing_cycle_anchor", "discount", "discounts", "trial_end", "trial_from_plan")),
                "expires_at": world.now(subscription["test_clock"]) + HOURS_TO_PAY,
                "metadata": asked.get("metadata"),
                "subscription_items": [rendered(each) for each in change.items],
            }
            tell(world, "customer.subscription.updated", subscription, before)


def change_now(world: World, subscription: Json, change: Change, asked: Json, at: int, behavior: str) -> None:
    """Change at once, and charge or credit the difference as `behavior` says."""
    lines = billed(world, subscription, change, at) if behavior != "none" else []
    if change.moves_periods and behavior != "always_invoice":
        raise unknown_to_the_sandbox("a change of interval within a period but with always_invoice", "items")
    method = standing_method(world, subscription)
    due = sum(line["amount"] for line in lines) if behavior == "always_invoice" else 0
    if due > 0 and asked.get("payment_behavior") == "error_if_incomplete":
        no = verdict(world, method) if method else "generic_decline"
        if no:
            raise declined("authentication_required" if no == "authentication" else no)
    with told(world, "customer.subscription.updated", subscription):
        standing.apply_items(world, subscription, change.items)
        _take_over(world, subscription, asked)
        if lines and behavior == "always_invoice":
            customer = world.get("customer", subscription["customer"])
            invoice = invoices.draft(
                world, customer, lines, "subscription_update", subscription=subscription, auto_advance=True
            )
            invoice["parent"]["subscription_details"]["subscription_proration_date"] = at
    if lines and behavior == "always_invoice":
        invoices.finalize(world, invoice)
        if invoice["status"] == "open" and asked.get("payment_behavior") != "default_incomplete":
            invoices.pay(world, invoice, off_session=asked.get("off_session", False))
    elif lines:
        change.leave_pending(world, subscription, lines)


def standing_method(world: World, subscription: Json) -> str | None:
    customer = world.get("customer", subscription["customer"])
    chosen: str | None = (
        subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    )
    return chosen


@operation("DELETE", "/v1/subscriptions/{subscription}", f"invoice_now:bool prorate:bool {DETAILS} expand:list")
def cancel(world: World, asked: Json, id: str) -> Json:
    subscription = world.get("subscription", id)
    if subscription["status"] in ENDED:
        raise Refusal(f"No such subscription: '{id}'", status=404, code="resource_missing", param="id")
    if asked.get("invoice_now"):
        raise unknown_to_the_sandbox("invoice_now when canceling", "invoice_now")
    if asked.get("prorate"):
        now = world.now(subscription["test_clock"])
        everything = [{"id": each["id"], "deleted": True} for each in subscription["items"]["data"]]
        change = changed(world, subscription, everything, now)
        change.leave_pending(world, subscription, billed(world, subscription, change, now))
    reason = "cancellation_requested"
    status = "incomplete_expired" if subscription["status"] == "incomplete" else "canceled"
    standing.end(world, subscription, status, reason=reason, details=asked.get("cancellation_details"))
    return subscription


retrieval("subscription", "/v1/subscriptions/{subscription_exposed_id}")


@operation(
    "GET",
    "/v1/subscriptions",
    f"{LISTING} customer price status:(active|past_due|unpaid|canceled|incomplete|incomplete_expired|ended|all)"
    " created:range test_clock collection_method:(charge_automatically)",
)
def subscriptions(world: World, asked: Json) -> Json:
    wanted = asked.get("status")
    facts = {"customer": asked["customer"]} if "customer" in asked else {"test_clock": asked.get("test_clock")}
    rows = [
        each
        for each in world.where("subscription", **facts)
        if (wanted == "all" or each["status"] == wanted or (wanted is None and each["status"] != "canceled")
            or (wanted == "ended" and each["status"] in ENDED))
        and ("price" not in asked or any(item["price"]["id"] == asked["price"] for item in each["items"]["data"]))
    ]  # fmt: skip
    return page(rows, asked, "/v1/subscriptions")


@operation("GET", "/v1/subscription_items", f"{LISTING} subscription!")
def items_of(world: World, asked: Json) -> Json:
    subscription = world.get("subscription", asked["subscription"], "subscription")
    return page(subscription["items"]["data"], asked, "/v1/subscription_items", oldest_first=True)


retrieval("subscription_item", "/v1/subscription_items/{item}")
