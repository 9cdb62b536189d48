"""What becomes of a subscription when its invoice is paid, fails, is void or is given up."""

from typing import Any

from sandbox.stripe.answers import rendered
from sandbox.stripe.events import tell, told
from sandbox.stripe.lines import remember_debits
from sandbox.stripe.state import Json, World

ENDED = ("canceled", "incomplete_expired")
HOURS_TO_PAY = 23 * 3600


def subscription_of(world: World, invoice: Json) -> Json | None:
    details = (invoice["parent"] or {}).get("subscription_details")
    return world.find(details["subscription"]) if details else None


def is_pending(world: World, subscription: Json, invoice: Json) -> bool:
    """Whether a pending update waits for this invoice."""
    return bool(world.keep(subscription["id"]).get("pending", {}).get("invoice") == invoice["id"])


def is_dunned(world: World, invoice: Json) -> bool:
    """Whether Stripe tries again by itself: for what renews, not for a first payment or a pending update."""
    subscription = subscription_of(world, invoice)
    return bool(
        subscription
        and subscription["status"] not in ("incomplete", *ENDED)
        and not is_pending(world, subscription, invoice)
    )


def paid(world: World, invoice: Json) -> None:
    subscription = subscription_of(world, invoice)
    if not subscription or subscription["status"] in ENDED:
        return
    if is_pending(world, subscription, invoice):
        pending = world.keep(subscription["id"]).pop("pending")
        before = rendered(subscription)
        subscription["pending_update"] = None
        apply_items(world, subscription, pending["items"])
        remember_debits(world, invoice)
        merge_metadata(subscription, pending["metadata"])
        if before["pending_update"]:
            tell(world, "customer.subscription.pending_update_applied", subscription, before)
        tell(world, "customer.subscription.updated", subscription, before)
    owed = [
        each
        for each in world.where("invoice", status="open")
        if subscription_of(world, each) is subscription and not is_pending(world, subscription, each)
    ]
    if subscription["status"] in ("incomplete", "past_due", "unpaid") and not owed:
        with told(world, "customer.subscription.updated", subscription):
            subscription["status"] = "active"


def unpaid(world: World, invoice: Json) -> None:
    subscription = subscription_of(world, invoice)
    if subscription and subscription["status"] == "active" and not is_pending(world, subscription, invoice):
        with told(world, "customer.subscription.updated", subscription):
            subscription["status"] = "past_due"


def voided(world: World, invoice: Json) -> None:
    subscription = subscription_of(world, invoice)
    if not subscription:
        return
    if is_pending(world, subscription, invoice):
        lapse(world, subscription)
    elif subscription["status"] == "incomplete":
        end(world, subscription, "incomplete_expired")


def lapse(world: World, subscription: Json) -> None:
    """A pending update was not paid in time: nothing has changed."""
    world.keep(subscription["id"]).pop("pending")
    before = rendered(subscription)
    subscription["pending_update"] = None
    tell(world, "customer.subscription.pending_update_expired", subscription, before)
    tell(world, "customer.subscription.updated", subscription, before)


def given_up(world: World, invoice: Json) -> None:
    """All tries have failed: what the settings say becomes of the subscription."""
    subscription = subscription_of(world, invoice)
    if not subscription or subscription["status"] in ENDED:
        return
    if world.settings.after_retries == "cancel":
        end(world, subscription, "canceled", reason="payment_failed")
    else:
        with told(world, "customer.subscription.updated", subscription):
            subscription["status"] = world.settings.after_retries


def end(world: World, subscription: Json, status: str, *, reason: str | None = None, details: Any = None) -> None:
    """A subscription ends; a schedule on it is canceled, drafts of it are not charged by themselves any more."""
    now = world.now(subscription["test_clock"])
    before = rendered(subscription)
    subscription |= {"status": status, "ended_at": now, "cancel_at_period_end": False}
    if status == "canceled":
        subscription["canceled_at"] = subscription["canceled_at"] or now
    if reason:
        subscription["cancellation_details"]["reason"] = reason
    subscription["cancellation_details"] |= details or {}
    if world.keep(subscription["id"]).pop("pending", None):
        subscription["pending_update"] = None
    for each in world.where("invoice"):
        if each["status"] in ("draft", "open") and subscription_of(world, each) is subscription:
            each |= {"auto_advance": False, "automatically_finalizes_at": None, "next_payment_attempt": None}
    schedule = world.find(subscription["schedule"] or "")
    if schedule and schedule["status"] in ("active", "not_started"):
        schedule |= {"status": "canceled", "canceled_at": now, "current_phase": None}
        tell(world, "subscription_schedule.canceled", schedule)
    ended = "customer.subscription.updated" if status == "incomplete_expired" else "customer.subscription.deleted"
    tell(world, ended, subscription, before if status == "incomplete_expired" else None)


def apply_items(world: World, subscription: Json, items: list[Json]) -> None:
    """Put changed items in place of a subscription's own."""
    subscription["items"]["data"] = items
    if subscription["cancel_at_period_end"] and items:
        subscription["cancel_at"] = max(each["current_period_end"] for each in items)
    for each in items:
        world.kinds.setdefault("subscription_item", {})[each["id"]] = each


def merge_metadata(thing: Json, metadata: Json) -> None:
    merged = thing["metadata"] | metadata
    thing["metadata"] = {name: value for name, value in merged.items() if value != ""}
