"""What estimates foretold beside what was captured: of one run, of a tool, of a cascade."""

from decimal import Decimal
from typing import Any

import pytest

from billing.models import Organization, User
from runs import calibration, lifecycle, queries, standing
from runs.calibration import Calibration
from runs.models import Run
from tests.runs.conftest import column_of, start, table_of
from tests.runs.test_lifecycle import HUNTER, answer_one

pytestmark = pytest.mark.usefixtures("catalog")

AI = "openai.ai_column"


def ended(org: Organization, by: User, *tools: str, costs: list[str]) -> Run:
    """A run with a row for each of these costs, done."""
    run = start(org, by, *tools, rows=len(costs), cap=50)
    for cost in costs:
        answer_one(run, cost)
    standing.rest(run)
    run.refresh_from_db()
    assert run.status == "succeeded"
    return run


def test_a_tool_is_calibrated_by_the_runs_that_asked_it_alone(acme: Organization, alice: User) -> None:
    ended(acme, alice, AI, costs=["1", "2"])
    ended(acme, alice, AI, costs=["3"])
    ended(acme, alice, HUNTER, AI, costs=["1"])
    known = calibration.of_tools(acme, [AI, HUNTER])
    assert known == {AI: Calibration(2, Decimal("4.5"), Decimal(6))}
    assert known[AI].ratio == Decimal("1.3333")


def test_a_cascade_is_calibrated_by_its_own_order(acme: Organization, alice: User) -> None:
    ended(acme, alice, HUNTER, AI, costs=["1"])
    assert calibration.of_cascade(acme, [AI, HUNTER]) is None
    known = calibration.of_cascade(acme, [HUNTER, AI])
    assert known
    assert (known.runs, known.captured) == (1, 1)


def test_runs_that_are_open_or_did_only_some_rows_say_nothing_of_their_tools(acme: Organization, alice: User) -> None:
    start(acme, alice, AI, rows=2, cap=10)
    lifecycle.cancel(start(acme, alice, AI, rows=2, cap=10), by=alice)
    assert calibration.of_tools(acme, [AI]) == {}


def test_own_accounts_and_smoke_tests_say_nothing(acme: Organization, alice: User) -> None:
    ended(acme, alice, "hubspot.contact_upsert", costs=["0"])
    column = column_of(table_of(acme, 1), AI)
    answer_one(smoke := lifecycle.create(column.table, column, cap=None, mode="smoke_test", by=alice), "2")
    standing.rest(smoke)
    assert calibration.of_tools(acme, ["hubspot.contact_upsert", AI]) == {}


def test_another_orgs_runs_are_its_own(acme: Organization, alice: User, globex: Organization) -> None:
    ended(acme, alice, AI, costs=["1"])
    assert calibration.of_tools(globex, [AI]) == {}


def test_a_run_is_compared_for_the_rows_it_did(acme: Organization, alice: User) -> None:
    run = start(acme, alice, AI, rows=4, cap=20)
    assert calibration.of_run(queries.receipt(run)) is None
    answer_one(run, "3")
    assert calibration.of_run(queries.receipt(run)) == Calibration(1, Decimal("1.5"), Decimal(3))


def test_it_costs_two_queries_however_many_runs_there_were(
    acme: Organization, alice: User, django_assert_num_queries: Any
) -> None:
    for _ in range(5):
        ended(acme, alice, AI, costs=["1"])
    with django_assert_num_queries(2):
        assert calibration.of_tools(acme, [AI, HUNTER])[AI].runs == 5
