"""The hot path: holds before calls, fenced settles, replays under the same key, cascades."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from billing import ledger
from billing.models import Account, Entry, Organization, User
from oxygen_site.transactions import intention
from runs import dispatch, lifecycle, standing
from runs.cascade import TRIES
from runs.dispatch import Answer, Call
from runs.models import Attempt, Item, Run
from runs.providers.outcomes import Outcome, not_sent
from tests.runs.conftest import assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, PROSPEO, OPENAI, HUBSPOT = (
    "hunter.email_finder",
    "prospeo.email_finder",
    "openai.ai_column",
    "hubspot.contact_upsert",
)
FOUND = Outcome("succeeded", Decimal(1), "Answered. Charged 1.", {"email": "a@b.example"}, "hun_1")
NOTHING = Outcome("no_result", Decimal(0), "Nothing found. Free of charge.")
REFUSED = Outcome("failed_before_billing", Decimal(0), "Refused: invalid input. Nothing was charged.")
BROKEN = Outcome("failed_after_billing", Decimal(1), "Failed after the charge: it broke. Charged 1.")
THROTTLED = REFUSED._replace(wait=1)
ME, OTHER = uuid4(), uuid4()


def settle(run: Run, calls: list[Call], outcome: Outcome, owner: UUID = ME) -> list[Call]:
    return dispatch.settle(run, owner, [Answer(call, outcome, 12) for call in calls])


def item(run: Run, number: int = 1) -> Item:
    return run.items.get(number=number)


def let_leases_run_out(settings: Any, run: Run, calls: list[Call], owner: UUID = ME) -> None:
    settings.LEASE_SECONDS = 0
    dispatch.renew(run, owner, calls)
    settings.LEASE_SECONDS = 30


# ------------------------------------------------------------------ claim


def test_a_claim_holds_each_items_whole_cascade_before_its_first_call(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, OPENAI, rows=5, cap=30)
    calls = dispatch.claim(run, ME, 2)
    assert [(call.item, call.number, call.lease_no) for call in calls] == [(1, 0, 1), (2, 0, 1)]
    assert calls[0].row["domain"] == "company0.example"
    assert booked(run).held == 9
    assert Attempt.objects.filter(run=run, outcome=None, tool=HUNTER).count() == 2


def test_no_more_items_start_than_the_cap_has_room_for(acme: Organization, alice: User) -> None:
    run = start(acme, alice, OPENAI, rows=9, cap=12)
    assert [len(dispatch.claim(run, ME, 2)) for _ in range(3)] == [2, 1, 0]
    assert booked(run).held == Decimal("10.5")


def test_own_accounts_always_fit(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUBSPOT, rows=9, cap=None)
    assert len(dispatch.claim(run, ME, 20)) == 9


def test_two_claims_never_share_an_item(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    mine, others = dispatch.claim(run, ME, 5), dispatch.claim(run, OTHER, 5)
    assert [call.item for call in mine + others] == list(range(1, 10))


def test_a_lapsed_item_is_taken_over_with_its_own_attempt(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    first = dispatch.claim(run, ME, 1)
    let_leases_run_out(settings, run, first)
    (replay, fresh) = dispatch.claim(run, OTHER, 2)
    assert (replay.item, replay.number, replay.lease_no, replay.row) == (1, 0, 2, first[0].row)
    assert fresh.item == 2
    assert booked(run).held == 2


def test_a_paused_runs_lapsed_items_are_taken_over_too(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    first = dispatch.claim(run, ME, 1)
    lifecycle.pause(run, by=alice)
    let_leases_run_out(settings, run, first)
    assert [call.item for call in dispatch.claim(run, OTHER, 5)] == [1]


def test_a_lease_that_holds_is_left_alone(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    dispatch.claim(run, ME, 1)
    assert dispatch.claim(run, OTHER, 5) == []


def test_renewing_does_not_win_back_a_lost_lease(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    mine = dispatch.claim(run, ME, 1)
    let_leases_run_out(settings, run, mine)
    dispatch.claim(run, OTHER, 1)
    let_leases_run_out(settings, run, mine)
    assert dispatch.claim(run, uuid4(), 1) == []


# ------------------------------------------------------------------ settle


def test_a_success_captures_its_cost_and_frees_the_rest(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, OPENAI, rows=2, cap=9)
    assert settle(run, dispatch.claim(run, ME, 1), FOUND) == []
    assert (item(run).status, item(run).result, item(run).owner) == ("succeeded", {"email": "a@b.example"}, None)
    assert (booked(run).captured, booked(run).held) == (1, 0)
    entry = Entry.objects.get(source=run.id, item=1)
    assert (entry.kind, entry.amount, entry.held, entry.provider) == ("captured", 1, Decimal("4.5"), "hunter")
    attempt = run.attempts.get()
    assert (attempt.outcome, attempt.reference, attempt.latency_ms) == ("succeeded", "hun_1", 12)
    assert_books_hold(acme)


def test_a_cascade_goes_on_until_one_succeeds_and_pays_for_each_call_made(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, OPENAI, rows=1, cap=6)
    second = settle(run, dispatch.claim(run, ME, 1), BROKEN)
    assert [(call.item, call.number) for call in second] == [(1, TRIES)]
    third = settle(run, second, NOTHING)
    assert booked(run).held == Decimal("3.5")
    assert settle(run, third, FOUND) == []
    assert (booked(run).captured, booked(run).held) == (2, 0)
    kinds = Entry.objects.filter(source=run.id, item=1).order_by("attempt").values_list("attempt", "kind", "held")
    assert list(kinds) == [(0, "captured", 1), (TRIES, "released", 1), (2 * TRIES, "captured", Decimal("3.5"))]
    assert_books_hold(acme)


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [
        (NOTHING, REFUSED, "succeeded"),
        (REFUSED, NOTHING, "succeeded"),
        (REFUSED, BROKEN, "failed"),
        (BROKEN, FOUND, "succeeded"),
    ],
)
def test_an_item_ends(acme: Organization, alice: User, first: Outcome, second: Outcome, ends: str) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, rows=1, cap=2)
    settle(run, settle(run, dispatch.claim(run, ME, 1), first), second)
    assert item(run).status == ends
    assert booked(run).held == 0


def test_a_mixed_cascade_holds_and_pays_only_its_managed_steps(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUBSPOT, HUNTER, rows=1, cap=1)
    second = settle(run, dispatch.claim(run, ME, 1), NOTHING)
    assert booked(run).held == 1
    settle(run, second, FOUND)
    entries = Entry.objects.filter(source=run.id, item=1).order_by("attempt").values_list("kind", "byok", "amount")
    assert list(entries) == [("captured", True, 0), ("captured", False, 1)]
    assert_books_hold(acme)


def test_what_is_billed_above_the_maximum_is_absorbed(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    settle(run, dispatch.claim(run, ME, 1), FOUND._replace(cost=Decimal(3)))
    assert (booked(run).captured, booked(run).absorbed) == (1, 2)
    assert run.attempts.get().cost == 3
    assert_books_hold(acme)


def test_a_throttled_tool_is_tried_again_later_with_a_new_key(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, rows=1, cap=2)
    assert settle(run, dispatch.claim(run, ME, 1), THROTTLED) == []
    assert booked(run).held == 2
    assert dispatch.claim(run, ME, 1) == []
    wait = standing.rest(run)
    assert wait is not None
    assert timedelta(0) < wait <= timedelta(seconds=1)
    connection.cursor().execute("SELECT pg_sleep(1.01)")
    (again,) = dispatch.claim(run, ME, 1)
    assert (again.item, again.number) == (1, 1)
    settle(run, [again], FOUND)
    assert (booked(run).captured, booked(run).held) == (1, 0)
    assert_books_hold(acme)


def test_after_fifteen_more_tries_the_next_tool_has_its_turn(acme: Organization, alice: User, settings: Any) -> None:
    settings.BREAKER_FAILURES = TRIES + 1
    run = start(acme, alice, HUNTER, PROSPEO, rows=1, cap=2)
    calls = dispatch.claim(run, ME, 1)
    never_left = not_sent(0, "hunter could not be reached")._replace(wait=0)
    for number in range(TRIES - 1):
        assert settle(run, calls, never_left) == []
        calls = dispatch.claim(run, ME, 1)
        assert calls[0].number == number + 1
    calls = settle(run, calls, never_left)
    assert [call.number for call in calls] == [TRIES]
    settle(run, calls, FOUND)
    assert (run.attempts.count(), booked(run).captured, booked(run).held) == (TRIES + 1, 1, 0)
    assert_books_hold(acme)


def test_a_zombies_late_settle_changes_nothing(acme: Organization, alice: User, settings: Any, caplog: Any) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    zombies = dispatch.claim(run, ME, 1)
    let_leases_run_out(settings, run, zombies)
    replays = dispatch.claim(run, OTHER, 1)
    assert settle(run, zombies, FOUND) == []
    assert (item(run).status, booked(run).captured) == ("running", 0)
    settle(run, replays, FOUND, owner=OTHER)
    assert settle(run, zombies, BROKEN) == []
    assert (item(run).status, booked(run).captured, Entry.objects.filter(source=run.id, item=1).count()) == (
        "succeeded",
        1,
        1,
    )
    assert caplog.text.count("dropped 1 late answers") == 2
    assert Run.objects.get(id=run.id).late_settles == 2
    assert_books_hold(acme)


def test_a_worker_that_took_over_its_own_item_settles_it_once(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    first = dispatch.claim(run, ME, 1)
    let_leases_run_out(settings, run, first)
    settle(run, first + dispatch.claim(run, ME, 1), FOUND)
    assert booked(run).captured == 1
    assert_books_hold(acme)


def test_the_same_answer_twice_settles_once(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    calls = dispatch.claim(run, ME, 1)
    settle(run, calls, FOUND)
    settle(run, calls, FOUND)
    assert booked(run).captured == 1


def test_an_attempt_that_has_an_entry_already_goes_the_slow_way(acme: Organization, alice: User, caplog: Any) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    calls = dispatch.claim(run, ME, 2)
    before = ledger.Settled(1, 0, "hunter", HUNTER, False, "succeeded", Decimal("0.5"), Decimal(1), Decimal(1))
    intention(lambda: ledger.settle(acme.id, run.id, [before]))
    settle(run, calls, FOUND)
    assert [item(run, n).status for n in (1, 2)] == ["succeeded", "succeeded"]
    assert (booked(run).captured, booked(run).held, booked(run).conflicts) == (Decimal("1.5"), 0, 1)
    assert "had an entry before: conflict" in caplog.text
    assert_books_hold(acme)


# ------------------------------------------------------------------ the run as a whole


def test_a_run_ends_when_its_last_item_has(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    calls = dispatch.claim(run, ME, 2)
    assert standing.rest(run)
    settle(run, calls[:1], FOUND)
    settle(run, calls[1:], BROKEN)
    assert standing.rest(run) is None
    run.refresh_from_db()
    assert (run.status, Account.objects.get(org=acme.id).available) == ("completed_with_errors", 98)
    assert standing.rest(run) is None
    assert Entry.objects.filter(source=run.id, item=-1).count() == 1
    assert_books_hold(acme)


@pytest.mark.parametrize(("outcome", "status"), [(FOUND, "succeeded"), (NOTHING, "succeeded"), (REFUSED, "failed")])
def test_how_all_items_end_is_how_the_run_ends(acme: Organization, alice: User, outcome: Outcome, status: str) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    settle(run, dispatch.claim(run, ME, 2), outcome)
    standing.rest(run)
    run.refresh_from_db()
    assert run.status == status


def test_it_pauses_at_its_cap_only_once_nothing_is_in_flight(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=2)
    standing.begin(run)
    calls = dispatch.claim(run, ME, 5)
    assert standing.rest(run) == standing.AGAIN
    settle(run, calls[:1], FOUND)
    assert standing.rest(run) == standing.AGAIN
    settle(run, calls[1:], FOUND)
    assert standing.rest(run) is None
    run.refresh_from_db()
    assert (run.status, run.pause_reason) == ("paused", "cap_reached")


def test_what_cheap_answers_leave_goes_to_further_items(acme: Organization, alice: User) -> None:
    run = start(acme, alice, OPENAI, rows=4, cap=7)
    calls = dispatch.claim(run, ME, 4)
    assert len(calls) == 2
    settle(run, calls, FOUND._replace(cost=Decimal("0.5")))
    assert standing.rest(run) == standing.AT_ONCE
    assert len(dispatch.claim(run, ME, 4)) == 1


def test_what_the_remaining_rows_cannot_need_goes_back_at_once(acme: Organization, alice: User) -> None:
    run = start(acme, alice, OPENAI, rows=4, cap=14)
    assert standing.give_back(run) == 0
    settle(run, dispatch.claim(run, ME, 2), FOUND)
    assert standing.give_back(run) == 5
    assert standing.give_back(run) == 0
    assert (booked(run).reserved, booked(run).needed) == (9, 7)
    assert_books_hold(acme)


def test_a_run_with_an_item_in_flight_cannot_be_closed(acme: Organization, alice: User) -> None:
    for tool in (HUNTER, HUBSPOT):
        run = start(acme, alice, tool, rows=2, cap=2)
        dispatch.claim(run, ME, 1)
        with pytest.raises(ledger.InFlight):
            intention(lambda run=run: standing.end(run, Run.Status.CANCELLED, actor="system:test"))  # type: ignore[misc]
        assert booked(run).closed_at is None
