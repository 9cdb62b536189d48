"""What a subscription will be: scheduled at the period's end, undone, passed through, refused."""

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import NEW_YEAR, Sandbox
from tests.sandbox.stripe.test_subscriptions import DAY, change, preview, subscribe


def downgrade(sandbox: Sandbox, subscription: stripe.Subscription, price: stripe.Price) -> stripe.SubscriptionSchedule:
    """Schedule another plan for the period's end, in the two calls that the product makes."""
    made = sandbox.stripe.subscription_schedules.create(params={"from_subscription": subscription.id})
    phase, old = made.phases[0], subscription["items"].data[0]
    return sandbox.stripe.subscription_schedules.update(
        made.id,
        params={
            "end_behavior": "release",
            "proration_behavior": "none",
            "metadata": {"change_id": "5"},
            "phases": [
                {
                    "start_date": phase.start_date,
                    "end_date": phase.end_date,
                    "items": [{"price": old.price.id, "quantity": old.quantity or 1}],
                    "proration_behavior": "none",
                },
                {
                    "start_date": phase.end_date,
                    "duration": {"interval": "month", "interval_count": 1},
                    "items": [{"price": price.id, "quantity": 1}],
                    "proration_behavior": "none",
                    "metadata": {"plan": "starter"},
                },
            ],
        },
    )


def test_a_scheduled_downgrade_is_there_at_the_renewal_and_charges_the_new_price(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada, starter = buyer(), prices("starter", 2000)
    subscription = subscribe(sandbox, ada, prices("pro", 5000), metadata={"org_id": "7"})
    schedule = downgrade(sandbox, subscription, starter)
    assert (schedule.status, schedule.subscription) == ("active", subscription.id)
    assert [phase.items[0].price for phase in schedule.phases][1] == starter.id
    seen = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert (seen.schedule, seen["items"].data[0].price.id != starter.id) == (schedule.id, True)
    pass_time(ada, 31 * DAY + 3600)
    renewed = sandbox.stripe.subscriptions.retrieve(subscription.id, params={"expand": ["latest_invoice"]})
    assert renewed["items"].data[0].price.id == starter.id
    assert renewed.metadata.to_dict() == {"org_id": "7", "plan": "starter"}
    invoice: Any = renewed.latest_invoice
    assert (invoice.total, invoice.status, len(invoice.lines.data)) == (2000, "paid", 1)
    assert renewed["items"].data[0].id == subscription["items"].data[0].id
    pass_time(ada, 28 * DAY)
    released = sandbox.stripe.subscription_schedules.retrieve(schedule.id)
    assert (released.status, released.released_subscription) == ("released", subscription.id)
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).schedule is None


def test_a_scheduled_change_of_interval_begins_with_the_new_period(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada, yearly = buyer(), prices("yearly", 20000, "year")
    subscription = subscribe(sandbox, ada, prices("starter", 2000))
    downgrade(sandbox, subscription, yearly)
    pass_time(ada, 31 * DAY + 3600)
    renewed = sandbox.stripe.subscriptions.retrieve(subscription.id, params={"expand": ["latest_invoice"]})
    item, invoice = renewed["items"].data[0], renewed.latest_invoice
    assert (item.current_period_start, item.current_period_end) == (NEW_YEAR + 31 * DAY, NEW_YEAR + 396 * DAY)
    assert invoice.total == 20000  # type: ignore[union-attr]


def test_undone_it_is_as_if_it_had_not_been(sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any) -> None:
    ada, pro = buyer(), prices("pro", 5000)
    subscription = subscribe(sandbox, ada, pro)
    schedule = downgrade(sandbox, subscription, prices("starter", 2000))
    assert sandbox.stripe.subscription_schedules.release(schedule.id).status == "released"
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).schedule is None
    with pytest.raises(stripe.InvalidRequestError, match="`released` status"):
        sandbox.stripe.subscription_schedules.release(schedule.id)
    pass_time(ada, 31 * DAY + 3600)
    renewed = sandbox.stripe.subscriptions.retrieve(subscription.id)
    assert renewed["items"].data[0].price.id == pro.id
    assert sandbox.told("subscription_schedule.created", "subscription_schedule.released") == [
        "subscription_schedule.created",
        "subscription_schedule.released",
    ]


def test_beside_a_schedule_nothing_else_decides(sandbox: Sandbox, buyer: Any, prices: Any) -> None:
    subscription = subscribe(sandbox, buyer(), prices("pro", 5000))
    schedule = downgrade(sandbox, subscription, prices("starter", 2000))
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        sandbox.stripe.subscriptions.update(subscription.id, params={"cancel_at_period_end": True})
    shown = preview(sandbox, subscription, prices("scale", 9900), NEW_YEAR)  # before it is decided to release
    assert shown.total == 4900
    with pytest.raises(stripe.InvalidRequestError, match="release the schedule first"):
        change(sandbox, subscription, prices("huge", 99000), NEW_YEAR)
    with pytest.raises(stripe.InvalidRequestError, match="that has a schedule"):
        sandbox.stripe.invoices.create_preview(params={"subscription": subscription.id})
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        sandbox.stripe.subscription_schedules.create(params={"from_subscription": subscription.id})
    with pytest.raises(stripe.InvalidRequestError, match="if `from_subscription` is set"):
        sandbox.stripe.subscription_schedules.create(
            params={"from_subscription": subscription.id, "end_behavior": "release"}
        )
    assert sandbox.stripe.subscription_schedules.cancel(schedule.id).status == "canceled"
    assert sandbox.stripe.subscriptions.retrieve(subscription.id).status == "canceled"


def test_phases_must_begin_with_the_present_one_and_follow_each_other(
    sandbox: Sandbox, buyer: Any, prices: Any
) -> None:
    pro = prices("pro", 5000)
    subscription = subscribe(sandbox, buyer(), pro)
    schedule = sandbox.stripe.subscription_schedules.create(params={"from_subscription": subscription.id})
    update = sandbox.stripe.subscription_schedules.update
    phase: Any = {"items": [{"price": pro.id, "quantity": 1}], "end_date": NEW_YEAR + 31 * DAY}
    with pytest.raises(stripe.InvalidRequestError, match="start_date"):
        update(schedule.id, params={"phases": [phase]})
    with pytest.raises(stripe.InvalidRequestError, match="start date of the current phase"):
        update(schedule.id, params={"phases": [phase | {"start_date": NEW_YEAR - DAY}]})
    later = phase | {"start_date": NEW_YEAR + 40 * DAY, "end_date": NEW_YEAR + 50 * DAY}
    with pytest.raises(stripe.InvalidRequestError, match="contiguous"):
        update(schedule.id, params={"phases": [phase | {"start_date": NEW_YEAR}, later]})
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        update(schedule.id, params={"phases": [phase | {"start_date": NEW_YEAR, "iterations": 1}]})


def test_a_schedule_may_start_a_subscription_and_end_it(
    sandbox: Sandbox, buyer: Any, prices: Any, pass_time: Any
) -> None:
    ada = buyer()
    schedule = sandbox.stripe.subscription_schedules.create(
        params={
            "customer": ada.id,
            "start_date": "now",
            "end_behavior": "cancel",
            "phases": [
                {"items": [{"price": prices("starter", 2000).id}], "duration": {"interval": "month"}},
            ],
        }
    )
    pass_time(ada, 31 * DAY)
    ended = sandbox.stripe.subscription_schedules.retrieve(schedule.id, params={"expand": ["subscription"]})
    assert (ended.status, ended.subscription.status) == ("completed", "canceled")  # type: ignore[union-attr]
