"""What stands in a table's cells and where it came from, as a script with a key sees it; a table as a CSV file."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from billing import keys
from billing.models import Entry, Organization, Scope, User
from runs import dispatch, lifecycle, tables, worker
from runs.models import Row, Run, Table
from runs.providers.outcomes import Outcome
from tests.contract import ask
from tests.runs.conftest import ME, Providers, column_of, settle, start, table_of

ICYPEAS, HUNTER = "icypeas.email_finder", "hunter.email_finder"
NONE = Outcome("no_result", Decimal("0.1"), "Nothing found.")


def found(result: Any, cost: str = "1") -> Outcome:
    return Outcome("succeeded", Decimal(cost), "Answered.", result, "ref-1")


@pytest.fixture
def secret(acme: Organization, alice: User) -> str:
    return keys.make(acme, alice, "A script", Scope.values)[1]


@pytest.fixture
def cascade(acme: Organization, alice: User, catalog: None) -> Run:
    """Three rows by two tools: the first tool finds the first row, the second the second; the third is pending."""
    run = start(acme, alice, ICYPEAS, HUNTER, rows=3, cap=10)
    second = settle(run, dispatch.claim(run, ME, 2), [found({"email": "ada@a.example"}, "0.5"), NONE])
    settle(run, second, [found({"email": "bob@b.example", "confidence": 91})])
    return run


def row(run: Run, number: int) -> Row:
    return Row.objects.get(table=run.table_id, number=number)


def cell(secret: str, run: Run, number: int, key: str = "found") -> Any:
    return ask(f"/tables/{run.table_id}/rows/{row(run, number).id}/cells/{key}", secret).data


def exported(secret: str, table: Any) -> list[list[str]]:
    answer = ask(f"/tables/{table}/export", secret)
    assert answer.response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


# ------------------------------------------------------------------ rows


def test_rows_show_what_was_imported_what_was_found_and_what_it_cost(secret: str, cascade: Run) -> None:
    first, second, third = ask(f"/tables/{cascade.table_id}/rows", secret).data["rows"]
    assert (first["number"], first["data"]["first_name"], first["id"]) == (1, "Given0", str(row(cascade, 1).id))
    assert first["results"]["found"] == {
        "status": "succeeded",
        "value": {"email": "ada@a.example"},
        "run": str(cascade.id),
        "mode": "live",
        "credits": Decimal("0.5"),
    }
    assert second["results"]["found"]["credits"] == Decimal("1.1")
    assert (third["results"]["found"]["status"], third["results"]["found"]["value"]) == ("pending", None)
    described = ask(f"/tables/{cascade.table_id}", secret).data
    assert [(column["key"], column["filled"]) for column in described["columns"]] == [("found", 2)]


def test_rows_come_in_pages_by_number(secret: str, acme: Organization) -> None:
    table, cursor = table_of(acme, 7), ""
    seen: list[int] = []
    while cursor is not None:
        page = ask(f"/tables/{table.id}/rows?limit=3{cursor and f'&cursor={cursor}'}", secret).data
        seen, cursor = seen + [row["number"] for row in page["rows"]], page["next_cursor"]
    assert seen == list(range(1, 8))
    other = table_of(acme, 7)
    first = ask(f"/tables/{other.id}/rows?limit=3", secret).data["next_cursor"]
    assert ask(f"/tables/{table.id}/rows?cursor={first}", secret).code == "invalid_cursor"


def test_a_column_nobody_ran_shows_nothing(secret: str, cascade: Run) -> None:
    column_of(Table.objects.get(), HUNTER, key="other")
    rows = ask(f"/tables/{cascade.table_id}/rows", secret).data["rows"]
    assert [each["results"]["other"] for each in rows] == [None, None, None]
    shown = cell(secret, cascade, 1, "other")
    assert (shown["status"], shown["value"], shown["run"], shown["credits"], shown["attempts"]) == (
        *(None, None, None, 0),
        [],
    )


def test_what_a_smoke_test_found_is_shown_and_marked_and_fills_nothing(
    secret: str, acme: Organization, alice: User, catalog: None
) -> None:
    column = column_of(table_of(acme, 1), HUNTER)
    run = lifecycle.create(column.table, column, mode=Run.Mode.SMOKE_TEST, cap=None, by=alice)
    settle(run, dispatch.claim(run, ME, 1), [found({"email": "a@b.example"})])
    shown = ask(f"/tables/{run.table_id}/rows", secret).data["rows"][0]["results"]["found"]
    assert (shown["mode"], shown["value"], shown["credits"]) == ("smoke_test", {"email": "a@b.example"}, 0)
    assert ask(f"/tables/{run.table_id}", secret).data["columns"][0]["filled"] == 0
    assert cell(secret, run, 1)["mode"] == "smoke_test"


# ------------------------------------------------------------------ where a value came from


def test_inspecting_a_cell_shows_every_call_and_the_ledgers_credits(secret: str, cascade: Run) -> None:
    shown = cell(secret, cascade, 2)
    assert (shown["value"], shown["status"]) == ({"email": "bob@b.example", "confidence": 91}, "succeeded")
    assert (shown["run"], shown["item"], shown["row_number"]) == (str(cascade.id), 2, 2)
    assert [(call["tool"], call["outcome"], call["credits"]) for call in shown["attempts"]] == [
        (ICYPEAS, "no_result", Decimal("0.1")),
        (HUNTER, "succeeded", 1),
    ]
    assert [(call["number"], call["step"], call["try"]) for call in shown["attempts"]] == [(0, 0, 0), (16, 1, 0)]
    booked = Entry.objects.filter(source=cascade.id, item=2).aggregate(sum=Sum("amount"))["sum"]
    assert shown["credits"] == sum(call["credits"] for call in shown["attempts"]) == booked == Decimal("1.1")


@pytest.mark.usefixtures("fresh_database")
def test_all_cells_of_a_run_add_up_to_what_it_captured(
    secret: str, acme: Organization, alice: User, catalog: None, providers: Providers
) -> None:
    run = worker.drive_to_rest(start(acme, alice, ICYPEAS, HUNTER, rows=6, cap=12))
    captured = ask("/balance", secret).data["tie_out"]["captured"]
    rows = ask(f"/tables/{run.table_id}/rows", secret).data["rows"]
    assert sum(each["results"]["found"]["credits"] for each in rows) == captured > 0
    assert sum(cell(secret, run, number)["credits"] for number in range(1, 7)) == captured


def test_a_call_under_way_has_no_credits_yet(secret: str, cascade: Run) -> None:
    dispatch.claim(cascade, ME, 1)
    shown = cell(secret, cascade, 3)
    assert (shown["status"], shown["value"], shown["credits"]) == ("running", None, 0)
    (call,) = shown["attempts"]
    assert (call["outcome"], call["credits"], call["settled_at"]) == (None, None, None)


def test_a_rows_history_tells_each_run_the_newest_first_with_who_started_it(
    secret: str, acme: Organization, alice: User, cascade: Run
) -> None:
    other = column_of(Table.objects.get(), HUNTER, key="other")
    key, _ = keys.make(acme, alice, "A script", ["run"])
    later = lifecycle.create(other.table, other, cap="5", limit=1, by=alice, key=key)
    settle(later, dispatch.claim(later, ME, 1), [Outcome("failed_before_billing", Decimal(0), "Refused.")])
    path = f"/tables/{cascade.table_id}/rows/{row(cascade, 1).id}/history"
    last, first = ask(path, secret).data["events"]
    assert (last["run"], last["column"], last["status"], last["credits"]) == (str(later.id), "other", "failed", 0)
    assert (first["run_name"], first["item"], first["credits"]) == (cascade.name, 1, Decimal("0.5"))
    assert (last["actor"], first["actor"]) == (f"key:{key.pk}", f"user:{alice.pk}")
    assert (last["attempts"], first["attempts"]) == (1, 1)
    page = ask(f"{path}?limit=1", secret).data
    assert page["events"] == [last]
    assert ask(f"{path}?limit=1&cursor={page['next_cursor']}", secret).data == {"events": [first], "next_cursor": None}


# ------------------------------------------------------------------ export


def test_a_table_of_three_thousand_rows_exports_exactly(
    secret: str, acme: Organization, alice: User, catalog: None
) -> None:
    cells = [[f"Łódź {n}", f'"{n}", quoted', f"two\r\nlines {n}", "" if n % 3 else " "] for n in range(3000)]
    sheet = io.StringIO(newline="")
    csv.writer(sheet).writerows([["zip", "a", "company name", "b"], *cells])
    made = ask("/tables?name=A", secret, "POST", sheet.getvalue().encode(), content="text/csv").data["id"]
    column = column_of(Table.objects.get(id=made), HUNTER)
    run = lifecycle.create(column.table, column, cap="2", limit=2, by=alice)
    settle(run, dispatch.claim(run, ME, 2), [found({"email": "ada@a.example"}), NONE])
    header, *rows = exported(secret, made)
    assert header == ["zip", "a", "company name", "b", "found"]
    assert [row[:4] for row in rows] == cells
    assert [row[4] for row in rows] == ["ada@a.example", "", *[""] * 2998]


def test_no_cell_of_an_export_is_a_formula(secret: str, acme: Organization) -> None:
    cells = ["=1+1", "+44 20", "-1", "@SUM(A1)", "\tx", "\rx", "1=1", "a-b", ""]
    table = tables.import_sheet(acme, "A", tables.read_rows([{"=a": cell} for cell in cells]))
    header, *rows = exported(secret, table.id)
    assert header == ["'=a"]
    assert [row[0] for row in rows] == ["'=1+1", "'+44 20", "'-1", "'@SUM(A1)", "'\tx", "'\rx", "1=1", "a-b", ""]


def test_a_column_is_told_from_what_was_imported_under_its_name(secret: str, acme: Organization, catalog: None) -> None:
    table = tables.import_sheet(acme, "A", tables.read_rows([{"found": "x"}]))
    column_of(table, HUNTER)
    assert exported(secret, table.id) == [["found", "found (filled)"], ["x", ""]]


def test_an_export_is_a_file_named_after_its_table(secret: str, acme: Organization) -> None:
    for name, file in (("Spring leads / 26", "spring-leads-26.csv"), ("リスト", "table.csv")):
        answer = ask(f"/tables/{table_of(acme, 1, name).id}/export", secret)
        assert answer.response["Content-Disposition"] == f'attachment; filename="{file}"'
        assert answer.response["Cache-Control"] == "private, no-cache"


def test_reading_rows_and_cells_costs_the_same_however_many_there_are(
    secret: str, cascade: Run, django_assert_max_num_queries: Any
) -> None:
    place, second = f"/tables/{cascade.table_id}/rows", row(cascade, 2).id
    ask(place, secret)
    for path, queries in (
        (place, 4),
        (f"{place}?limit=1", 4),
        (f"{place}/{second}/history", 2),
        (f"{place}/{second}/cells/found", 6),
    ):
        with django_assert_max_num_queries(5 + queries):  # the gate's and the operation's
            ask(path, secret)
