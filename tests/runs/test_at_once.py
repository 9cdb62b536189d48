"""Two people at once: one moves the run, the other is told its state."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from billing.models import Account, Organization, User
from oxygen_site.transactions import Refused
from runs import lifecycle
from runs.models import Capability, Run, WorkflowTemplate
from tests.runs.conftest import assert_books_hold, column_of, start, table_of

pytestmark = pytest.mark.usefixtures("fresh_database", "catalog")

HUNTER = "hunter.email_finder"


def at_once(*verbs: Callable[[], Run]) -> list[Any]:
    """Let each verb begin at the same instant; answer each one's run, or its refusal's code and facts."""
    gate = Barrier(len(verbs))

    def say(verb: Callable[[], Run]) -> Any:
        try:
            gate.wait()
            return verb()
        except Refused as refused:
            return refused.code, refused.facts.get("state")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(verbs)) as people:
        return list(people.map(say, verbs))


def test_two_resumes_move_it_once(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    lifecycle.pause(run, by=alice)
    answers = at_once(*[lambda: lifecycle.resume(run, by=alice)] * 4)
    assert answers.count(run) == 1
    assert answers.count(("wrong_state", "queued")) == 3


def test_two_cancels_release_once(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    answers = at_once(*[lambda: lifecycle.cancel(run, by=alice)] * 4)
    assert answers.count(run) == 1
    assert answers.count(("wrong_state", "cancelled")) == 3
    assert Account.objects.get(org=acme.id).available == 100
    assert_books_hold(acme)


def test_resuming_and_continuing_never_both_happen(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    lifecycle.pause(run, by=alice)
    at_once(
        lambda: lifecycle.resume(run, by=alice),
        lambda: lifecycle.continue_remaining(run, cap="5", by=alice),
        lambda: lifecycle.cancel(run, by=alice),
    )
    open_runs = Run.objects.filter(status__in=Run.OPEN)
    assert open_runs.count() <= 1
    assert Account.objects.get(org=acme.id).drawn == 5 * open_runs.count()
    assert_books_hold(acme)


def test_two_starts_of_a_column_never_share_a_row(acme: Organization, alice: User) -> None:
    column = column_of(table_of(acme, 6), HUNTER)
    at_once(*[lambda: lifecycle.create(column.table, column, cap="4", by=alice, limit=4)] * 3)
    rows = [row for run in Run.objects.all() for row in run.items.values_list("row__number", flat=True)]
    assert sorted(rows) == [1, 2, 3, 4, 5, 6]
    assert_books_hold(acme)


def test_starts_that_together_ask_for_more_than_there_is_get_what_there_is(acme: Organization, alice: User) -> None:
    columns = [column_of(table_of(acme, 40, f"Table {n}"), HUNTER) for n in range(4)]
    starts = [lambda c=column: lifecycle.create(c.table, c, cap="40", by=alice) for column in columns]
    answers = at_once(*starts)
    assert answers.count(("insufficient_credits", None)) == 2
    assert Account.objects.get(org=acme.id).available == 20
    assert_books_hold(acme)


# ------------------------------------------------------------------ approval


@pytest.fixture
def asked(acme: Organization, alice: User) -> Run:
    """A run of a template over five rows that waits for approval; it would hold 17.5 credits."""
    template = WorkflowTemplate.objects.get(id="opening_line")
    return lifecycle.create(table_of(acme, 5), template, cap="20", by=alice)


def test_two_approvals_reserve_once(acme: Organization, alice: User, asked: Run) -> None:
    answers = at_once(*[lambda: lifecycle.approve(asked, by=alice)] * 4)
    assert answers.count(asked) == 1
    assert answers.count(("wrong_state", "queued")) == 3
    assert Account.objects.get(org=acme.id).available == Decimal("82.5")
    assert asked.items.count() == 5
    assert_books_hold(acme)


def test_approving_and_cancelling_never_both_leave_it_holding(acme: Organization, alice: User, asked: Run) -> None:
    answers = at_once(lambda: lifecycle.approve(asked, by=alice), lambda: lifecycle.cancel(asked, by=alice))
    asked.refresh_from_db()
    assert asked.status == "cancelled"  # cancelled as it waited, or after it had been approved
    assert answers[0] in (asked, ("wrong_state", "cancelled"))
    assert Account.objects.get(org=acme.id).drawn == 0
    assert_books_hold(acme)


def test_two_runs_that_wait_for_the_same_rows_are_never_both_given_them(
    acme: Organization, alice: User, asked: Run
) -> None:
    template = WorkflowTemplate.objects.get(id="opening_line")
    other = lifecycle.create(acme.tables.get(), template, cap="20", by=alice)
    at_once(lambda: lifecycle.approve(asked, by=alice), lambda: lifecycle.approve(other, by=alice))
    assert sorted(Run.objects.filter(id__in=[asked.id, other.id]).values_list("status", flat=True)) == [
        "awaiting_approval",
        "queued",
    ]
    assert Account.objects.get(org=acme.id).drawn == Decimal("17.5")
    assert_books_hold(acme)


def test_two_starts_of_a_capability_make_one_column(acme: Organization, alice: User) -> None:
    table, work_email = table_of(acme, 6), Capability.objects.get(key="work_email")
    at_once(*[lambda: lifecycle.create(table, work_email, cap="10", by=alice, limit=2)] * 3)
    assert table.columns.count() == 1
    rows = [row for run in Run.objects.all() for row in run.items.values_list("row__number", flat=True)]
    assert sorted(rows) == [1, 2, 3, 4, 5, 6]
    assert_books_hold(acme)
