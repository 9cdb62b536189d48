"""The same numbers drawn twice: as SVG by the page, and by Plotly."""

import json
import re
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as some

from billing import charts
from billing.usage import ProviderUsage, Span, Usage

MONDAY = date(2026, 11, 2)
CREDITS = some.decimals(0, 1_000_000, places=4)


def usage(*providers: list[Decimal]) -> Usage:
    """Usage of providers a, b, c…, each a list of what it captured day by day."""
    days = len(providers[0])
    span = Span("7d", MONDAY, MONDAY + timedelta(days=days - 1), ZoneInfo("UTC"))
    parts = [
        ProviderUsage(
            provider=chr(97 + n),
            calls=days,
            credits=sum(column, Decimal(0)),
            share=Decimal(0),
            bar=Decimal(0),
            series=n + 1 if n < 5 else 0,
            by_day=dict(zip(span.days, column, strict=True)),
        )
        for n, column in enumerate(providers)
    ]
    return Usage(span, sum((part.credits for part in parts), Decimal(0)), Decimal(0), parts, [])


def heights(path: str) -> list[int]:
    return [int(height) for height in re.findall(r"v(\d+)h", path)]


def test_plotly_knows_every_key_of_the_figure() -> None:
    go.Figure(charts.usage_by_day(usage([Decimal("1.5")] * 7, [Decimal(2)] * 7)).figure)


def test_credits_reach_the_page_exactly() -> None:
    figure = json.loads(charts.usage_by_day(usage([Decimal("0.1"), Decimal("1234.5678")])).json)
    assert figure["data"][0]["y"] == ["0.1", "1234.5678"]


def test_five_providers_have_a_colour_and_the_rest_share_one() -> None:
    chart = charts.usage_by_day(usage(*([Decimal(n)] for n in range(9, 0, -1))))
    assert [series.number for series in chart.series] == [1, 2, 3, 4, 5, 0]
    assert chart.figure["data"][-1]["y"] == [Decimal(4 + 3 + 2 + 1)]


def test_today_is_drawn_apart_for_it_is_not_over() -> None:
    [series] = charts.usage_by_day(usage([Decimal(4), Decimal(4)])).series
    assert heights(series.path) == heights(series.today) == [226]


@given(some.lists(some.lists(CREDITS, min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_days_segments_stand_on_each_other_up_to_its_total(columns: list[list[Decimal]]) -> None:
    used = usage(*columns)
    chart = charts.usage_by_day(used)
    top = chart.ticks[-1].value
    drawn = sum(sum(heights(series.today)) for series in chart.series)
    assert drawn == int(used.by_day[-1][1] * charts.HEIGHT / top)


@pytest.mark.parametrize(
    ("most", "step", "top"),
    [("0", "1", "4"), ("1", "0.5", "1"), ("7", "2", "8"), ("1746", "500", "2000"), ("300.5", "100", "400")],
)
def test_the_scale_has_about_four_round_steps(most: str, step: str, top: str) -> None:
    assert charts.scale(Decimal(most)) == (Decimal(step), Decimal(top))


@given(CREDITS.filter(bool))
def test_the_scale_covers_the_highest_day_and_little_more(most: Decimal) -> None:
    step, top = charts.scale(most)
    assert top - step < most <= top
    assert top / step <= 5


def test_the_course_is_drawn_to_today_and_the_pace_on_from_there() -> None:
    burn = charts.burn([Decimal(100), Decimal(50)], days=4, pace=Decimal(10))
    assert burn.line == "0,6 250,6 500,33"
    assert burn.ahead == "500,33 1000,44"
    assert burn.left == 30


def test_nobody_is_promised_less_than_nothing() -> None:
    assert charts.burn([Decimal(5)], days=30, pace=Decimal(3)).left == 0


def test_without_a_pace_nothing_is_drawn_ahead() -> None:
    burn = charts.burn([Decimal(5)], days=30, pace=None)
    assert (burn.ahead, burn.left) == ("", None)
