"""For how long credits last at a pace, with the refills that are known to come and the expiries on the way. Pure.

The law: a day is paid from the grant that expires soonest, as the ledger burns; a grant is gone on the day it expires.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

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


def lasts(pace: Decimal, today: date, stores: Iterable[Store]) -> Runway:
    """Live on from `today` at the pace until a day cannot be paid."""
    coming = sorted(stores, key=lambda store: store.since, reverse=True)
    left: dict[Store, Decimal] = {}
    lapses = Decimal(0)
    for n in range(HORIZON):
        day = today + timedelta(days=n)
        while coming and coming[-1].since <= day:
            store = coming.pop()
            left[store] = left.get(store, Decimal(0)) + store.credits
        for store in [store for store in left if store.expires <= day]:
            lapses += left.pop(store)
        missing = pace
        for store in sorted(left, key=lambda store: store.expires):
            taken = min(missing, left[store])
            missing, left[store] = missing - taken, left[store] - taken
            if not left[store]:
                del left[store]
            if not missing:
                break
        if missing:
            return Runway(n, lapses)
    return Runway(None, lapses)
