"""What a paid period comes to: its credit months, when their credits expire, what each owes of money that went back.

Pure; for `inbox.py`, which gives and claws back, and for `purchases.py`, which quotes. PRODUCT.md §5 is the law here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction

from billing.cycles import credit_month, months_later
from billing.models import Grant, PaidPeriod, Price

GRACE = timedelta(hours=72)
LATE = timedelta(days=30)
PACK_MONTHS = 12
PLACES = Decimal("0.0001")
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Month:
    """One month of a paid period, and the grant it gets. A pack is a period of one."""

    key: str
    effective_at: datetime
    start: datetime
    expires_at: datetime
    credits: Decimal


def months(period: PaidPeriod) -> list[Month]:
    """Give a period's months, oldest first. The first one's credits count from the period's own start."""
    return list(_months(period))


def _months(period: PaidPeriod) -> Iterator[Month]:
    if period.source == Grant.Source.TOP_UP:
        yield Month(period.key, period.start, period.start, period.end, period.first)
        return
    for start, end in spans(period.price, period.anchor, period.end):
        if end <= period.start:
            continue
        holds_start = start <= period.start
        upgrade = period.source == Grant.Source.PLAN_UPGRADE
        named = period.key if upgrade else f"refill:{period.item}"
        yield Month(
            key=named if upgrade and holds_start else f"{named}:{start:%Y-%m-%dT%H:%M:%SZ}",
            effective_at=period.start if upgrade and holds_start else start,
            start=period.start if holds_start else start,
            expires_at=_expiry(period, end),
            credits=period.first if holds_start else period.credits,
        )


def spans(price: Price, anchor: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut [anchor, end) into credit months: one, of a monthly price, whatever days it has; else from the anchor."""
    if price.interval == Price.Interval.MONTH:
        yield anchor, end
        return
    start, n = anchor, 1
    while start < end:
        following = min(months_later(anchor, n), end)
        yield start, following
        start, n = following, n + 1


def _expiry(period: PaidPeriod, month_end: datetime) -> datetime:
    assert period.price.plan is not None
    regular = months_later(month_end, period.price.plan.rollover_months) + GRACE
    if period.source == Grant.Source.PLAN_UPGRADE:
        return regular
    return max(regular, period.paid_at + LATE)


def month_of(price: Price, start: datetime, end: datetime, at: datetime) -> tuple[datetime, datetime]:
    """Give the credit month that holds `at` in a billing period of a price."""
    if price.interval == Price.Interval.MONTH:
        return start, end
    first, following = credit_month(start, at)
    return first, min(following, end)


def added(old: Decimal, new: Decimal, at: datetime, month: tuple[datetime, datetime]) -> Decimal:
    """Give the credits an upgrade adds at an instant of a credit month: pro rata, half up. Never below 0."""
    start, end = month
    left = Fraction((end - at) // MICROSECOND, (end - start) // MICROSECOND)
    exact = max(Fraction(0), Fraction(new) - Fraction(old)) * min(left, Fraction(1))
    return _rounded(exact, ROUND_HALF_UP)


def owed(parts: list[Decimal], paid: int, gone_back: int) -> list[Decimal]:
    """Share what is owed of a payment among its months' credits, from the last one backwards. Rounded down, each."""
    debt = Fraction(sum(parts, Decimal(0))) * Fraction(gone_back, paid) if paid else Fraction(0)
    shares = []
    for part in reversed(parts):
        share = min(debt, Fraction(part))
        debt -= share
        shares.append(_rounded(share, ROUND_DOWN))
    return shares[::-1]


def _rounded(exact: Fraction, how: str) -> Decimal:
    """Round to four places. Ten-thousandths are whole numbers, so the division is exact until here."""
    whole, rest = divmod(exact.numerator * 10_000, exact.denominator)
    if how == ROUND_HALF_UP and 2 * rest >= exact.denominator:
        whole += 1
    return Decimal(whole) * PLACES
