"""What a run over so many rows would cost: least, likely, most. Pure.

For `today.py`, which knows the tools, and for the pages that show an estimate. The law: a tool without a price makes
the estimate unknown, never 0, and no live run is started on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import NamedTuple

from runs.cascade import ZERO, Step

PLACES = Decimal("0.0001")
MARGIN = Decimal("1.15")
ENOUGH_CALLS = 50


class Quoted(NamedTuple):
    """A tool of a cascade at today's terms; a price of None is unknown. `rate`: the share of calls expected to find."""

    tool: str
    provider: str
    byok: bool
    price: Decimal | None
    maximum: Decimal | None
    rate: Decimal

    @property
    def step(self) -> Step | None:
        """The step to freeze on a run, or None while the price is unknown."""
        if self.byok:
            return Step(self.tool, self.provider, True, Decimal(0), Decimal(0))
        if self.price is None or self.maximum is None:
            return None
        return Step(self.tool, self.provider, False, self.price, self.maximum)

    @property
    def tested(self) -> Step:
        """The step to freeze on a smoke test: with a maximum of 0, so that it needs no price and is never charged."""
        price = None if self.byok else self.price
        return Step(self.tool, self.provider, self.byok, price or ZERO, ZERO)


@dataclass(frozen=True)
class Estimate:
    """Credits for a whole run. All None where some tool has no price; `coverage` says what share of calls has one."""

    rows: int
    min: Decimal | None
    likely: Decimal | None
    max: Decimal | None
    coverage: Decimal
    suggested_cap: Decimal | None
    unpriced: tuple[str, ...]

    @property
    def known(self) -> bool:
        return not self.unpriced

    @property
    def needs_cap(self) -> bool:
        return bool(self.unpriced) or bool(self.max)


def success_rate(results: int, calls: int, stated: Decimal) -> Decimal:
    """Take the observed rate once there are enough calls, else the tool's own estimate."""
    return Decimal(results) / calls if calls >= ENOUGH_CALLS else stated


def estimate(rows: int, tools: Sequence[Quoted]) -> Estimate:
    """Estimate a cascade over rows: the first tool only, what will likely be reached, every tool at its maximum."""
    reached = list(_reached(tools))
    steps = [tool.step for tool in tools]
    priced = [step for step in steps if step is not None]
    coverage = sum((share for share, step in zip(reached, steps, strict=True) if step), Decimal(0)) / sum(reached)
    if len(priced) < len(steps):
        unpriced = tuple(tool.tool for tool in tools if tool.step is None)
        return Estimate(rows, None, None, None, coverage.quantize(PLACES), None, unpriced)
    likely = rows * sum((share * step.price for share, step in zip(reached, priced, strict=True)), Decimal(0))
    most = rows * sum((step.maximum for step in priced), Decimal(0))
    return Estimate(
        rows=rows,
        min=rows * priced[0].price,
        likely=likely.quantize(PLACES, ROUND_HALF_UP),
        max=most,
        coverage=Decimal(1),
        suggested_cap=(most * MARGIN).quantize(PLACES, ROUND_UP) if most else None,
        unpriced=(),
    )


def free(rows: int) -> Estimate:
    """Estimate a smoke test over rows, which costs nothing whatever it calls."""
    return Estimate(rows, ZERO, ZERO, ZERO, Decimal(1), None, ())


def _reached(tools: Sequence[Quoted]) -> Iterator[Decimal]:
    share = Decimal(1)
    for tool in tools:
        yield share
        share *= 1 - tool.rate
