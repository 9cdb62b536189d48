"""What an org must hear first: at most two sentences, each with one way on."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.models import AutoTopUp, Organization, Plan, PlanChange, Price, Purchase, Subscription
from billing.notices import Notice, notices
from billing.plans import Standing

ACME = Organization(slug="acme", name="Acme")
GROWTH, SCALE = (
    Price(f"{key}_month", plan=Plan(id=key, key=key, name=key.title(), rank=rank), interval="month", currency="usd")
    for rank, key in enumerate(("growth", "scale"), 1)
)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
FINE = Standing(GROWTH.plan, Subscription(price=GROWTH, status="active"), (NOW, NOW), None, None, configured=True)
LATE = replace(FINE, subscription=Subscription(price=GROWTH, status="past_due", pay_url="https://pay.example/1"))
WAITING = PlanChange(old=GROWTH, new=SCALE, state="unpaid", pay_url="https://pay.example/2")


OFF = AutoTopUp(on=False, why="It was switched off after 3 failed payments: Your card was declined.")


def told(standing: Standing, *, may_buy: bool = True, **top_ups: Any) -> list[Notice]:
    return notices(ACME, standing, may_buy=may_buy, **top_ups)


def test_where_all_is_well_nothing_is_said() -> None:
    assert told(FINE) == []


def test_a_failed_renewal_leads_to_its_invoice() -> None:
    (notice,) = told(LATE)
    assert (notice.level, notice.label, notice.href) == ("bad", "Pay the invoice", "https://pay.example/1")


def test_a_failed_renewal_without_an_invoice_leads_to_the_card() -> None:
    (notice,) = told(replace(FINE, subscription=Subscription(price=GROWTH, status="unpaid")))
    assert (notice.label, notice.flow) == ("Change the card", "payment_method_update")


def test_a_change_that_waits_for_its_payment_leads_there() -> None:
    (notice,) = told(replace(FINE, change=WAITING))
    assert "The change to Scale waits for its payment." in notice.text
    assert notice.href == "https://pay.example/2"


@pytest.mark.parametrize("state", ["asked", "scheduled"])
def test_a_change_on_its_way_is_no_notice(state: str) -> None:
    assert told(replace(FINE, change=PlanChange(old=GROWTH, new=SCALE, state=state))) == []


def test_the_two_most_severe_are_said_and_no_more() -> None:
    said = told(replace(LATE, change=WAITING), wish=OFF)
    assert [notice.level for notice in said] == ["bad", "warn"]
    assert "The payment of Growth failed." in said[0].text


def test_a_top_up_that_was_switched_off_says_why() -> None:
    (notice,) = told(FINE, wish=OFF)
    assert notice.text == f"Automatic top-up is off. {OFF.why}"
    assert notice.href == "/orgs/acme/subscribe/automatic/"


def test_a_top_up_that_somebody_switched_off_is_no_notice() -> None:
    assert told(FINE, wish=AutoTopUp(on=False)) == []


def test_a_top_up_that_the_bank_asks_about_leads_to_its_invoice() -> None:
    (notice,) = told(FINE, asked=Purchase(automatic=True, state="open", url="https://pay.example/3"))
    assert notice.href == "https://pay.example/3"


def test_who_may_not_buy_is_told_who_may() -> None:
    (notice,) = told(LATE, may_buy=False)
    assert notice.text.endswith("An admin or owner of the organization can change that.")
    assert not notice.label
    assert not notice.href
