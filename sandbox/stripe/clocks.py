"""What time brings: renewals, tries to be paid, and what lapses; on the main line and on test clocks.

Whatever has come due is done one thing after the other in the order of its time, each at its own instant.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sandbox.stripe import checkout, invoices, schedules, standing
from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.events import tell, told
from sandbox.stripe.lines import period_line
from sandbox.stripe.operations import operation, retrieval
from sandbox.stripe.periods import period_at
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

DAY = 24 * 3600
LIVE = ("active", "past_due", "unpaid")


class Due(NamedTuple):
    at: int
    rank: int  # what goes first at one instant
    do: Callable[[World, Json], None]
    thing: Json


def _due(world: World, clock: str | None) -> Iterator[Due]:
    for subscription in world.where("subscription", test_clock=clock):
        status = subscription["status"]
        if status in standing.ENDED:
            continue
        if status == "incomplete":
            yield Due(subscription["created"] + standing.HOURS_TO_PAY, 0, _expire, subscription)
            continue
        if subscription["pending_update"]:
            yield Due(subscription["pending_update"]["expires_at"], 1, _pending_lapses, subscription)
        if subscription["cancel_at"]:
            yield Due(subscription["cancel_at"], 2, _cancel, subscription)
        if status in LIVE:
            ends = min(each["current_period_end"] for each in subscription["items"]["data"])
            yield Due(ends, 4, renew, subscription)
    for schedule in world.where("subscription_schedule", test_clock=clock, status="active"):
        if schedule["current_phase"]:
            yield Due(schedule["current_phase"]["end_date"], 3, _phase_ends, schedule)
    for invoice in world.where("invoice", test_clock=clock):
        if invoice["status"] == "draft" and invoice["automatically_finalizes_at"]:
            yield Due(invoice["automatically_finalizes_at"], 5, _collect, invoice)
        elif invoice["status"] == "open" and invoice["next_payment_attempt"]:
            yield Due(invoice["next_payment_attempt"], 5, _collect, invoice)
    if clock is None:
        for session in world.where("checkout.session", status="open"):
            yield Due(session["expires_at"], 0, _session_lapses, session)


def _expire(world: World, subscription: Json) -> None:
    invoice = world.get("invoice", subscription["latest_invoice"])
    if invoice["status"] == "open":
        invoices.void(world, invoice)
    else:
        standing.end(world, subscription, "incomplete_expired")


def _pending_lapses(world: World, subscription: Json) -> None:
    invoices.void(world, world.get("invoice", world.keep(subscription["id"])["pending"]["invoice"]))


def _cancel(world: World, subscription: Json) -> None:
    standing.end(world, subscription, "canceled")


def _phase_ends(world: World, schedule: Json) -> None:
    schedules.phase_ends(world, schedule)


def _collect(world: World, invoice: Json) -> None:
    invoices.pay_or_wait(world, invoice)


def _session_lapses(world: World, session: Json) -> None:
    checkout.lapse(world, session)


def renew(world: World, subscription: Json) -> None:
    """Roll the items whose period is over, and draft the invoice for what has begun; it is final an hour later."""
    now = world.now(subscription["test_clock"])
    customer = world.get("customer", subscription["customer"])
    rolled = [each for each in subscription["items"]["data"] if each["current_period_end"] <= now]
    ended = min(each["current_period_start"] for each in rolled)
    with told(world, "customer.subscription.updated", subscription):
        for each in rolled:
            start, end = period_at(subscription["billing_cycle_anchor"], each["price"]["recurring"], now)
            each |= {"current_period_start": start, "current_period_end": end}
        pending = [
            world.get("invoiceitem", each["id"])
            for each in world.where("invoiceitem", customer=customer["id"], invoice=None)
            if (each["parent"] or {}).get("subscription_details", {}).get("subscription") == subscription["id"]
        ]
        lines = [pending_line(world, each) for each in pending]
        lines += [period_line(world, subscription, each) for each in rolled]
        invoice = invoices.draft(
            world,
            customer,
            lines,
            "subscription_cycle",
            subscription=subscription,
            period=(ended, now),
            auto_advance=subscription["status"] != "unpaid",
            automatically_finalizes_at=now + invoices.FINALIZES_AFTER if subscription["status"] != "unpaid" else None,
        )
        for each in pending:
            each["invoice"] = invoice["id"]


def pending_line(world: World, item: Json) -> Json:
    """An invoice item as a line."""
    about = (item["parent"] or {}).get("subscription_details")
    details: Json = {"invoice_item": item["id"], "proration": item["proration"]}
    credited = (item.get("proration_details") or {}).get("credited_items")
    details["proration_details"] = {"credited_items": credited and credited["invoice_line_item_details"]}
    details["subscription"] = about["subscription"] if about else None
    kind = "invoice_item_details"
    if about:
        kind, details["subscription_item"] = "subscription_item_details", about["subscription_item"]
    parent = {"type": kind, "invoice_item_details": None, "subscription_item_details": None, kind: details}
    return world.draft(
        "line_item",
        amount=item["amount"],
        subtotal=item["amount"],
        currency=item["currency"],
        description=item["description"],
        discountable=not item["proration"],
        metadata=dict(item["metadata"]),
        parent=parent,
        period=dict(item["period"]),
        pricing=item["pricing"],
        quantity=item["quantity"],
        quantity_decimal=item["quantity_decimal"],
        subscription=details["subscription"],
    )


def next_due(world: World) -> int | None:
    """Say when the main line has something to do next."""
    return min((due.at for due in _due(world, None)), default=None)


def catch_up(world: World, clock: str | None, until: int) -> None:
    """Do all that has come due on one line of time."""
    while True:
        first = min(_due(world, clock), key=lambda due: (due.at, due.rank, due.thing["created"]), default=None)
        if first is None or first.at > until:
            return
        if clock:
            frozen = world.get("test_helpers.test_clock", clock)
            frozen["frozen_time"] = max(frozen["frozen_time"], first.at)
            first.do(world, first.thing)
        else:
            world.instant = first.at
            try:
                first.do(world, first.thing)
            finally:
                world.instant = None


CLOCK = "/v1/test_helpers/test_clocks"


@operation("POST", CLOCK, "frozen_time!:int name")
def make(world: World, asked: Json) -> Json:
    clock = world.make("test_helpers.test_clock", frozen_time=asked["frozen_time"], name=asked.get("name"))
    clock["deletes_after"] = clock["created"] + 30 * DAY
    tell(world, "test_helpers.test_clock.created", clock)
    return clock


retrieval("test_helpers.test_clock", f"{CLOCK}/{{test_clock}}")


@operation("GET", CLOCK, LISTING)
def clocks(world: World, asked: Json) -> Json:
    return page(world.all("test_helpers.test_clock"), asked, CLOCK)


@operation("POST", f"{CLOCK}/{{test_clock}}/advance", "frozen_time!:int")
def advance(world: World, asked: Json, id: str) -> Json:
    clock, until = world.get("test_helpers.test_clock", id), asked["frozen_time"]
    if until <= clock["frozen_time"]:
        raise Refusal("The frozen time must be after the clock's present one.", param="frozen_time")
    furthest = _furthest(world, clock)
    if until > furthest:
        raise Refusal(
            "You can advance a test clock by up to two intervals of the shortest subscription it holds, that is until"
            f" {furthest}.",
            param="frozen_time",
        )
    before = dict(clock)
    clock["status"] = "advancing"
    clock["status_details"] = {"advancing": {"target_frozen_time": until}}
    tell(world, "test_helpers.test_clock.advancing", clock, before)
    answer = dict(clock)
    catch_up(world, id, until)
    clock |= {"frozen_time": until, "status": "ready", "status_details": {}}
    tell(world, "test_helpers.test_clock.ready", clock, answer)
    return answer  # as Stripe answers: still on its way


def _furthest(world: World, clock: Json) -> int:
    lengths = {"day": DAY, "week": 7 * DAY, "month": 31 * DAY, "year": 366 * DAY}
    intervals = [
        lengths[item["price"]["recurring"]["interval"]] * item["price"]["recurring"]["interval_count"]
        for each in world.where("subscription", test_clock=clock["id"])
        if each["status"] not in standing.ENDED
        for item in each["items"]["data"]
    ]
    shortest: int = min(intervals, default=366 * DAY)
    return int(clock["frozen_time"]) + 2 * shortest


@operation("DELETE", f"{CLOCK}/{{test_clock}}")
def delete(world: World, asked: Json, id: str) -> Json:
    clock = world.get("test_helpers.test_clock", id)
    for subscription in world.where("subscription", test_clock=id):
        if subscription["status"] not in standing.ENDED:
            standing.end(world, subscription, "canceled")
    for customer in world.where("customer", test_clock=id):
        tell(world, "customer.deleted", customer)
        customer["deleted"] = True
    tell(world, "test_helpers.test_clock.deleted", clock)
    world.drop(clock)
    return {"id": id, "object": "test_helpers.test_clock", "deleted": True}


@operation("DELETE", "/v1/customers/{customer}")
def delete_customer(world: World, asked: Json, id: str) -> Json:
    world.get("customer", id)
    customer = world.living_customer(id)
    for subscription in world.where("subscription", customer=id):
        if subscription["status"] not in standing.ENDED:
            standing.end(world, subscription, "canceled")
    tell(world, "customer.deleted", customer)
    customer["deleted"] = True
    return {"id": id, "object": "customer", "deleted": True}
