"""Calls without a usable answer: asked again under the same key, held for an hour, then given up and never charged."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from billing.models import Account, Entry, Organization, User
from oxygen_site import clock
from oxygen_site.transactions import Refused
from runs import dispatch, doubts, jobs, lifecycle, queries, standing, worker
from runs.dispatch import Answer, Call
from runs.models import Provider, Run
from runs.providers import http
from runs.providers.outcomes import Outcome
from tests.runs.conftest import Providers, assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, PROSPEO, HUBSPOT = "hunter.email_finder", "prospeo.email_finder", "hubspot.contact_upsert"
FOUND = Outcome("succeeded", Decimal(1), "Answered. Charged 1.", {"email": "a@b.example"}, "hun_1")
NOTHING = Outcome("no_result", Decimal(0), "Nothing found. Free of charge.")
THROTTLED = Outcome("failed_before_billing", Decimal(0), "Refused.", wait=60)
ME = uuid4()


def settle(run: Run, calls: list[Call], outcome: Outcome) -> list[Call]:
    return dispatch.settle(run, ME, [Answer(call, outcome, 12) for call in calls])


def lose(run: Run, calls: list[Call], settings: Any) -> None:
    """Let calls end without a usable answer, and their leases run out."""
    settings.LEASE_SECONDS = 0
    dispatch.renew(run, ME, calls)
    settings.LEASE_SECONDS = 30
    for call in calls:
        dispatch.unanswered(run, ME, call)


def let_an_hour_pass() -> None:
    clock.advance(timedelta(hours=1))


def status(run: Run, number: int = 1) -> str:
    return str(run.items.get(number=number).status)


def test_it_is_asked_again_under_its_own_key_and_held_meanwhile(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    calls = dispatch.claim(run, ME, 1)
    lose(run, calls, settings)
    assert (status(run), booked(run).held, queries.receipt(run).unknown) == ("running", 1, 1)
    (again,) = dispatch.claim(run, ME, 1)
    assert (again.item, again.number, again.lease_no) == (1, 0, 2)
    settle(run, [again], FOUND)
    assert (status(run), booked(run).captured, queries.receipt(run).unknown) == ("succeeded", 1, 0)
    assert_books_hold(acme)


def test_after_an_hour_it_is_given_up_and_its_hold_is_free(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, rows=2, cap=4)
    lose(run, dispatch.claim(run, ME, 1), settings)
    jobs.give_up_overdue()
    assert booked(run).held == 2
    let_an_hour_pass()
    jobs.give_up_overdue()
    assert (status(run), booked(run).held, booked(run).captured) == ("failed", 0, 0)
    entry = Entry.objects.get(source=run.id, item=1)
    assert (entry.kind, entry.outcome, entry.amount, entry.held) == ("released", "unknown", 0, 2)
    assert [doubt.attempt.item for doubt in doubts.given_up()] == [1]
    assert_books_hold(acme)


def test_the_hour_counts_from_the_first_time_it_was_sent(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    lose(run, dispatch.claim(run, ME, 1), settings)
    clock.advance(timedelta(minutes=59))
    lose(run, dispatch.claim(run, ME, 1), settings)
    clock.advance(timedelta(minutes=1))
    jobs.give_up_overdue()
    assert status(run) == "failed"


def test_what_a_dead_worker_sent_an_hour_ago_is_given_up_too(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    settings.LEASE_SECONDS = 0
    dispatch.claim(run, ME, 1)
    let_an_hour_pass()
    jobs.give_up_overdue()
    assert run.attempts.get().outcome == "unknown"
    assert standing.rest(run) is None
    assert Run.objects.get(id=run.id).status == "failed"
    assert_books_hold(acme)


def test_a_call_under_way_is_not_given_up(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    dispatch.claim(run, ME, 1)
    let_an_hour_pass()
    jobs.give_up_overdue()
    assert status(run) == "running"


def test_an_unknown_given_up_fails_the_item_whatever_an_earlier_tool_answered(
    acme: Organization, alice: User, settings: Any
) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, "icypeas.email_finder", rows=1, cap=5)
    lose(run, settle(run, dispatch.claim(run, ME, 1), NOTHING), settings)
    let_an_hour_pass()
    jobs.give_up_overdue()
    assert (status(run), run.attempts.count(), booked(run).held) == ("failed", 2, 0)
    assert_books_hold(acme)


def test_a_provider_that_takes_no_keys_is_never_asked_again(acme: Organization, alice: User, settings: Any) -> None:
    Provider.objects.filter(id="hunter").update(takes_keys=False)
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    answered_never, worker_died = dispatch.claim(run, ME, 2)
    lose(run, [answered_never], settings)
    settings.LEASE_SECONDS = 0
    dispatch.renew(run, ME, [worker_died])
    settings.LEASE_SECONDS = 30
    assert dispatch.claim(run, ME, 2) == dispatch.claim(run, ME, 2) == []
    assert [doubt.most for doubt in doubts.unanswered()] == [1, 1]
    let_an_hour_pass()
    jobs.give_up_overdue()
    assert (status(run, 1), status(run, 2), booked(run).held) == ("failed", "failed", 0)


def test_a_try_that_was_not_sent_is_sent_even_where_no_keys_are_taken(
    acme: Organization, alice: User, settings: Any
) -> None:
    Provider.objects.filter(id="hunter").update(takes_keys=False)
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    settle(run, dispatch.claim(run, ME, 1), THROTTLED._replace(wait=0))
    assert [call.number for call in dispatch.claim(run, ME, 1)] == [1]


def test_it_does_not_delay_a_pause_at_the_cap(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=2)
    standing.begin(run)
    calls = dispatch.claim(run, ME, 2)
    settle(run, calls[:1], FOUND)
    lose(run, calls[1:], settings)
    assert standing.rest(run) is not None
    run.refresh_from_db()
    assert (run.status, run.pause_reason, booked(run).held) == ("paused", "cap_reached", 1)
    card = queries.receipt(run)
    assert (card.can_resume, card.can_continue) == (False, True)
    with pytest.raises(Refused, match="The cap of 2 credits is spent"):
        lifecycle.resume(run, by=alice)
    settle(run, dispatch.claim(run, ME, 1), FOUND._replace(cost=Decimal("0.5")))
    assert booked(run).captured == Decimal("1.5")
    assert_books_hold(acme)


def test_continuing_gives_it_up_at_once(acme: Organization, alice: User, settings: Any) -> None:
    old = start(acme, alice, HUNTER, rows=3, cap=1)
    lose(old, dispatch.claim(old, ME, 1), settings)
    standing.rest(old)
    new = lifecycle.continue_remaining(old, cap="2", by=alice)
    old.refresh_from_db()
    assert (old.status, status(old), new.rows) == ("cancelled", "failed", 2)
    assert Account.objects.get(org=acme.id).available == 98
    assert_books_hold(acme)


def test_cancelling_gives_it_up_at_once(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, rows=3, cap=6)
    lose(run, dispatch.claim(run, ME, 1), settings)
    assert lifecycle.cancel(run, by=alice).status == "cancelled"
    assert [status(run, n) for n in (1, 2, 3)] == ["failed", "cancelled", "cancelled"]
    assert Account.objects.get(org=acme.id).available == 100
    assert_books_hold(acme)


def test_a_call_that_stays_unanswered_after_a_cancel_does_not_keep_it_open(
    acme: Organization, alice: User, settings: Any
) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    calls = dispatch.claim(run, ME, 1)
    assert lifecycle.cancel(run, by=alice).status == "cancelling"
    lose(run, calls, settings)
    assert standing.rest(run) is None
    assert Run.objects.get(id=run.id).status == "cancelled"
    assert run.attempts.get().outcome == "unknown"
    assert_books_hold(acme)


def test_an_answer_after_giving_up_is_noted_and_moves_nothing(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    lose(run, dispatch.claim(run, ME, 1), settings)
    replay = dispatch.claim(run, ME, 1)
    lifecycle.cancel(run, by=alice)
    assert settle(run, replay, FOUND) == []
    attempt = run.attempts.get()
    assert (attempt.outcome, attempt.cost, attempt.absorbed, attempt.reference) == ("unknown", 0, 1, "hun_1")
    assert (booked(run).captured, Run.objects.get(id=run.id).late_settles) == (0, 1)
    assert [odd.run for odd in doubts.oddities()] == [run]
    assert_books_hold(acme)


def test_a_late_refusal_says_nothing_of_what_was_sent_before(acme: Organization, alice: User, settings: Any) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    lose(run, dispatch.claim(run, ME, 1), settings)
    replay = dispatch.claim(run, ME, 1)
    lifecycle.cancel(run, by=alice)
    settle(run, replay, THROTTLED)
    assert (run.attempts.get().absorbed, Run.objects.get(id=run.id).late_settles) == (None, 1)


def test_a_call_that_cannot_be_sent_again_stays_unknown(acme: Organization, alice: User, settings: Any) -> None:
    settings.PROVIDERS_URL = "http://127.0.0.1:9"  # where nobody listens
    run = start(acme, alice, HUNTER, rows=1, cap=1)

    def sent(call: Call) -> Answer | None:
        async def once() -> Answer | None:
            async with http.Wire({}) as wire:
                return await wire.ask(run.id, call, run.cascade[0])

        return asyncio.run(once())

    (first,) = dispatch.claim(run, ME, 1)
    refused = sent(first)
    assert refused is not None
    assert refused.outcome.outcome == "failed_before_billing"
    lose(run, [first], settings)
    (again,) = dispatch.claim(run, ME, 1)
    assert again.again
    assert sent(again) is None


def test_cancelling_ends_a_try_that_only_waits_without_another_call(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, PROSPEO, rows=3, cap=6)
    settle(run, dispatch.claim(run, ME, 1), THROTTLED)
    assert lifecycle.cancel(run, by=alice).status == "cancelled"
    waiting = run.attempts.get(number=1)
    assert (waiting.outcome, waiting.cost, waiting.sent_at) == ("failed_before_billing", 0, None)
    assert (status(run), booked(run).captured) == ("failed", 0)
    assert Account.objects.get(org=acme.id).available == 100
    assert_books_hold(acme)


def test_continuing_waits_for_a_try_that_waits(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=3, cap=3)
    settle(run, dispatch.claim(run, ME, 1), THROTTLED)
    lifecycle.pause(run, by=alice)
    with pytest.raises(Refused, match="still being worked on"):
        lifecycle.continue_remaining(run, cap="3", by=alice)
    assert status(run) == "running"


@pytest.mark.usefixtures("fresh_database")
def test_a_time_out_after_the_charge_is_bought_once(
    acme: Organization, alice: User, providers: Providers, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WHOLE_CALL", 1)
    settings.LEASE_SECONDS = 2
    providers.script(latency=3)
    run = worker.drive_to_rest(start(acme, alice, HUNTER, rows=2, cap=2))
    charged = providers.charges(run)
    assert (run.status, charged["charges"], charged["calls"], booked(run).captured) == ("succeeded", 2, 4, 2)
    assert_books_hold(acme)
