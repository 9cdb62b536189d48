"""How often providers are called, and when they are left alone: over all workers, and found again by itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from billing.models import Organization, User
from oxygen_site import clock
from oxygen_site.transactions import intention
from runs import accounts, dispatch, jobs, lifecycle, standing, worker
from runs.dispatch import Answer, Call
from runs.models import Limit, Provider, Run
from runs.models.limits import OXYGENS
from runs.providers import limits
from runs.providers.outcomes import Health, Outcome
from tests.runs.conftest import Providers, assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, PROSPEO, HUBSPOT = "hunter.email_finder", "prospeo.email_finder", "hubspot.contact_upsert"
FOUND = Outcome("succeeded", Decimal(1), "Answered. Charged 1.", {"email": "a@b.example"}, "hun_1")
NOTHING = Outcome("no_result", Decimal(0), "Nothing found. Free of charge.")
DOWN = Outcome("failed_before_billing", Decimal(0), "Not sent. Nothing was charged.", wait=0, health=Health.ILL)
BUSY = Outcome("failed_before_billing", Decimal(0), "Refused.", wait=60, health=Health.BUSY, pause=60)
ME = uuid4()


@pytest.fixture(autouse=True)
def patience(settings: Any) -> None:
    settings.BREAKER_FAILURES, settings.BREAKER_SECONDS = 3, 60


def settle(run: Run, calls: list[Call], outcome: Outcome) -> list[Call]:
    return dispatch.settle(run, ME, [Answer(call, outcome, 12) for call in calls])


def rest(seconds: float) -> None:
    connection.cursor().execute("SELECT pg_sleep(%s)", [seconds])


def break_hunter(run: Run) -> None:
    settle(run, dispatch.claim(run, ME, 3), DOWN)


def state(run: Run) -> tuple[str, str | None]:
    run.refresh_from_db()
    return run.status, run.pause_reason


# ------------------------------------------------------------------ so many calls a second


def test_no_more_rows_start_than_the_provider_may_be_asked_for(acme: Organization, alice: User) -> None:
    Provider.objects.filter(id="hunter").update(calls_per_second=4)
    run = start(acme, alice, HUNTER, rows=20, cap=20)
    assert len(dispatch.claim(run, ME, 20)) == 4
    assert (run.items.filter(status="running").count(), booked(run).held) == (4, 4)


def test_one_limit_serves_all_runs_of_all_orgs_on_oxygens_account(
    acme: Organization, globex: Organization, alice: User, mallory: User
) -> None:
    Provider.objects.filter(id="hunter").update(calls_per_second=4)
    first = dispatch.claim(start(acme, alice, HUNTER, rows=3, cap=3), ME, 3)
    second = dispatch.claim(start(globex, mallory, HUNTER, rows=3, cap=3), ME, 3)
    assert 3 <= len(first) + len(second) <= 5  # 4, and at most what filled up meanwhile


def test_each_own_account_has_a_limit_of_its_own(
    acme: Organization, globex: Organization, alice: User, mallory: User
) -> None:
    Provider.objects.filter(id="hubspot").update(calls_per_second=3)
    for org, by in ((acme, alice), (globex, mallory)):
        assert len(dispatch.claim(start(org, by, HUBSPOT, rows=9, cap=None), ME, 9)) == 3


@pytest.mark.usefixtures("fresh_database")
def test_many_workers_at_once_take_no_more_than_the_rate_allows(acme: Organization, alice: User) -> None:
    Provider.objects.filter(id="hunter").update(calls_per_second=100)
    run = start(acme, alice, HUNTER, rows=1, cap=1)

    def greedy(_: int) -> int:
        try:
            return sum(limits.take(run, {"hunter": 7})["hunter"].calls for _ in range(40))
        finally:
            connection.close()

    def now() -> Decimal:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            return cursor.fetchone()[0]

    began = now()
    with ThreadPoolExecutor(6) as pool:
        taken = sum(pool.map(greedy, range(6)))
    assert 100 <= taken <= 100 + 100 * (now() - began)


def test_the_next_tool_waits_for_leave_with_its_hold(acme: Organization, alice: User) -> None:
    Provider.objects.filter(id="prospeo").update(calls_per_second=2)
    run = start(acme, alice, HUNTER, PROSPEO, rows=5, cap=10)
    further = settle(run, dispatch.claim(run, ME, 5), NOTHING)
    assert [call.number for call in further] == [16, 16]
    assert (booked(run).held, run.attempts.filter(sent_at=None, outcome=None).count()) == (5, 3)
    assert dispatch.claim(run, ME, 5) == []
    rest(1.1)
    assert len(dispatch.claim(run, ME, 5)) in (2, 3)
    assert_books_hold(acme)


def test_a_provider_without_a_limit_has_none_either_after_it_failed_once(acme: Organization, alice: User) -> None:
    Provider.objects.filter(id__in=("hunter", "prospeo")).update(calls_per_second=None)
    run = start(acme, alice, HUNTER, PROSPEO, rows=9, cap=18)
    (once,) = settle(run, dispatch.claim(run, ME, 1), NOTHING)
    settle(run, [once], DOWN._replace(wait=60))
    before = Limit.objects.get().tokens
    further = settle(run, dispatch.claim(run, ME, 5), NOTHING)
    assert [call.number for call in further] == [16] * 5
    assert Limit.objects.get().tokens == before


def test_what_got_no_leave_asks_again_later_and_is_not_lost(
    fresh_database: str, acme: Organization, alice: User, providers: Providers
) -> None:
    Provider.objects.filter(id__in=("hunter", "prospeo")).update(calls_per_second=20)
    providers.script(tool=HUNTER, finds=0)
    run = worker.drive_to_rest(start(acme, alice, HUNTER, PROSPEO, rows=40, cap=80))
    assert (run.status, booked(run).captured) == ("succeeded", 40)
    assert_books_hold(acme)


# ------------------------------------------------------------------ when it asks for patience


def test_a_provider_that_asks_for_patience_is_left_alone_by_everybody(
    acme: Organization, globex: Organization, alice: User, mallory: User
) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    settle(run, dispatch.claim(run, ME, 1), BUSY)
    assert dispatch.claim(run, ME, 9) == []
    assert dispatch.claim(start(globex, mallory, HUNTER, rows=3, cap=3), ME, 3) == []
    standing.begin(run)
    standing.rest(run)
    assert state(run) == ("running", None)  # it is there, only busy


# ------------------------------------------------------------------ when it fails


def test_a_provider_that_fails_again_and_again_pauses_its_runs_and_burns_no_rows(
    acme: Organization, alice: User
) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    standing.begin(run)
    break_hunter(run)
    assert dispatch.claim(run, ME, 9) == []
    assert standing.rest(run) is not None
    assert state(run) == ("paused", "provider_unavailable")
    assert booked(run).held == 3  # what was claimed keeps its hold and its turn
    assert booked(run).paused
    assert run.items.filter(status="pending").count() == 6
    assert_books_hold(acme)


def test_one_answer_between_failures_is_enough_to_go_on(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    for _ in range(2):
        settle(run, dispatch.claim(run, ME, 2), DOWN)
        settle(run, dispatch.claim(run, ME, 1), FOUND)
    assert Limit.objects.get().failures == 0
    assert standing.rest(run) is not None
    assert not run.pause_reason


def test_a_refused_row_says_nothing_against_its_provider(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    settle(run, dispatch.claim(run, ME, 5), Outcome("failed_before_billing", Decimal(0), "Refused: invalid input."))
    assert not Limit.objects.exists()


def test_calls_without_a_usable_answer_count_as_failures(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    for call in dispatch.claim(run, ME, 3):
        dispatch.unanswered(run, ME, call)
    assert dispatch.claim(run, ME, 3) == []


def test_only_one_call_asks_whether_it_is_back(acme: Organization, alice: User, settings: Any) -> None:
    settings.BREAKER_SECONDS = 1
    runs = [start(acme, alice, HUNTER, rows=9, cap=9) for _ in range(3)]
    settle(runs[0], dispatch.claim(runs[0], ME, 3), FOUND._replace(health=Health.ILL))
    rest(1.1)
    claims = [dispatch.claim(run, ME, 5) for run in runs]
    assert sorted(map(len, claims)) == [0, 0, 1]
    (asking,) = [(run, calls) for run, calls in zip(runs, claims, strict=True) if calls]
    settle(*asking, FOUND)
    assert [len(dispatch.claim(run, ME, 5)) for run in runs] == [5, 5, 5]


def test_each_time_it_is_not_back_it_is_left_alone_twice_as_long(
    acme: Organization, alice: User, settings: Any
) -> None:
    settings.BREAKER_SECONDS = 1
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    break_hunter(run)
    lengths = []
    for _ in range(3):
        lifecycle.resume(run, by=alice) if state(run)[0] == "paused" else limits.try_now(run)
        (asked,) = dispatch.claim(run, ME, 1)
        settle(run, [asked], DOWN)
        limit = Limit.objects.get()
        assert limit.open_until is not None
        lengths.append(round((limit.open_until - limit.filled_at).total_seconds()))
    assert lengths == [2, 4, 8]


def test_another_orgs_own_account_is_not_left_alone_for_this_ones_failures(
    acme: Organization, globex: Organization, alice: User, mallory: User
) -> None:
    broken = start(acme, alice, HUBSPOT, rows=9, cap=None)
    settle(broken, dispatch.claim(broken, ME, 3), DOWN)
    assert dispatch.claim(broken, ME, 3) == []
    assert len(dispatch.claim(start(globex, mallory, HUBSPOT, rows=9, cap=None), ME, 3)) == 3


def test_a_new_credential_is_tried_at_once(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUBSPOT, rows=9, cap=None)
    settle(run, dispatch.claim(run, ME, 3), DOWN)
    accounts.connect(acme, Provider.objects.get(id="hubspot"), "another-api-key")
    assert len(dispatch.claim(run, ME, 9)) == 9


def test_a_persons_resume_asks_at_once(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=9, cap=9)
    settle(run, dispatch.claim(run, ME, 3), FOUND._replace(health=Health.ILL))
    standing.rest(run)
    assert state(run) == ("paused", "provider_unavailable")
    lifecycle.resume(run, by=alice)
    assert len(dispatch.claim(run, ME, 9)) == 1


def test_of_the_runs_that_wait_one_goes_on_to_see_and_all_once_it_answers(
    acme: Organization, alice: User, settings: Any
) -> None:
    settings.BREAKER_SECONDS = 1
    runs = [start(acme, alice, HUNTER, rows=9, cap=9) for _ in range(3)]
    settle(runs[0], dispatch.claim(runs[0], ME, 3), FOUND._replace(health=Health.ILL))
    for run in runs:
        standing.rest(run)
    assert {state(run)[1] for run in runs} == {"provider_unavailable"}
    assert standing.held_up() == []
    rest(1.1)
    jobs.ask_providers_again()
    assert [state(run)[0] for run in runs] == ["running", "paused", "paused"]
    settle(runs[0], dispatch.claim(runs[0], ME, 9), FOUND)
    jobs.ask_providers_again()
    assert [state(run)[0] for run in runs] == ["running"] * 3
    assert not booked(runs[2]).paused


def test_a_run_paused_by_a_person_meanwhile_stays_paused(acme: Organization, alice: User) -> None:
    run = lifecycle.pause(start(acme, alice, HUNTER, rows=9, cap=9), by=alice)
    assert not intention(lambda: standing.go_on(run))
    assert state(run) == ("paused", "by_user")


@pytest.mark.usefixtures("fresh_database")
def test_a_run_over_an_outage_finishes_by_itself_with_every_row_found(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    settings.BREAKER_SECONDS, settings.WORKER_CONCURRENCY = 1, 4
    run = start(acme, alice, HUNTER, rows=30, cap=30)
    providers.script(rates={"unauthorized": 1})
    assert worker.drive_slice(run.id, 5) is None
    assert state(run) == ("paused", "provider_unavailable")
    lost = run.items.filter(status="failed").count()
    assert 3 <= lost <= 2 * 4  # those that were in flight
    providers.script(rates={})
    rest(1.1)
    jobs.ask_providers_again()
    worker.drive_to_rest(run)
    assert state(run) == ("completed_with_errors", None)
    assert booked(run).captured == 30 - lost
    assert_books_hold(acme)


def test_limits_say_whose_they_are(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, HUBSPOT, rows=2, cap=2)
    assert limits.accounts(run) == {"hunter": OXYGENS, "hubspot": acme.pk}


# ------------------------------------------------------------------ calls that nobody waits for any more, meanwhile


def left_behind(org: Organization, by: User, settings: Any) -> tuple[Run, list[Call]]:
    """Let a worker die with a call sent, and others find the provider down."""
    run, lease = start(org, by, HUNTER, rows=2, cap=2), settings.LEASE_SECONDS
    settings.LEASE_SECONDS = 0
    calls = dispatch.claim(run, uuid4(), 1)
    settings.LEASE_SECONDS = lease
    break_hunter(start(org, by, HUNTER, rows=3, cap=3))
    assert dispatch.claim(run, ME, 2) == []
    return run, calls


def test_cancelling_gives_up_what_cannot_be_asked_again_now(acme: Organization, alice: User, settings: Any) -> None:
    run, _ = left_behind(acme, alice, settings)
    assert lifecycle.cancel(run, by=alice).status == "cancelled"
    assert (run.attempts.get().outcome, booked(run).captured, booked(run).held) == ("unknown", 0, 0)
    assert_books_hold(acme)


def test_continuing_gives_up_what_cannot_be_asked_again_now(acme: Organization, alice: User, settings: Any) -> None:
    run, _ = left_behind(acme, alice, settings)
    lifecycle.pause(run, by=alice)
    assert lifecycle.continue_remaining(run, cap="1", by=alice).rows == 1
    assert (state(run), run.attempts.get().outcome) == (("cancelled", None), "unknown")
    assert_books_hold(acme)


def test_its_hold_stays_for_an_hour_however_often_it_is_put_off(acme: Organization, alice: User, settings: Any) -> None:
    run, _ = left_behind(acme, alice, settings)
    clock.advance(timedelta(hours=1))
    jobs.give_up_overdue()
    assert (run.attempts.get().outcome, booked(run).held) == ("unknown", 0)


def test_it_is_asked_again_when_the_provider_is_back(acme: Organization, alice: User, settings: Any) -> None:
    settings.BREAKER_SECONDS = 1
    run, (sent,) = left_behind(acme, alice, settings)
    rest(1.1)
    (again,) = dispatch.claim(run, ME, 1)
    assert (again.item, again.number, again.again) == (sent.item, sent.number, True)
    settle(run, [again], FOUND)
    assert (booked(run).captured, run.items.get(number=1).unanswered_at) == (1, None)
    assert_books_hold(acme)


def test_a_cancelled_run_does_not_wait_for_leave_to_send_what_never_left(
    acme: Organization, alice: User, settings: Any
) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    calls = dispatch.claim(run, ME, 1)
    assert lifecycle.cancel(run, by=alice).status == "cancelling"
    standing.hand_over(run, ME, calls, calls)
    break_hunter(start(acme, alice, HUNTER, rows=3, cap=3))
    assert dispatch.claim(run, uuid4(), 1) == []
    assert standing.rest(run) is None
    assert (state(run), run.attempts.get().outcome) == (("cancelled", None), "failed_before_billing")
    assert_books_hold(acme)
