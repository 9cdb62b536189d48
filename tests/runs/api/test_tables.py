"""Tables as a script with a key sees them: imported whole or not at all, described, renamed, listed, extended."""

from typing import Any
from uuid import uuid4

import pytest

from billing import keys, orgs
from billing.models import Organization, Role, Scope, User
from runs import tables
from runs.models import Column, Row, Table
from tests.contract import Answer, ask
from tests.runs.conftest import column_of, table_of

HUNTER = "hunter.email_finder"
PEOPLE = [{"name": "Ada", "city": "Łódź"}, {"name": None, "age": "36"}, {}]


@pytest.fixture
def secret(acme: Organization, alice: User) -> str:
    return keys.make(acme, alice, "A script", Scope.values)[1]


def bring(secret: str, rows: Any, name: str = "People") -> Answer:
    return ask("/tables", secret, "POST", {"name": name, "rows": rows})


def send(secret: str, content: bytes, query: str = "?name=People", **headers: str) -> Answer:
    return ask(f"/tables{query}", secret, "POST", content, content="text/csv; charset=utf-8", **headers)


# ------------------------------------------------------------------ as JSON


def test_json_rows_become_a_table_of_all_their_names_with_empty_cells_for_what_is_missing(secret: str) -> None:
    made = bring(secret, PEOPLE)
    assert made.status == 201
    assert (made.data["name"], made.data["row_count"], made.data["columns"]) == ("People", 3, [])
    assert made.data["fields"] == ["name", "city", "age"]
    rows = Row.objects.filter(table=made.data["id"]).order_by("number")
    assert [row.data for row in rows] == [
        {"name": "Ada", "city": "Łódź", "age": ""},
        {"name": "", "city": "", "age": "36"},
        {"name": "", "city": "", "age": ""},
    ]


@pytest.mark.parametrize(
    ("rows", "pointer", "says"),
    [
        ([], "#/rows", "There is no row."),
        ([{}], "#/rows", "No row names a column."),
        ([{"a": "1"}, {"a": 2}], "#/rows/1", "“a” is no text"),
        ([{"a": True}], "#/rows/0", "a JSON string"),
        ([{"a": ["x"]}], "#/rows/0", "a JSON string"),
        ([{"a": "1"}, "x"], "#/rows/1", "no object"),
        ([{"a": "1", " ": "2"}], "#/rows", "Column 2 of the header has no name"),
        ([{"a": "1"}, {"a ": "2"}], "#/rows", "names the column “a” twice"),
        ([{"a": "x" * 131_073}], "#/rows/0", "longer than 131,072 characters"),
        ([{f"c{n}": "" for n in range(201)}], "#/rows", "at most 200 columns"),
    ],
)
def test_broken_rows_are_refused_whole_with_the_row_and_the_reason(
    secret: str, rows: Any, pointer: str, says: str
) -> None:
    answer = bring(secret, rows)
    assert (answer.status, answer.code) == (422, "broken_rows")
    assert says in answer.body["detail"]
    assert answer.body["errors"][0]["pointer"] == pointer
    assert not Table.objects.exists()


@pytest.mark.parametrize("cell", [b'"a\\u0000b"', b'"\\ud800"'])
def test_what_no_database_keeps_as_text_is_refused(secret: str, cell: bytes) -> None:
    for body in (b'{"name": "A", "rows": [{"a": %s}]}', b'{"name": "A", "rows": [{%s: "a"}]}'):
        assert ask("/tables", secret, "POST", body % cell).code == "broken_rows"
    assert ask("/tables", secret, "POST", b'{"name": %s, "rows": [{"a": "b"}]}' % cell).code == "invalid_name"


def test_a_body_that_is_none_is_refused(secret: str) -> None:
    for body, code in ((b"", "bad_request"), (b"{", "bad_request"), (b"[" * 10**5, "bad_request"), (b"[]", "invalid")):
        assert ask("/tables", secret, "POST", body).code == code
    answer = ask("/tables", secret, "POST", {"rows": [{"a": "b"}], "more": 1})
    assert [wrong["pointer"] for wrong in answer.body["errors"]] == ["#/name", "#/more"]


def test_more_rows_than_a_table_holds_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 2)
    assert "at most 2 rows" in bring(secret, [{"a": "1"}] * 3).body["detail"]
    assert bring(secret, [{"a": "1"}] * 2).status == 201


# ------------------------------------------------------------------ as CSV


def test_a_csv_file_becomes_a_table_in_the_order_of_its_header(secret: str) -> None:
    made = send(secret, "zip,a,company name\n1,2,Łódź\n".encode())
    assert (made.status, made.data["row_count"], made.data["fields"]) == (201, 1, ["zip", "a", "company name"])
    assert ask(f"/tables/{made.data['id']}", secret).data == made.data


def test_a_broken_file_names_its_line_keeps_nothing_and_may_come_again_under_its_key(secret: str) -> None:
    broken = send(secret, b"a,b\n1,2\n3\n", idempotency_key="once")
    assert (broken.status, broken.code) == (422, "broken_csv")
    assert "Line 3: it has 1 cells where the header has 2." in broken.body["detail"]
    assert not Table.objects.exists()
    assert send(secret, b"a,b\n1,2\n3,4\n", idempotency_key="once").data["row_count"] == 2


def test_a_file_needs_a_name_beside_it(secret: str) -> None:
    for query in ("", "?name=", "?name=+", f"?name={'x' * 121}"):
        assert send(secret, b"a\n1\n", query).code == "invalid_name"


def test_the_same_import_sent_twice_makes_one_table(secret: str) -> None:
    first, again = (send(secret, b"a\n1\n", idempotency_key="once") for _ in range(2))
    assert (first.data, again.response["Idempotent-Replayed"]) == (again.data, "true")
    assert send(secret, b"a\n2\n", idempotency_key="once").code == "idempotency_key_reused"
    assert Table.objects.count() == 1


def test_a_file_may_be_larger_than_any_other_body(secret: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert send(secret, b"a\n" + b"x\n" * 1000).data["row_count"] == 1000
    answer = bring(secret, [{"a": "x"}] * 1000)
    assert (answer.status, answer.code) == (413, "too_large")
    assert ask(f"/tables/{uuid4()}", secret, "PATCH", {"name": "x" * 1000}).status == 413
    monkeypatch.setattr(tables, "MOST_BYTES", 1000)
    answer = send(secret, b"a\n" + b"x\n" * 1000)
    assert (answer.status, answer.code) == (422, "broken_csv")
    assert "the file is larger than" in answer.body["detail"]


# ------------------------------------------------------------------ list, rename, extend


def test_tables_are_listed_in_pages_the_newest_first(secret: str, acme: Organization, globex: Organization) -> None:
    made = [str(table_of(acme, 1, f"Table {n}").id) for n in range(5)]
    table_of(globex, 1)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = ask(f"/tables?limit=2{cursor and f'&cursor={cursor}'}", secret).data
        seen, cursor = seen + [table["id"] for table in page["tables"]], page["next_cursor"]
    assert seen == made[::-1]


def test_a_renamed_table_keeps_its_rows_and_columns(secret: str, acme: Organization, catalog: None) -> None:
    table = column_of(table_of(acme, 3), HUNTER).table
    before = ask(f"/tables/{table.id}", secret).data
    renamed = ask(f"/tables/{table.id}", secret, "PATCH", {"name": "  Spring   leads "}).data
    assert renamed == before | {"name": "Spring leads"}
    assert Row.objects.filter(table=table).count() == 3
    for name in ("", " ", "x" * 121):
        answer = ask(f"/tables/{table.id}", secret, "PATCH", {"name": name})
        assert (answer.code, answer.body["errors"][0]["pointer"]) == ("invalid_name", "#/name")


def test_a_column_is_added_with_its_tools_in_order(secret: str, acme: Organization, catalog: None) -> None:
    path = f"/tables/{table_of(acme, 1).id}/columns"
    tools = ["prospeo.email_finder", HUNTER]
    added = ask(path, secret, "POST", {"key": "email", "tools": tools})
    assert (added.status, added.data) == (201, {"key": "email", "name": "email", "tools": tools, "filled": 0})
    assert ask(path, secret, "POST", {"key": "mail", "name": "Mail", "tools": [HUNTER]}).data["name"] == "Mail"
    assert ask(path, secret, "POST", {"key": "email", "tools": tools}).status == 409
    assert Column.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"key": "Work email", "tools": [HUNTER]}, "invalid_key", "#/key"),
        ({"key": "a", "tools": []}, "invalid_cascade", "#/tools"),
        ({"key": "a", "tools": [HUNTER, HUNTER]}, "invalid_cascade", "#/tools"),
        ({"key": "a", "tools": ["hunter.mind_reader"]}, "unknown_tool", "#/tools"),
        ({"key": "a", "name": " ", "tools": [HUNTER]}, "invalid_name", "#/name"),
        ({"key": "a", "tools": [HUNTER] * 101}, "invalid", "#/tools"),
    ],
)
def test_a_column_that_could_not_run_is_refused_at_its_field(
    secret: str, acme: Organization, catalog: None, body: Any, code: str, pointer: str
) -> None:
    answer = ask(f"/tables/{table_of(acme, 1).id}/columns", secret, "POST", body)
    assert (answer.status, answer.code, answer.body["errors"][0]["pointer"]) == (422, code, pointer)
    assert not Column.objects.exists()


# ------------------------------------------------------------------ who may


def test_another_orgs_table_is_not_there(secret: str, globex: Organization, catalog: None) -> None:
    column = column_of(table_of(globex, 1), HUNTER)
    table, row = column.table_id, column.table.rows.get().id
    for path in ("", "/rows", "/export", f"/rows/{row}/history", f"/rows/{row}/cells/found"):
        assert ask(f"/tables/{table}{path}", secret).status == 404, path
    assert ask(f"/tables/{table}", secret, "PATCH", {"name": "Mine"}).status == 404
    assert ask(f"/tables/{table}/columns", secret, "POST", {"key": "a", "tools": [HUNTER]}).status == 404
    assert not Table.objects.filter(name="Mine").exists()


def test_a_row_is_looked_for_in_its_own_table_only(secret: str, acme: Organization, catalog: None) -> None:
    one, other = (column_of(table_of(acme, 1, name), HUNTER).table for name in ("One", "Other"))
    row = other.rows.get().id
    assert ask(f"/tables/{one.id}/rows/{row}/history", secret).status == 404
    assert ask(f"/tables/{one.id}/rows/{row}/cells/found", secret).status == 404
    assert ask(f"/tables/{other.id}/rows/{row}/cells/lost", secret).status == 404
    assert ask(f"/tables/{other.id}/rows/{row}/cells/found", secret).status == 200


def test_who_only_reads_imports_renames_and_adds_nothing(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    viewer, table = keys.make(acme, mallory, "A script", Scope.values)[1], table_of(acme, 1)
    assert bring(viewer, PEOPLE).status == send(viewer, b"a\n1\n").status == 403
    assert ask(f"/tables/{table.id}", viewer, "PATCH", {"name": "Mine"}).status == 403
    assert ask(f"/tables/{table.id}/columns", viewer, "POST", {"key": "a", "tools": [HUNTER]}).status == 403
    assert ask(f"/tables/{table.id}", viewer).status == 200


def test_describing_and_listing_cost_the_same_however_much_there_is(
    secret: str, acme: Organization, catalog: None, django_assert_max_num_queries: Any
) -> None:
    table = table_of(acme, 30)
    for n in range(8):
        column_of(table, HUNTER, key=f"found-{n}")
    ask("/tables", secret)
    described = f"/tables/{table.id}"
    for path, queries in ((described, 3), (f"{described}/rows?limit=30", 4), ("/tables?limit=1", 1)):
        with django_assert_max_num_queries(5 + queries):  # the gate's and the operation's
            ask(path, secret)
