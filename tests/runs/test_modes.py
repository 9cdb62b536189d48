"""Smoke tests: called on Oxygen's account and never charged, three rows at a time and twenty calls a day."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from billing.models import Account, Entry, Organization, User
from oxygen_site.clock import advance, clock
from oxygen_site.transactions import Refused
from runs import accounts, dispatch, lifecycle, smoke_tests, standing, today, worker
from runs.models import Column, Provider, Run, WorkflowTemplate
from runs.providers.outcomes import ABSORBED, read
from tests.runs.conftest import ME, Providers, assert_books_hold, booked, column_of, table_of
from tests.runs.test_lifecycle import HUNTER, answer_one, refusal, statuses

pytestmark = pytest.mark.usefixtures("catalog")

AI = "openai.ai_column"
SMOKE = Run.Mode.SMOKE_TEST


@pytest.fixture
def column(acme: Organization, catalog: None) -> Column:
    """A column of ten rows that asks Hunter."""
    return column_of(table_of(acme, 10), HUNTER)


def smoked(column: Column, by: User, limit: int | None = None) -> Run:
    return lifecycle.create(column.table, column, cap=None, mode=SMOKE, by=by, limit=limit)


# ------------------------------------------------------------------ free


def test_it_holds_nothing_and_needs_no_cap(acme: Organization, alice: User, column: Column) -> None:
    run = smoked(column, alice)
    assert (run.mode, run.status, run.cap, run.unit, run.estimated_max) == ("smoke_test", "queued", None, 0, 0)
    assert (booked(run).reserved, Account.objects.get(org=acme.id).available) == (0, 100)
    (step,) = run.cascade
    assert (step.price, step.maximum) == (1, 0)


def test_a_cap_that_is_named_is_not_taken_into_account(alice: User, column: Column) -> None:
    assert lifecycle.create(column.table, column, cap="0.0001", mode=SMOKE, by=alice).cap is None


def test_what_its_providers_bill_is_absorbed(acme: Organization, alice: User, column: Column) -> None:
    run = smoked(column, alice)
    for _ in range(3):
        answer_one(run, "2.5")
    standing.rest(run)
    assert (booked(run).captured, booked(run).absorbed) == (0, Decimal("7.5"))
    assert {entry.kind for entry in Entry.objects.filter(source=run.id, item__gt=0)} == {"released"}
    assert Run.objects.get(id=run.id).status == "succeeded"
    assert Account.objects.get(org=acme.id).available == 100
    assert_books_hold(acme)


@pytest.mark.usefixtures("fresh_database")
def test_it_really_calls_and_charges_nothing(
    acme: Organization, alice: User, column: Column, providers: Providers
) -> None:
    run = worker.drive_to_rest(smoked(column, alice))
    assert (run.status, providers.charges(run)["charges"]) == ("succeeded", 3)
    assert (booked(run).captured, booked(run).absorbed) == (0, 3)
    assert run.attempts.filter(reason__endswith=ABSORBED).count() == 3
    assert_books_hold(acme)


def test_a_provider_that_names_no_cost_costs_nobody_anything(alice: User, column: Column) -> None:
    (step,) = smoked(column, alice).cascade
    outcome = read(200, {}, b'{"result": {"email": "a@b.example"}}', step, 0)
    assert outcome
    assert (outcome.cost, outcome.reason) == (1, f"Answered. Billed 1; charged nothing, {ABSORBED}")


def test_it_needs_no_approval(acme: Organization, alice: User, column: Column) -> None:
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=0)
    assert smoked(column, alice).status == "queued"
    template = WorkflowTemplate.objects.get(id="opening_line")
    assert lifecycle.create(column.table, template, cap=None, mode=SMOKE, by=alice).status == "queued"


def test_a_tool_without_a_price_can_be_tested(acme: Organization, alice: User) -> None:
    run = smoked(column_of(table_of(acme, 2), "apollo.job_changes"), alice)
    answer_one(run, "4")
    assert (booked(run).captured, booked(run).absorbed) == (0, 4)


def test_an_own_account_is_still_needed(acme: Organization, alice: User) -> None:
    with refusal("integration_required"):
        smoked(column_of(table_of(acme, 2), "hubspot.contact_upsert"), alice)


def test_the_database_keeps_it_free(alice: User, column: Column) -> None:
    run = smoked(column, alice)
    for facts in ({"unit": 1, "cap": 5}, {"cap": 5}):
        with pytest.raises(IntegrityError, match="run_smoke_test_is_free"), transaction.atomic():
            Run.objects.filter(id=run.id).update(**facts)


# ------------------------------------------------------------------ what it fills


def test_what_it_found_fills_nothing(alice: User, column: Column) -> None:
    run = smoked(column, alice)
    for _ in range(3):
        answer_one(run)
    assert today.rows_to_fill(column).count() == 10
    live = lifecycle.create(column.table, column, cap="10", by=alice)
    assert (live.mode, live.rows) == ("live", 10)


def test_a_live_run_and_a_smoke_test_do_not_wait_for_each_other(alice: User, column: Column) -> None:
    smoked(column, alice)
    assert lifecycle.create(column.table, column, cap="10", by=alice, limit=2).rows == 2
    assert smoked(column, alice, limit=1).items.filter(row__number=3).exists()


# ------------------------------------------------------------------ its limits


def test_it_takes_the_first_three_rows_and_no_more_than_that(alice: User, column: Column) -> None:
    assert smoked(column, alice).rows == 3
    assert smoked(column, alice, limit=1).rows == 1
    with refusal("smoke_test_limit") as refused:
        smoked(column, alice, limit=4)
    assert (refused.value.status, refused.value.field, refused.value.facts) == (409, "limit", {"limit": 3})


def test_twenty_calls_are_a_day_and_the_next_begins_at_the_orgs_midnight(
    acme: Organization, alice: User, column: Column
) -> None:
    for _ in range(6):
        smoked(column, alice)
    assert smoke_tests.quota(acme, clock()).used == 18
    with refusal("smoke_test_limit") as refused:
        smoked(column, alice)
    resets_at = refused.value.facts["resets_at"]
    assert isinstance(resets_at, datetime)
    midnight = resets_at.astimezone(acme.tz)
    assert (refused.value.facts["used"], midnight.hour, midnight.minute) == (18, 0, 0)
    assert "2 are left" in refused.value.message
    assert "Europe/Lisbon" in refused.value.message
    assert smoked(column, alice, limit=2).rows == 2


def test_what_was_called_stays_counted_and_what_was_not_is_free_again(
    acme: Organization, alice: User, column: Column
) -> None:
    for _ in range(6):
        run = smoked(column, alice)
        answer_one(run)
        lifecycle.cancel(run, by=alice)
    assert smoke_tests.quota(acme, clock()).used == 6
    assert smoked(column, alice).rows == 3


def test_the_next_day_counts_anew(acme: Organization, alice: User, column: Column) -> None:
    for _ in range(6):
        run = smoked(column, alice)
        for _ in range(3):
            answer_one(run)
        standing.rest(run)
    advance(timedelta(days=1))
    assert smoke_tests.quota(acme, clock()).used == 0
    assert smoked(column, alice).rows == 3


def test_each_tool_of_a_cascade_counts_and_another_try_does_not(acme: Organization, alice: User) -> None:
    run = smoked(column_of(table_of(acme, 3), HUNTER, AI), alice)
    assert smoke_tests.quota(acme, clock()).used == 6
    (call,) = dispatch.claim(run, ME, 1)
    refused = read(429, {}, b"{}", run.cascade[0], 0)
    assert refused
    dispatch.settle(run, ME, [dispatch.Answer(call, refused, 1)])
    assert smoke_tests.quota(acme, clock()).used == 6


def test_another_orgs_calls_do_not_count(
    acme: Organization, alice: User, globex: Organization, mallory: User, column: Column
) -> None:
    for _ in range(6):
        smoked(column, alice)
    assert smoke_tests.quota(globex, clock()).used == 0
    assert smoked(column_of(table_of(globex, 3), HUNTER), mallory).rows == 3


@pytest.mark.usefixtures("fresh_database")
def test_of_two_that_start_at_once_only_one_gets_the_last_calls(
    acme: Organization, alice: User, column: Column
) -> None:
    for _ in range(5):
        smoked(column, alice)
    columns = [column_of(column.table, HUNTER, key=key) for key in ("one", "other", "third")]
    outcomes: list[str] = []

    def once(start: Callable[[], Run]) -> None:
        try:
            outcomes.append(start().status)
        except Refused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    starts = [threading.Thread(target=once, args=(lambda c=each: smoked(c, alice),)) for each in columns]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    assert sorted(outcomes) == ["queued", "smoke_test_limit", "smoke_test_limit"]
    assert smoke_tests.quota(acme, clock()).used == 18


# ------------------------------------------------------------------ steered, and seen


def test_what_continues_it_is_one_too(acme: Organization, alice: User, column: Column) -> None:
    run = smoked(column, alice)
    answer_one(run)
    lifecycle.pause(run, by=alice)
    rest = lifecycle.continue_remaining(run, cap="50", by=alice)
    assert (rest.mode, rest.cap, rest.rows, statuses(run)) == (
        "smoke_test",
        None,
        2,
        ["succeeded", "cancelled", "cancelled"],
    )
    assert smoke_tests.quota(acme, clock()).used == 3
    assert_books_hold(acme)


def test_named_rows_are_run_and_no_others(alice: User, column: Column) -> None:
    rows = list(column.table.rows.filter(number__in=(4, 7)).values_list("id", flat=True))
    run = lifecycle.create(column.table, column, cap="5", by=alice, rows=rows)
    assert list(run.items.order_by("number").values_list("row__number", flat=True)) == [4, 7]


def test_the_pages_say_so(acme: Organization, alice: User, column: Column) -> None:
    browser = Client()
    browser.force_login(alice)
    run = smoked(column, alice)
    for url in (reverse("runs:index", args=["acme"]), reverse("runs:detail", args=["acme", run.id])):
        assert b"Smoke test" in browser.get(url).content, url
    live = lifecycle.create(column.table, column, cap="10", by=alice)
    assert b"Smoke test" not in browser.get(reverse("runs:detail", args=["acme", live.id])).content


def test_on_an_own_account_it_is_charged_nothing_either(acme: Organization, alice: User) -> None:
    accounts.connect(acme, Provider.objects.get(id="hunter"), "hunter-key-1")
    run = smoked(column_of(table_of(acme, 2), HUNTER), alice)
    answer_one(run, "1")
    assert (booked(run).captured, booked(run).absorbed) == (0, 0)
    assert_books_hold(acme)
