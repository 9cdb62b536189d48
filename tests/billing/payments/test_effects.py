"""What follows from what was read at Stripe: grants for what was paid, once, and what goes back with the money."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from billing import ledger, plans
from billing.jobs import give_due
from billing.models import (
    Account,
    Customer,
    Grant,
    Organization,
    Pack,
    PaidPeriod,
    Plan,
    Price,
    Purchase,
    Subscription,
)
from billing.payments import bought, effects, facts
from oxygen_site import clock
from oxygen_site.transactions import intention
from tests.runs.conftest import assert_books_hold

pytestmark = pytest.mark.django_db(transaction=False)
readings = count(1)


@pytest.fixture
def stripe_prices(ground: None) -> dict[str, Price]:
    """Free, Starter and Growth by the month and the year, and a pack of 1,000, as if sync_plans had found them."""
    made = {}
    Plan.objects.create(id="free-1", key="free", version=1, name="Free", rank=0, credits=50, on_sale=True)
    for rank, (key, credits) in enumerate([("starter", 8000), ("growth", 30000)], 1):
        plan = Plan.objects.create(
            id=f"{key}-1", key=key, version=1, name=key.title(), rank=rank, credits=credits, on_sale=True
        )
        for interval, amount in (("month", credits // 100), ("year", credits // 10)):
            name = f"{key}_{interval}"
            made[name] = Price.objects.create(
                lookup_key=name, plan=plan, interval=interval, amount=amount, currency="usd", stripe_id=f"price_{name}"
            )
    pack = Pack.objects.create(id="1000-1", credits=1000, on_sale=True)
    made["pack"] = Price.objects.create(
        lookup_key="pack", pack=pack, interval="once", amount=1200, currency="usd", stripe_id="price_pack"
    )
    return made


@pytest.fixture
def customer(acme: Organization, stripe_prices: dict[str, Price]) -> Customer:
    return Customer.objects.create(org=acme, stripe_id="cus_acme", email="alice@oxygen.example")


def at(days: float = 0) -> datetime:
    return (clock.clock() + timedelta(days=days)).replace(microsecond=0)


def line(id: str, price: str, amount: int, start: datetime, end: datetime, **more: Any) -> facts.Line:
    return facts.Line(id, "", amount, f"price_{price}", 1, start, end, **({"item": "si_1"} | more))


def invoice(id: str, *lines: facts.Line, paid_at: datetime | None = None, **more: Any) -> facts.Invoice:
    total = sum(each.amount for each in lines)
    said: dict[str, Any] = {
        "status": "paid",
        "reason": "subscription_create",
        "total": total,
        "amount_paid": total,
        "amount_due": 0,
        "tax": 0,
        "currency": "usd",
        "created": at(),
        "paid_at": paid_at or at(),
        "subscription": "sub_1",
        "number": "",
        "url": "https://invoice.example/1",
        "pdf": "",
        "attempted": True,
        "payment": f"pi_{id}",
        "metadata": {},
    }
    return facts.Invoice(id=id, customer="cus_acme", lines=list(lines), **(said | more))


def payment(bill: facts.Invoice, **more: Any) -> facts.Payment:
    said: dict[str, Any] = {"gone_back": 0, "gone_back_at": None, "disputed": False, "metadata": {}}
    return facts.Payment(bill.payment, "cus_acme", bill.amount_paid, "usd", bill.paid_at, **(said | more))


def told(customer: Customer, bill: facts.Invoice, paid: facts.Payment | None = None) -> None:
    prices = bought.Prices(each.price for each in bill.lines)
    intention(lambda: effects.invoice_read(customer, next(readings), bill, prices, paid or payment(bill)))


def told_of(customer: Customer, paid: facts.Payment) -> None:
    intention(lambda: effects.payment_read(customer, next(readings), paid))


def subscribed(customer: Customer, price: str = "starter_month", **more: Any) -> facts.Subscription:
    said: dict[str, Any] = {
        "customer": "cus_acme",
        "status": "active",
        "item": "si_1",
        "price": f"price_{price}",
        "quantity": 1,
        "items": 1,
        "period_start": at(),
        "period_end": at(30),
        "started": at(),
        "ended": None,
        "cancel_at_period_end": False,
        "schedule": "",
        "next_price": "",
        "change": "",
        "pending": False,
        "latest_invoice": "",
        "metadata": {},
    }
    seen = facts.Subscription(**({"id": "sub_1"} | said | more))
    prices = bought.Prices([seen.price])
    intention(lambda: effects.subscription_read(customer, next(readings), seen, prices))
    return seen


def grants(org: Organization) -> dict[str, Decimal]:
    """What was given for money, by key."""
    given = Grant.objects.filter(org=org.pk).exclude(source="promo")
    return dict(given.order_by("effective_at", "key").values_list("key", "amount"))


def back(org: Organization) -> Decimal:
    account = Account.objects.get(org=org.pk)
    return account.clawed_back - account.restored


# ------------------------------------------------------------------ refills


def test_a_paid_month_is_refilled_once_however_often_it_is_told(acme: Organization, customer: Customer) -> None:
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)))
    for _ in range(3):
        told(customer, bill)
    assert list(grants(acme).values()) == [8000]
    assert_books_hold(acme)


def test_an_open_invoice_gives_nothing(acme: Organization, customer: Customer) -> None:
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)), status="open", payment="")
    intention(lambda: effects.invoice_read(customer, 1, bill, bought.Prices(["price_starter_month"]), None))
    assert grants(acme) == {}


def test_a_year_is_given_month_by_month(acme: Organization, customer: Customer) -> None:
    subscribed(customer, "starter_year", period_end=at(365))
    told(customer, invoice("in_1", line("il_1", "starter_year", 800, at(), at(365))))
    assert list(grants(acme).values()) == [8000]
    for _ in range(2):
        clock.advance(timedelta(days=32))
        give_due()
        give_due()
    assert list(grants(acme).values()) == [8000, 8000, 8000]
    assert_books_hold(acme)


def test_the_free_plan_is_given_once_a_month_counted_from_the_orgs_creation(
    acme: Organization, stripe_prices: dict[str, Price]
) -> None:
    give_due()
    give_due()
    assert list(grants(acme).values()) == [50]
    clock.advance(timedelta(days=31))
    give_due()
    assert list(grants(acme).values()) == [50, 50]
    assert_books_hold(acme)


def test_the_free_plan_gives_nothing_for_a_month_that_begins_under_a_paid_one(
    acme: Organization, customer: Customer
) -> None:
    give_due()
    subscribed(customer)
    clock.advance(timedelta(days=31))
    give_due()
    assert list(grants(acme).values()) == [50]
    subscribed(customer, status="canceled", ended=at())
    give_due()
    assert list(grants(acme).values()) == [50]
    clock.advance(timedelta(days=31))
    give_due()
    assert list(grants(acme).values()) == [50, 50]


# ------------------------------------------------------------------ upgrades


def upgraded(
    middle: datetime,
    end: datetime,
    id: str = "in_2",
    *,
    to: str = "growth_month",
    old: str = "starter_month",
) -> facts.Invoice:
    return invoice(
        id,
        line("il_2", old, -40, middle, end, proration=True, credited="in_1"),
        line("il_3", to, 150, middle, end, proration=True),
        reason="subscription_update",
    )


def test_an_upgrade_adds_the_difference_for_the_time_that_is_left(acme: Organization, customer: Customer) -> None:
    middle = at()
    start, end = middle - timedelta(days=15), middle + timedelta(days=15)
    told(customer, invoice("in_1", line("il_1", "starter_month", 80, start, end)))
    told(customer, upgraded(middle, end))
    assert grants(acme)["upgrade:in_2"] == 11000  # half of a month of 22,000
    assert_books_hold(acme)


def test_an_upgrade_of_a_year_adds_to_each_later_month_too(acme: Organization, customer: Customer) -> None:
    subscribed(customer, "starter_year")
    start, end = at(), at(365)
    told(customer, invoice("in_1", line("il_1", "starter_year", 800, start, end)))
    told(customer, upgraded(start, end, to="growth_year", old="starter_year"))
    clock.advance(timedelta(days=32))
    give_due()
    assert sorted(grants(acme).values()) == [8000, 8000, 22000, 22000]
    assert_books_hold(acme)


def test_going_down_and_up_again_within_a_month_buys_nothing_twice(acme: Organization, customer: Customer) -> None:
    start, end = at(), at(30)
    told(customer, invoice("in_1", line("il_1", "starter_month", 80, start, end)))
    told(customer, upgraded(start, end))
    down = invoice(
        "in_3",
        line("a", "growth_month", -290, start, end, proration=True),
        line("b", "starter_month", 79, start, end, proration=True),
    )
    told(customer, replace(down, amount_paid=0, payment=""), None)
    told(customer, upgraded(start, end, "in_4"))
    assert sorted(grants(acme).values()) == [8000, 22000]


def test_an_upgrade_of_what_nobody_paid_for_is_for_an_operator(acme: Organization, customer: Customer) -> None:
    with pytest.raises(bought.Unclear):
        told(customer, upgraded(at(), at(30)))


# ------------------------------------------------------------------ packs


def test_a_pack_is_given_once_by_whichever_tells_first(
    acme: Organization, alice: Any, customer: Customer, stripe_prices: dict[str, Price]
) -> None:
    purchase = Purchase.objects.create(
        org=acme, by=alice, price=stripe_prices["pack"], is_plan=False, state="open", asked_at=at()
    )
    about = {"purchase": str(purchase.pk)}
    bill = invoice("in_1", line("il_1", "pack", 1200, at(), at(), item=""), subscription="", metadata=about)
    told_of(customer, payment(bill, metadata=about))
    told(customer, bill, payment(bill, metadata=about))
    assert grants(acme) == {f"top_up:{purchase.pk}": 1000}
    assert Purchase.objects.get().state == "paid"
    assert_books_hold(acme)


# ------------------------------------------------------------------ money that goes back


def test_a_refund_takes_its_share_of_what_is_left(acme: Organization, customer: Customer) -> None:
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)))
    told(customer, bill)
    for _ in range(2):
        told_of(customer, payment(bill, gone_back=20, gone_back_at=at()))
    assert back(acme) == 2000
    told_of(customer, payment(bill))
    assert back(acme) == 0
    assert_books_hold(acme)


def test_a_refund_that_is_told_before_its_invoice_takes_the_same(acme: Organization, customer: Customer) -> None:
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)))
    refunded = payment(bill, gone_back=80, gone_back_at=at())
    told_of(customer, refunded)
    told(customer, bill, refunded)
    assert (list(grants(acme).values()), back(acme)) == ([8000], 8000)


def test_an_earlier_look_does_not_overwrite_a_later_one(acme: Organization, customer: Customer) -> None:
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)))
    earlier = next(readings)
    told(customer, bill, payment(bill, gone_back=80, gone_back_at=at()))
    intention(lambda: effects.payment_read(customer, earlier, payment(bill)))
    assert back(acme) == 8000


def test_an_earlier_look_at_an_invoice_does_not_ask_to_pay_what_was_paid_since(
    acme: Organization, customer: Customer
) -> None:
    subscribed(customer)
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)))
    unpaid, earlier = replace(bill, status="open", amount_paid=0, paid_at=None, payment=""), next(readings)
    told(customer, bill)
    prices = bought.Prices(["price_starter_month"])
    intention(lambda: effects.invoice_read(customer, earlier, unpaid, prices, None))
    assert Subscription.objects.get().pay_url == ""


def test_of_a_year_the_months_to_come_are_owed_first_and_not_given(acme: Organization, customer: Customer) -> None:
    subscribed(customer, "starter_year")
    bill = invoice("in_1", line("il_1", "starter_year", 1200, at(), at(365)))
    told(customer, bill)
    told_of(customer, payment(bill, gone_back=1050, gone_back_at=at()))
    assert back(acme) == 0
    clock.advance(timedelta(days=32))
    give_due()
    assert (list(grants(acme).values()), back(acme)) == ([8000, 8000], 4000)
    clock.advance(timedelta(days=31))
    give_due()
    assert (list(grants(acme).values()), back(acme)) == ([8000, 8000], 4000)
    told_of(customer, payment(bill))
    assert (list(grants(acme).values()), back(acme)) == ([8000, 8000, 8000], 0)
    assert_books_hold(acme)


def test_what_is_captured_stays_captured(acme: Organization, customer: Customer) -> None:
    bill = invoice("in_1", line("il_1", "starter_month", 80, at(), at(30)))
    told(customer, bill)
    intention(
        lambda: ledger.adjust(acme.pk, clock.new_id(), amount=Decimal(7000), actor="system:test", reason="as if used")
    )
    told_of(customer, payment(bill, gone_back=80, gone_back_at=at()))
    assert back(acme) + Account.objects.get(org=acme.pk).available == 1100
    assert_books_hold(acme)


# ------------------------------------------------------------------ subscriptions


def test_an_org_is_on_the_plan_it_subscribed_to_until_that_ends(acme: Organization, customer: Customer) -> None:
    assert plans.read(acme, at()).plan == plans.free()
    subscribed(customer, "growth_month")
    standing = plans.read(acme, at())
    assert standing.plan is not None
    assert (standing.plan.key, standing.past_due) == ("growth", False)
    subscribed(customer, "growth_month", status="past_due")
    assert plans.read(acme, at()).past_due
    subscribed(customer, "growth_month", status="canceled", ended=at())
    assert plans.read(acme, at()).plan == plans.free()


def test_a_second_subscription_is_told_apart_and_gives_nothing(acme: Organization, customer: Customer) -> None:
    subscribed(customer)
    subscribed(customer, id="sub_2", item="si_2")
    assert Subscription.objects.get(pk="sub_2").surplus
    told(customer, invoice("in_2", line("il_9", "starter_month", 80, at(), at(30), item="si_2"), subscription="sub_2"))
    assert grants(acme) == {}
    assert PaidPeriod.objects.count() == 0
