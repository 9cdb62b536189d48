"""Subscription schedules: what a subscription will be, phase by phase."""

import copy

from sandbox.stripe import standing, subscriptions
from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.events import tell, told
from sandbox.stripe.items import changed, priced
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.periods import stepped
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

FIRST_PHASES = (
    "phases[items![price! quantity:count metadata:map] end_date:int metadata:map"
    " duration{interval!:(day|week|month|year) interval_count:int}"
    " proration_behavior:(create_prorations|always_invoice|none)]"
)
PHASES = FIRST_PHASES.replace("end_date", "start_date:int end_date")
END = "end_behavior:(release|cancel)"
LIVE = ("not_started", "active")


@operation(
    "POST", "/v1/subscription_schedules", f"from_subscription customer start_date {END} {FIRST_PHASES} metadata:map"
)
def make(world: World, asked: Json) -> Json:
    if "from_subscription" in asked:
        if other := asked.keys() - {"from_subscription"}:
            raise Refusal(f"You cannot set `{min(other)}` if `from_subscription` is set.", param=min(other))
        return _from(world, world.get("subscription", asked["from_subscription"], "from_subscription"))
    if "customer" not in asked or not asked.get("phases"):
        raise Refusal("Missing required param: customer or phases.", code="parameter_missing", param="customer")
    customer = world.living_customer(asked["customer"])
    now = world.now(customer["test_clock"])
    if asked.get("start_date", "now") not in ("now", str(now)):
        raise Refusal("The Stripe sandbox starts schedules now.", param="start_date")
    phases = _phases(world, asked["phases"], now, customer["currency"] or "usd")
    subscription = subscriptions.begin(world, customer, {"items": asked["phases"][0]["items"]})
    return _attach(world, subscription, phases, asked.get("end_behavior", "release"), asked)


def _from(world: World, subscription: Json) -> Json:
    if subscription["schedule"]:
        raise Refusal(
            f"You cannot migrate a subscription that is already attached to a schedule: {subscription['schedule']}.",
            param="from_subscription",
        )
    if subscription["status"] in standing.ENDED:
        raise Refusal("You cannot create a schedule from a canceled subscription.", param="from_subscription")
    items = subscription["items"]["data"]
    phase = _phase(
        subscription["currency"],
        [{"price": each["price"]["id"], "quantity": each["quantity"]} for each in items],
        items[0]["current_period_start"],
        items[0]["current_period_end"],
    )
    end = "cancel" if subscription["cancel_at_period_end"] else "release"
    return _attach(world, subscription, [phase], end, {})


def _attach(world: World, subscription: Json, phases: list[Json], end: str, asked: Json) -> Json:
    schedule = world.make(
        "subscription_schedule",
        world.now(subscription["test_clock"]),
        customer=subscription["customer"],
        end_behavior=end,
        phases=phases,
        status="active",
        subscription=subscription["id"],
        test_clock=subscription["test_clock"],
    )
    merged(schedule, asked)
    _set_current(world, schedule)
    tell(world, "subscription_schedule.created", schedule)
    with told(world, "customer.subscription.updated", subscription):
        subscription["schedule"] = schedule["id"]
    return schedule


def _phase(currency: str, items: list[Json], start: int, end: int, asked: Json | None = None) -> Json:
    asked = asked or {}
    return {
        "add_invoice_items": [],
        **dict.fromkeys(("application_fee_percent", "billing_cycle_anchor", "billing_thresholds", "collection_method")),
        **dict.fromkeys(("default_payment_method", "description", "invoice_settings", "on_behalf_of")),
        **dict.fromkeys(("transfer_data", "trial_end")),
        "currency": currency,
        "default_tax_rates": [],
        "discounts": [],
        "end_date": end,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": each.get("metadata", {}),
                "plan": each["price"],
                "price": each["price"],
                "quantity": each.get("quantity", 1),
                "tax_rates": [],
            }
            for each in items
        ],
        "metadata": asked.get("metadata", {}),
        "proration_behavior": asked.get("proration_behavior", "create_prorations"),
        "start_date": start,
    }


def _phases(world: World, asked: list[Json], first: int, currency: str) -> list[Json]:
    made: list[Json] = []
    for n, each in enumerate(asked):
        start = int(each.get("start_date") or (made[-1]["end_date"] if made else first))
        if made and start != made[-1]["end_date"]:
            raise Refusal("Phases must be contiguous.", param=f"phases[{n}][start_date]")
        if ("end_date" in each) == ("duration" in each):
            raise Refusal("Each phase needs exactly one of `end_date` and `duration`.", param=f"phases[{n}][end_date]")
        for item in each["items"]:
            currency = priced(world, item["price"])["currency"]
        duration = each.get("duration") or {}
        end: int = each.get("end_date") or stepped(start, {"interval_count": 1} | duration, 1)
        if end <= start:
            raise Refusal("A phase must end after its start.", param=f"phases[{n}][end_date]")
        made.append(_phase(currency, each["items"], start, end, each))
    return made


@operation(
    "POST",
    "/v1/subscription_schedules/{schedule}",
    f"{END} {PHASES} metadata:map proration_behavior:(create_prorations|always_invoice|none)",
)
def update(world: World, asked: Json, id: str) -> Json:
    schedule = _live(world, id, "update")
    subscription = world.get("subscription", schedule["subscription"])
    now = world.now(schedule["test_clock"])
    phases = schedule["phases"]
    if "phases" in asked:
        if not asked["phases"]:
            raise Refusal("A schedule needs at least one phase.", param="phases")
        if "start_date" not in asked["phases"][0]:
            raise Refusal(
                "The first phase needs a start_date.", code="parameter_missing", param="phases[0][start_date]"
            )
        phases = _phases(world, asked["phases"], now, subscription["currency"])
        current = next((each for each in phases if each["start_date"] <= now < each["end_date"]), None)
        mine = schedule["current_phase"]
        if not current or (mine and current["start_date"] != mine["start_date"]):
            raise Refusal("You can not modify the start date of the current phase.", param="phases[0][start_date]")
        if _differs(subscription, current):
            _become(world, subscription, current, asked.get("proration_behavior", "create_prorations"))
    with told(world, "subscription_schedule.updated", schedule):
        schedule["phases"] = phases
        merged(schedule, asked, "end_behavior")
        _set_current(world, schedule)
    return schedule


def _live(world: World, id: str, act: str) -> Json:
    schedule = world.get("subscription_schedule", id)
    if schedule["status"] not in LIVE:
        raise Refusal(
            f"You cannot {act} a subscription schedule that is currently in the `{schedule['status']}` status."
            " Its status must be `not_started` or `active`."
        )
    return schedule


def _set_current(world: World, schedule: Json) -> None:
    now = world.now(schedule["test_clock"])
    schedule["current_phase"] = next(
        (
            {"start_date": each["start_date"], "end_date": each["end_date"]}
            for each in schedule["phases"]
            if each["start_date"] <= now < each["end_date"]
        ),
        None,
    )


def _differs(subscription: Json, phase: Json) -> bool:
    has = sorted((each["price"]["id"], each["quantity"]) for each in subscription["items"]["data"])
    return has != sorted((each["price"], each["quantity"]) for each in phase["items"])


def _become(world: World, subscription: Json, phase: Json, behavior: str) -> None:
    """Make a subscription what a phase says; an item keeps its id where there is one before and after."""
    now, mine = world.now(subscription["test_clock"]), subscription["items"]["data"]
    wanted = [{"price": each["price"], "quantity": each["quantity"]} for each in phase["items"]]
    asked = [each | {"id": old["id"]} for each, old in zip(wanted, mine, strict=False)]
    asked += wanted[len(mine) :] + [{"id": each["id"], "deleted": True} for each in mine[len(wanted) :]]
    change = changed(world, subscription, asked, now)
    if any(each["current_period_end"] == now for each in mine):
        # At the boundary nothing is left of the old period: what is new is billed with the period that begins now. The
        # anchor moves "as needed" (Stripe's `automatic`), that is when the rhythm is another.
        if change.moves_periods:
            subscription["billing_cycle_anchor"] = now
        over = {name: mine[0][name] for name in ("current_period_start", "current_period_end")}
        for each in change.items:
            each |= over
        standing.apply_items(world, subscription, change.items)
    else:
        subscriptions.change_now(world, subscription, change, {}, now, behavior)


@operation("POST", "/v1/subscription_schedules/{schedule}/release", "preserve_cancel_date:bool")
def release(world: World, asked: Json, id: str) -> Json:
    return _let_go(world, _live(world, id, "release"))


def _let_go(world: World, schedule: Json) -> Json:
    subscription = world.get("subscription", schedule["subscription"])
    schedule |= {
        "status": "released",
        "released_at": world.now(schedule["test_clock"]),
        "released_subscription": subscription["id"],
        "subscription": None,
        "current_phase": None,
    }
    tell(world, "subscription_schedule.released", schedule)
    with told(world, "customer.subscription.updated", subscription):
        subscription["schedule"] = None
    return schedule


@operation("POST", "/v1/subscription_schedules/{schedule}/cancel", "invoice_now:bool prorate:bool")
def cancel(world: World, asked: Json, id: str) -> Json:
    schedule = _live(world, id, "cancel")
    if asked.get("invoice_now") or asked.get("prorate"):
        raise Refusal("The Stripe sandbox cancels schedules without prorating.", param="prorate")
    subscription = world.get("subscription", schedule["subscription"])
    standing.end(world, subscription, "canceled", reason="cancellation_requested")
    return schedule


def phase_ends(world: World, schedule: Json) -> None:
    """The present phase is over: enter the next, or do what is to be done at the end."""
    now = world.now(schedule["test_clock"])
    subscription = world.get("subscription", schedule["subscription"])
    following = next((each for each in schedule["phases"] if each["start_date"] <= now < each["end_date"]), None)
    if following:
        with told(world, "subscription_schedule.updated", schedule):
            _set_current(world, schedule)
        standing.merge_metadata(subscription, copy.deepcopy(following["metadata"]))
        if _differs(subscription, following):
            _become(world, subscription, following, following["proration_behavior"])
    elif schedule["end_behavior"] == "release":
        _let_go(world, schedule)
    else:
        schedule |= {"status": "completed", "completed_at": now, "current_phase": None}
        tell(world, "subscription_schedule.completed", schedule)
        standing.end(world, subscription, "canceled", reason="cancellation_requested")


retrieval("subscription_schedule", "/v1/subscription_schedules/{schedule}")


@operation("GET", "/v1/subscription_schedules", f"{LISTING} customer created:range")
def schedules(world: World, asked: Json) -> Json:
    facts = {"customer": asked["customer"]} if "customer" in asked else {}
    return page(world.where("subscription_schedule", **facts), asked, "/v1/subscription_schedules")
