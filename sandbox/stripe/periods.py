"""Billing periods rolled from an anchor, and money by shares of them. Pure."""

import calendar
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil

from sandbox.stripe.state import Json


def stepped(anchor: int, recurring: Json, steps: int) -> int:
    """The anchor moved by so many intervals; a 31st becomes the last day where there is none, and comes back."""
    count, interval = recurring["interval_count"] * steps, recurring["interval"]
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return int((start + timedelta(**{f"{interval}s": count})).timestamp())
    months = start.year * 12 + start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def period_at(anchor: int, recurring: Json, instant: int) -> tuple[int, int]:
    """The period of an anchored rhythm in which an instant lies; its start is in it, its end is not."""
    steps = 0
    while stepped(anchor, recurring, steps + 1) <= instant:
        steps += 1
    return stepped(anchor, recurring, steps), stepped(anchor, recurring, steps + 1)


def whole(amount: Fraction) -> int:
    """To the nearest cent, ties downwards: what Stripe's recorded prorations show."""
    return ceil(amount - Fraction(1, 2))


def share(amount: int, part: tuple[int, int], of: tuple[int, int]) -> int:
    """The share of an amount for a part of the period that it pays for, by exact seconds."""
    return whole(Fraction(amount * (part[1] - part[0]), of[1] - of[0]))
