"""For how long credits last at a pace: what expires on the way is lost, what is known to come counts."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as some

from billing.runway import HORIZON, Store, lasts

TODAY = date(2026, 11, 2)
NEVER = TODAY + timedelta(days=10 * HORIZON)


def store(credits: int, expires: int | None = None, since: int = 0) -> Store:
    """Credits that expire in so many days, or never; there from now, or from a day on."""
    ends = NEVER if expires is None else TODAY + timedelta(days=expires)
    return Store(Decimal(credits), ends, TODAY + timedelta(days=since))


def days(pace: int, *stores: Store) -> int | None:
    return lasts(Decimal(pace), TODAY, stores).days


def test_whole_days_are_counted() -> None:
    assert days(3, store(19)) == 6


def test_nothing_lasts_no_day() -> None:
    assert days(3) == 0


def test_what_expires_is_used_first_and_the_rest_of_it_is_lost() -> None:
    seen = lasts(Decimal(10), TODAY, [store(100), store(100, expires=4)])
    assert (seen.days, seen.lapses) == (14, 60)


def test_a_refill_carries_on_if_it_comes_in_time() -> None:
    assert days(10, store(30), store(50, since=3)) == 8
    assert days(10, store(30), store(50, since=4)) == 3


def test_refills_that_keep_up_with_the_pace_last_beyond_what_anybody_knows() -> None:
    assert days(10, *(store(300, expires=30 * n + 33, since=30 * n) for n in range(14))) is None


@given(some.integers(1, 50), some.lists(some.tuples(*[some.integers(0, 400)] * 3), max_size=6))
def test_it_is_what_living_day_by_day_comes_to(pace: int, stores: list[tuple[int, int, int]]) -> None:
    left, lapses, day = sorted([expires, since, credits] for credits, expires, since in stores), 0, 0
    while day < HORIZON:
        lapses += sum(credits for expires, since, credits in left if expires <= day and since <= day)
        left = [one for one in left if one[0] > day or one[1] > day]
        missing = pace
        for one in left:
            taken = min(missing, one[2]) if one[1] <= day else 0
            missing, one[2] = missing - taken, one[2] - taken
        if missing:
            break
        day += 1
    seen = lasts(Decimal(pace), TODAY, [store(*facts) for facts in stores])
    assert (seen.known, seen.lapses) == (day, lapses)


@given(some.integers(1, 50), some.lists(some.integers(0, 500), max_size=6))
def test_without_expiry_it_is_the_sum_by_the_pace(pace: int, credits: list[int]) -> None:
    expected = sum(credits) // pace
    assert days(pace, *map(store, credits)) == (expected if expected < HORIZON else None)
