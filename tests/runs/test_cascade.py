"""What follows an answer, and what it frees."""

from decimal import Decimal
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from runs.cascade import TRIES, Step, follow, key, plain, unit


def step(name: str, maximum: str | int, *, byok: bool = False) -> Step:
    most = Decimal(maximum)
    return Step(f"{name}.find", name, byok, most, most)


TWO = (step("hunter", 1), step("prospeo", "2.5"))


def test_the_unit_is_the_sum_of_the_maxima() -> None:
    assert unit(TWO) == Decimal("3.5")


def test_a_success_ends_the_item_and_frees_what_was_not_reached() -> None:
    assert follow(TWO, 0, "succeeded") == (None, Decimal("3.5"))


def test_nothing_found_leads_to_the_next_tool_and_frees_the_first_ones_maximum() -> None:
    assert follow(TWO, 0, "no_result") == (TRIES, Decimal(1))


def test_the_last_tool_ends_the_item_whatever_it_answers() -> None:
    assert follow(TWO, TRIES, "failed_after_billing") == (None, Decimal("2.5"))


def test_a_passing_refusal_is_tried_again_and_frees_nothing() -> None:
    assert follow(TWO, 3, "failed_before_billing", passing=True) == (4, Decimal(0))


def test_after_fifteen_more_tries_the_next_tool_follows() -> None:
    assert follow(TWO, TRIES - 1, "failed_before_billing", passing=True) == (TRIES, Decimal(1))


def test_only_a_refusal_known_to_be_uncharged_is_tried_again() -> None:
    assert follow(TWO, 0, "failed_after_billing", passing=True).next == TRIES


def test_a_stopped_run_starts_no_further_step() -> None:
    assert follow(TWO, 0, "failed_before_billing", passing=True, stopped=True) == (None, Decimal("3.5"))


OUTCOMES = ("succeeded", "no_result", "failed_before_billing", "failed_after_billing")
MAXIMA = st.lists(st.decimals(0, 100, places=4), min_size=1, max_size=5)
ANSWERS = st.lists(st.tuples(st.sampled_from(OUTCOMES), st.booleans(), st.booleans()), min_size=120, max_size=120)


@settings(deadline=None)
@given(MAXIMA, ANSWERS)
def test_whatever_the_answers_the_freed_parts_add_up_to_the_hold(
    maxima: list[Decimal], answers: list[tuple[str, bool, bool]]
) -> None:
    steps = [step(f"p{n}", str(maximum)) for n, maximum in enumerate(maxima)]
    number: int | None = 0
    freed = Decimal(0)
    for outcome, passing, stopped in answers:
        if number is not None:
            number, part = follow(steps, number, outcome, passing=passing, stopped=stopped)
            freed += part
    assert number is None
    assert freed == unit(steps)


def test_the_key_is_made_of_run_item_step_and_try() -> None:
    run = UUID("01890000-0000-7000-8000-000000000000")
    assert key(run, 7, TRIES + 2) == f"{run}:7:1:2"


def test_a_frozen_step_thaws_as_it_was() -> None:
    assert Step.frozen(TWO[1].freeze()) == TWO[1]


def test_sentences_show_the_decimals_there_are() -> None:
    assert [plain(Decimal(n)) for n in ("100.0000", "2.5000", "0.0001", "0")] == ["100", "2.5", "0.0001", "0"]
