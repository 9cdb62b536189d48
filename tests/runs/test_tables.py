"""Tables: a CSV file goes in whole, or not at all and with the line and the reason."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.models import Organization
from oxygen_site.transactions import Refused
from runs import tables
from runs.models import Capability, Column, Row, Table, WorkflowTemplate
from runs.tables import column_for
from tests.runs.conftest import column_of, table_of

DATA = Path(__file__).parents[2] / "sandbox" / "data"


def imported(org: Organization, content: bytes, name: str = "Leads") -> Table:
    return tables.import_csv(org, name, io.BytesIO(content))


def test_a_file_becomes_a_table_with_its_rows_in_order(acme: Organization) -> None:
    table = imported(acme, 'company,city\nAcme,Łódź\n\n"Quay, side",\n'.encode())
    assert (table.row_count, table.fields) == (2, ["company", "city"])
    rows = Row.objects.filter(table=table).order_by("number")
    assert [(row.number, row.data) for row in rows] == [
        (1, {"company": "Acme", "city": "Łódź"}),
        (2, {"company": "Quay, side", "city": ""}),
    ]


def test_what_spreadsheets_write_is_read(acme: Organization) -> None:
    table = imported(acme, b'\xef\xbb\xbfname, note\r\nAda,"two\r\nlines"\r\n')
    assert Row.objects.get(table=table).data == {"name": "Ada", "note": "two\r\nlines"}


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "no header"),
        (b"\n\n", 1, "no header"),
        (b",,\n1,2,3\n", 1, "no header"),
        (b"a,b\n", 1, "no row"),
        (b"a,,c\n1,2,3\n", 1, "column 2 of the header has no name"),
        (b"a,b, a\n1,2,3\n", 1, "“a” twice"),
        (b"a,b\n1,2\n3\n", 3, "1 cells where the header has 2"),
        (b"a,b\n1,2\n\n3,4,5\n", 4, "3 cells where the header has 2"),
        (b'a,b\n"1\n1",2\n3\n', 4, "1 cells"),
        (b'a,b\n1,2\n"3,4\n', 3, "cannot be read as CSV"),
        (b'a,b\n1,"2"x\n', 2, "cannot be read as CSV"),
        (b"a,b\n1,\xff\n", 2, "not UTF-8"),
        ("a,b\n1,2\nŁódź,x\n".encode("utf-16"), 1, "NUL byte"),
        (b"a,b\n1,2\n3,\x00\n", 3, "NUL byte"),
        (b"a\n" + b"x" * 200_000 + b"\n", 2, "cannot be read as CSV"),
    ],
)
def test_a_broken_file_is_refused_whole_with_line_and_reason(
    acme: Organization, content: bytes, line: int, reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        imported(acme, content)
    assert (refused.value.code, refused.value.status, refused.value.field) == ("broken_csv", 422, "file")
    assert refused.value.facts["line"] == line
    assert reason in refused.value.message
    assert not Table.objects.exists()


@pytest.mark.parametrize(
    ("setting", "content", "line"), [("MOST_ROWS", b"a\n1\n2\n3\n", 4), ("MOST_BYTES", b"a\n1\n", 1)]
)
def test_more_than_a_table_holds_is_refused(
    acme: Organization, monkeypatch: pytest.MonkeyPatch, setting: str, content: bytes, line: int
) -> None:
    monkeypatch.setattr(tables, setting, 2)
    with pytest.raises(Refused) as refused:
        imported(acme, content)
    assert (refused.value.code, refused.value.facts["line"]) == ("broken_csv", line)


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "a\0b", "\ud800"])
def test_a_table_needs_a_name(acme: Organization, name: str) -> None:
    with pytest.raises(Refused, match="name"):
        imported(acme, b"a\n1\n", name)


def test_a_table_takes_another_name_and_keeps_what_it_holds(acme: Organization) -> None:
    table = imported(acme, b"a\n1\n")
    assert tables.rename(table, " Spring  leads ").name == "Spring leads"
    kept = Table.objects.get(id=table.id)
    assert (kept.name, kept.fields, kept.rows.get().data) == ("Spring leads", ["a"], {"a": "1"})
    with pytest.raises(Refused, match="name"):
        tables.rename(table, " ")
    assert Table.objects.get(id=table.id).name == "Spring leads"


def test_rows_are_stored_as_they_are_read_a_batch_at_a_time(acme: Organization, django_assert_num_queries: Any) -> None:
    sheet = tables.read_csv(io.BytesIO(b"a\n" + b"".join(b"%d\n" % n for n in range(4001))))
    with django_assert_num_queries(2 + 2 + 3):  # the transaction's two, the clock, the table, the batches
        table = tables.import_sheet(acme, "Long", sheet)
    assert list(table.rows.order_by("number").values_list("data__a", flat=True)) == [str(n) for n in range(4001)]


@pytest.mark.parametrize("file", sorted(DATA.glob("*.csv")), ids=lambda file: file.stem)
def test_the_demo_files_are_whole_and_name_nobody_real(acme: Organization, file: Path) -> None:
    with file.open("rb") as content:
        table = tables.import_csv(acme, file.stem, content)
    assert 200 <= table.row_count <= 2400
    assert all(row.data["domain"].endswith(".example") for row in table.rows.all())


@pytest.fixture
def leads(acme: Organization) -> Table:
    call_command("sync_catalog", verbosity=0, stdout=io.StringIO())
    return imported(acme, b"company\nAcme\n")


def test_a_column_keeps_its_tools_in_order(leads: Table) -> None:
    column = tables.add_column(leads, "work_email", "Work e-mail", ["prospeo.email_finder", "hunter.email_finder"])
    assert Column.objects.get(pk=column.pk).cascade == ["prospeo.email_finder", "hunter.email_finder"]


@pytest.mark.parametrize(
    ("key", "cascade", "code"),
    [
        ("work_email", [], "invalid_cascade"),
        ("work_email", ["hunter.email_finder", "hunter.email_finder"], "invalid_cascade"),
        ("work_email", ["hunter.mind_reader"], "unknown_tool"),
        ("Work email", ["hunter.email_finder"], "invalid_key"),
        ("", ["hunter.email_finder"], "invalid_key"),
    ],
)
def test_a_column_that_could_not_run_is_refused(leads: Table, key: str, cascade: list[str], code: str) -> None:
    with pytest.raises(Refused) as refused:
        tables.add_column(leads, key, "Work e-mail", cascade)
    assert (refused.value.code, refused.value.status) == (code, 422)
    assert not Column.objects.exists()


def test_a_second_column_of_the_same_key_is_refused(leads: Table) -> None:
    tables.add_column(leads, "work_email", "Work e-mail", ["hunter.email_finder"])
    with pytest.raises(Refused) as refused:
        tables.add_column(leads, "work_email", "Another", ["prospeo.email_finder"])
    assert (refused.value.code, refused.value.status) == ("column_exists", 409)


def test_an_operator_imports_a_file_by_the_orgs_slug(acme: Organization, tmp_path: Path) -> None:
    file = tmp_path / "spring-leads.csv"
    file.write_bytes(b"company\nAcme\n")
    call_command("import_table", acme.slug, str(file), stdout=io.StringIO())
    assert Table.objects.get(org=acme).name == "spring-leads"
    file.write_bytes(b"company\nAcme,1\n")
    with pytest.raises(CommandError, match="Line 2: it has 2 cells"):
        call_command("import_table", acme.slug, str(file))
    with pytest.raises(CommandError, match="no organization nowhere"):
        call_command("import_table", "nowhere", str(file))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_table", acme.slug, str(tmp_path / "none.csv"))


# ------------------------------------------------------------------ a capability's or a template's column


@pytest.mark.usefixtures("catalog")
def test_the_column_of_a_capability_is_made_once_with_its_key_name_and_cascade(acme: Organization) -> None:
    table, work_email = table_of(acme, 2), Capability.objects.get(key="work_email")
    column = column_for(table, work_email)
    assert (column.key, column.name, column.cascade) == ("work_email", "Work e-mail", work_email.cascade)
    assert column_for(table, work_email) == column
    assert column_for(table, WorkflowTemplate.objects.get(id="opening_line")).key == "opening_line"


@pytest.mark.usefixtures("catalog")
def test_a_column_of_that_key_keeps_its_own_cascade(acme: Organization) -> None:
    own = column_of(table_of(acme, 2), "prospeo.email_finder", key="work_email")
    assert column_for(own.table, Capability.objects.get(key="work_email")).cascade == ["prospeo.email_finder"]
