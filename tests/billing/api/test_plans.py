"""GET /plans: what is on sale."""

from billing.models import Organization, Pack, Price, User
from tests.billing.test_api import FREE, GROWTH, SCALE, key, plan, price
from tests.contract import ask


def test_what_is_on_sale_is_listed_with_its_prices(acme: Organization, alice: User) -> None:
    plan(**FREE)
    growth = plan(**GROWTH, rollover_months=1)
    price(growth, 49000, "year")
    price(growth, 4900)
    plan(**SCALE | {"on_sale": False})
    free, grown = ask("/plans", key(acme, alice)).data["plans"]
    assert (free["key"], free["credits_per_month"], free["prices"]) == ("free", 100, [])
    assert (grown["name"], grown["version"], grown["rollover_months"]) == ("Growth", 2, 1)
    assert [(each["interval"], each["amount"]) for each in grown["prices"]] == [("month", 4900), ("year", 49000)]


def test_packs_are_listed_with_their_one_price(acme: Organization, alice: User) -> None:
    for credits, on_sale in ((5000, True), (1000, True), (9, False)):
        pack = Pack.objects.create(id=f"pack-{credits}-1", credits=credits, on_sale=on_sale)
        Price.objects.create(lookup_key=pack.pk, pack=pack, interval="once", amount=credits, currency="usd")
    shown = ask("/plans", key(acme, alice)).data
    assert shown["plans"] == []
    assert [(each["key"], each["credits"], each["amount"]) for each in shown["top_ups"]] == [
        ("pack-1000-1", 1000, 1000),
        ("pack-5000-1", 5000, 5000),
    ]
