"""What a run over so many rows would cost."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.estimates import Quoted, estimate, success_rate


def quoted(price: str | None, maximum: str | None, rate: str = "0.5", *, byok: bool = False) -> Quoted:
    least, most = (None if amount is None else Decimal(amount) for amount in (price, maximum))
    return Quoted("hunter.find", "hunter", byok, least, most, Decimal(rate))


def test_least_is_the_first_tool_most_is_every_tool_at_its_maximum() -> None:
    found = estimate(10, [quoted("1", "1"), quoted("2", "3")])
    assert (found.min, found.max) == (10, 40)


def test_likely_counts_a_tool_as_often_as_it_is_reached() -> None:
    assert estimate(10, [quoted("1", "1", "0.6"), quoted("2", "3")]).likely == 18


def test_the_suggested_cap_is_the_most_and_fifteen_percent() -> None:
    assert estimate(10, [quoted("1", "1")]).suggested_cap == Decimal("11.5")


def test_an_unpriced_tool_makes_it_unknown_and_says_how_much_is_known() -> None:
    found = estimate(10, [quoted("1", "1", "0.75"), quoted(None, None)])
    assert (found.min, found.likely, found.max, found.suggested_cap) == (None, None, None, None)
    assert (found.coverage, found.known) == (Decimal("0.8"), False)


def test_an_own_account_costs_nothing_and_needs_no_cap() -> None:
    found = estimate(10, [quoted(None, None, byok=True)])
    assert (found.max, found.suggested_cap, found.needs_cap) == (0, None, False)


@pytest.mark.parametrize(("results", "calls", "rate"), [(49, 49, "0.3"), (50, 50, "1"), (0, 50, "0"), (30, 60, "0.5")])
def test_observed_rates_count_from_fifty_calls_on(results: int, calls: int, rate: str) -> None:
    assert success_rate(results, calls, Decimal("0.3")) == Decimal(rate)


AMOUNTS = st.decimals(0, 1000, places=4)
SHARES = st.decimals(0, 1, places=4)


@settings(deadline=None)
@given(st.integers(0, 300_000), st.lists(st.tuples(AMOUNTS, AMOUNTS, SHARES, st.booleans()), min_size=1, max_size=6))
def test_likely_lies_between_least_and_most(rows: int, tools: list[tuple[Decimal, Decimal, Decimal, bool]]) -> None:
    found = estimate(rows, [Quoted("t", "p", byok, min(a, b), max(a, b), rate) for a, b, rate, byok in tools])
    assert found.min is not None
    assert found.likely is not None
    assert found.max is not None
    assert found.min <= found.likely <= found.max
