"""The verbs of a run's reservation and its items: reserve, admit, settle, give back, close."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction

from billing import ledger
from billing.models import Entry, Organization, UsageByRun, UsageByTool
from oxygen_site.clock import new_id
from tests.billing import moves
from tests.billing.moves import attempt

# ------------------------------------------------------------------ reserve


@pytest.mark.parametrize(("cap", "upto", "held"), [(30, 80, 30), (80, 30, 30), (30, 30, 30)])
def test_a_run_holds_the_lesser_of_its_cap_and_its_maximum(acme: Organization, cap: int, upto: int, held: int) -> None:
    moves.open_run(acme.pk, cap, upto)
    assert moves.balance(acme.pk) == (100 - held, held, 0)


def test_a_short_balance_names_what_is_missing_and_holds_nothing(acme: Organization) -> None:
    assert moves.reserve(acme.pk, new_id(), "100.5") == Decimal("0.5")
    assert moves.balance(acme.pk) == (100, 0, 0)


def test_the_last_credit_can_be_held(acme: Organization) -> None:
    moves.open_run(acme.pk, 100)
    assert moves.balance(acme.pk) == (0, 100, 0)


def test_reserving_twice_holds_once(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 30)
    assert moves.reserve(acme.pk, run, 30) == 0
    assert moves.balance(acme.pk) == (70, 30, 0)


@pytest.mark.parametrize("other", [{"cap": 31, "upto": 30}, {"cap": 30, "upto": 29}])
def test_reserving_again_with_other_content_is_refused(acme: Organization, other: dict[str, Any]) -> None:
    run = moves.open_run(acme.pk, 30)
    with pytest.raises(ledger.Conflict), transaction.atomic():
        moves.reserve(acme.pk, run, **other)


def test_a_run_of_own_accounts_only_opens_with_nothing_held(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 0)
    assert moves.entries(acme.pk, run) == [("reserved", 0)]


def test_a_run_draws_on_several_grants_soonest_first(acme: Organization) -> None:
    soon = moves.grant(acme.pk, 10, days=1)
    late = moves.grant(acme.pk, 10, days=90)
    run = moves.open_run(acme.pk, 115)
    assert moves.drawn(acme.pk, run)[soon] == 10
    assert moves.drawn(acme.pk, run)[late] == 5


def test_a_run_of_a_month_without_a_partition_is_refused_here_never_at_its_settle(acme: Organization) -> None:
    run = UUID("02f0a1b2-c3d4-7000-8000-000000000001")  # a UUIDv7 of the year 2072
    with pytest.raises(IntegrityError, match="no partition"), transaction.atomic():
        moves.reserve(acme.pk, run, 1)


# ------------------------------------------------------------------ admit


def test_items_start_as_far_as_the_hold_reaches(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, upto=30)
    assert ledger.admit(acme.pk, run, 3, Decimal(3)) == 3
    assert ledger.admit(acme.pk, run, 3, Decimal(3)) == 0
    assert (moves.reservation(acme.pk, run).held, moves.reservation(acme.pk, run).room) == (9, 1)


def test_fewer_items_start_where_not_all_fit(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, upto=30)
    assert ledger.admit(acme.pk, run, 100, Decimal(4)) == 2


def test_what_items_set_free_lets_others_start(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, upto=30, begin=2, unit=5)
    moves.settle(acme.pk, run, attempt(1, cost=1, maximum=5), attempt(2, cost=2, maximum=5))
    assert ledger.admit(acme.pk, run, 10, Decimal(5)) == 1


def test_an_item_of_own_accounts_only_always_starts(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 0)
    assert ledger.admit(acme.pk, run, 50, Decimal(0)) == 50


def test_a_paused_run_starts_nothing_until_it_goes_on(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10)
    ledger.pause(acme.pk, run, True)
    assert ledger.admit(acme.pk, run, 1, Decimal(1)) == ledger.admit(acme.pk, run, 1, Decimal(0)) == 0
    ledger.pause(acme.pk, run, False)
    assert ledger.admit(acme.pk, run, 1, Decimal(1)) == 1


def test_a_closed_run_and_one_that_never_was_start_nothing(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10)
    moves.close(acme.pk, run)
    assert ledger.admit(acme.pk, run, 1, Decimal(0)) == ledger.admit(acme.pk, uuid4(), 1, Decimal(0)) == 0


# ------------------------------------------------------------------ settle

# What happened → what it is booked as. Every attempt has a maximum of 2.
OUTCOMES = [
    # outcome, own account, cost → kind, amount, absorbed
    ("succeeded", False, "1.5", "captured", "1.5", 0),
    ("succeeded", False, 6, "captured", 2, 4),  # three times its maximum
    ("succeeded", False, 0, "released", 0, 0),
    ("succeeded", True, 9, "captured", 0, 0),  # what the org's own account paid is not ours to book
    ("no_result", False, 1, "captured", 1, 0),
    ("no_result", True, 0, "captured", 0, 0),
    ("failed_after_billing", False, 1, "captured", 1, 0),
    ("failed_after_billing", True, 1, "captured", 0, 0),
    ("failed_before_billing", False, 0, "released", 0, 0),
    ("failed_before_billing", True, 0, "released", 0, 0),
    ("unknown", False, 1, "released", 0, 1),
    ("unknown", True, 1, "released", 0, 0),
]


@pytest.mark.parametrize(("outcome", "byok", "cost", "kind", "amount", "absorbed"), OUTCOMES)
def test_each_outcome_is_booked_as_it_was_promised(
    acme: Organization, outcome: str, byok: bool, cost: moves.Credits, kind: str, amount: moves.Credits, absorbed: int
) -> None:
    unit = 0 if byok else 2
    run = moves.open_run(acme.pk, 10, begin=1, unit=unit)
    captured = moves.settle(acme.pk, run, attempt(1, cost, maximum=2, outcome=outcome, byok=byok))
    entry = Entry.objects.get(org=acme.pk, source=run, item=1)
    assert (entry.kind, entry.amount, entry.held) == (kind, Decimal(amount), unit)
    held = moves.reservation(acme.pk, run)
    assert (captured, held.captured, held.absorbed, held.held) == (Decimal(amount), Decimal(amount), absorbed, 0)


def test_a_smoke_test_on_a_managed_provider_is_absorbed(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 0)
    assert moves.settle(acme.pk, run, attempt(1, cost=3, maximum=0)) == 0
    assert moves.reservation(acme.pk, run).absorbed == 3
    assert Entry.objects.get(source=run, item=1).kind == "released"


def test_a_try_that_is_followed_by_another_frees_nothing(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 2, begin=1, unit=2)
    moves.settle(acme.pk, run, attempt(1, 0, 2, held=0, outcome="failed_before_billing"))
    assert moves.reservation(acme.pk, run).held == 2
    moves.settle(acme.pk, run, attempt(1, 2, 2, number=1))
    assert (moves.reservation(acme.pk, run).held, moves.reservation(acme.pk, run).captured) == (0, 2)


def test_the_last_attempt_also_frees_the_tools_not_reached(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 5, begin=1, unit=5)
    moves.settle(acme.pk, run, attempt(1, 1, maximum=2, held=5))
    assert (moves.reservation(acme.pk, run).room, moves.balance(acme.pk)) == (4, (95, 4, 1))


def test_settling_twice_captures_once(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=3)
    moves.settle(acme.pk, run, attempt(1))
    with pytest.raises(ledger.AlreadySettled), transaction.atomic():
        moves.settle(acme.pk, run, attempt(2), attempt(1))
    assert moves.balance(acme.pk) == (90, 9, 1)


def test_nothing_settles_on_a_closed_run(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10)
    moves.close(acme.pk, run)
    with pytest.raises(ledger.Closed), transaction.atomic():
        moves.settle(acme.pk, run, attempt(1, byok=True))


def test_an_empty_batch_settles_to_nothing(acme: Organization) -> None:
    assert moves.settle(acme.pk, moves.open_run(acme.pk, 10)) == 0


def test_no_batch_frees_more_than_is_held(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1)
    with pytest.raises(IntegrityError, match="reservation_signs"), transaction.atomic():
        moves.settle(acme.pk, run, attempt(1), attempt(2))


def test_usage_is_kept_with_the_settle_by_tool_and_by_run(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=3)
    moves.settle(acme.pk, run, attempt(1), attempt(2, cost=0, outcome="no_result"), attempt(9, byok=True))
    moves.settle(acme.pk, run, attempt(3, cost="0.25"))
    tools = UsageByTool.objects.filter(org=acme.pk).values_list("outcome", "byok", "credits", "calls")
    assert set(tools) == {
        ("succeeded", False, Decimal("1.25"), 2),
        ("succeeded", True, 0, 1),
        ("no_result", False, 0, 1),
    }
    usage = UsageByRun.objects.get(org=acme.pk, run=run)
    assert (usage.credits, usage.calls, usage.results, usage.member) == (Decimal("1.25"), 4, 3, moves.MEMBER)


def test_another_time_zone_cuts_the_days_anew(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1)
    moves.settle(acme.pk, run, attempt(1))
    at = Entry.objects.get(org=acme.pk, source=run, item=1).at
    for hours in (-11, 14):  # these two never share a day
        ledger.change_zone(acme.pk, f"Etc/GMT{-hours:+d}")
        day = (at + timedelta(hours=hours)).date()
        assert UsageByTool.objects.get(org=acme.pk).day == UsageByRun.objects.get(org=acme.pk).day == day


# ------------------------------------------------------------------ the slow path


def test_the_slow_path_settles_what_is_new_and_answers_for_each(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=3)
    moves.settle(acme.pk, run, attempt(1), attempt(2, cost="0.5"))
    verdicts = ledger.settle_slow(acme.pk, run, [attempt(3), attempt(2), attempt(1)])
    assert verdicts == [(3, 0, "settled"), (2, 0, "conflict"), (1, 0, "replayed")]
    assert moves.balance(acme.pk) == (90, Decimal("7.5"), Decimal("2.5"))


def test_the_first_settle_stands_and_a_differing_one_is_counted(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1)
    moves.settle(acme.pk, run, attempt(1, cost="0.5"))
    for other in (
        attempt(1, cost="0.6"),
        attempt(1, "0.5", outcome="no_result"),
        attempt(1, "0.5", tool="apollo.person"),
    ):
        assert ledger.settle_slow(acme.pk, run, [other]) == [(1, 0, "conflict")]
    assert moves.reservation(acme.pk, run).conflicts == 3
    assert Entry.objects.get(org=acme.pk, source=run, item=1).amount == Decimal("0.5")


def test_of_two_attempts_with_one_key_in_a_batch_the_first_settles(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1)
    verdicts = ledger.settle_slow(acme.pk, run, [attempt(1, cost="0.5"), attempt(1, cost="0.7")])
    assert verdicts == [(1, 0, "settled"), (1, 0, "conflict")]
    assert moves.balance(acme.pk)[2] == Decimal("0.5")


def test_what_an_own_account_paid_makes_no_conflict(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 0)
    moves.settle(acme.pk, run, attempt(1, cost=3, byok=True))
    assert ledger.settle_slow(acme.pk, run, [attempt(1, cost=4, byok=True)]) == [(1, 0, "replayed")]


def test_a_closed_run_still_answers_for_what_it_settled_and_refuses_what_is_new(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1)
    moves.settle(acme.pk, run, attempt(1))
    moves.close(acme.pk, run)
    assert ledger.settle_slow(acme.pk, run, [attempt(1)]) == [(1, 0, "replayed")]
    with pytest.raises(ledger.Closed), transaction.atomic():
        ledger.settle_slow(acme.pk, run, [attempt(1), attempt(2, byok=True)])


# ------------------------------------------------------------------ give back


def test_what_the_remaining_rows_cannot_need_goes_back(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=4, unit=2)
    moves.settle(acme.pk, run, attempt(1, "0.5", 2), attempt(2, 2, 2))
    assert moves.give_back(acme.pk, run) == Decimal("1.5")
    assert moves.balance(acme.pk) == (Decimal("91.5"), 6, Decimal("2.5"))


def test_giving_back_again_moves_nothing(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1, unit=2)
    moves.settle(acme.pk, run, attempt(1, "0.5", 2))
    moves.give_back(acme.pk, run)
    assert moves.give_back(acme.pk, run) == 0
    assert moves.entries(acme.pk, run) == [("reserved", 10), ("released", Decimal("1.5"))]


def test_a_run_below_its_maximum_gives_nothing_back_while_rows_may_need_it(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, upto=30, begin=1, unit=2)
    moves.settle(acme.pk, run, attempt(1, "0.5", 2))
    assert moves.give_back(acme.pk, run) == 0


def test_what_comes_back_goes_to_the_draw_that_expires_last_first(acme: Organization) -> None:
    soon, late = moves.grant(acme.pk, 10, days=1), moves.grant(acme.pk, 10, days=90)
    run = moves.open_run(acme.pk, 120, begin=4, unit=30)
    moves.settle(acme.pk, run, attempt(1, 17, 30))
    assert moves.give_back(acme.pk, run) == 13
    assert moves.left(acme.pk, late) == 10
    assert moves.left(acme.pk, soon) == 0
    assert sum(moves.drawn(acme.pk, run).values()) == 107


def test_a_closed_run_gives_nothing_back(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10)
    moves.close(acme.pk, run)
    assert moves.give_back(acme.pk, run) == 0


def test_a_run_that_never_was_gives_nothing_back(acme: Organization) -> None:
    with pytest.raises(ledger.Closed), transaction.atomic():
        moves.give_back(acme.pk, uuid4())


# ------------------------------------------------------------------ close


def test_a_closed_run_keeps_what_it_captured_and_returns_the_rest(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=2)
    moves.settle(acme.pk, run, attempt(1), attempt(2, cost="0.5"))
    assert moves.close(acme.pk, run) == Decimal("8.5")
    assert moves.balance(acme.pk) == (Decimal("98.5"), 0, Decimal("1.5"))


def test_no_run_closes_while_items_are_in_flight(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10, begin=1)
    with pytest.raises(ledger.InFlight), transaction.atomic():
        moves.close(acme.pk, run)
    assert moves.balance(acme.pk) == (90, 10, 0)


def test_closing_again_answers_as_the_first_time(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 10)
    assert moves.close(acme.pk, run) == moves.close(acme.pk, run) == 10
    assert moves.entries(acme.pk, run) == [("reserved", 10), ("released", 10)]


def test_a_run_that_spent_all_closes_with_an_entry_of_nothing(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 1, begin=1)
    moves.settle(acme.pk, run, attempt(1))
    assert moves.close(acme.pk, run) == 0
    assert moves.entries(acme.pk, run) == [("reserved", 1), ("released", 0)]


def test_what_was_captured_stays_drawn_from_the_grant_that_expires_first(acme: Organization) -> None:
    soon = moves.grant(acme.pk, 10, days=1)
    run = moves.open_run(acme.pk, 60, begin=4)
    moves.settle(acme.pk, run, *(attempt(n) for n in range(1, 5)))
    moves.close(acme.pk, run)
    assert moves.drawn(acme.pk, run) == {soon: 4}
    assert moves.left(acme.pk, soon) == 6
