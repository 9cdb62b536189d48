"""Rows into drawings, twice from the same numbers: the SVG that the page brings and the Plotly figure that replaces it.

Pure; for views. Both drawings share ticks, ranges and order, so that the change-over moves nothing. Colours are
`var(--name)`, which charts.js fills in; names of providers stand in the legend, so the figure carries ids. Bars are
numbered from 0; what each is called, and what the page's URL says of it, stands in the figure's `meta`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from billing.breakdown import Breakdown
from billing.course import Course
from billing.models import Grant
from billing.templatetags.credits import credits, places

HEIGHT, SLOT, BAR = 226, 100, 72  # of the plot, of one slot and of its bar, in the units of the plot's viewBox
TOP, BOTTOM, LEFT = 8, 26, 44  # the plot within the chart, in pixels; app.css says the same
TICKS = 4
SHORT = ((9, 9, "B"), (6, 6, "M"), (5, 3, "K"))  # from which power of ten on, in which
SHIFT = Decimal("0.5")
DRILLS = {"day": "day", "hour": "hour"}  # the page's parameters that a bar sets; of longer ones it is their days
A_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Tick:
    value: Decimal
    text: str
    y: int

    @property
    def label_y(self) -> int:
        return self.y + 4


@dataclass(frozen=True)
class Label:
    text: str
    x: Decimal  # a share of the width


@dataclass(frozen=True)
class Series:
    """One colour of the stack: its bars as one path, and what is not over yet as another."""

    number: int
    path: str
    today: str


@dataclass(frozen=True)
class Chart:
    figure: dict[str, Any]
    width: int
    ticks: list[Tick]
    labels: list[Label]

    @property
    def json(self) -> str:
        """The figure for the page. Exact credits travel as text, which Plotly reads as numbers."""
        return json.dumps(self.figure, default=str, separators=(",", ":"))


@dataclass(frozen=True)
class StackedChart(Chart):
    series: list[Series]


@dataclass(frozen=True)
class Bar:
    """`key`: what the page's URL says of it; `label` on the axis, `name` in full."""

    key: str
    label: str
    name: str


type Stack = tuple[int, str, list[Decimal]]  # the number of its colour, its name, its value in each bar


def usage(used: Breakdown) -> StackedChart:
    """Stack what each bucket measured by group: five with a colour of their own, the rest as one."""
    zone, span = used.span.zone, used.span
    bars = [Bar(bucket.key, bucket.label(zone), bucket.name(zone)) for bucket in span.buckets]
    stacks: list[Stack] = [(group.series, group.key, group.measured) for group in used.groups if group.series]
    rest = [group for group in used.groups if not group.series and group.sum]
    count = sum(group.count for group in rest)
    if rest:
        sums = [sum(values, Decimal(0)) for values in zip(*(group.measured for group in rest), strict=True)]
        stacks.append((0, rest[0].key if count == 1 else f"{count} others", sums))
    return _stacked(bars, stacks, span.is_open, DRILLS.get(span.unit, "first last"))


def stacked(days: list[date], stacks: list[Stack]) -> StackedChart:
    """Draw a bar a day, the first stack at its foot. The last day is not over."""
    bars = [Bar(day.isoformat(), f"{day:%-d %b}", f"{day:%a %-d %b %Y}") for day in days]
    return _stacked(bars, stacks, is_open=True, drill="")


def _stacked(bars: Sequence[Bar], stacks: list[Stack], is_open: bool, drill: str) -> StackedChart:
    totals = [sum(values, Decimal(0)) for values in zip(*(column for _, _, column in stacks), strict=True)]
    step, top = scale(max(totals, default=Decimal(0)))
    values = [step * n for n in range(int(top / step) + 1)]
    labelled = _labelled(len(bars))
    opacity = [1] * (len(bars) - 1) + [Decimal("0.5") if is_open else 1]
    traces = [
        {
            "type": "bar",
            "name": name,
            "x0": 0,
            "dx": 1,
            "y": column,
            "hoverinfo": "none",
            "marker": {
                "color": f"var(--series-{number})",
                "line": {"width": 1, "color": "var(--surface)"},
                "opacity": opacity,
            },
        }
        for number, name, column in stacks
    ]
    meta = {"keys": [bar.key for bar in bars], "names": [bar.name for bar in bars], "drill": drill, "sum": True}
    layout = {"barmode": "stack", "bargap": Decimal(SLOT - BAR) / SLOT, **_layout(bars, labelled, values, meta)}
    return StackedChart(
        figure={"data": traces, "layout": layout},
        **_axes(bars, labelled, values),
        series=_series(stacks, top, is_open),
    )


@dataclass(frozen=True)
class Arrow:
    """Something came, or went, in the middle of a slot."""

    x: Decimal
    comes: bool


@dataclass(frozen=True)
class CourseChart(Chart):
    """Steps at the ends of days: what was available, and above it what was reserved."""

    area: str
    line: str
    held: str
    arrows: list[Arrow]


def course(went: Course) -> CourseChart:
    """Draw the available credits day by day, the reserved on top of them, and where something came or went."""
    days, count = went.days, len(went.days)
    step, top = scale(max((day.available + day.reserved for day in days), default=Decimal(0)))
    values = [step * n for n in range(int(top / step) + 1)]
    bars = [Bar(day.day.isoformat(), f"{day.day:%-d %b}", f"{day.day:%a %-d %b %Y}") for day in days]
    labelled = _labelled(count)

    def height(value: Decimal) -> int:
        return HEIGHT - int(value * HEIGHT / top)

    line = _steps([height(day.available) for day in days])
    above = _steps([height(day.available + day.reserved) for day in days])
    meta = {
        "keys": [bar.key for bar in bars],
        "names": [bar.name for bar in bars],
        "notes": {
            n: "; ".join(f"{mark.what} {credits(mark.amount)}" for mark in day.marks)
            for n, day in enumerate(days)
            if day.marks
        },
        "skip": 1,  # the first point is the edge of the first slot
    }
    traces = [
        _step_trace("Available", [day.available for day in days], "var(--accent)", "var(--chart-have)"),
        _step_trace("Reserved", [day.reserved for day in days], "var(--chart-clear)", "var(--chart-held)"),
        {
            "type": "scatter",
            "mode": "text",
            "hoverinfo": "skip",
            "x": [n for n, day in enumerate(days) for _ in day.marks[:1]],
            "y": [values[-1] for day in days for _ in day.marks[:1]],
            "text": ["↑" if day.marks[0].comes else "↓" for day in days if day.marks],
            "textposition": "bottom center",
        },
    ]
    return CourseChart(
        figure={"data": traces, "layout": _layout(bars, labelled, values, meta)},
        **_axes(bars, labelled, values),
        area=f"M0 {HEIGHT}L{line}L{count * SLOT} {HEIGHT}z" if days else "",
        line=f"M{line}",
        held=f"M{line}L{' '.join(reversed(above.split()))}z" if days else "",
        arrows=[Arrow((Decimal(n) + SHIFT) / count, day.marks[0].comes) for n, day in enumerate(days) if day.marks],
    )


def _steps(heights: list[int]) -> str:
    return " ".join(f"{n * SLOT},{y} {(n + 1) * SLOT},{y}" for n, y in enumerate(heights))


def _step_trace(name: str, values: list[Decimal], line: str, fill: str) -> dict[str, Any]:
    """A point in the middle of each slot, and one at either edge of the whole: so the steps are at the slots' edges."""
    count = len(values)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "stackgroup": "all",
        "hoverinfo": "none",
        "x": [-SHIFT, *range(count), count - SHIFT],
        "y": [*values[:1], *values, *values[-1:]],
        "line": {"shape": "hvh", "width": Decimal("1.5"), "color": line},
        "fillcolor": fill,
    }


def spark(values: list[Decimal]) -> str:
    """Draw values, evenly apart, as the points of a line in a box of 100 × 24; nothing but zeros lies on its floor."""
    most = max(values, default=Decimal(0)) or Decimal(1)
    last = max(len(values) - 1, 1)
    return " ".join(f"{n * 100 // last},{23 - int(value * 21 / most)}" for n, value in enumerate(values))


@dataclass(frozen=True)
class BurnChart:
    """What was available day by day since the credit month began, and where the pace leads by its end."""

    area: str
    line: str
    ahead: str
    ahead_area: str
    left: Decimal | None


def burn(course: list[Decimal], days: int, pace: Decimal | None) -> BurnChart:
    """Draw the available credits at the end of each day so far, of a month of so many days, in a box of 1000 × 60.

    The day on which a month ends within is a day more; where that is past, nobody has told of the renewal yet.
    """
    is_late = len(course) > days + 1
    days = max(days, len(course))
    left = max(Decimal(0), course[-1] - pace * (days - len(course))) if pace is not None and not is_late else None
    top = max(*course, left or 0, Decimal(1))

    def spot(day: int, value: Decimal) -> str:
        return f"{day * 1000 // days},{60 - int(value * 54 / top)}"

    line = " ".join(spot(n, value) for n, value in enumerate([course[0], *course]))
    now, end = spot(len(course), course[-1]), spot(days, left or Decimal(0))
    edge = now.partition(",")[0]
    return BurnChart(
        area=f"0,60 {line} {edge},60",
        line=line,
        ahead=f"{now} {end}" if left is not None else "",
        ahead_area=f"{edge},60 {now} {end} 1000,60" if left is not None else "",
        left=left,
    )


@dataclass(frozen=True)
class LifeLine:
    """A grant on the common line of time, and what became of its credits; all as shares of a width."""

    grant: Grant
    number: int | None  # in the order of use; None once it is over
    x: Decimal
    width: Decimal
    lived: Decimal
    captured: Decimal
    drawn: Decimal
    left: Decimal

    @property
    def to_left(self) -> Decimal:
        """Where what is left begins."""
        return self.captured + self.drawn


@dataclass(frozen=True)
class LifeLines:
    first: datetime
    last: datetime
    now: Decimal
    lines: list[LifeLine]


def life_lines(grants: list[Grant], now: datetime, number: int | None = None) -> LifeLines | None:
    """Draw the lives of grants on one line of time, from the first's beginning to the last's end."""
    if not grants:
        return None
    first = min(now, *(grant.effective_at for grant in grants))
    last = max(now, *(grant.expires_at for grant in grants))

    whole = max(_seconds(first, last), Decimal(1))

    def share(at: datetime) -> Decimal:
        return _seconds(first, min(max(at, first), last)) / whole

    lines = []
    for n, grant in enumerate(grants):
        x, end = share(grant.effective_at), share(grant.expires_at)
        lines.append(
            LifeLine(
                grant=grant,
                number=None if number is None else number + n,
                x=x,
                width=max(end - x, Decimal(0)),
                lived=max(min(share(now), end) - x, Decimal(0)),
                captured=grant.burned / grant.amount,
                drawn=grant.drawn / grant.amount,
                left=grant.remaining / grant.amount,
            )
        )
    return LifeLines(first, last, share(now), lines)


def _seconds(start: datetime, end: datetime) -> Decimal:
    return Decimal((end - start) // A_SECOND)


def scale(most: Decimal) -> tuple[Decimal, Decimal]:
    """Find a step of 1, 2 or 5 times a power of ten that takes about four to cover `most`; answer step and top."""
    if most <= 0:
        return Decimal(1), Decimal(TICKS)
    rough = most / TICKS
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    return step, step * (most / step).to_integral_value(ROUND_CEILING)


def _series(stacks: list[Stack], top: Decimal, is_open: bool) -> list[Series]:
    """Heights are cut from running totals, so that rounding never opens a gap or adds up."""
    series = []
    below = [Decimal(0)] * len(stacks[0][2]) if stacks else []
    for number, _, values in stacks:
        bars = []
        for n, value in enumerate(values):
            foot, head = (int(total * HEIGHT / top) for total in (below[n], below[n] + value))
            bars.append(f"M{n * SLOT + 14} {HEIGHT - head}h{BAR}v{head - foot}h-{BAR}z" if head > foot else "")
            below[n] += value
        over, today = (bars[:-1], bars[-1]) if is_open else (bars, "")
        series.append(Series(number, "".join(over), today))
    return series


def _labelled(count: int) -> list[int]:
    """At most six bars get a label, or seven of seven: evenly apart, counted back from the last but one."""
    every = 1 if count <= 7 else -(-count // 6)
    return list(range(count - 1 if count <= 7 else count - 2, -1, -every))[::-1]


def _short(value: Decimal, values: list[Decimal]) -> str:
    """Write a tick in the room beside the plot: from 100,000 on in thousands, millions or billions, as exact."""
    power, sign = next(((power, sign) for least, power, sign in SHORT if values[-1] >= 10**least), (0, ""))
    scaled = [each.scaleb(-power) for each in values]
    return credits(value.scaleb(-power), places(scaled)) + (sign if value else "")


def _axes(bars: Sequence[Bar], labelled: list[int], values: list[Decimal]) -> dict[str, Any]:
    return {
        "width": SLOT * len(bars),
        "ticks": [
            Tick(value, _short(value, values), TOP + HEIGHT - int(value * HEIGHT / values[-1])) for value in values
        ],
        "labels": [Label(bars[n].label, (Decimal(n) + SHIFT) / len(bars)) for n in labelled],
    }


def _layout(bars: Sequence[Bar], labelled: list[int], values: list[Decimal], meta: dict[str, Any]) -> dict[str, Any]:
    """A plain dict: graph_objects would take 25 ms to say the same. A test has them check every key of it."""
    return {
        "meta": meta,
        "margin": {"l": LEFT, "r": 0, "t": TOP, "b": BOTTOM, "pad": 0},
        "height": TOP + HEIGHT + BOTTOM,
        "showlegend": False,
        "dragmode": False,
        "hovermode": "x",
        "paper_bgcolor": "var(--chart-clear)",
        "plot_bgcolor": "var(--chart-clear)",
        "font": {"family": "Geist, sans-serif", "size": 12, "color": "var(--ink-3)"},
        "xaxis": {
            "type": "linear",
            "range": [-SHIFT, len(bars) - SHIFT],
            "tickvals": labelled,
            "ticktext": [bars[n].label for n in labelled],
            "showgrid": False,
            "zeroline": False,
            "showspikes": False,
            "fixedrange": True,
        },
        "yaxis": {
            "type": "linear",
            "range": [values[0], values[-1]],
            "tickvals": values,
            "ticktext": [_short(value, values) for value in values],
            "gridcolor": "var(--chart-grid)",
            "zeroline": False,
            "fixedrange": True,
        },
    }
