"""What a subscription consists of, and what a change of that comes to: items, their periods, lines to be billed."""

import copy
from dataclasses import dataclass
from typing import NamedTuple

from sandbox.stripe.lines import proration_lines
from sandbox.stripe.periods import period_at
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World


class Pair(NamedTuple):
    """One item before and after."""

    old: Json | None
    new: Json | None


@dataclass
class Change:
    items: list[Json]  # all that the subscription has afterwards
    pairs: list[Pair]  # those that differ

    @property
    def moves_periods(self) -> bool:
        return any(
            pair.old and pair.new and pair.old["current_period_end"] != pair.new["current_period_end"]
            for pair in self.pairs
        )

    def leave_pending(self, world: World, subscription: Json, lines: list[Json]) -> None:
        """Leave prorations to the next invoice of the subscription."""
        for each in lines:
            details = each["parent"]["subscription_item_details"]
            credited = details["proration_details"]["credited_items"]
            if each["amount"] >= 0 and not credited:
                item, period = details["subscription_item"], each["period"]
                world.keep(item)["debit"] = {"amount": each["amount"], **period}
            world.make(
                "invoiceitem",
                amount=each["amount"],
                net_amount=each["amount"],
                currency=each["currency"],
                customer=subscription["customer"],
                date=world.now(subscription["test_clock"]),
                description=each["description"],
                period=dict(each["period"]),
                pricing=copy.deepcopy(each["pricing"]),
                proration=True,
                proration_details={
                    "credited_items": credited
                    and {"type": "invoice_line_items", "invoice_line_item_details": credited},
                    "discount_amounts": [],
                },
                quantity=each["quantity"],
                quantity_decimal=each["quantity_decimal"],
                test_clock=subscription["test_clock"],
                parent={
                    "type": "subscription_details",
                    "subscription_details": {
                        "subscription": subscription["id"],
                        "subscription_item": details["subscription_item"],
                    },
                },
            )


def first_items(world: World, subscription: Json, asked: list[Json]) -> list[Json]:
    """The items that a new subscription starts with, each for its first period."""
    if not asked:
        raise Refusal("Missing required param: items.", code="parameter_missing", param="items")
    items = [_fresh(world, subscription, each, subscription["billing_cycle_anchor"]) for each in asked]
    if len({each["price"]["currency"] for each in items}) > 1:
        raise Refusal("All prices on a subscription must be of one currency.", param="items")
    return items


def _fresh(world: World, subscription: Json, asked: Json, at: int) -> Json:
    price = priced(world, asked.get("price"))
    start, end = period_at(subscription["billing_cycle_anchor"], price["recurring"], at)
    item = world.draft(
        "subscription_item",
        world.now(subscription["test_clock"]),
        price=dict(price),
        quantity=asked.get("quantity", 1),
        subscription=subscription["id"],
        current_period_start=start,
        current_period_end=end,
    )
    return item | {"metadata": asked.get("metadata", {}), "plan": plan_of(price)}


def priced(world: World, id: str | None) -> Json:
    """Find a recurring price that can be sold."""
    if id is None:
        raise Refusal("Missing required param: price.", code="parameter_missing", param="items[0][price]")
    price = world.get("price", id, "items[0][price]")
    if not price["recurring"]:
        raise Refusal(
            f"The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
            f" ({id})",
            param="items[0][price]",
        )
    if not price["active"]:
        raise Refusal(
            "The price specified is inactive. This field only accepts active prices.", param="items[0][price]"
        )
    return price


def plan_of(price: Json) -> Json:
    """The old name for a price, which Stripe still sends with every item."""
    recurring = price["recurring"]
    return {
        **{name: price[name] for name in ("id", "active", "billing_scheme", "created", "currency", "livemode")},
        **{name: price[name] for name in ("metadata", "nickname", "product", "tiers_mode")},
        "object": "plan",
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "meter": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def changed(world: World, subscription: Json, asked: list[Json], at: int) -> Change:
    """Work out what asked-for items come to, without changing anything yet."""
    items = [copy.deepcopy(each) for each in subscription["items"]["data"]]
    pairs = []
    for wanted in asked:
        if "id" not in wanted:
            new = _fresh(world, subscription, wanted, at)
            if any(each["price"]["id"] == new["price"]["id"] for each in items):
                raise Refusal(
                    "Cannot add multiple subscription items with the same price; give the id of the one to change.",
                    param="items",
                )
            items.append(new)
            pairs.append(Pair(None, new))
            continue
        n = next((n for n, each in enumerate(items) if each["id"] == wanted["id"]), None)
        if n is None:
            raise Refusal(f"No such subscription item: '{wanted['id']}'", code="resource_missing", param="items[0][id]")
        old = copy.deepcopy(items[n])
        if wanted.get("deleted"):
            items.pop(n)
            pairs.append(Pair(old, None))
            continue
        new = items[n] = _altered(world, subscription, old, wanted, at)
        if (new["price"]["id"], new["quantity"]) != (old["price"]["id"], old["quantity"]):
            pairs.append(Pair(old, new))
    currencies = {each["price"]["currency"] for each in items} | {subscription["currency"]}
    if len(currencies) > 1:
        raise Refusal("The price specified has another currency than the subscription.", param="items")
    return Change(items, pairs)


def _altered(world: World, subscription: Json, old: Json, wanted: Json, at: int) -> Json:
    new = copy.deepcopy(old)
    if "price" in wanted:
        price = priced(world, wanted["price"])
        new |= {"price": dict(price), "plan": plan_of(price), "quantity": 1}  # unless it is sent with it
        rhythm = ("interval", "interval_count")
        if any(price["recurring"][name] != old["price"]["recurring"][name] for name in rhythm):
            start, end = period_at(subscription["billing_cycle_anchor"], price["recurring"], at)
            new |= {"current_period_start": start, "current_period_end": end}
    new["quantity"] = wanted.get("quantity", new["quantity"])
    new["metadata"] = new["metadata"] | wanted.get("metadata", {})
    return new


def must_be_in_period(subscription: Json, at: int) -> None:
    """Refuse a proration date outside of the present period."""
    for each in subscription["items"]["data"]:
        if not each["current_period_start"] <= at <= each["current_period_end"]:
            raise Refusal(
                "Cannot specify `proration_date` outside of the current billing period of the subscription.",
                param="proration_date",
            )


def billed(world: World, subscription: Json, change: Change, at: int) -> list[Json]:
    """The proration lines of a change: all credits and debits, item by item."""
    return [each for pair in change.pairs for each in proration_lines(world, subscription, pair.old, pair.new, at)]
