"""Automatic top-ups against the local Stripe: bought once when credits run low, and never on and on."""

from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from billing import mails, top_ups
from billing.models import AutoTopUp, Customer, Grant, Organization, Pack, Purchase, Subscription, User
from billing.payments import gateway, inbox
from oxygen_site.clock import clock
from oxygen_site.jobs import line
from oxygen_site.transactions import Refused
from tests.billing.payments.conftest import another_card, at_once, hear, pass_time, subscribed
from tests.conftest import give
from tests.runs.conftest import assert_books_hold
from tests.sandbox.stripe.local import Sandbox

PACK = "pack-1000-1"
FAILS, ASKS = "pm_card_chargeCustomerFail", "pm_card_authenticationRequired"
NO = "Your card was declined."


def wished(org: Organization, below: int, most: int = 10**6, **more: Any) -> AutoTopUp:
    asked: dict[str, Any] = {"on": True, "threshold": Decimal(below), "monthly_max": most} | more
    return top_ups.change(org, **({"pack": Pack.objects.get(pk=PACK)} | asked))


@pytest.fixture
def low(growth: Subscription, acme: Organization) -> Organization:
    """Acme, with a card on file, is to be topped up by 1,000 whenever less than 31,000 credits are available."""
    inbox.look("customer", growth.customer.stripe_id)
    wished(acme, 31_000)
    return acme


def bought(org: Organization) -> list[str]:
    """What became of the automatic purchases, the oldest first."""
    return list(Purchase.objects.filter(org=org, automatic=True).order_by("asked_at").values_list("state", flat=True))


def given(org: Organization) -> int:
    return Grant.objects.filter(org=org.pk, source="top_up").count()


def letters(org: Organization) -> list[str]:
    """Send what waits to be sent; the subjects of all mail so far."""
    for words, _ in line(mails.send):
        mails.send(**words)
    return [str(each.subject) for each in mail.outbox]


def wish(org: Organization) -> AutoTopUp:
    found = top_ups.of(org)
    assert found
    return found


def invoices(org: Organization) -> list[Any]:
    """The packs' invoices at Stripe."""
    customer = Customer.objects.get(org=org).stripe_id
    return [each for each in gateway.invoices(customer) if each.metadata.get("kind") == "top_up"]


# ------------------------------------------------------------------ buying


def test_a_pack_is_bought_when_credits_run_low_and_once(low: Organization) -> None:
    for _ in range(3):
        top_ups.top_up_due()
    assert (bought(low), given(low)) == (["paid"], 1)
    assert [(each.status, each.amount_paid) for each in invoices(low)] == [("paid", 1200)]
    assert_books_hold(low)


def test_nothing_is_bought_while_there_is_enough(low: Organization) -> None:
    wished(low, 30_000)
    top_ups.top_up_due()
    assert bought(low) == []


def test_two_jobs_at_once_buy_once(low: Organization) -> None:
    at_once(*[top_ups.top_up_due] * 4)
    top_ups.top_up_due()
    assert (bought(low), given(low), len(invoices(low))) == (["paid"], 1, 1)


def test_what_is_still_low_after_a_pack_is_topped_up_again_after_a_pause(low: Organization, local: Sandbox) -> None:
    wished(low, 31_500)
    top_ups.top_up_due()
    top_ups.top_up_due()
    assert bought(low) == ["paid"]  # 31,100 is below, and it rests
    pass_time(local, minutes=11)
    top_ups.top_up_due()
    assert bought(low) == ["paid", "paid"]
    pass_time(local, minutes=11)
    top_ups.top_up_due()
    assert bought(low) == ["paid", "paid"]  # 32,100 is not


def test_other_credits_that_came_meanwhile_are_enough(low: Organization, local: Sandbox) -> None:
    wished(low, 31_500)
    top_ups.top_up_due()
    pass_time(local, minutes=11)
    give(low, 1000)
    top_ups.top_up_due()
    assert bought(low) == ["paid"]


def test_never_more_than_the_months_maximum(low: Organization, local: Sandbox) -> None:
    wished(low, 10**6, most=2500)
    for _ in range(4):
        top_ups.top_up_due()
        pass_time(local, minutes=11)
    assert bought(low) == ["paid", "paid"]
    assert top_ups.spent(low, clock()) == 2400
    pass_time(local, days=32)
    hear(low)
    assert top_ups.spent(low, clock()) == 0
    top_ups.top_up_due()
    assert len(bought(low)) == 3


# ------------------------------------------------------------------ a card that says no


def test_a_decline_is_followed_by_a_pause_that_grows_and_the_third_switches_it_off(
    low: Organization, local: Sandbox
) -> None:
    another_card(local, low, FAILS)
    for tried, pause in enumerate([{"minutes": 61}, {"hours": 6, "minutes": 1}, {"days": 1}], 1):
        for _ in range(2):  # at once again: nothing, whatever the events say
            top_ups.top_up_due()
            heard(low)
        assert bought(low) == ["failed"] * tried
        assert wish(low).on == (tried < 3)
        assert letters(low) == ([] if tried < 3 else ["Acme: automatic top-up was switched off"])
        pass_time(local, **pause)
    top_ups.top_up_due()
    assert len(bought(low)) == 3
    assert wish(low).why == f"It failed 3 times in a row: {NO}"
    assert wish(low).why in mail.outbox[0].body
    assert {each.status for each in invoices(low)} == {"void"}
    assert given(low) == 0


def heard(org: Organization) -> None:
    """Let the inbox read what the events of a void invoice are about."""
    for invoice in invoices(org):
        inbox.look("invoice", invoice.id)


def test_a_success_forgets_the_declines_before_it(low: Organization, local: Sandbox) -> None:
    wished(low, 10**6)
    for card in (FAILS, FAILS, "pm_card_visa", FAILS):
        another_card(local, low, card)
        top_ups.top_up_due()
        pass_time(local, hours=7)
    assert bought(low) == ["failed", "failed", "paid", "failed"]
    assert (wish(low).declines, wish(low).on) == (1, True)


def test_switching_on_again_forgets_them_too(low: Organization, local: Sandbox) -> None:
    another_card(local, low, FAILS)
    top_ups.top_up_due()
    another_card(local, low, "pm_card_visa")
    wished(low, 31_000)
    top_ups.top_up_due()
    assert bought(low) == ["failed", "paid"]


# ------------------------------------------------------------------ a bank that asks the person


@pytest.fixture
def asked(low: Organization, local: Sandbox) -> Purchase:
    """A top-up of Acme's that its bank wants confirmed."""
    another_card(local, low, ASKS)
    top_ups.top_up_due()
    return Purchase.objects.get(org=low, automatic=True)


def test_the_person_is_asked_by_mail_and_it_waits(asked: Purchase, low: Organization) -> None:
    top_ups.top_up_due()
    assert (asked.state, asked.invoice, given(low)) == ("open", invoices(low)[0].id, 0)
    assert letters(low) == ["Acme: confirm the automatic top-up"]
    assert asked.url in mail.outbox[0].body
    assert mail.outbox[0].to == ["alice@oxygen.example"]
    assert top_ups.asked(low) == asked


def test_it_is_given_once_the_person_pays_there(asked: Purchase, low: Organization, local: Sandbox) -> None:
    assert local.press(asked.url, "pay", number="4242424242424242").status_code < 400
    inbox.look("invoice", asked.invoice)
    assert (bought(low), given(low)) == (["paid"], 1)
    top_ups.top_up_due()
    assert (bought(low), wish(low).declines) == (["paid"], 0)


def test_it_is_given_up_after_a_day_and_cannot_be_paid_any_more(
    asked: Purchase, low: Organization, local: Sandbox
) -> None:
    pass_time(local, hours=22, minutes=58)
    top_ups.top_up_due()
    assert bought(low) == ["open"]
    pass_time(local, minutes=3)
    top_ups.top_up_due()
    assert (bought(low), wish(low).declines, wish(low).on) == (["failed"], 1, True)
    assert [each.status for each in invoices(low)] == ["void"]
    asked.refresh_from_db()
    assert (asked.why, asked.url) == ("It was not paid in time.", "")


def test_a_person_who_pays_in_the_last_second_gets_the_credits(
    asked: Purchase, low: Organization, local: Sandbox
) -> None:
    pass_time(local, hours=24)
    local.press(asked.url, "pay", number="4242424242424242")
    top_ups.top_up_due()
    assert (bought(low), given(low), wish(low).declines) == (["paid"], 1, 0)


# ------------------------------------------------------------------ what stops it


def test_a_dispute_stops_it_and_says_so(low: Organization, local: Sandbox) -> None:
    paid = gateway.invoices(Customer.objects.get(org=low).stripe_id)[0].payment
    charge = local.stripe.payment_intents.retrieve(paid).latest_charge
    dispute = local.order("disputes", charge=charge)["id"]
    inbox.look("payment", paid)
    top_ups.top_up_due()
    assert (bought(low), wish(low).on) == ([], False)
    assert letters(low) == ["Acme: automatic top-up was switched off"]
    with pytest.raises(Refused, match="disputed"):
        wished(low, 31_000)
    local.order("disputes", dispute=dispute, outcome="won")
    inbox.look("payment", paid)
    wished(low, 31_000)
    top_ups.top_up_due()
    assert bought(low) == ["paid"]


def test_a_pack_that_is_no_longer_sold_is_not_bought(low: Organization) -> None:
    Pack.objects.filter(pk=PACK).update(on_sale=False)
    top_ups.top_up_due()
    assert (bought(low), wish(low).on, wish(low).why) == ([], False, top_ups.NOT_SOLD)


def test_without_a_card_it_cannot_be_switched_on(acme: Organization, sold: Sandbox) -> None:
    with pytest.raises(Refused, match="no card") as no:
        wished(acme, 50)
    assert no.value.code == "no_card"
    wished(acme, 50, on=False)
    assert not wish(acme).on


def test_a_threshold_is_a_number_of_credits(low: Organization) -> None:
    for threshold in ("0", "-1", "NaN", "Infinity", "1.00001", "1e10"):
        with pytest.raises(Refused) as no:
            wished(low, 1, threshold=Decimal(threshold))
        assert (no.value.code, no.value.field) == ("invalid_threshold", "threshold")


def test_a_maximum_below_one_pack_is_refused(low: Organization) -> None:
    with pytest.raises(Refused) as no:
        wished(low, 50, most=1199)
    assert (no.value.code, no.value.field) == ("invalid_maximum", "maximum")


# ------------------------------------------------------------------ Stripe that does not answer


@pytest.mark.parametrize(
    ("kind", "path"),
    [("error", "/invoices"), ("error", "/pay"), ("lost", "/invoiceitems"), ("lost", "/finalize"), ("lost", "/pay")],
)
def test_what_broke_off_is_carried_on_and_bought_once(low: Organization, local: Sandbox, path: str, kind: str) -> None:
    local.order("faults", kind=kind, path=path, times=3 if kind == "error" else 1)  # the SDK asks thrice after an error
    top_ups.top_up_due()
    assert (bought(low), given(low)) == (["asked"], 0)
    top_ups.top_up_due()
    assert bought(low) == ["asked"]  # somebody may be at it
    pass_time(local, seconds=61)
    top_ups.top_up_due()
    assert (bought(low), given(low), wish(low).declines) == (["paid"], 1, 0)
    assert [each.status for each in invoices(low)] == ["paid"]


def test_a_payment_whose_answer_was_lost_is_not_made_again_with_another_card(low: Organization, local: Sandbox) -> None:
    local.order("faults", kind="lost", path="/pay")
    top_ups.top_up_due()
    another_card(local, low, "pm_card_mastercard")
    pass_time(local, seconds=61)
    top_ups.top_up_due()
    assert (bought(low), given(low)) == (["paid"], 1)
    assert [each.amount_paid for each in invoices(low)] == [1200]


def test_what_could_not_be_asked_for_a_day_is_given_up(low: Organization, local: Sandbox) -> None:
    local.order("faults", kind="error", path="/pay", times=3)
    top_ups.top_up_due()
    pass_time(local, hours=24)
    top_ups.top_up_due()
    assert (bought(low), [each.status for each in invoices(low)]) == (["failed"], ["void"])


def test_a_key_that_stripe_refuses_switches_nobody_off(low: Organization, local: Sandbox, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_live_wrong"
    top_ups.top_up_due()
    assert (bought(low), wish(low).on) == (["asked"], True)


def test_what_goes_wrong_for_one_keeps_nobody_else_waiting(
    low: Organization, globex: Organization, mallory: User, local: Sandbox
) -> None:
    inbox.look("customer", subscribed(local, globex, mallory, "starter").customer.stripe_id)
    wished(globex, 31_000)
    Customer.objects.filter(org=low).update(stripe_id="cus_of_another_account")
    top_ups.top_up_due()
    assert (given(low), given(globex)) == (0, 1)
    assert (bought(low), wish(low).on) == (["failed"], False)


def test_a_customer_that_is_gone_ends_it(low: Organization, local: Sandbox) -> None:
    local.order("faults", kind="error", path="/invoices", times=3)
    top_ups.top_up_due()
    local.order("customers", delete=Customer.objects.get(org=low).stripe_id)
    inbox.look("customer", Customer.objects.get(org=low).stripe_id)
    pass_time(local, seconds=61)
    top_ups.top_up_due()
    assert bought(low) == ["failed"]
