"""JSON out: an object as the API shows it, with what was asked to be expanded, and lists page by page."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.stripe.refusals import Refusal, missing
from sandbox.stripe.state import Json, World

LISTING = "limit:int starting_after ending_before"
SHOWN_LINES = 10  # of an invoice, in the invoice itself
DEEPEST = 4


def listed(data: Iterable[Json], url: str, *, more: bool = False) -> Json:
    return {"object": "list", "data": list(data), "has_more": more, "url": url}


def page(objects: Iterable[Json], asked: Json, url: str, *, oldest_first: bool = False) -> Json:
    """One page of a list, newest first as Stripe lists things; `objects` come oldest first."""
    rows = list(objects)
    if created := asked.get("created"):
        rows = [row for row in rows if _within(row["created"], created)]
    if not oldest_first:
        rows.reverse()
    limit = asked.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refusal(
            "Invalid integer: limit must be between 1 and 100.", code="parameter_invalid_integer", param="limit"
        )
    ids = [row["id"] for row in rows]
    for name in ("starting_after", "ending_before"):
        if name in asked and asked[name] not in ids:
            raise missing("object", asked[name], name)
    if "ending_before" in asked:
        rows = rows[: ids.index(asked["ending_before"])]
        return listed(rows[-limit:], url, more=len(rows) > limit)
    if "starting_after" in asked:
        rows = rows[ids.index(asked["starting_after"]) + 1 :]
    return listed(rows[:limit], url, more=len(rows) > limit)


def _within(created: int, bounds: Json) -> bool:
    return (
        created > bounds.get("gt", -1)
        and created >= bounds.get("gte", 0)
        and created < bounds.get("lt", created + 1)
        and created <= bounds.get("lte", created)
    )


def rendered(thing: Json) -> Json:
    """A copy of an object as it is shown: an invoice shows its first lines only."""
    shown = {"id": thing["id"], "object": thing["object"], "deleted": True} if thing.get("deleted") else thing
    if thing["object"] == "invoice" and not thing.get("deleted"):
        lines = thing["lines"]["data"]
        shown = thing | {
            "lines": thing["lines"]
            | {"data": lines[:SHOWN_LINES], "has_more": len(lines) > SHOWN_LINES, "total_count": len(lines)}
        }
    return copy.deepcopy(shown)


# What is shown only when it is asked for, by object and field.
ON_DEMAND: dict[tuple[str, str], Callable[[World, Json], Any]] = {
    ("invoice", "payments"): lambda world, invoice: listed(
        map(copy.deepcopy, world.where("invoice_payment", invoice=invoice["id"])), "/v1/invoice_payments"
    ),
    ("invoice", "confirmation_secret"): lambda world, invoice: _confirmation_secret(world, invoice),
    ("checkout.session", "line_items"): lambda world, session: listed(
        copy.deepcopy(world.keep(session["id"])["line_items"]), f"/v1/checkout/sessions/{session['id']}/line_items"
    ),
    ("customer", "subscriptions"): lambda world, customer: listed(
        [
            rendered(each)
            for each in world.where("subscription", customer=customer["id"])
            if each["status"] not in ("canceled", "incomplete_expired")
        ],
        f"/v1/customers/{customer['id']}/subscriptions",
    ),
    ("charge", "refunds"): lambda world, charge: listed(
        map(copy.deepcopy, world.where("refund", charge=charge["id"])), f"/v1/charges/{charge['id']}/refunds"
    ),
}


def _confirmation_secret(world: World, invoice: Json) -> Json | None:
    for each in world.where("invoice_payment", invoice=invoice["id"], status="open"):
        intent = world.get("payment_intent", each["payment"]["payment_intent"])
        return {"type": "payment_intent", "client_secret": intent["client_secret"]}
    return None


def expanded(world: World, answer: Json, paths: Iterable[str]) -> Json:
    """Put whole objects in place of the ids that `paths` name; refuse a path that leads nowhere."""
    for path in paths:
        steps = path.split(".")
        if len(steps) - (steps[0] == "data") > DEEPEST:
            raise Refusal(f"You cannot expand more than {DEEPEST} levels of a property ({path}).", param="expand")
        _expand(world, answer, steps, path)
    return answer


def _expand(world: World, at: Any, steps: list[str], path: str) -> None:
    if not steps or at is None:
        return
    if isinstance(at, list):
        for each in at:
            _expand(world, each, steps, path)
        return
    name, *rest = steps
    if name not in at:
        shows = ON_DEMAND.get((at.get("object", ""), name))
        if shows is None:
            raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
        at[name] = shows(world, at)
    if isinstance(at[name], str):
        found = world.find(at[name])
        if found is None:
            raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
        at[name] = rendered(found)
    elif isinstance(at[name], list) and any(isinstance(each, str) for each in at[name]):
        at[name] = [rendered(world.find(each) or {"id": each, "object": "unknown"}) for each in at[name]]
    _expand(world, at[name], rest, path)
