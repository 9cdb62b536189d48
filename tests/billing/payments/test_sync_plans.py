"""What is on sale: what the file says, here and at Stripe, and never other money for the same version."""

import copy
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.models import Pack, Plan, Price
from billing.payments import gateway
from tests.sandbox.stripe.local import Sandbox

FILE: dict[str, Any] = json.loads((Path(gateway.__file__).parents[1] / "plans.json").read_text())
GROWTH = 2  # where it stands in the file


def synced(*wishes: str) -> str:
    said = StringIO()
    call_command("sync_plans", *wishes, stdout=said)
    return said.getvalue()


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., str]:
    """A file in which Growth has other facts."""

    def write(**other: Any) -> str:
        file = copy.deepcopy(FILE)
        file["plans"][GROWTH] |= other
        path = tmp_path / "plans.json"
        path.write_text(json.dumps(file))
        return str(path)

    return write


@pytest.mark.django_db
class TestWithoutStripe:
    def test_the_second_time_changes_nothing(self) -> None:
        assert "plan growth-1" in synced()
        assert synced() == "0 changed\n"

    def test_plans_and_packs_are_as_the_file_says(self) -> None:
        synced()
        growth = Plan.objects.get(pk="growth-1")
        assert (growth.credits, growth.rollover_months, growth.rank, growth.on_sale) == (30000, 1, 2, True)
        assert {price.lookup_key: price.amount for price in growth.prices.all()} == {
            "oxygen_growth_1_month": 24900,
            "oxygen_growth_1_year": 249000,
        }
        assert Plan.objects.get(pk="free-1").is_free
        assert Pack.objects.get(pk="pack-5000-1").price.lookup_key == "oxygen_pack_5000_1"
        assert not Price.objects.exclude(stripe_id=None).exists()

    def test_a_year_costs_ten_months(self) -> None:
        synced()
        for yearly in Price.objects.filter(interval="year"):
            assert yearly.amount == 10 * Price.objects.get(plan=yearly.plan, interval="month").amount

    def test_a_new_version_takes_the_old_one_off_sale_and_keeps_it(self, changed: Callable[..., str]) -> None:
        synced()
        assert "plan growth-1: off sale" in synced(changed(version=2, credits=40000))
        assert [(plan.pk, plan.on_sale) for plan in Plan.objects.filter(key="growth")] == [
            ("growth-1", False),
            ("growth-2", True),
        ]
        assert Price.objects.filter(plan="growth-1").count() == 2
        assert "plan growth-2: off sale" in synced()

    @pytest.mark.parametrize(
        "other", [{"credits": 40000}, {"rollover_months": 2}, {"prices": {"month": 25900, "year": 249000}}]
    )
    def test_money_and_credits_of_a_version_never_change(
        self, changed: Callable[..., str], other: dict[str, Any]
    ) -> None:
        synced()
        with pytest.raises(CommandError, match="raise the version"):
            synced(changed(**other))
        assert synced() == "0 changed\n"

    def test_its_words_may_change(self, changed: Callable[..., str]) -> None:
        synced()
        assert synced(changed(line="For teams.")) == "plan growth-1\n1 changed\n"

    @pytest.mark.parametrize(
        "other",
        [
            {"credits": "many"},
            {"credits": -1},
            {"prices": {}},
            {"prices": {"week": 100}},
            {"prices": {"month": -100}},
            {"key": "scale"},
            {"key": "No Key"},
            {"rank": 0},
            {"name": ""},
            {"prices": None},
        ],
    )
    def test_what_makes_no_sense_is_refused_whole(self, changed: Callable[..., str], other: dict[str, Any]) -> None:
        with pytest.raises(CommandError, match="no list of plans"):
            synced(changed(**other))
        assert not Plan.objects.exists()

    def test_a_check_writes_nothing_and_fails_where_something_differs(self) -> None:
        with pytest.raises(CommandError) as differs:
            synced("--check")
        assert differs.value.returncode == 1
        assert not Plan.objects.exists()
        synced()
        assert synced("--check") == "0 differ\n"


def test_prices_are_made_at_stripe_once(sold: Sandbox) -> None:
    assert synced() == "0 changed\n"
    prices = sold.stripe.prices.list(params={"limit": 100, "expand": ["data.product"]}).data
    assert {(each.lookup_key, each.unit_amount, each.id) for each in prices} == set(
        Price.objects.values_list("lookup_key", "amount", "stripe_id")
    )
    names = {each.product.name for each in prices}  # type: ignore[union-attr]
    assert names >= {"Growth", "5,000 credits"}
    assert len(names) == 7


def test_prices_that_are_there_are_found_by_their_key(sold: Sandbox) -> None:
    before = set(Price.objects.values_list("stripe_id", flat=True))
    Price.objects.update(stripe_id=None)
    with pytest.raises(CommandError):
        synced("--check")
    assert synced().endswith("10 changed\n")
    assert set(Price.objects.values_list("stripe_id", flat=True)) == before


def test_what_broke_off_half_way_goes_on_when_run_again(fresh_database: str, local: Sandbox) -> None:
    local.order("faults", kind="lost", path="/v1/prices")
    with pytest.raises(CommandError, match="run this again"):
        synced()
    synced()
    assert synced("--check") == "0 differ\n"
    assert len(local.stripe.prices.list(params={"limit": 100}).data) == 10


def test_another_amount_at_stripe_is_refused_before_anything_is_written(fresh_database: str, local: Sandbox) -> None:
    product = local.stripe.products.create(params={"name": "Growth"}).id
    local.stripe.prices.create(
        params={"product": product, "currency": "usd", "unit_amount": 1, "lookup_key": "oxygen_pack_1000_1"}
    )
    with pytest.raises(CommandError, match="oxygen_pack_1000_1 is 1 usd once at Stripe and 1200 usd once in the file"):
        synced()
    assert not Plan.objects.exists()


def test_an_archived_price_is_refused(sold: Sandbox) -> None:
    archived = Price.objects.get(pk="oxygen_growth_1_month").stripe_id
    sold.stripe.prices.update(str(archived), params={"active": False})
    with pytest.raises(CommandError, match="archived"):
        synced()
