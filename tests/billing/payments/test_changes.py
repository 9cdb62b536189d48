"""Changes of plan: charged as quoted, undone until they happen, one at a time, and whole whatever breaks on the way."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from billing import plans
from billing.jobs import carry_on_with_stripe
from billing.models import Account, Grant, Organization, PlanChange, Price, Subscription, User
from billing.payments import changes, gateway, inbox
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused
from tests.billing.payments.conftest import VISA, another_card, at_once, hear, pass_time, subscribed
from tests.conftest import person
from tests.runs.conftest import assert_books_hold
from tests.sandbox.stripe.local import Sandbox

NOW, RENEWAL = PlanChange.When.NOW, PlanChange.When.RENEWAL


def state(change: PlanChange) -> str:
    return PlanChange.objects.get(pk=change.pk).state


def live(org: Organization) -> Subscription:
    standing = plans.subscription(org)
    assert standing
    return standing


def available(org: Organization) -> Decimal:
    return Account.objects.get(org=org.pk).available


def read(change: PlanChange) -> PlanChange:
    """Let the job run that reads a change's invoice."""
    inbox.look("invoice", PlanChange.objects.get(pk=change.pk).invoice)
    return PlanChange.objects.get(pk=change.pk)


@pytest.fixture
def halfway(sold: Sandbox, growth: Subscription) -> Subscription:
    """Some days into the month."""
    pass_time(sold, days=10, seconds=12_345)
    return growth


# ------------------------------------------------------------------ now


@pytest.mark.parametrize("tax", ["0", "19"])
def test_what_is_charged_and_added_is_what_was_shown(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription, tax: str
) -> None:
    sold.order("settings", tax_percent=tax)
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    assert (quote.state, quote.old.pk, quote.due > 0) == ("quoted", "oxygen_growth_1_month", True)
    assert quote.due == quote.tax + sum(amount for _, amount in quote.lines)
    assert quote.until == quote.at + timedelta(minutes=15)
    before = available(acme)
    asked = changes.confirm(acme, alice, quote.pk)
    assert (asked.state, live(acme).plan.key) == ("asked", "growth")  # until the inbox has read that it is paid
    done = read(asked)
    hear(acme)
    invoice = gateway.invoice(done.invoice)
    assert (done.state, live(acme).plan.key) == ("applied", "scale")
    assert (invoice.amount_paid, invoice.tax) == (quote.due, quote.tax)
    assert [[line.text, line.amount] for line in invoice.lines] == quote.lines
    assert available(acme) - before == quote.credits == Grant.objects.get(source="plan_upgrade").amount
    start, end = live(acme).period_start, live(acme).period_end
    assert (
        abs(quote.credits - 70000 * Decimal((end - quote.at).total_seconds()) / int((end - start).total_seconds())) < 1
    )
    assert_books_hold(acme)


def test_on_a_yearly_plan_credits_count_by_the_month_and_money_by_the_year(
    sold: Sandbox, acme: Organization, alice: User
) -> None:
    subscribed(sold, acme, alice, "growth", "year")
    pass_time(sold, days=45)
    quote = changes.quote(acme, alice, "scale", "year", NOW)
    month = plans.month(acme, live(acme), quote.at)
    assert month[0] <= quote.at < month[1] < live(acme).period_end
    done = read(changes.confirm(acme, alice, quote.pk))
    assert (done.state, Grant.objects.get(source="plan_upgrade").amount) == ("applied", quote.credits)
    assert 0 < quote.credits < 70000
    assert gateway.invoice(done.invoice).amount_paid == quote.due > 300_000


def test_a_quote_ends_with_its_credit_month(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    left = growth.period_end - clock()
    pass_time(sold, seconds=int(left.total_seconds()) - 300)
    for when in (NOW, RENEWAL):
        assert changes.quote(acme, alice, "scale", "month", when).until == growth.period_end
    pass_time(sold, seconds=301)
    with pytest.raises(Refused) as refused:
        changes.quote(acme, alice, "scale", "month", NOW)
    assert refused.value.code == "renewing"


def test_the_same_quote_confirmed_twice_is_charged_once(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    first = changes.confirm(acme, alice, quote.pk)
    assert changes.confirm(acme, alice, quote.pk).invoice == first.invoice
    read(first)
    assert changes.confirm(acme, alice, quote.pk).state == "applied"
    assert len(gateway.invoices(halfway.customer.stripe_id)) == 2


def test_two_admins_at_once_make_one_change(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    bob = person("Bob")
    quotes = [changes.quote(acme, by, "scale", "month", NOW) for by in (alice, bob)]
    presses: list[Callable[[], PlanChange]] = [
        lambda: changes.confirm(acme, alice, quotes[0].pk),
        lambda: changes.confirm(acme, bob, quotes[1].pk),
        lambda: changes.confirm(acme, alice, quotes[0].pk),
    ]
    outcomes = at_once(*presses)
    assert {each.code for each in outcomes if isinstance(each, Refused)} <= {"change_open", "stripe_unreachable"}
    assert sorted(map(state, quotes)) == ["asked", "quoted"]
    assert len(gateway.invoices(halfway.customer.stripe_id)) == 2


# ------------------------------------------------------------------ a payment that waits


def test_a_declined_card_leaves_the_old_plan_whole_until_it_is_paid(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    another_card(sold, acme, "pm_card_chargeCustomerFail")
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    before = available(acme)
    unpaid = changes.confirm(acme, alice, quote.pk)
    assert (unpaid.state, unpaid.why) == ("unpaid", "Your card was declined.")
    hear(acme)
    assert (live(acme).plan.key, available(acme)) == ("growth", before)
    for when in (NOW, RENEWAL):
        with pytest.raises(Refused) as refused:
            changes.quote(acme, alice, "scale", "month", when)
        assert refused.value.code == "change_open"
    sold.press(unpaid.pay_url, "pay", number=VISA)
    assert read(unpaid).state == "applied"
    assert available(acme) - before == quote.credits
    assert gateway.invoice(unpaid.invoice).amount_paid == quote.due


def test_a_payment_that_a_person_must_confirm_waits_for_that(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    another_card(sold, acme, "pm_card_authenticationRequired")
    unpaid = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    for _ in range(2):
        assert (unpaid.state, unpaid.why) == ("unpaid", "Your bank asks you to confirm the payment.")
        hear(acme)
        unpaid.refresh_from_db()
    assert "Finish authentication" in sold.http.get(unpaid.pay_url).text
    (intent,) = sold.stripe.payment_intents.list(params={"customer": halfway.customer.stripe_id, "limit": 1}).data
    sold.press(f"/3ds/{intent.id}", "authenticate")
    assert read(unpaid).state == "applied"


def test_what_waits_for_its_payment_can_be_dropped(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    another_card(sold, acme, "pm_card_chargeCustomerFail")
    unpaid = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    undone = changes.undo(acme, alice, unpaid.pk)
    assert (undone.state, undone.why, undone.pay_url) == ("undone", "", "")
    assert gateway.invoice(unpaid.invoice).status == "void"
    assert not gateway.subscription(halfway.pk).pending
    assert changes.undo(acme, alice, unpaid.pk).state == "undone"
    another_card(sold, acme, "pm_card_visa")
    again = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    assert read(again).state == "applied"


def test_what_was_paid_meanwhile_is_not_dropped(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    another_card(sold, acme, "pm_card_chargeCustomerFail")
    unpaid = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    sold.press(unpaid.pay_url, "pay", number=VISA)
    with pytest.raises(Refused) as refused:
        changes.undo(acme, alice, unpaid.pk)
    assert (refused.value.code, state(unpaid)) == ("too_late", "applied")


def test_what_nobody_pays_within_a_day_has_failed(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    another_card(sold, acme, "pm_card_chargeCustomerFail")
    unpaid = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    pass_time(sold, hours=24)
    assert read(unpaid).state == "failed"
    assert live(acme).plan.key == "growth"


# ------------------------------------------------------------------ at the renewal


@pytest.mark.parametrize(("plan", "interval"), [("starter", "month"), ("scale", "month"), ("growth", "year")])
def test_a_change_at_the_renewal_is_scheduled_undone_scheduled_again_and_happens(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription, plan: str, interval: str
) -> None:
    quote = changes.quote(acme, alice, plan, interval, RENEWAL)
    price = Price.objects.get(plan__key=plan, interval=interval)
    assert (quote.due, quote.credits, quote.at) == (0, 0, growth.period_end)
    assert quote.lines == [[f"{plan.title()}, each {interval}", price.amount]]
    scheduled = changes.confirm(acme, alice, quote.pk)
    assert (scheduled.state, live(acme).next_price, live(acme).plan.key) == ("scheduled", price, "growth")
    undone = changes.undo(acme, alice, scheduled.pk)
    assert (undone.state, undone.why, live(acme).next_price, live(acme).schedule) == ("undone", "", None, None)
    assert changes.undo(acme, alice, scheduled.pk).state == "undone"
    again = changes.confirm(acme, alice, changes.quote(acme, alice, plan, interval, RENEWAL).pk)
    pass_time(sold, days=32)
    hear(acme)
    assert (state(again), state(scheduled), live(acme).price) == ("applied", "undone", price)
    assert_books_hold(acme)


def test_an_upgrade_now_takes_the_place_of_what_was_scheduled(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    scheduled = changes.confirm(acme, alice, changes.quote(acme, alice, "starter", "month", RENEWAL).pk)
    upgrade = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    assert (read(upgrade).state, state(scheduled)) == ("applied", "undone")
    hear(acme)
    assert (live(acme).plan.key, live(acme).schedule) == ("scale", None)


def test_another_schedule_takes_the_place_of_the_first(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    first, second = (
        changes.confirm(acme, alice, changes.quote(acme, alice, plan, "month", RENEWAL).pk)
        for plan in ("starter", "scale")
    )
    next_price = live(acme).next_price
    assert next_price
    assert (state(first), second.state, next_price.pk) == ("undone", "scheduled", "oxygen_scale_1_month")
    hear(acme)
    assert state(second) == "scheduled"


def test_a_change_can_be_scheduled_again_after_one_has_happened(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    changes.confirm(acme, alice, changes.quote(acme, alice, "starter", "month", RENEWAL).pk)
    pass_time(sold, days=32)
    hear(acme)
    back = changes.confirm(acme, alice, changes.quote(acme, alice, "growth", "month", RENEWAL).pk)
    assert back.state == "scheduled"
    pass_time(sold, days=32)
    hear(acme)
    assert (state(back), live(acme).plan.key) == ("applied", "growth")


def test_what_has_happened_cannot_be_undone(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    scheduled = changes.confirm(acme, alice, changes.quote(acme, alice, "starter", "month", RENEWAL).pk)
    pass_time(sold, days=32)
    for _ in range(2):  # before anybody has read that it has, and after
        with pytest.raises(Refused) as refused:
            changes.undo(acme, alice, scheduled.pk)
        assert refused.value.code == "too_late"
        hear(acme)
    assert state(scheduled) == "applied"


def test_nobody_undoes_the_change_of_another_org_nor_a_quote(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription, globex: Organization, mallory: User
) -> None:
    quote = changes.quote(acme, alice, "starter", "month", RENEWAL)
    subscribed(sold, globex, mallory, "starter")
    for org, id in ((acme, quote.pk), (globex, quote.pk), (acme, uuid4())):
        with pytest.raises(Refused) as refused:
            changes.undo(org, mallory, id)
        assert refused.value.code == "unknown_change"


# ------------------------------------------------------------------ to the free plan


def test_a_subscription_is_cancelled_kept_and_cancelled_again(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    cancelled = changes.cancel(acme, alice)
    assert (cancelled.state, cancelled.new, live(acme).cancel_at_period_end) == ("scheduled", None, True)
    assert changes.cancel(acme, alice) == cancelled
    assert changes.undo(acme, alice, cancelled.pk).state == "undone"
    assert not live(acme).cancel_at_period_end
    again = changes.cancel(acme, alice)
    pass_time(sold, days=32)
    hear(acme)
    assert (state(again), plans.subscription(acme)) == ("applied", None)


def test_who_changes_the_plan_stays(sold: Sandbox, acme: Organization, alice: User, halfway: Subscription) -> None:
    cancelled = changes.cancel(acme, alice)
    upgrade = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    assert (read(upgrade).state, state(cancelled)) == ("applied", "undone")
    hear(acme)
    assert not live(acme).cancel_at_period_end


def test_cancelling_takes_the_place_of_what_was_scheduled(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    scheduled = changes.confirm(acme, alice, changes.quote(acme, alice, "starter", "month", RENEWAL).pk)
    cancelled = changes.cancel(acme, alice)
    assert (state(scheduled), cancelled.state) == ("undone", "scheduled")
    assert (live(acme).schedule, live(acme).cancel_at_period_end) == (None, True)


def test_two_owners_at_once_cancel_once(sold: Sandbox, acme: Organization, alice: User, growth: Subscription) -> None:
    press = partial(changes.cancel, acme, alice)
    outcomes = at_once(press, press, press)
    assert not [each for each in outcomes if isinstance(each, Refused)]
    assert [each.state for each in PlanChange.objects.all()] == ["scheduled"]


# ------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("plan", "interval", "when", "code", "status"),
    [
        ("gold", "month", RENEWAL, "unknown_plan", 422),
        ("free", "month", RENEWAL, "unknown_plan", 422),
        ("scale", "week", NOW, "unknown_plan", 422),
        ("growth", "month", RENEWAL, "already_there", 409),
        ("growth", "month", NOW, "already_there", 409),
        ("starter", "month", NOW, "downgrade_now", 422),
        ("scale", "year", NOW, "interval_now", 422),
        ("growth", "year", NOW, "interval_now", 422),
    ],
)
def test_a_change_that_cannot_be_is_not_quoted(
    sold: Sandbox,
    acme: Organization,
    alice: User,
    growth: Subscription,
    plan: str,
    interval: str,
    when: PlanChange.When,
    code: str,
    status: int,
) -> None:
    with pytest.raises(Refused) as refused:
        changes.quote(acme, alice, plan, interval, when)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert not PlanChange.objects.exists()


def test_what_is_scheduled_already_is_not_scheduled_again_but_may_be_had_now(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", RENEWAL).pk)
    with pytest.raises(Refused) as refused:
        changes.quote(acme, alice, "scale", "month", RENEWAL)
    assert refused.value.code == "already_there"
    now = changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk)
    assert read(now).state == "applied"


def test_a_subscription_keeps_its_currency(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    Price.objects.filter(pk="oxygen_scale_1_month").update(currency="eur")
    for when in (NOW, RENEWAL):
        with pytest.raises(Refused) as refused:
            changes.quote(acme, alice, "scale", "month", when)
        assert (refused.value.code, refused.value.status) == ("other_currency", 422)


def test_without_a_subscription_there_is_nothing_to_change(sold: Sandbox, acme: Organization, alice: User) -> None:
    for verb in (partial(changes.quote, acme, alice, "growth", "month", NOW), partial(changes.cancel, acme, alice)):
        with pytest.raises(Refused) as refused:
            verb()
        assert (refused.value.code, refused.value.status) == ("not_subscribed", 409)


def test_past_due_is_to_be_paid_first_but_may_be_cancelled(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    another_card(sold, acme, "pm_card_chargeCustomerFail")
    pass_time(sold, days=32)
    hear(acme)
    assert live(acme).is_past_due
    with pytest.raises(Refused) as refused:
        changes.quote(acme, alice, "scale", "month", NOW)
    assert refused.value.code == "past_due"
    assert changes.cancel(acme, alice).state == "scheduled"


def test_a_quote_that_is_too_old_is_refused(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    quotes = [changes.quote(acme, alice, "scale", "month", when) for when in (NOW, RENEWAL)]
    pass_time(sold, minutes=15)
    for quote in quotes:
        with pytest.raises(Refused) as refused:
            changes.confirm(acme, alice, quote.pk)
        assert (refused.value.code, refused.value.status) == ("quote_expired", 409)
    assert len(gateway.invoices(halfway.customer.stripe_id)) == 1


def test_a_quote_of_a_plan_that_has_changed_since_is_refused(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    old = changes.quote(acme, alice, "scale", "month", RENEWAL)
    read(changes.confirm(acme, alice, changes.quote(acme, alice, "scale", "month", NOW).pk))
    hear(acme)
    with pytest.raises(Refused) as refused:
        changes.confirm(acme, alice, old.pk)
    assert refused.value.code == "quote_expired"


def test_a_quote_whose_price_has_changed_since_is_refused(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    sold.order("settings", tax_percent="7")
    with pytest.raises(Refused) as refused:
        changes.confirm(acme, alice, quote.pk)
    assert (refused.value.code, refused.value.status) == ("quote_changed", 409)
    assert state(quote) == "quoted"


def test_nobody_confirms_the_quote_of_another_org(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription, globex: Organization, mallory: User
) -> None:
    quote = changes.quote(acme, alice, "scale", "month", RENEWAL)
    for id in (quote.pk, uuid4()):
        with pytest.raises(Refused) as refused:
            changes.confirm(globex, mallory, id)
        assert (refused.value.code, refused.value.status) == ("quote_gone", 409)


def test_what_stripe_does_not_allow_has_failed_in_its_words(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription
) -> None:
    quote = changes.quote(acme, alice, "starter", "month", RENEWAL)
    sold.stripe.subscriptions.cancel(growth.pk)
    failed = changes.confirm(acme, alice, quote.pk)
    assert (failed.state, "canceled" in failed.why) == ("failed", True)


# ------------------------------------------------------------------ Stripe is down


FAULTS = [("error", 3), ("rate_limit", 1), ("lost", 1)]


def broken(sold: Sandbox, verb: Callable[[], Any], path: str, kind: str, times: int) -> None:
    """Press while Stripe fails, and let a minute pass."""
    sold.order("faults", kind=kind, times=times, path=path)
    with pytest.raises(Refused) as refused:
        verb()
    assert (refused.value.code, refused.value.status) == ("stripe_unreachable", 409)
    pass_time(sold, seconds=61)


@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_an_upgrade_that_broke_off_is_carried_on_and_charged_once(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription, kind: str, times: int
) -> None:
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    broken(sold, lambda: changes.confirm(acme, alice, quote.pk), "/v1/subscriptions/", kind, times)
    assert state(quote) == "asked"
    carry_on_with_stripe()
    assert read(quote).state == "applied"
    customer = halfway.customer.stripe_id
    assert [each.amount_paid for each in gateway.invoices(customer)] == [quote.due, 24900]
    changes.carry_on_due()
    assert len(gateway.invoices(customer)) == 2


@pytest.mark.parametrize("hours", [0, 2])
def test_an_upgrade_whose_answer_was_lost_is_not_charged_again_under_another_key(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription, hours: int
) -> None:
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    broken(sold, lambda: changes.confirm(acme, alice, quote.pk), "/v1/subscriptions/", "lost", 1)
    pass_time(sold, hours=hours)
    changes.carry_on_due()
    assert read(quote).state == "applied"
    assert len(gateway.invoices(halfway.customer.stripe_id)) == 2


@pytest.mark.parametrize("path", ["/v1/subscription_schedules", "/v1/subscription_schedules/"])
@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_a_schedule_that_broke_off_is_carried_on(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription, path: str, kind: str, times: int
) -> None:
    quote = changes.quote(acme, alice, "starter", "month", RENEWAL)
    broken(sold, lambda: changes.confirm(acme, alice, quote.pk), path, kind, times)
    changes.carry_on_due()
    next_price = live(acme).next_price
    assert next_price
    assert (state(quote), next_price.pk) == ("scheduled", "oxygen_starter_1_month")


@pytest.mark.parametrize("path", ["/release", "/v1/subscriptions/"])
@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_replacing_what_was_scheduled_is_carried_on_from_wherever_it_broke_off(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription, path: str, kind: str, times: int
) -> None:
    scheduled = changes.confirm(acme, alice, changes.quote(acme, alice, "starter", "month", RENEWAL).pk)
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    broken(sold, lambda: changes.confirm(acme, alice, quote.pk), path, kind, times)
    assert (state(scheduled), state(quote)) == ("undone", "asked")
    with pytest.raises(Refused) as refused:
        changes.cancel(acme, alice)
    assert refused.value.code == "change_open"
    changes.carry_on_due()
    assert read(quote).state == "applied"


@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_an_undoing_that_broke_off_is_carried_on(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription, kind: str, times: int
) -> None:
    scheduled = changes.confirm(acme, alice, changes.quote(acme, alice, "starter", "month", RENEWAL).pk)
    broken(sold, lambda: changes.undo(acme, alice, scheduled.pk), "/release", kind, times)
    assert PlanChange.objects.get(pk=scheduled.pk).undoing
    changes.carry_on_due()
    assert (state(scheduled), live(acme).next_price) == ("undone", None)
    cancelled = changes.cancel(acme, alice)
    broken(sold, lambda: changes.undo(acme, alice, cancelled.pk), "/v1/subscriptions/", kind, times)
    changes.carry_on_due()
    assert (state(cancelled), live(acme).cancel_at_period_end) == ("undone", False)


@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_cancelling_that_broke_off_is_carried_on(
    sold: Sandbox, acme: Organization, alice: User, growth: Subscription, kind: str, times: int
) -> None:
    broken(sold, lambda: changes.cancel(acme, alice), "/v1/subscriptions/", kind, times)
    changes.carry_on_due()
    assert (PlanChange.objects.get().state, live(acme).cancel_at_period_end) == ("scheduled", True)


def test_a_preview_that_stripe_does_not_answer_changes_nothing(
    sold: Sandbox, acme: Organization, alice: User, halfway: Subscription
) -> None:
    sold.order("faults", kind="error", times=3, path="create_preview")
    with pytest.raises(Refused) as refused:
        changes.quote(acme, alice, "scale", "month", NOW)
    assert refused.value.code == "stripe_unreachable"
    quote = changes.quote(acme, alice, "scale", "month", NOW)
    sold.order("faults", kind="lost", path="create_preview")
    with pytest.raises(Refused) as refused:
        changes.confirm(acme, alice, quote.pk)
    assert (refused.value.code, state(quote)) == ("stripe_unreachable", "quoted")
    assert read(changes.confirm(acme, alice, quote.pk)).state == "applied"
