"""What the pages are told about runs, at a cost that does not grow."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import QuerySet

from billing.models import Organization, User
from oxygen_site import clock
from runs import dispatch, lifecycle, queries, standing
from runs.dispatch import Answer
from runs.models import Attempt, Run
from runs.models.runs import NOT_CHARGED
from runs.providers.outcomes import Outcome
from tests.runs.conftest import ME, settle, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, OPENAI = "hunter.email_finder", "openai.ai_column"


def answer(run: Run, n: int, cost: str = "1", outcome: str = "succeeded") -> None:
    owner = uuid4()
    calls = dispatch.claim(run, owner, n)
    dispatch.settle(run, owner, [Answer(call, Outcome(outcome, Decimal(cost), "Why.", {"a": 1}), 1) for call in calls])


def test_a_receipt_counts_items_and_credits(acme: Organization, alice: User) -> None:
    run = start(acme, alice, OPENAI, rows=6, cap=21)
    answer(run, 2, "5")
    answer(run, 1, "0", "failed_before_billing")
    dispatch.claim(run, uuid4(), 1)
    standing.give_back(run)
    card = queries.receipt(run)
    assert (card.pending, card.running, card.succeeded, card.failed, card.done) == (2, 1, 2, 1, 3)
    assert (card.captured, card.absorbed, card.held, card.released, card.reserved) == (
        7,
        3,
        Decimal("3.5"),
        Decimal("3.5"),
        Decimal("17.5"),
    )
    assert (card.room, card.open_hold) == (7, Decimal("10.5"))


def test_attention_shows_paused_runs_first_then_live_ones(acme: Organization, alice: User) -> None:
    paused = start(acme, alice, HUNTER, rows=2, cap=2)
    live = start(acme, alice, HUNTER, rows=2, cap=2)
    lifecycle.cancel(start(acme, alice, HUNTER, rows=2, cap=2), by=alice)
    lifecycle.pause(paused, by=alice)
    assert [card.run for card in queries.attention(acme)] == [paused, live]


def test_a_run_paused_by_a_person_offers_resume(acme: Organization, alice: User) -> None:
    card = queries.receipt(lifecycle.pause(start(acme, alice, HUNTER, rows=2, cap=2), by=alice))
    assert (card.can_resume, card.can_continue, card.can_cancel, card.can_pause, card.why) == (
        True,
        True,
        True,
        False,
        "",
    )


def test_at_a_spent_cap_it_says_why_resume_cannot_be_and_what_can(acme: Organization, alice: User) -> None:
    run = start(acme, alice, OPENAI, rows=6, cap=5)
    standing.begin(run)
    answer(run, 1, "3")
    standing.rest(run)
    run.refresh_from_db()
    card = queries.receipt(run)
    assert (card.at_cap, card.can_resume, card.can_continue) == (True, False, True)
    assert card.why == (
        "Its cap has room for 2 more credits, and one more row may cost 3.5. Continue with a new cap instead."
    )


def test_runs_are_paged_newest_first(acme: Organization, alice: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    first, second, third = (start(acme, alice, HUNTER, rows=1, cap=1) for _ in range(3))
    page = queries.runs_page(acme)
    assert ([card.run for card in page.cards], page.next) == ([third, second], second.id)
    rest = queries.runs_page(acme, before=page.next)
    assert ([card.run for card in rest.cards], rest.next) == ([first], None)


def test_other_orgs_runs_are_never_listed(acme: Organization, alice: User, globex: Organization) -> None:
    start(acme, alice, HUNTER, rows=1, cap=1)
    assert queries.runs_page(globex).cards == queries.attention(globex) == []


def test_items_come_with_their_attempts_and_what_the_ledger_booked(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, "prospeo.email_finder", rows=3, cap=6)
    owner = uuid4()
    nothing, found = (
        Outcome("no_result", Decimal("0.5"), "Nothing."),
        Outcome("succeeded", Decimal(3), "Yes.", {"a": 1}),
    )
    second = dispatch.settle(run, owner, [Answer(call, nothing, 1) for call in dispatch.claim(run, owner, 1)])
    dispatch.settle(run, owner, [Answer(call, found, 1) for call in second])
    dispatch.claim(run, owner, 1)
    done, flying, waiting = queries.items_page(run).lines
    assert [(line.attempt.tool, line.credits, line.absorbed) for line in done.attempts] == [
        (HUNTER, Decimal("0.5"), 0),
        ("prospeo.email_finder", 1, 2),
    ]
    assert done.credits == Decimal("1.5")
    assert [line.credits for line in flying.attempts] == [None]
    assert waiting.attempts == []


def test_items_are_paged_and_filtered(acme: Organization, alice: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    answer(run, 2)
    answer(run, 1, "1", "failed_after_billing")
    page = queries.items_page(run)
    assert ([line.item.number for line in page.lines], page.next) == ([1, 2], 2)
    assert [line.item.number for line in queries.items_page(run, after=4).lines] == [5]
    assert [line.item.number for line in queries.items_page(run, status="failed").lines] == [3]
    assert [line.item.number for line in queries.items_page(run, calls="failed_after_billing").lines] == [3]


def test_an_itemized_receipt_adds_up(mixed: Run) -> None:
    receipt = queries.itemized_receipt(mixed)
    assert [(line.outcome, line.calls, line.captured) for line in receipt.outcomes] == [
        ("succeeded", 2, Decimal("5.5")),
        ("no_result", 2, 0),
        ("failed_before_billing", 2, 0),
        ("failed_after_billing", 2, 2),
        ("unknown", 1, 0),
    ]
    assert sum(line.captured for line in receipt.outcomes) == receipt.card.captured == Decimal("7.5")
    assert receipt.calls == 9
    assert receipt.paid_in_vain
    assert receipt.paid_in_vain.captured == 2
    assert (receipt.card.absorbed, receipt.late, receipt.late_cost) == (Decimal("1.5"), 1, 2)


def test_tabs_count_rows_and_none_is_empty(mixed: Run) -> None:
    tabs = {tab.label: (tab.rows, tab.status, tab.calls) for tab in queries.itemized_receipt(mixed).tabs}
    assert tabs == {
        "all": (8, None, None),
        "pending": (1, "pending", None),
        "running": (1, "running", None),
        "succeeded": (3, "succeeded", None),
        "failed": (3, "failed", None),
        "charged, then failed": (1, None, "failed_after_billing"),
        "unknown": (2, None, "unknown"),
    }
    for label, (rows, status, calls) in tabs.items():
        assert len(queries.items_page(mixed, status=status, calls=calls).lines) == rows, label


@pytest.mark.parametrize(
    ("calls", "rows"),
    [
        ("succeeded", [1, 2]),
        ("no_result", [3]),
        ("failed_before_billing", [4]),
        ("failed_after_billing", [5]),
        ("unknown", [6, 7]),
        ("absorbed", [2, 6]),
    ],
)
def test_rows_are_found_by_what_became_of_their_calls(mixed: Run, calls: str, rows: list[int]) -> None:
    assert [line.item.number for line in queries.items_page(mixed, calls=calls).lines] == rows


def test_a_receipt_of_a_run_without_calls_has_nothing_to_itemize(acme: Organization, alice: User) -> None:
    receipt = queries.itemized_receipt(start(acme, alice, HUNTER, rows=2, cap=2))
    assert (receipt.outcomes, receipt.calls, receipt.paid_in_vain, receipt.late) == ([], 0, None, 0)
    assert [(tab.label, tab.rows) for tab in receipt.tabs] == [("all", 2), ("pending", 2)]


def test_the_tries_of_one_tool_stand_together(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, "prospeo.email_finder", rows=1, cap=2)
    throttled = Outcome("failed_before_billing", Decimal(0), "Refused: too many requests.", wait=0)
    for _ in range(2):
        settle(run, dispatch.claim(run, ME, 1), [throttled])
    second = settle(run, dispatch.claim(run, ME, 1), [Outcome("no_result", Decimal(0), "Nothing.")])
    settle(run, second, [Outcome("succeeded", Decimal(1), "Answered.", {"a": 1})])
    (line,) = queries.items_page(run).lines
    assert [(step.last.attempt.tool, step.last.credits, len(step.refused)) for step in line.steps] == [
        (HUNTER, 0, 2),
        ("prospeo.email_finder", 1, 0),
    ]


def test_what_waits_says_until_when(mixed: Run) -> None:
    (step,) = queries.items_page(mixed, number=7).lines[0].steps
    assert step.last.given_up_at
    assert timedelta(minutes=59) < step.last.given_up_at - clock.clock() <= timedelta(hours=1)


def plan(attempts: QuerySet[Attempt]) -> str:
    """How the database reads them where there are many; a handful it would rather read through."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    return attempts.values("item").order_by().explain()


def test_calls_in_vain_are_found_by_their_index_however_long_the_run(mixed: Run) -> None:
    assert "attempt_in_vain" in plan(mixed.attempts.filter(outcome__in=queries.IN_VAIN))
    assert "attempt_in_vain" in plan(mixed.attempts.filter(outcome="failed_after_billing"))
    assert "attempt_odd_cost" in plan(mixed.attempts.filter(NOT_CHARGED))


@pytest.mark.parametrize("runs", [1, 4])
def test_lists_cost_the_same_however_long(
    acme: Organization, alice: User, django_assert_num_queries: Any, runs: int
) -> None:
    for _ in range(runs):
        answer(start(acme, alice, HUNTER, rows=3, cap=3), 2)
    with django_assert_num_queries(3):
        cards = queries.attention(acme)
    with django_assert_num_queries(0):
        assert {f"{card.run.table} {card.run.column} {card.run.member}" for card in cards}
    with django_assert_num_queries(3):
        queries.items_page(cards[0].run)
    with django_assert_num_queries(2):
        queries.receipt(cards[0].run)
    with django_assert_num_queries(4):
        queries.itemized_receipt(cards[0].run)
