"""Rows into drawings, twice from the same numbers: the SVG that the page brings and the Plotly figure that replaces it.

Pure; for views. Both drawings share ticks, ranges and order, so that the change-over moves nothing. Colours are
`var(--name)`, which charts.js fills in; names of providers stand in the legend, so the figure carries ids.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from billing.models import Grant
from billing.templatetags.credits import credits, places
from billing.usage import Usage

HEIGHT, SLOT, BAR = 226, 100, 72  # of the plot, of one day and of its bar, in the units of the plot's viewBox
TOP, BOTTOM, LEFT = 8, 26, 44  # the plot within the chart, in pixels; app.css says the same
TICKS = 4
A_DAY = 24 * 3600 * 1000  # as Plotly counts
A_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Tick:
    value: Decimal
    y: int

    @property
    def label_y(self) -> int:
        return self.y + 4


@dataclass(frozen=True)
class Label:
    day: date
    x: Decimal  # a share of the width


@dataclass(frozen=True)
class Series:
    """One colour of the stack: its bars as one path, and today's as another, for today is not over."""

    number: int
    path: str
    today: str


@dataclass(frozen=True)
class DailyChart:
    figure: dict[str, Any]
    width: int
    decimals: int  # of the ticks
    ticks: list[Tick]
    labels: list[Label]
    series: list[Series]

    @property
    def json(self) -> str:
        """The figure for the page. Exact credits travel as text, which Plotly reads as numbers."""
        return json.dumps(self.figure, default=str, separators=(",", ":"))


def usage_by_day(usage: Usage) -> DailyChart:
    """Stack each day's captured credits by provider: five with a colour of their own, the rest as one."""
    return stacked(usage.span.days, _stacks(usage, usage.span.days))


type Stack = tuple[int, str, list[Decimal]]  # the number of its colour, its name, its value on each day


def stacked(days: list[date], stacks: list[Stack]) -> DailyChart:
    """Draw a bar a day, the first stack at its foot. The last day is not over."""
    totals = [sum(values, Decimal(0)) for values in zip(*(column for _, _, column in stacks), strict=True)]
    step, top = scale(max(totals, default=Decimal(0)))
    values = [step * n for n in range(int(top / step) + 1)]
    labelled = _labelled(len(days))
    return DailyChart(
        figure=_figure(days, stacks, values, labelled),
        width=SLOT * len(days),
        decimals=places(values),
        ticks=[Tick(value, TOP + HEIGHT - int(value * HEIGHT / top)) for value in values],
        labels=[Label(days[n], (Decimal(n) + Decimal("0.5")) / len(days)) for n in labelled],
        series=_series(stacks, top),
    )


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
    """Draw the available credits at the end of each day so far, of a month of so many days, in a box of 1000 × 60."""
    left = max(Decimal(0), course[-1] - pace * (days - len(course))) if pace is not None else None
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


def _stacks(usage: Usage, days: list[date]) -> list[Stack]:
    nothing = Decimal(0)
    stacks: list[Stack] = [
        (part.series, part.provider, [part.by_day.get(day, nothing) for day in days])
        for part in usage.providers
        if part.series
    ]
    rest = [part for part in usage.providers if not part.series]
    if rest:
        sums = [sum((part.by_day.get(day, nothing) for part in rest), nothing) for day in days]
        stacks.append((0, "others", sums))
    return stacks


def _series(stacks: list[Stack], top: Decimal) -> list[Series]:
    """Heights are cut from running totals, so that rounding never opens a gap or adds up."""
    series = []
    below = [Decimal(0)] * len(stacks[0][2]) if stacks else []
    for number, _, values in stacks:
        bars = []
        for n, value in enumerate(values):
            foot, head = (int(total * HEIGHT / top) for total in (below[n], below[n] + value))
            bars.append(f"M{n * SLOT + 14} {HEIGHT - head}h{BAR}v{head - foot}h-{BAR}z" if head > foot else "")
            below[n] += value
        series.append(Series(number, "".join(bars[:-1]), bars[-1]))
    return series


def _labelled(count: int) -> list[int]:
    """At most seven days get a label: evenly apart, counted back from yesterday."""
    every = -(-count // 7)
    return list(range(count - 1 if count <= 7 else count - 2, -1, -every))[::-1]


def _figure(days: list[date], stacks: list[Stack], values: list[Decimal], labelled: list[int]) -> dict[str, Any]:
    """A plain dict: graph_objects would take 25 ms to say the same. A test has them check every key of it."""
    decimals = places(values)
    opacity = [1] * (len(days) - 1) + [Decimal("0.5")]
    bars = [
        {
            "type": "bar",
            "name": name,
            "x0": days[0].isoformat(),
            "dx": A_DAY,
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
    layout = {
        "barmode": "stack",
        "bargap": Decimal(SLOT - BAR) / SLOT,
        "margin": {"l": LEFT, "r": 0, "t": TOP, "b": BOTTOM, "pad": 0},
        "height": TOP + HEIGHT + BOTTOM,
        "showlegend": False,
        "dragmode": False,
        "hovermode": "x",
        "paper_bgcolor": "var(--chart-clear)",
        "plot_bgcolor": "var(--chart-clear)",
        "font": {"family": "Geist, sans-serif", "size": 12, "color": "var(--ink-3)"},
        "xaxis": {
            "type": "date",
            "range": [f"{days[0] - timedelta(days=1)} 12:00", f"{days[-1]} 12:00"],
            "tickvals": [days[n].isoformat() for n in labelled],
            "ticktext": [f"{days[n]:%-d %b}" for n in labelled],
            "showgrid": False,
            "zeroline": False,
            "showspikes": False,
            "fixedrange": True,
        },
        "yaxis": {
            "type": "linear",
            "range": [values[0], values[-1]],
            "tickvals": values,
            "ticktext": [credits(value, decimals) for value in values],
            "gridcolor": "var(--chart-grid)",
            "zeroline": False,
            "fixedrange": True,
        },
    }
    return {"data": bars, "layout": layout}
