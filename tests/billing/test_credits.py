"""How numbers are written."""

from decimal import Decimal

import pytest
from django.template import Context, Template

from billing.templatetags.credits import credits, extent, money, percent, places, price_tag


@pytest.mark.parametrize(
    ("value", "text"),
    [("0", "0"), ("15245.0000", "15,245"), ("0.5000", "0.5"), ("1234567.8901", "1,234,567.8901"), ("1E+3", "1,000")],
)
def test_credits_show_the_decimals_they_have(value: str, text: str) -> None:
    assert credits(Decimal(value)) == text


def test_a_column_shows_the_same_decimals_everywhere() -> None:
    column = [Decimal(12), Decimal("0.25"), Decimal("3.5000")]
    assert [credits(value, places(column)) for value in column] == ["12.00", "0.25", "3.50"]


def test_nothing_is_never_written_as_zero() -> None:
    assert credits(None) == percent(None) == "–"


@pytest.mark.parametrize(
    ("share", "text"), [("0", "0.0%"), ("0.0004", "<0.1%"), ("0.3", "30.0%"), ("0.12345", "12.3%"), ("1", "100.0%")]
)
def test_a_share_is_a_percentage_with_one_decimal(share: str, text: str) -> None:
    assert percent(Decimal(share)) == text


def test_both_are_filters_of_templates() -> None:
    page = Template("{% load credits %}{{ a|credits }} {{ b|percent }} {{ c|places }}")
    assert page.render(Context({"a": 1200, "b": Decimal("0.5"), "c": [Decimal("0.75")]})) == "1,200 50.0% 2"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (24900, "usd", "$249.00"),
        (-7470, "usd", "−$74.70"),
        (5, "eur", "€0.05"),
        (123456789, "gbp", "£1,234,567.89"),
        (500, "jpy", "¥500"),
        (1234, "kwd", "KWD 1.234"),
        (-99, "sek", "−SEK 0.99"),
        (0, "usd", "$0.00"),
    ],
)
def test_money_has_its_sign_and_all_the_digits_of_its_currency(minor: int, currency: str, text: str) -> None:
    assert money(minor, currency) == text


def test_an_amount_nobody_knows_is_not_nothing() -> None:
    assert money(None, "usd") == "–"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(24900, "usd", "$249"), (4150, "usd", "$41.50"), (100, "jpy", "¥100"), (2000, "kwd", "KWD 2")],
)
def test_a_price_tag_leaves_out_what_is_nothing(minor: int, currency: str, text: str) -> None:
    assert price_tag(minor, currency) == text


@pytest.mark.parametrize(
    ("share", "drawn"), [("0", "0.000%"), ("0.00001", "0.001%"), ("0.5", "50.000%"), ("1", "100.000%")]
)
def test_a_share_is_drawn_as_long_as_it_is(share: str, drawn: str) -> None:
    assert extent(Decimal(share)) == drawn
