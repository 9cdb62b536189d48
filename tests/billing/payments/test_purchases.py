"""Buying at Checkout: one purchase however often it is pressed and by however many, and nothing half done."""

from typing import Any

import pytest

from billing import plans
from billing.models import Account, Customer, Organization, Price, Purchase, User
from billing.payments import gateway, inbox, purchases
from oxygen_site.transactions import Refused
from tests.billing.payments.conftest import URLS, VISA, another_card, at_once, hear, pass_time, subscribed
from tests.conftest import person
from tests.runs.conftest import assert_books_hold
from tests.sandbox.stripe.local import Sandbox


def available(org: Organization) -> Any:
    return Account.objects.get(org=org.pk).available


def paths(local: Sandbox, ending: str) -> int:
    """Count what was made at Stripe, not what was asked for."""
    return len({each["idempotency_key"] for each in local.asked() if each["path"].endswith(ending)})


def test_a_first_subscription_is_bought_at_checkout(sold: Sandbox, acme: Organization, alice: User) -> None:
    purchase = purchases.subscribe(acme, alice, "growth", "month", URLS)
    assert (purchase.state, purchase.is_plan, purchase.by) == ("open", True, alice)
    assert "Subscribe" in sold.http.get(purchase.url).text
    assert available(acme) == 100
    landed = sold.press(purchase.url, "pay", number=VISA)
    assert landed.headers["location"].endswith(f"session_id={purchase.session}")
    assert purchases.confirm_return(acme, purchase.session) == "paid"
    standing = plans.subscription(acme)
    assert standing
    assert (standing.plan.key, standing.status, available(acme)) == ("growth", "active", 30100)
    assert purchases.confirm_return(acme, purchase.session) == "paid"
    assert available(acme) == 30100
    customer = Customer.objects.get(org=acme)
    assert customer.email == alice.email
    assert_books_hold(acme)


def test_pressed_twice_it_is_one_purchase(sold: Sandbox, acme: Organization, alice: User) -> None:
    first = purchases.subscribe(acme, alice, "growth", "month", URLS)
    assert purchases.subscribe(acme, alice, "growth", "month", URLS) == first
    assert paths(sold, "/checkout/sessions") == 1


def test_two_admins_at_once_make_one_purchase(sold: Sandbox, acme: Organization, alice: User) -> None:
    bob = person("Bob")
    outcomes = at_once(
        *(lambda by=by: purchases.subscribe(acme, by, "growth", "month", URLS) for by in (alice, bob, alice))
    )
    bought = [each for each in outcomes if isinstance(each, Purchase)]
    assert bought
    assert {each.code for each in outcomes if isinstance(each, Refused)} <= {"stripe_unreachable"}  # of the same key
    assert set(Purchase.objects.values_list("pk", "state")) == {(bought[0].pk, "open")}
    assert Customer.objects.filter(org=acme).count() == 1
    open_there = sold.stripe.checkout.sessions.list(params={"status": "open"}).data
    assert [each.id for each in open_there] == [bought[0].session]


def test_two_tabs_with_two_plans_leave_the_last_one_open(sold: Sandbox, acme: Organization, alice: User) -> None:
    first = purchases.subscribe(acme, alice, "growth", "month", URLS)
    second = purchases.subscribe(acme, alice, "scale", "year", URLS)
    assert gateway.session(first.session).status == "expired"
    assert gateway.session(second.session).status == "open"
    assert Purchase.objects.get(pk=first.pk).state == "abandoned"


def test_what_was_paid_in_another_tab_is_not_sold_again(sold: Sandbox, acme: Organization, alice: User) -> None:
    first = purchases.subscribe(acme, alice, "growth", "month", URLS)
    sold.press(first.url, "pay", number=VISA)
    with pytest.raises(Refused) as refused:  # and nobody here has read it yet
        purchases.subscribe(acme, alice, "scale", "month", URLS)
    assert (refused.value.code, refused.value.status) == ("already_subscribed", 409)
    hear(acme)
    with pytest.raises(Refused, match="already"):
        purchases.subscribe(acme, alice, "scale", "month", URLS)


@pytest.mark.parametrize(
    ("plan", "interval"),
    [("growth", "week"), ("growth", "once"), ("free", "month"), ("gold", "month"), ("", ""), ("growth-1", "month")],
)
def test_what_is_not_on_sale_cannot_be_bought(
    sold: Sandbox, acme: Organization, alice: User, plan: str, interval: str
) -> None:
    with pytest.raises(Refused) as refused:
        purchases.subscribe(acme, alice, plan, interval, URLS)
    assert (refused.value.code, refused.value.status) == ("unknown_plan", 422)
    with pytest.raises(Refused) as refused:
        purchases.top_up(acme, alice, plan, URLS)
    assert (refused.value.code, refused.value.status) == ("unknown_pack", 422)
    assert not Customer.objects.exists()


def test_without_a_key_everything_says_that_payment_is_not_set_up(
    sold: Sandbox, acme: Organization, alice: User, settings: Any
) -> None:
    settings.STRIPE_SECRET_KEY = ""
    for verb in (
        lambda: purchases.subscribe(acme, alice, "growth", "month", URLS),
        lambda: purchases.top_up(acme, alice, "pack-5000-1", URLS),
        lambda: purchases.portal(acme, alice, "https://oxygen.example/"),
    ):
        with pytest.raises(Refused) as refused:
            verb()
        assert refused.value.code == "not_set_up"


def test_a_pack_is_bought_beside_whatever_else(sold: Sandbox, acme: Organization, alice: User) -> None:
    subscribed(sold, acme, alice, "starter")
    small, large = (purchases.top_up(acme, alice, f"pack-{n}-1", URLS) for n in (1000, 50000))
    assert purchases.top_up(acme, alice, "pack-1000-1", URLS) == small
    sold.press(small.url, "pay", number=VISA)
    assert purchases.confirm_return(acme, small.session) == "paid"
    assert Purchase.objects.get(pk=large.pk).state == "open"
    assert available(acme) == 100 + 8000 + 1000
    again = purchases.top_up(acme, alice, "pack-1000-1", URLS)
    assert again != small
    assert_books_hold(acme)


def test_a_pack_that_was_just_paid_can_be_bought_again(sold: Sandbox, acme: Organization, alice: User) -> None:
    first = purchases.top_up(acme, alice, "pack-5000-1", URLS)
    sold.press(first.url, "pay", number=VISA)
    second = purchases.top_up(acme, alice, "pack-5000-1", URLS)  # nobody came back from the first
    assert second.pk != first.pk
    assert (Purchase.objects.get(pk=first.pk).state, available(acme)) == ("paid", 5100)


def test_a_checkout_whose_time_is_over_makes_room_for_another(sold: Sandbox, acme: Organization, alice: User) -> None:
    first = purchases.top_up(acme, alice, "pack-5000-1", URLS)
    pass_time(sold, hours=25)
    second = purchases.top_up(acme, alice, "pack-5000-1", URLS)
    assert (Purchase.objects.get(pk=first.pk).state, second.state) == ("abandoned", "open")


@pytest.mark.parametrize("path", ["/v1/customers", "/v1/checkout/sessions"])
@pytest.mark.parametrize(("kind", "times"), [("error", 3), ("rate_limit", 1), ("lost", 1)])
def test_where_stripe_fails_nothing_is_half_done_and_pressing_again_is_safe(
    sold: Sandbox, acme: Organization, alice: User, path: str, kind: str, times: int
) -> None:
    sold.order("faults", kind=kind, times=times, path=path)
    with pytest.raises(Refused) as refused:
        purchases.subscribe(acme, alice, "growth", "month", URLS)
    assert (refused.value.code, refused.value.status) == ("stripe_unreachable", 409)
    purchase = purchases.subscribe(acme, alice, "growth", "month", URLS)
    assert purchase.state == "open"
    assert len(sold.stripe.customers.list().data) == 1
    assert len(sold.stripe.checkout.sessions.list().data) == 1
    assert Purchase.objects.count() == 1


def test_a_purchase_that_broke_off_is_given_up_by_itself(sold: Sandbox, acme: Organization, alice: User) -> None:
    sold.order("faults", kind="lost", path="/v1/checkout/sessions")
    with pytest.raises(Refused):
        purchases.subscribe(acme, alice, "growth", "month", URLS)
    purchases.carry_on_due()
    assert Purchase.objects.get().state == "asked"
    pass_time(sold, minutes=6)
    purchases.carry_on_due()
    assert Purchase.objects.get().state == "abandoned"
    assert purchases.subscribe(acme, alice, "scale", "month", URLS).state == "open"


def test_a_press_from_another_address_begins_anew_where_one_broke_off(
    sold: Sandbox, acme: Organization, alice: User
) -> None:
    sold.order("faults", kind="lost", path="/v1/checkout/sessions")
    with pytest.raises(Refused):
        purchases.subscribe(acme, alice, "growth", "month", URLS)
    elsewhere = ("https://other.example/back", "https://other.example/subscribe")
    assert purchases.subscribe(acme, alice, "growth", "month", elsewhere).state == "open"
    assert sorted(Purchase.objects.values_list("state", flat=True)) == ["abandoned", "open"]


def test_what_was_left_open_for_a_day_is_closed(sold: Sandbox, acme: Organization, alice: User) -> None:
    purchase = purchases.subscribe(acme, alice, "growth", "month", URLS)
    pass_time(sold, hours=26)
    purchases.carry_on_due()
    assert Purchase.objects.get(pk=purchase.pk).state == "abandoned"


def test_a_customer_deleted_at_stripe_is_made_anew(sold: Sandbox, acme: Organization, alice: User) -> None:
    purchases.top_up(acme, alice, "pack-1000-1", URLS)
    old = Customer.objects.get(org=acme)
    sold.order("customers", delete=old.stripe_id)
    purchase = purchases.top_up(acme, alice, "pack-5000-1", URLS)
    new = Customer.objects.get(org=acme, closed_at=None)
    assert new.stripe_id != old.stripe_id
    assert gateway.session(purchase.session).customer == new.stripe_id


def test_what_stripe_does_not_allow_is_said_in_its_words(sold: Sandbox, acme: Organization, alice: User) -> None:
    price = Price.objects.get(pk="oxygen_pack_5000_1")
    sold.stripe.prices.update(str(price.stripe_id), params={"active": False})
    with pytest.raises(Refused, match="inactive") as refused:
        purchases.top_up(acme, alice, "pack-5000-1", URLS)
    assert refused.value.code == "not_possible"
    assert Purchase.objects.get().state == "failed"


def test_nobody_asks_after_the_session_of_another_org(
    sold: Sandbox, acme: Organization, alice: User, globex: Organization
) -> None:
    purchase = purchases.subscribe(acme, alice, "growth", "month", URLS)
    for session in (purchase.session, "cs_none", ""):
        with pytest.raises(Refused) as refused:
            purchases.confirm_return(globex, session)
        assert (refused.value.code, refused.value.status) == ("unknown_session", 404)


def test_coming_back_while_stripe_is_down_goes_on_waiting(sold: Sandbox, acme: Organization, alice: User) -> None:
    purchase = purchases.subscribe(acme, alice, "growth", "month", URLS)
    sold.press(purchase.url, "pay", number=VISA)
    sold.order("faults", kind="error", times=3, method="GET", path="/v1/checkout/sessions")
    assert purchases.confirm_return(acme, purchase.session) == "open"
    assert purchases.confirm_return(acme, purchase.session) == "paid"


def test_a_second_subscription_is_ended_and_paid_back(sold: Sandbox, acme: Organization, alice: User) -> None:
    first = subscribed(sold, acme, alice, "growth")
    another_card(sold, acme, "pm_card_visa")
    second = sold.stripe.subscriptions.create(
        params={"customer": first.customer.stripe_id, "items": [{"price": str(first.price.stripe_id)}]}
    )
    inbox.look("subscription", second.id)
    assert gateway.subscription(second.id).status == "canceled"
    assert plans.subscription(acme) == first
    assert available(acme) == 30100


def test_the_portal_is_for_who_has_bought_something(sold: Sandbox, acme: Organization, alice: User) -> None:
    with pytest.raises(Refused) as refused:
        purchases.portal(acme, alice, "https://oxygen.example/")
    assert refused.value.code == "no_customer"
    subscribed(sold, acme, alice, "growth")
    url = purchases.portal(acme, alice, "https://oxygen.example/", "payment_method_update")
    assert "Save card" in sold.http.get(url).text
    assert url != purchases.portal(acme, alice, "https://oxygen.example/", "payment_method_update")
    sold.order("faults", kind="error", times=3, path="/v1/billing_portal/sessions")
    with pytest.raises(Refused) as refused:
        purchases.portal(acme, alice, "https://oxygen.example/")
    assert refused.value.code == "stripe_unreachable"
