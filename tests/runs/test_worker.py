"""Whole runs, driven by the worker's own code over real HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from billing.models import Account, Organization, User
from oxygen_site.jobs import stopping
from runs import dispatch, lifecycle, standing, worker
from runs.dispatch import Answer
from runs.models import Provider, Run
from runs.providers.http import Wire
from runs.providers.outcomes import Health, Outcome
from tests.runs.conftest import Providers, assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("fresh_database", "catalog")

HUNTER, PROSPEO, OPENAI = "hunter.email_finder", "prospeo.email_finder", "openai.ai_column"


def test_a_run_ends_and_captures_what_the_provider_charged(
    acme: Organization, alice: User, providers: Providers
) -> None:
    run = worker.drive_to_rest(start(acme, alice, OPENAI, rows=30, cap=100))
    charged = providers.charges(run)
    assert run.status == Run.Status.SUCCEEDED
    assert (charged["charges"], booked(run).captured) == (30, Decimal(charged["total"]))
    assert Account.objects.get(org=acme.id).available == 100 - Decimal(charged["total"])
    assert not run.items.filter(result__text=None).exists()
    assert_books_hold(acme)


def test_a_run_pauses_at_its_cap_and_a_continued_one_finishes_the_rest(
    acme: Organization, alice: User, providers: Providers
) -> None:
    run = worker.drive_to_rest(start(acme, alice, HUNTER, rows=50, cap=20))
    assert (run.status, run.pause_reason, booked(run).captured) == ("paused", "cap_reached", 20)
    assert providers.charges(run)["charges"] == 20
    rest = worker.drive_to_rest(lifecycle.continue_remaining(run, cap="30", by=alice))
    assert (rest.status, booked(rest).captured) == ("succeeded", 30)
    assert Account.objects.get(org=acme.id).available == 50
    assert_books_hold(acme)


@pytest.mark.parametrize("tool", ["leadmagic.mobile_finder", "peopledatalabs.person_enrich"])
def test_what_a_provider_says_in_its_own_manner_is_captured_as_it_booked_it(
    acme: Organization, alice: User, providers: Providers, tool: str
) -> None:
    providers.script(finds=0.5)
    run = worker.drive_to_rest(start(acme, alice, tool, rows=16, cap=100))
    charged = providers.charges(run)
    assert 0 < charged["charges"] < 16
    assert (run.status, booked(run).captured) == ("succeeded", Decimal(charged["total"]))
    assert run.attempts.filter(outcome="no_result").count() == 16 - charged["charges"]
    assert_books_hold(acme)


def test_a_provider_that_bills_three_times_its_maximum_is_paid_the_maximum(
    acme: Organization, alice: User, providers: Providers
) -> None:
    providers.script(cost_times="3")
    run = worker.drive_to_rest(start(acme, alice, HUNTER, rows=10, cap=30))
    assert (booked(run).captured, booked(run).absorbed) == (10, 20)
    assert_books_hold(acme)


def test_what_one_tool_does_not_find_the_next_one_is_asked_for(
    acme: Organization, alice: User, providers: Providers
) -> None:
    providers.script(tool=HUNTER, finds=0)
    run = worker.drive_to_rest(start(acme, alice, HUNTER, PROSPEO, rows=10, cap=20))
    by_key = providers.charges(run)["by_key"]
    assert {facts["tool"] for facts in by_key.values()} == {PROSPEO}
    assert (run.attempts.count(), booked(run).captured) == (20, 10)
    assert_books_hold(acme)


def test_no_more_calls_are_made_at_a_time_than_set_also_where_a_cascade_goes_on(
    acme: Organization, alice: User, providers: Providers, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKER_CONCURRENCY = 4
    providers.script(tool=HUNTER, finds=0)
    run = start(acme, alice, HUNTER, PROSPEO, rows=24, cap=48)
    under_way, most, ask = 0, 0, Wire.ask

    async def counted(*call: Any) -> Answer | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        answer = await ask(*call)
        under_way -= 1
        return answer

    monkeypatch.setattr(Wire, "ask", counted)
    assert worker.drive_to_rest(run).status == "succeeded"
    assert (run.attempts.count(), most) == (48, 4)


def test_the_last_answers_are_settled_at_once(
    acme: Organization, alice: User, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long answers wait for others to be settled with: no others are to come."""
    monkeypatch.setattr(worker, "GATHER", 3600)
    run = start(acme, alice, HUNTER, rows=10, cap=10)

    def drive() -> None:
        worker.drive_to_rest(run)
        connection.close()

    driving = threading.Thread(target=drive, daemon=True)
    driving.start()
    driving.join(30)
    assert not driving.is_alive()
    assert (booked(run).captured, run.items.filter(status="succeeded").count()) == (10, 10)


def test_failures_after_the_charge_are_paid_and_the_run_says_so(
    acme: Organization, alice: User, providers: Providers
) -> None:
    providers.script(rates={"failed_after": 1})
    run = worker.drive_to_rest(start(acme, alice, HUNTER, rows=5, cap=5))
    assert (run.status, booked(run).captured) == ("failed", 5)


def test_a_provider_that_cannot_be_reached_charges_nothing(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    settings.PROVIDERS_URL = "http://127.0.0.1:9"
    wait = worker.drive_slice(run.id, 5)
    assert wait is not None
    assert set(run.attempts.filter(number=0).values_list("outcome", "cost")) == {("failed_before_billing", 0)}
    assert booked(run).held == 3
    assert_books_hold(acme)


def test_a_long_call_keeps_its_lease(acme: Organization, alice: User, providers: Providers, settings: Any) -> None:
    settings.LEASE_SECONDS = 1
    providers.script(latency=2.5)
    run = worker.drive_to_rest(start(acme, alice, HUNTER, rows=2, cap=2))
    assert set(run.items.values_list("lease_no", "status")) == {(1, "succeeded")}
    assert providers.charges(run)["calls"] == 2


def test_what_a_dead_worker_left_is_asked_again_under_the_same_key(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    settings.LEASE_SECONDS = 0
    dispatch.claim(run, uuid4(), 3)
    settings.LEASE_SECONDS = 30
    assert worker.drive_to_rest(run).status == "succeeded"
    assert set(run.items.values_list("lease_no", flat=True)) == {2}
    assert set(providers.charges(run)["by_key"]) == {f"{run.id}:{n}:0:0" for n in (1, 2, 3)}


def test_a_run_without_leave_to_call_anybody_looks_again_in_a_second_not_at_once(
    acme: Organization, globex: Organization, alice: User, mallory: User, providers: Providers
) -> None:
    other, me = start(globex, mallory, HUNTER, rows=1, cap=1), uuid4()
    busy = Outcome("failed_before_billing", Decimal(0), "Refused.", wait=60, health=Health.BUSY, pause=60)
    dispatch.settle(other, me, [Answer(call, busy, 12) for call in dispatch.claim(other, me, 1)])
    assert worker.drive_slice(start(acme, alice, HUNTER, rows=3, cap=3).id, 1) == standing.AGAIN


def test_credits_come_back_while_it_runs(acme: Organization, alice: User, providers: Providers, settings: Any) -> None:
    settings.WORKER_CONCURRENCY = 4
    providers.script(latency=0.5)
    run = start(acme, alice, OPENAI, rows=24, cap=84)
    worker.drive_to_rest(run)
    assert booked(run).give_backs >= 1
    assert_books_hold(acme)


def test_what_a_paused_run_cannot_need_comes_back_though_nothing_drives_it(
    acme: Organization, alice: User, providers: Providers
) -> None:
    run, owner = start(acme, alice, OPENAI, rows=10, cap=35), uuid4()
    calls = dispatch.claim(run, owner, 4)
    lifecycle.pause(run, by=alice)
    found = Outcome("succeeded", Decimal("0.5"), "", {"a": 1})
    dispatch.settle(run, owner, [Answer(call, found, 1) for call in calls])
    assert worker.drive_slice(run.id, 1) is None
    assert booked(run).reserved == 2 + 6 * Decimal("3.5")
    assert_books_hold(acme)


def test_it_drives_nothing_inside_a_transaction(acme: Organization, alice: User, providers: Providers) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        worker.drive_slice(run.id, 5)
    assert providers.charges(run)["calls"] == 0


def test_the_wire_itself_refuses_while_a_transaction_is_open(alice: User) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="while a transaction is open"):
        Wire({})


def test_an_ended_run_is_left_alone(acme: Organization, alice: User, providers: Providers) -> None:
    run = lifecycle.cancel(start(acme, alice, HUNTER, rows=3, cap=3), by=alice)
    assert worker.drive_slice(run.id, 5) is None


# ------------------------------------------------------------------ told to stop


@contextmanager
def told_to_stop(after: float) -> Iterator[None]:
    """As a worker is by SIGTERM."""
    timer = threading.Timer(after, stopping.set)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        stopping.clear()


def test_a_worker_told_to_stop_claims_no_more_and_settles_what_is_answered(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    settings.WORKER_CONCURRENCY = 4
    providers.script(latency=0.5)
    run = start(acme, alice, HUNTER, rows=80, cap=80)
    with told_to_stop(after=1):
        assert worker.drive_slice(run.id, 60) is not None
    done = run.items.filter(status="succeeded").count()
    assert 0 < done < 80
    assert not run.items.filter(status="running").exists()
    assert booked(run).captured == done == providers.charges(run)["charges"]


def test_calls_that_take_too_long_are_handed_over_and_asked_again_under_the_same_keys(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    settings.DRAIN_SECONDS, settings.WORKER_CONCURRENCY = 0, 4
    providers.script(hold=True)
    run = start(acme, alice, HUNTER, rows=4, cap=4)
    with told_to_stop(after=1):
        worker.drive_slice(run.id, 60)
    assert (run.items.filter(status="running").count(), booked(run).held) == (4, 4)
    providers.script(hold=False)
    settings.LEASE_SECONDS = 1  # of whoever claims now, and dies
    assert len(dispatch.claim(run, uuid4(), 9)) == 4  # at once: nobody waits for the first lease, of 30 seconds
    run = worker.drive_to_rest(Run.objects.get(id=run.id))
    charged = providers.charges(run)
    assert (run.status, charged["charges"], booked(run).captured) == ("succeeded", 4, 4)
    assert charged["calls"] == 8
    assert_books_hold(acme)


def test_a_call_that_was_still_to_be_made_is_handed_over_as_not_sent_even_where_no_keys_are_taken(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    settings.DRAIN_SECONDS, settings.WORKER_CONCURRENCY = 0, 4
    Provider.objects.filter(id="hunter").update(takes_keys=False)
    providers.script(latency=0.05)  # quick: some are claimed ahead
    run = start(acme, alice, HUNTER, rows=100, cap=100)
    freeze = threading.Timer(0.5, lambda: providers.script(hold=True))
    freeze.start()
    with told_to_stop(after=1):
        worker.drive_slice(run.id, 60)
    freeze.join()
    still_to_be_made = set(run.attempts.filter(outcome=None, sent_at=None).values_list("item", flat=True))
    assert still_to_be_made
    assert run.attempts.exclude(sent_at=None).count() == providers.charges(run)["calls"]
    taken = dispatch.claim(run, uuid4(), 9)
    assert still_to_be_made <= {call.item for call in taken if not call.again}
    assert not run.items.filter(number__in=still_to_be_made).exclude(unanswered_at=None).exists()


def test_what_was_sent_once_before_or_is_anothers_by_now_is_not_taken_back(
    acme: Organization, alice: User, settings: Any
) -> None:
    run, me, other = start(acme, alice, HUNTER, rows=2, cap=2), uuid4(), uuid4()
    settings.LEASE_SECONDS = 0
    lost = dispatch.claim(run, me, 2)
    again = dispatch.claim(run, other, 1)
    standing.hand_over(run, me, lost, lost)
    standing.hand_over(run, other, again, again)
    assert list(run.attempts.filter(sent_at=None).values_list("item", flat=True)) == [2]
