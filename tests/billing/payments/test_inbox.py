"""Events of the local Stripe through the inbox: stored once, applied whatever their order, ignored for a reason."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing import jobs, plans
from billing.models import Customer, Grant, Organization, Price, StripeCheck, StripeEvent, Subscription, User
from billing.payments import facts, gateway, inbox
from oxygen_site.clock import clock
from tests.billing.payments.conftest import checked_out
from tests.runs.conftest import assert_books_hold
from tests.sandbox.stripe.local import Sandbox

LONG_AGO = timedelta(days=20)


@pytest.fixture
def customer(acme: Organization, sold: Sandbox) -> Customer:
    """Acme has bought Growth by the month; nothing of that was told here yet."""
    id, _ = checked_out(sold, "oxygen_growth_1_month")
    return Customer.objects.create(org=acme, stripe_id=id)


def events() -> list[facts.Event]:
    return gateway.events(clock() - LONG_AGO)


def received(*told: facts.Event) -> None:
    for event in told:
        inbox.receive(event)
    for group in {event.customer or event.about for event in told}:
        inbox.apply_waiting(group)


def states() -> dict[str, str]:
    return dict(StripeEvent.objects.values_list("type", "state"))


def given(org: Organization) -> list[Any]:
    return list(Grant.objects.filter(org=org.pk, source="plan_refill").values_list("amount", flat=True))


def test_a_first_subscription_gives_its_month_once(customer: Customer, acme: Organization) -> None:
    for _ in range(2):
        received(*events())
    assert given(acme) == [30000]
    assert {"received", "failed"} & set(states().values()) == set()
    standing = plans.read(acme, clock())
    assert standing.plan is not None
    assert (standing.plan.key, standing.configured) == ("growth", True)
    assert_books_hold(acme)


def test_the_order_of_events_does_not_matter(customer: Customer, acme: Organization) -> None:
    for event in events()[::-1]:
        received(event)
    assert given(acme) == [30000]
    assert Subscription.objects.get().status == "active"


def test_one_event_of_the_invoice_alone_is_enough(customer: Customer, acme: Organization) -> None:
    received(*[event for event in events() if event.type == "invoice.paid"])
    assert (given(acme), Subscription.objects.count()) == ([30000], 1)


@pytest.mark.parametrize(
    "strange",
    [{"livemode": True}, {"account": "acct_other"}, {"api_version": "2020-08-27"}],
    ids=["mode", "account", "version"],
)
def test_what_is_not_ours_to_apply_is_parked(strange: dict[str, Any], customer: Customer, acme: Organization) -> None:
    received(*[replace(event, **strange) for event in events()])
    assert set(states().values()) == {"parked"}
    assert given(acme) == []
    inbox.replay(StripeEvent.objects.first())  # type: ignore[arg-type]
    assert set(states().values()) == {"parked"}


def test_what_nothing_follows_from_is_kept_and_says_so(customer: Customer) -> None:
    received(*events())
    ignored = StripeEvent.objects.filter(state="ignored")
    assert ignored.exists()
    assert all(event.why for event in ignored)


def test_a_stranger_at_stripe_is_nobodys_here(sold: Sandbox, acme: Organization) -> None:
    checked_out(sold, "oxygen_growth_1_month")
    received(*events())
    assert given(acme) == []
    assert "No organization here" in StripeEvent.objects.get(type="invoice.paid").why


def test_while_stripe_is_down_events_wait_and_nothing_is_lost(
    customer: Customer, acme: Organization, local: Sandbox
) -> None:
    told = events()
    local.order("faults", kind="error", method="GET", path="/v1/invoices", times=6)  # two looks; the SDK asks thrice
    received(*told)
    assert given(acme) == []
    assert StripeEvent.objects.get(type="invoice.paid").state == "received"
    inbox.apply_waiting(customer.stripe_id)
    assert given(acme) == [30000]


def test_what_failed_is_loud_and_can_be_replayed(
    customer: Customer, acme: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    told = [event for event in events() if event.type == "invoice.paid"]
    Price.objects.filter(lookup_key="oxygen_growth_1_month").update(lookup_key="gone")
    Price.objects.update(stripe_id=None)
    received(*told)
    event = StripeEvent.objects.get(type="invoice.paid")
    assert (event.state, given(acme)) == ("failed", [])
    assert "none of ours" in event.why
    assert "could not be applied" in caplog.text


def test_what_was_not_delivered_is_caught_up_with_at_night(customer: Customer, acme: Organization) -> None:
    jobs.compare_with_stripe()
    check = StripeCheck.objects.latest()
    assert check.caught_up == len(events())
    assert {what.partition(" ")[0] for what, _, _ in check.drift} == {"subscription", "invoice"}
    received(*events())
    inbox.apply_waiting(customer.stripe_id)
    assert given(acme) == [30000]
    jobs.compare_with_stripe()
    assert (StripeCheck.objects.latest().caught_up, StripeCheck.objects.latest().drift) == (0, [])


def bought_again(customer: Customer, sold: Sandbox) -> None:
    """A second page of Checkout was still open, and was paid, too."""
    session = gateway.open_subscription_checkout(
        customer.stripe_id,
        gateway.prices(["oxygen_starter_1_month"])[0].id,
        org=customer.org_id,
        purchase="2",
        success_url="https://oxygen.example",
        cancel_url="https://oxygen.example",
        key="purchase:2",
    )
    sold.press(session.url, "pay", number="4242424242424242")


def assert_paid_back() -> None:
    second = Subscription.objects.get(surplus=True)
    assert second.status == "canceled"
    invoice = gateway.invoice(gateway.subscription(second.pk).latest_invoice)
    assert gateway.payment(invoice.payment).gone_back == invoice.amount_paid > 0


def test_a_second_subscription_is_ended_and_paid_back(customer: Customer, acme: Organization, sold: Sandbox) -> None:
    received(*events())
    bought_again(customer, sold)
    received(*events())
    received(*events())
    assert given(acme) == [30000]
    assert_paid_back()


def test_a_second_subscription_is_paid_back_though_stripe_was_down_between(customer: Customer, sold: Sandbox) -> None:
    received(*events())
    bought_again(customer, sold)
    sold.order("faults", kind="error", path="/v1/refunds", times=6)  # two looks; the SDK asks thrice
    received(*events())
    sold.order("faults", kind="error", method="DELETE", path="/v1/subscriptions", times=3)
    received(*events())
    inbox.apply_waiting(customer.stripe_id)
    received(*events())
    assert_paid_back()


def test_a_bill_that_somebody_wrote_by_hand_at_stripe_gives_nothing(
    customer: Customer, acme: Organization, sold: Sandbox
) -> None:
    received(*events())
    v = sold.stripe
    by_hand = {"customer": customer.stripe_id, "amount": 2000, "currency": "usd", "description": "An hour's help"}
    v.invoice_items.create(params=by_hand)  # type: ignore[arg-type]
    bill = v.invoices.create(params={"customer": customer.stripe_id, "pending_invoice_items_behavior": "include"})
    v.invoices.finalize_invoice(bill.id)
    card = v.customers.payment_methods.list(customer.stripe_id).data[0].id
    v.invoices.pay(bill.id, params={"payment_method": card})
    received(*events())
    assert "failed" not in states().values()
    assert given(acme) == [30000]


def test_a_customer_deleted_at_stripe_is_closed(customer: Customer, sold: Sandbox) -> None:
    received(*events())
    sold.order("customers", delete=customer.stripe_id)
    received(*events())
    customer.refresh_from_db()
    assert customer.closed_at is not None


def test_only_who_asked_is_told(customer: Customer, alice: User) -> None:
    received(*events())
    customer.refresh_from_db()
    assert customer.card.startswith("visa")
