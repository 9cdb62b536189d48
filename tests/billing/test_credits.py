"""How numbers are written."""

from decimal import Decimal

import pytest
from django.template import Context, Template

from billing.templatetags.credits import credits, percent, places


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
