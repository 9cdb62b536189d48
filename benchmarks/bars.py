"""Bars: what a benchmark promises, said as ratios of two sides measured in the same round.

For the benchmarks alone. The law: a machine's neighbours and its mood move both sides of a round alike, so the two are
never compared across rounds; the figure is the median of the rounds' ratios, and a miss ends the program with 1.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Bar:
    """One figure a round, or one alone. `least`, `most` or both are the bar; what has neither is told, and judged by
    nobody."""

    name: str
    figures: Sequence[float]
    least: float | None = None
    most: float | None = None

    @property
    def missed(self) -> bool:
        middle = median(self.figures)
        return (self.least is not None and middle < self.least) or (self.most is not None and middle > self.most)

    def __str__(self) -> str:
        low, _, high = quantiles(self.figures, n=4) if len(self.figures) > 1 else [*self.figures] * 3
        verdict = "" if not self.bar else "MISS" if self.missed else "ok"
        spread = f"({low:.3f} to {high:.3f})"
        return f"{self.name:<63} {median(self.figures):8.3f}  {spread:<20} {self.bar:<7} {verdict}".rstrip()

    @property
    def bar(self) -> str:
        if self.least == self.most:
            return "" if self.least is None else f"= {self.least:g}"
        return f"≤ {self.most:g}" if self.least is None else f"≥ {self.least:g}"


def judge(bars: Iterable[Bar]) -> int:
    """Print a line for each bar: name, median ratio, its middle half, the bar, ok or MISS. Answer the exit code."""
    missed = 0
    for bar in bars:
        print(bar, flush=True)
        missed += bar.missed
    return 1 if missed else 0


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide two sides, round by round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def is_quick(name: str, about: str | None, less: str, arguments: Sequence[str]) -> bool:
    """Read the arguments all benchmarks have: `--quick`, whose help says what it does `less`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help=f"{less}: a look, not a figure to quote")
    quick: bool = parser.parse_args(arguments).quick
    return quick
