"""For how long credits last at a pace, with the refills that are known to come and the expiries on the way. Pure.

The law: a day is paid from the grant that expires soonest, as the ledger burns; a grant is gone on the day it expires.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice

HORIZON = 365  # days; nobody knows more


@dataclass(frozen=True)
class Store:
    """Credits that are there from a day on, or from the beginning, and gone on another."""

    credits: Decimal
    expires: date
    since: date = date.min


@dataclass(frozen=True)
class Runway:
    """`days`: so many whole days are paid for; None beyond the horizon. `lapses`: what expires unused until then."""

    days: int | None
    lapses: Decimal

    @property
    def horizon(self) -> int:
        return HORIZON

    @property
    def known(self) -> int:
        """So many days at any rate, to compare: those of the horizon where it is beyond."""
        return HORIZON if self.days is None else self.days


def lasts(pace: Decimal, today: date, stores: Iterable[Store]) -> Runway:
    """Live on from `today` at the pace until a day cannot be paid, from each coming or expiry to the next."""
    coming = deque(sorted(stores, key=lambda store: store.since))
    left: list[tuple[date, Decimal]] = []  # the soonest to expire first
    lapses = Decimal(0)
    day, end = today, today + timedelta(days=HORIZON)
    while day < end:
        while coming and coming[0].since <= day:
            store = coming.popleft()
            insort(left, (store.expires, store.credits))
        while left and left[0][0] <= day:
            lapses += left.pop(0)[1]
        until = min([end, *(store.since for store in islice(coming, 1)), *(expires for expires, _ in left[:1])])
        days = (until - day).days
        paid = min(days, int(sum(credits for _, credits in left) / pace))
        if paid < days:
            return Runway((day - today).days + paid, lapses)
        _burn(left, pace * paid)
        day = until
    return Runway(None, lapses)


def _burn(left: list[tuple[date, Decimal]], credits: Decimal) -> None:
    """Take so many credits of what is left, the first first."""
    while left and credits:
        expires, there = left.pop(0)
        if there > credits:
            left.insert(0, (expires, there - credits))
        credits -= min(there, credits)
