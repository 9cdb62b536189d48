"""What stands in a cell where several runs came by it, and how a result is written into one."""

from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from billing.models import Organization, User
from runs import cells, dispatch, lifecycle
from runs.models import Column, Row, Run, Table
from runs.providers.outcomes import Outcome
from tests.runs.conftest import ME, column_of, settle, table_of

HUNTER = "hunter.email_finder"
REFUSED = Outcome("failed_before_billing", Decimal(0), "Refused.")


@pytest.fixture
def column(acme: Organization, catalog: None) -> Column:
    return column_of(table_of(acme, 1), HUNTER)


def ran(column: Column, by: User, outcome: Outcome | None, mode: str = "live") -> Run:
    """A run over the one row of a column, ended in this way, or still pending."""
    run = lifecycle.create(column.table, column, mode=mode, cap="1" if mode == "live" else None, by=by)
    if outcome:
        settle(run, dispatch.claim(run, ME, 1), [outcome])
    return run


def found(what: str) -> Outcome:
    return Outcome("succeeded", Decimal(1), "Answered.", {"email": what})


def standing(column: Column) -> tuple[Run, Any, Decimal]:
    cell = cells.cell(Row.objects.get(table=column.table), column)
    assert cell
    (line,) = cells.rows_page(column.table, after=0, limit=9)
    shown = line.cells[column.key]
    assert shown
    assert (shown.item.pk, shown.credits) == (cell.item.pk, cell.credits)
    return cell.item.run, cell.item.result, cell.credits


def test_what_failed_gives_way_to_what_was_found_later(column: Column, alice: User) -> None:
    failed = ran(column, alice, REFUSED)
    assert standing(column) == (failed, None, 0)
    assert cells.filled(column.table) == {}
    later = ran(column, alice, found("a"))
    assert standing(column) == (later, {"email": "a"}, 1)
    assert cells.filled(column.table) == {column.id: 1}


def test_what_a_smoke_test_found_stands_until_a_live_run_finds_something(column: Column, alice: User) -> None:
    test = ran(column, alice, found("smoke"), "smoke_test")
    live = ran(column, alice, None)
    assert standing(column) == (test, {"email": "smoke"}, 0)
    settle(live, dispatch.claim(live, ME, 1), [found("live")])
    assert standing(column) == (live, {"email": "live"}, 1)


def test_an_answer_that_there_is_nothing_fills_too(column: Column, alice: User) -> None:
    ran(column, alice, Outcome("no_result", Decimal(1), "Nothing found."))
    assert standing(column)[1:] == (None, 1)
    assert cells.filled(column.table) == {column.id: 1}


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, ""),
        ({"email": "ada@a.example"}, "ada@a.example"),
        ({"score": 91}, "91"),
        ({"created": True}, "true"),
        ({"email": None}, ""),
        ({"technologies": ["Django", "Łódź"]}, '["Django", "Łódź"]'),
        ({"email": "a@b.example", "confidence": 91}, '{"email": "a@b.example", "confidence": 91}'),
    ],
)
def test_a_result_is_written_as_its_one_fact_or_as_json(result: Any, text: str) -> None:
    assert cells.as_text(result) == text


def test_an_export_reads_the_rows_a_thousand_at_a_time(
    acme: Organization, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    table = table_of(acme, 25)
    monkeypatch.setattr(cells, "EXPORTED", 10)
    pieces = cells.as_csv(table)
    with django_assert_num_queries(1 + 4):  # the columns; rows, three times ten and once none
        assert [piece.count("\r\n") for piece in pieces] == [1, 10, 10, 5]


def test_tables_from_before_take_down_their_fields(acme: Organization) -> None:
    table = table_of(acme, 2)
    Table.objects.update(fields=[])
    with connection.cursor() as cursor:
        cursor.execute(import_module("runs.migrations.0008_fields_of_tables").TAKE_DOWN)
    table.refresh_from_db()
    assert sorted(table.fields) == ["company", "domain", "first_name", "last_name"]
