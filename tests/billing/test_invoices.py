"""GET /orgs/<slug>/billing/invoices/: what the org was billed, as last read at Stripe."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing import invoices
from billing.models import Customer, Invoice, Organization, Pack, Plan, Price, Role, User
from billing.orgs import add_member
from billing.payments import facts
from tests.billing.reading import Read, reader
from tests.billing.test_overview import words
from tests.conftest import person

pytestmark = pytest.mark.django_db

DECEMBER, JANUARY = datetime(2026, 12, 1, 9, tzinfo=UTC), datetime(2027, 1, 1, 9, tzinfo=UTC)
GROWTH, SCALE = (
    Price(f"{key}_month", plan=Plan(id=key, key=key, name=key.title(), rank=rank), interval="month", currency="usd")
    for rank, key in enumerate(("growth", "scale"), 1)
)
YEARLY = Price("growth_year", plan=GROWTH.plan, interval="year", currency="usd")
PACK = Price("pack", pack=Pack(id="pack", credits=Decimal(5000)), interval="once", currency="usd")
PRICES: dict[str, Price] = {
    "price_growth": GROWTH,
    "price_scale": SCALE,
    "price_yearly": YEARLY,
    "price_pack": PACK,
}


def line(price: str, amount: int, **more: Any) -> facts.Line:
    return facts.Line("il_1", "Whatever Stripe says", amount, price, 1, DECEMBER, JANUARY, **more)


PAID = facts.Invoice(
    id="in_1",
    customer="cus_1",
    status="paid",
    reason="subscription_cycle",
    total=26892,
    amount_paid=26892,
    amount_due=0,
    tax=1992,
    currency="usd",
    created=DECEMBER,
    paid_at=DECEMBER,
    subscription="sub_1",
    number="8F3A21-0001",
    url="https://invoice.example/in_1",
    pdf="https://invoice.example/in_1/pdf",
    attempted=True,
    payment="pi_1",
    metadata={},
    lines=[line("price_growth", 24900)],
)


def keep(org: Organization, reading: int = 1, **other: Any) -> None:
    invoices.keep(org, reading, replace(PAID, **other), PRICES)


def many(org: Organization, number: int) -> None:
    for n in range(number):
        keep(org, id=f"in_{n:03}", number=f"8F3A21-{n:04}", created=DECEMBER - timedelta(days=n // 2))


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    return reader(client, alice, "/orgs/acme/billing/invoices/")


# ------------------------------------------------------------------ the page


def test_before_the_first_payment_there_is_a_way_to_the_plans(read: Any) -> None:
    html = read()
    assert "No invoices yet. The first one is made with the first payment: see the plans." in words(html)
    assert "portal" not in html


def test_an_invoice_says_what_it_was_for_what_it_cost_and_where_its_pdf_is(read: Any, acme: Organization) -> None:
    keep(acme)
    html = read()
    assert "1 Dec 2026 Growth, 1 Dec to 1 Jan8F3A21-0001 Paid1 Dec 2026 $268.92$19.92 tax" in words(html)
    assert 'href="https://invoice.example/in_1/pdf"' in html
    assert ">Pay<" not in html


def test_an_open_one_can_be_paid_by_who_may_buy(read: Any, client: Client, acme: Organization) -> None:
    keep(acme, status="open", amount_paid=0, amount_due=26892, paid_at=None)
    assert "To pay" in read()
    assert 'href="https://invoice.example/in_1"' in read()
    vera = person("Vera")
    add_member(acme, vera, Role.VIEWER)
    client.force_login(vera)
    assert "To pay" in read()
    assert 'href="https://invoice.example/in_1"' not in read()


@pytest.mark.parametrize(
    ("status", "word"), [("void", "Void, nothing is owed"), ("uncollectible", "Given up"), ("paid", "Paid")]
)
def test_each_state_has_its_words(read: Any, acme: Organization, status: str, word: str) -> None:
    keep(acme, status=status)
    assert word in words(read())


def test_what_is_only_drafted_is_not_shown(read: Any, acme: Organization) -> None:
    keep(acme, status="draft")
    assert "No invoices yet." in words(read())


def test_what_gives_something_back_is_below_nothing(read: Any, acme: Organization) -> None:
    keep(acme, total=-1234, tax=0)
    assert "−$12.34" in read()


def test_fifty_to_a_page_and_none_is_lost_between_two(read: Any, acme: Organization) -> None:
    many(acme, 120)
    seen, before = [], None
    for _ in range(3):
        page = invoices.listed(acme, before)
        seen += [invoice.pk for invoice in page.invoices]
        before = invoices.Keyset.read(page.older) if page.older else None
    assert before is None
    assert len(seen) == len(set(seen)) == 120
    older = invoices.listed(acme).older
    assert read("list", before=older).count("<tr>") == 51
    assert read("list", before=older).strip().startswith('<section id="list"')


@pytest.mark.parametrize("place", ["x", "20260101T000000.000000_", "20260101T000000.000000_in_1' --", "\0"])
def test_what_is_no_place_in_the_list_is_404(read: Any, place: str) -> None:
    read(status=404, before=place)


def test_its_queries_do_not_grow(read: Any, acme: Organization, django_assert_max_num_queries: Any) -> None:
    many(acme, 50)
    with django_assert_max_num_queries(9):
        read()


def test_anothers_invoices_are_not_shown(read: Any, globex: Organization) -> None:
    keep(globex)
    assert "8F3A21" not in read()


def test_the_billing_address_and_the_portal_are_there_once_stripe_knows_the_org(read: Any, acme: Organization) -> None:
    Customer.objects.create(org=acme, stripe_id="cus_1", email="money@acme.example")
    html = read()
    assert "Stripe sends them to money@acme.example." in words(html)
    assert reverse("billing:portal", args=["acme"]) in html


# ------------------------------------------------------------------ what is kept


def test_an_older_look_changes_nothing(acme: Organization) -> None:
    keep(acme, reading=5)
    keep(acme, reading=4, status="open")
    assert Invoice.objects.get().status == "paid"
    keep(acme, reading=6, status="void")
    assert Invoice.objects.get().status == "void"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([line("price_growth", 24900)], "Growth, 1 Dec to 1 Jan"),
        ([line("price_yearly", 249000)], "Growth by the year, 1 Dec to 1 Jan"),
        ([line("price_pack", 5500)], "5,000 credits"),
        (
            [line("price_growth", -7470, proration=True), line("price_scale", 20970, proration=True)],
            "Growth to Scale, from 1 Dec",
        ),
        ([line("price_of_somebody", 100)], "Whatever Stripe says"),
        ([], ""),
    ],
)
def test_what_an_invoice_is_for_is_said_in_our_words(lines: list[facts.Line], says: str) -> None:
    assert invoices.describe(replace(PAID, lines=lines), PRICES) == says
