"""The same numbers drawn twice: as SVG by the page, and by Plotly."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as some

from billing import charts
from billing.breakdown import Breakdown, Figures, Group
from billing.course import Course, Day, Mark
from billing.spans import Span
from billing.usage import ZERO

MONDAY = date(2026, 11, 2)
CREDITS = some.decimals(0, 1_000_000, places=4)


def usage(*providers: list[Decimal]) -> Breakdown:
    """Usage of providers a, b, c…, each a list of what it captured day by day; the last day is not over."""
    days = len(providers[0])
    span = Span("7d", MONDAY, MONDAY + timedelta(days=days - 1), ZoneInfo("UTC"), is_open=True, hours=False)
    parts = [
        Group(
            credits=sum(column, ZERO),
            calls=days,
            results=days,
            refused=0,
            measured=column,
            earlier=None,
            key=chr(97 + n),
            series=n + 1 if n < 5 else 0,
            share=ZERO,
            bar=ZERO,
        )
        for n, column in enumerate(providers)
    ]
    totals = [sum(column, ZERO) for column in zip(*providers, strict=True)]
    return Breakdown(span, "provider", "credits", parts, Figures(sum(totals, ZERO), 0, 0, 0, totals, None))


def heights(path: str) -> list[int]:
    return [int(height) for height in re.findall(r"v(\d+)h", path)]


def test_plotly_knows_every_key_of_the_figure() -> None:
    go.Figure(charts.usage(usage([Decimal("1.5")] * 7, [Decimal(2)] * 7)).figure)


def test_credits_reach_the_page_exactly() -> None:
    figure = json.loads(charts.usage(usage([Decimal("0.1"), Decimal("1234.5678")])).json)
    assert figure["data"][0]["y"] == ["0.1", "1234.5678"]


def test_five_providers_have_a_colour_and_the_rest_share_one() -> None:
    chart = charts.usage(usage(*([Decimal(n)] for n in range(9, 0, -1))))
    assert [series.number for series in chart.series] == [1, 2, 3, 4, 5, 0]
    assert chart.figure["data"][-1]["y"] == [Decimal(4 + 3 + 2 + 1)]


def test_today_is_drawn_apart_for_it_is_not_over() -> None:
    [series] = charts.usage(usage([Decimal(4), Decimal(4)])).series
    assert heights(series.path) == heights(series.today) == [226]


@given(some.lists(some.lists(CREDITS, min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_days_segments_stand_on_each_other_up_to_its_total(columns: list[list[Decimal]]) -> None:
    used = usage(*columns)
    chart = charts.usage(used)
    top = chart.ticks[-1].value
    drawn = sum(sum(heights(series.today)) for series in chart.series)
    assert drawn == int(used.total.measured[-1] * charts.HEIGHT / top)


@pytest.mark.parametrize(
    ("most", "step", "top"),
    [("0", "1", "4"), ("1", "0.5", "1"), ("7", "2", "8"), ("1746", "500", "2000"), ("300.5", "100", "400")],
)
def test_the_scale_has_about_four_round_steps(most: str, step: str, top: str) -> None:
    assert charts.scale(Decimal(most)) == (Decimal(step), Decimal(top))


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        ("0.0001", ["0.00000", "0.00005", "0.00010"]),
        ("80000", ["0", "20,000", "40,000", "60,000", "80,000"]),
        ("400000", ["0", "100K", "200K", "300K", "400K"]),
        ("1234567.0002", ["0.0", "0.5M", "1.0M", "1.5M"]),
        ("98765431.9998", ["0", "50M", "100M"]),
    ],
)
def test_ticks_have_room_beside_the_plot(most: str, ticks: list[str]) -> None:
    chart = charts.usage(usage([Decimal(most)]))
    assert [tick.text for tick in chart.ticks] == ticks
    assert chart.figure["layout"]["yaxis"]["ticktext"] == ticks


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


def week(*ends: tuple[int, int], marks: list[Mark] | None = None) -> Course:
    days = [Day(MONDAY + timedelta(days=n), Decimal(a), Decimal(b), []) for n, (a, b) in enumerate(ends)]
    return Course([*days[:-1], replace(days[-1], marks=marks or [])], is_cut=False)


def test_the_balance_is_steps_with_what_is_reserved_on_top() -> None:
    chart = charts.course(week((50, 50), (100, 0)))
    assert chart.line == "M0,113 100,113 100,0 200,0"
    assert chart.held == "M0,113 100,113 100,0 200,0L200,0 100,0 100,0 0,0z"


def test_plotly_knows_every_key_of_the_balances_figure_and_what_came_is_told() -> None:
    chart = charts.course(week((5, 1), (9, 0), marks=[Mark("Refill", Decimal(1000), comes=True)]))
    go.Figure(chart.figure)
    assert json.loads(chart.json)["layout"]["meta"]["notes"] == {"1": "Refill 1,000"}
    assert [arrow.comes for arrow in chart.arrows] == [True]


def test_a_span_that_is_over_draws_its_last_day_as_any_other() -> None:
    used = usage([Decimal(4), Decimal(4)])
    [series] = charts.usage(replace(used, span=replace(used.span, is_open=False))).series
    assert heights(series.path) == [226, 226]
    assert series.today == ""


def test_nobody_is_promised_less_than_nothing() -> None:
    assert charts.burn([Decimal(5)], days=30, pace=Decimal(3)).left == 0


def in_its_box(points: str) -> bool:
    """Whether a line never runs backwards or out of the 1000 × 60."""
    spots = [tuple(int(at) for at in spot.split(",")) for spot in points.split()]
    return spots == sorted(spots, key=lambda spot: spot[0]) and all(0 <= x <= 1000 and 0 <= y <= 60 for x, y in spots)


def test_on_the_day_of_renewal_no_more_is_promised_than_there_is() -> None:
    burn = charts.burn([Decimal(100)] * 31 + [Decimal(60)], days=31, pace=Decimal(20))
    assert burn.left == 60
    assert in_its_box(burn.line)
    assert in_its_box(burn.ahead)


@pytest.mark.parametrize("days", [31, 1, 0, -30])
def test_of_a_renewal_told_late_nothing_is_said_ahead_and_the_line_stays_in_its_box(days: int) -> None:
    burn = charts.burn([Decimal(60)] * (max(days, 0) + 3), days=days, pace=Decimal(20))
    assert (burn.left, burn.ahead) == (None, "")
    assert in_its_box(burn.line)


def test_a_month_that_ends_on_the_day_on_which_it_began_is_drawn() -> None:
    burn = charts.burn([Decimal(60)], days=0, pace=Decimal(20))
    assert (burn.left, burn.line) == (60, "0,6 1000,6")


def test_without_a_pace_nothing_is_drawn_ahead() -> None:
    burn = charts.burn([Decimal(5)], days=30, pace=None)
    assert (burn.ahead, burn.left) == ("", None)
