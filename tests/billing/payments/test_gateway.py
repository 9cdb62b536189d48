"""The gateway: each question and each order answered in plain values, and each way it can go wrong in our words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from django.db import transaction

from billing.payments import facts, gateway
from tests.billing.payments.conftest import ASKS, BACK, VISA, checked_out, stripe_id
from tests.sandbox.stripe.local import Sandbox

GROWTH, SCALE, STARTER = "oxygen_growth_1_month", "oxygen_scale_1_month", "oxygen_starter_1_month"
PACK = "oxygen_pack_5000_1"


def now(local: Sandbox) -> datetime:
    return datetime.fromtimestamp(local.http.get("/_emu").json()["now"], UTC)


def later(local: Sandbox, days: int) -> datetime:
    """Let time pass at Stripe."""
    local.order("clock", by=days * 24 * 3600)
    return now(local)


def card(local: Sandbox, customer: str, name: str) -> None:
    """Give a customer another card, for everything."""
    method = local.stripe.payment_methods.attach(name, params={"customer": customer}).id
    local.stripe.customers.update(customer, params={"invoice_settings": {"default_payment_method": method}})
    for each in local.stripe.subscriptions.list(params={"customer": customer}).data:
        local.stripe.subscriptions.update(each.id, params={"default_payment_method": method})


def upgraded(
    local: Sandbox, subscription: str, days: int = 10
) -> tuple[facts.Preview, facts.Subscription, facts.Invoice | None]:
    """Preview Scale so many days into the month, and take it."""
    at, standing = later(local, days), gateway.subscription(subscription)
    what = (subscription, standing.item, stripe_id(SCALE))
    shown = gateway.preview(*what, at=at, key="preview:1")
    return shown, *gateway.change_now(*what, at=at, change="1", key="change:1")


def pack(local: Sandbox, customer: str, number: str = VISA) -> facts.Session:
    session = gateway.open_pack_checkout(
        customer, stripe_id(PACK), org="7", purchase="2", success_url=BACK, cancel_url=BACK, key="purchase:2"
    )
    local.press(session.url, "authenticate" if number == ASKS else "pay", number=number)
    return gateway.session(session.id)


def test_the_pinned_version_is_the_sdks_own() -> None:
    assert stripe.api_version == gateway.API_VERSION


def test_a_first_subscription_is_bought_through_checkout(sold: Sandbox) -> None:
    made = gateway.make_customer("7", "Acme", "alice@acme.example", key="customer:7")
    assert (made.email, made.card, made.deleted) == ("alice@acme.example", "", False)
    customer, subscription = checked_out(sold, GROWTH)
    seen = gateway.subscription(subscription)
    assert customer == made.id  # the same key, the same customer
    assert (seen.status, seen.price, seen.quantity, seen.items) == ("active", stripe_id(GROWTH), 1, 1)
    assert (seen.metadata["org"], seen.pending, seen.schedule, seen.next_price) == ("7", False, "", "")
    assert gateway.customer(customer).card == "visa 4242"
    assert gateway.subscriptions(customer) == gateway.subscriptions() == [seen]


def test_an_invoice_is_read_whole(bought: tuple[str, str]) -> None:
    customer, subscription = bought
    standing = gateway.subscription(subscription)
    seen = gateway.invoice(standing.latest_invoice)
    assert (seen.customer, seen.status, seen.reason) == (customer, "paid", "subscription_create")
    assert (seen.total, seen.amount_paid, seen.tax, seen.currency) == (24900, 24900, 0, "usd")
    assert seen.subscription == subscription
    assert seen.paid_at
    assert seen.number
    (line,) = seen.lines
    assert (line.price, line.item, line.proration, line.credited) == (standing.price, standing.item, False, "")
    assert (line.start, line.end) == (standing.period_start, standing.period_end)
    (listed,) = gateway.invoices(customer)
    assert listed == seen
    assert gateway.invoices(customer, before=seen.id) == []
    assert gateway.invoices_since(seen.created) == [seen]
    assert gateway.invoices_since(seen.created + timedelta(seconds=1)) == []


def test_an_invoice_of_many_lines_is_read_to_its_end(sold: Sandbox) -> None:
    customer = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id
    draft = sold.stripe.invoices.create(params={"customer": customer})
    for n in range(23):
        sold.stripe.invoice_items.create(
            params={"customer": customer, "invoice": draft.id, "amount": n, "currency": "usd"}
        )
    assert [line.amount for line in gateway.invoice(draft.id).lines] == list(range(23))


def test_what_a_change_costs_is_what_its_preview_said(sold: Sandbox, bought: tuple[str, str]) -> None:
    sold.order("settings", tax_percent="10")
    shown, changed, invoice = upgraded(sold, bought[1])
    assert invoice
    assert (shown.due, shown.total, shown.tax) == (invoice.amount_paid, invoice.total, invoice.tax)
    assert shown.tax > 0
    assert (invoice.status, invoice.reason, changed.price) == ("paid", "subscription_update", stripe_id(SCALE))
    credit, debit = invoice.lines
    assert (credit.proration, credit.price, debit.price) == (True, stripe_id(GROWTH), stripe_id(SCALE))
    assert credit.credited == gateway.invoices(bought[0])[1].id
    assert credit.start == debit.start


def test_a_declined_change_waits_with_its_invoice_and_can_be_dropped(sold: Sandbox, bought: tuple[str, str]) -> None:
    card(sold, bought[0], "pm_card_chargeCustomerFail")
    _, changed, invoice = upgraded(sold, bought[1])
    assert invoice
    assert (invoice.status, invoice.why, invoice.needs_person) == ("open", "Your card was declined.", False)
    assert (changed.price, changed.pending) == (stripe_id(GROWTH), True)
    assert gateway.void_invoice(invoice.id, key="void:1").status == "void"
    assert gateway.void_invoice(invoice.id, key="void:2").status == "void"
    assert not gateway.subscription(bought[1]).pending


def test_a_change_that_a_person_must_confirm_says_so(sold: Sandbox, bought: tuple[str, str]) -> None:
    card(sold, bought[0], "pm_card_authenticationRequired")
    _, _, invoice = upgraded(sold, bought[1])
    assert invoice
    assert (invoice.status, invoice.needs_person) == ("open", True)
    sold.press(invoice.url, "pay", number=VISA)
    assert gateway.subscription(bought[1]).price == stripe_id(SCALE)


def test_an_invoice_that_was_paid_meanwhile_cannot_be_dropped(sold: Sandbox, bought: tuple[str, str]) -> None:
    card(sold, bought[0], "pm_card_chargeCustomerFail")
    _, _, invoice = upgraded(sold, bought[1])
    assert invoice
    sold.press(invoice.url, "pay", number=VISA)
    assert gateway.void_invoice(invoice.id, key="void:1").status == "paid"


@pytest.mark.parametrize(("price", "interval"), [(STARTER, "month"), ("oxygen_growth_1_year", "year")])
def test_a_change_at_the_renewal_is_seen_and_can_be_taken_back(
    sold: Sandbox, bought: tuple[str, str], price: str, interval: str
) -> None:
    standing = gateway.subscription(bought[1])
    seen = gateway.schedule_change(standing, stripe_id(price), interval, change="c1", key="change:1")
    assert (seen.price, seen.next_price, seen.change) == (standing.price, stripe_id(price), "c1")
    gateway.release_schedule(seen.schedule, key="undo:1")
    gateway.release_schedule(seen.schedule, key="undo:2")
    assert gateway.subscription(bought[1]) == standing


def test_a_change_at_the_renewal_asked_half_is_asked_again_whole(sold: Sandbox, bought: tuple[str, str]) -> None:
    standing = gateway.subscription(bought[1])
    sold.order("faults", kind="error", path="/subscription_schedules/", times=3)
    with pytest.raises(gateway.Unreachable):
        gateway.schedule_change(standing, stripe_id(STARTER), "month", change="c1", key="change:1")
    half = gateway.subscription(bought[1])
    assert (bool(half.schedule), half.next_price) == (True, "")
    for begun in (standing, half):
        seen = gateway.schedule_change(begun, stripe_id(STARTER), "month", change="c1", key="change:1")
        assert (seen.schedule, seen.next_price) == (half.schedule, stripe_id(STARTER))


def test_what_was_scheduled_is_so_after_the_renewal_and_can_change_again(
    sold: Sandbox, bought: tuple[str, str]
) -> None:
    standing = gateway.subscription(bought[1])
    gateway.schedule_change(standing, stripe_id(STARTER), "month", change="c1", key="change:1")
    later(sold, 32)
    renewed = gateway.subscription(bought[1])
    assert (renewed.price, renewed.next_price, bool(renewed.schedule)) == (stripe_id(STARTER), "", True)
    again = gateway.schedule_change(renewed, stripe_id(GROWTH), "month", change="c2", key="change:2")
    assert (again.next_price, again.change) == (stripe_id(GROWTH), "c2")


def test_it_ends_with_its_period_or_not_or_at_once(bought: tuple[str, str]) -> None:
    assert gateway.cancel_at_period_end(bought[1], True, key="cancel:1").cancel_at_period_end
    assert not gateway.cancel_at_period_end(bought[1], False, key="undo:1").cancel_at_period_end
    assert gateway.end_now(bought[1], key="end:1").status == "canceled"
    assert gateway.end_now(bought[1], key="end:2").ended


def test_a_pack_is_bought_with_an_invoice_and_its_card_is_kept(sold: Sandbox) -> None:
    customer = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id
    session = pack(sold, customer)
    assert (session.status, session.paid, session.metadata["kind"]) == ("complete", True, "top_up")
    invoice = gateway.invoice(session.invoice)
    assert (invoice.metadata, invoice.lines[0].price) == (session.metadata, stripe_id(PACK))
    assert gateway.payment(session.payment).metadata["purchase"] == "2"
    assert gateway.customer(customer).card == "visa 4242"


def test_a_session_is_closed_unless_somebody_was_quicker(sold: Sandbox) -> None:
    customer = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id
    session = gateway.open_pack_checkout(
        customer, stripe_id(PACK), org="7", purchase="3", success_url=BACK, cancel_url=BACK, key="purchase:3"
    )
    assert (session.status, session.paid) == ("open", False)
    assert gateway.expire_session(session.id, key="expire:3").status == "expired"
    done = pack(sold, customer)
    assert gateway.expire_session(done.id, key="expire:2").status == "complete"


def test_what_has_gone_back_of_a_payment_is_read_as_it_stands(sold: Sandbox) -> None:
    customer = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id
    id = pack(sold, customer).payment
    (charge,) = sold.stripe.charges.list(params={"payment_intent": id}).data
    seen = gateway.payment(id)
    assert (seen.amount, seen.gone_back, seen.gone_back_at, seen.disputed) == (5500, 0, None, False)
    refund = sold.order("refunds", charge=charge.id, amount=500)
    assert (gateway.payment(id).gone_back, bool(gateway.payment(id).gone_back_at)) == (500, True)
    sold.order("refunds", fail=refund["id"])
    assert gateway.payment(id).gone_back == 0
    inquiry = sold.order("disputes", charge=charge.id, inquiry=True)
    assert gateway.payment(id) == seen
    sold.order("disputes", dispute=inquiry["id"], outcome="lost")
    dispute = sold.order("disputes", charge=charge.id)
    taken = gateway.payment(id)
    assert (taken.gone_back, taken.disputed) == (5500, True)
    sold.order("disputes", dispute=dispute["id"], outcome="won")
    assert gateway.payment(id) == seen


def test_a_payment_is_given_back_once(sold: Sandbox) -> None:
    customer = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id
    id = pack(sold, customer).payment
    gateway.refund(id, key="refund:1")
    gateway.refund(id, key="refund:2")
    assert gateway.payment(id).gone_back == 5500


def test_a_pack_is_charged_while_nobody_is_there(sold: Sandbox, bought: tuple[str, str]) -> None:
    who = {"org": "7", "purchase": "9"}
    for _ in range(2):  # a process that died and asks again buys it once
        invoice = gateway.buy_pack_off_session(bought[0], stripe_id(PACK), **who, key="purchase:9")
        assert (invoice.status, invoice.amount_paid, invoice.metadata["purchase"]) == ("paid", 5500, "9")
    assert len(gateway.invoices(bought[0])) == 2


@pytest.mark.parametrize(
    ("name", "code"),
    [("pm_card_authenticationRequired", "authentication_required"), ("pm_card_chargeCustomerFail", "generic_decline")],
)
def test_a_card_that_says_no_to_a_pack_leaves_its_invoice_to_be_dropped(
    sold: Sandbox, bought: tuple[str, str], name: str, code: str
) -> None:
    card(sold, bought[0], name)
    with pytest.raises(gateway.Declined) as no:
        gateway.buy_pack_off_session(bought[0], stripe_id(PACK), org="7", purchase="9", key="purchase:9")
    assert (no.value.code, no.value.needs_person) == (code, code == "authentication_required")
    assert gateway.void_invoice(no.value.invoice, key="void:9").status == "void"


def test_without_a_card_on_file_nothing_can_be_charged(sold: Sandbox) -> None:
    customer = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id
    with pytest.raises(gateway.Declined) as no:
        gateway.buy_pack_off_session(customer, stripe_id(PACK), org="7", purchase="9", key="purchase:9")
    assert (no.value.code, gateway.invoice(no.value.invoice).status) == ("no_card", "open")


def test_the_portal_has_one_configuration_of_ours(sold: Sandbox, bought: tuple[str, str]) -> None:
    plain = gateway.portal(bought[0], BACK, key="portal:1")
    straight = gateway.portal(bought[0], BACK, "payment_method_update", key="portal:2")
    assert plain != straight
    assert "Card" in sold.http.get(plain).text
    (made,) = sold.stripe.billing_portal.configurations.list().data
    assert not made.features.subscription_cancel.enabled
    assert not made.features.subscription_update.enabled


def test_a_deleted_customer_is_told_as_such(sold: Sandbox, bought: tuple[str, str]) -> None:
    sold.order("customers", delete=bought[0])
    assert gateway.customer(bought[0]) == facts.CustomerFacts(bought[0], "", "", True)


def test_events_are_read_from_the_oldest_on(sold: Sandbox, bought: tuple[str, str]) -> None:
    seen = gateway.events(now(sold) - timedelta(hours=1))
    assert len(seen) == len(sold.events()) > 20
    paid = next(event for event in seen if event.type == "invoice.paid")
    assert (paid.kind, paid.customer, paid.livemode) == ("invoice", bought[0], False)
    assert (paid.api_version, paid.account) == (gateway.API_VERSION, "")
    assert gateway.events(now(sold) + timedelta(hours=1)) == []


def test_only_what_did_not_reach_us_is_read_where_that_is_wished(sold: Sandbox) -> None:
    sold.order("webhook", url="http://127.0.0.1:9/nobody")
    gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7")
    hour_ago = now(sold) - timedelta(hours=1)
    assert [event.type for event in gateway.events(hour_ago, undelivered=True)] == ["customer.created"]


def test_the_account_and_a_price_are_read(sold: Sandbox) -> None:
    assert gateway.account() == "acct_sandbox"
    seen = gateway.price(stripe_id("oxygen_growth_1_year"))
    assert (seen.amount, seen.currency, seen.interval, seen.active) == (249000, "usd", "year", True)
    assert gateway.price(stripe_id(PACK)).interval == "once"


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(("kind", "times"), [("error", 3), ("rate_limit", 1), ("lost", 1)])
def test_stripe_that_cannot_be_asked_may_be_asked_again(
    fresh_database: str, local: Sandbox, kind: str, times: int
) -> None:
    local.order("faults", kind=kind, times=times)
    with pytest.raises(gateway.Unreachable):
        gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7")
    made = gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7")
    assert [each.id for each in local.stripe.customers.list().data] == [made.id]


def test_one_bad_answer_is_made_good_without_a_word(fresh_database: str, local: Sandbox) -> None:
    local.order("faults", kind="error")
    assert gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7").id


def test_stripe_that_is_not_there_is_unreachable(fresh_database: str, local: Sandbox, settings: Any) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    with pytest.raises(gateway.Unreachable):
        gateway.account()


def test_what_stripe_does_not_allow_is_rejected_in_its_words(fresh_database: str, local: Sandbox) -> None:
    with pytest.raises(gateway.Rejected, match="No such invoice") as no:
        gateway.invoice("in_none")
    assert (no.value.code, no.value.param) == ("resource_missing", "id")
    gateway.make_customer("7", "Acme", "a@acme.example", key="customer:7")
    with pytest.raises(gateway.Rejected, match="same parameters"):
        gateway.make_customer("7", "Globex", "a@acme.example", key="customer:7")


def test_a_key_that_stripe_does_not_know_is_rejected_and_logged(
    fresh_database: str, local: Sandbox, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STRIPE_SECRET_KEY = "sk_live_1234"
    with pytest.raises(gateway.Rejected):
        gateway.account()
    assert "does not let us in" in caplog.text


def test_nothing_is_asked_inside_a_transaction(fresh_database: str, local: Sandbox) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="transaction"):
        gateway.account()
    assert local.asked("GET") == []


def test_without_a_key_nothing_is_asked(fresh_database: str, local: Sandbox, settings: Any) -> None:
    assert (gateway.configured(), gateway.live()) == (True, False)
    settings.STRIPE_SECRET_KEY = ""
    assert not gateway.configured()
    assert not gateway.live()
    with pytest.raises(gateway.NotSetUp):
        gateway.account()
