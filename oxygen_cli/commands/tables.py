"""`oxygen tables`: rows to run on, in and out."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click

from oxygen_cli import exact
from oxygen_cli.command import CURSOR, LIMIT, Group, Session, refuse_usage
from oxygen_cli.shown import Column, Part, facts, heading, table, when


@click.group(cls=Group)
def tables() -> None:
    """Import tables, look at their rows, export them."""


@tables.command("list", example="oxygen tables list")
@LIMIT
@CURSOR
def list_(session: Session, limit: int, cursor: str | None) -> None:
    """List the tables."""
    session.show_list("/tables", "tables", _tables, limit, cursor)


@tables.command("import", writes=True, example="oxygen tables import people.csv\noxygen tables import - --name People")
@click.argument("file", type=click.File("rb"))
@click.option("--name", metavar="NAME", help="What the table is called. Else as the file.")
def import_(session: Session, file: BinaryIO, name: str | None) -> None:
    """Make a table of the rows in FILE.

    FILE is CSV with a line of titles or, where its name ends in .json, a list of objects.
    """
    path = Path() if file.name in ("-", "<stdin>") else Path(file.name)
    name = name or path.stem
    if not name:
        raise refuse_usage("What comes from standard input needs a --name.")
    content = file.read()
    if path.suffix.lower() == ".json":
        try:
            rows = exact.read(content)
        except ValueError as wrong:
            raise refuse_usage(f"{path} is no JSON: {wrong}.") from None
        data = session.api.write("POST", "/tables", {"name": name, "rows": rows})
    else:
        data = session.api.send("POST", "/tables", content, "text/csv", name=name)
    session.show(data, _table)


@tables.command(example="oxygen tables describe TABLE --json | jq '.row_count'")
@click.argument("table", metavar="TABLE")
def describe(session: Session, table: str) -> None:
    """Show a table's columns, and how many of its rows are filled."""
    session.show(session.api.get(_path(table)), _table)


@tables.command(example="oxygen tables query TABLE --limit 50")
@click.argument("table", metavar="TABLE")
@LIMIT
@CURSOR
def query(session: Session, table: str, limit: int, cursor: str | None) -> None:
    """List a table's rows, with what runs have found for them."""
    session.show_list(f"{_path(table)}/rows", "rows", _rows, limit, cursor)


@tables.command(writes=True, example='oxygen tables rename TABLE "Leads of November"')
@click.argument("table", metavar="TABLE")
@click.argument("name")
def rename(session: Session, table: str, name: str) -> None:
    """Call a table NAME."""
    session.show(session.api.write("PATCH", _path(table), {"name": name}), _table)


@tables.command(json=False, example="oxygen tables export TABLE > people.csv")
@click.argument("table", metavar="TABLE")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Else standard output.")
def export(session: Session, table: str, output: Path | None) -> None:
    """Write a table with its results as CSV."""
    pieces = session.api.stream(f"{_path(table)}/export")
    first = next(pieces, b"")  # a refusal leaves the file as it was
    with output.open("wb") if output else nullcontext(sys.stdout.buffer) as out:
        out.write(first)
        for piece in pieces:
            out.write(piece)


def _path(table: str) -> str:
    return f"/tables/{quote(table, safe='')}"


# ------------------------------------------------------------------ how they look


def _tables(data: dict[str, Any]) -> Iterator[Part]:
    columns = [
        Column("table", "id"),
        Column("name", "name"),
        Column("rows", "row_count", number=True),
        Column("created", lambda each: when(each.get("created_at"))),
    ]
    yield table(data["tables"], columns, "No tables. `oxygen tables import FILE.csv` makes one.")


def _table(data: dict[str, Any]) -> Iterator[Part]:
    yield facts(
        ("Table", data["id"]),
        ("Name", data.get("name")),
        ("Rows", data.get("row_count")),
        ("Imported columns", data.get("fields")),
        ("Created", when(data.get("created_at"))),
    )
    if columns := data.get("columns"):
        yield heading("Columns that runs fill")
        yield table(
            columns,
            [
                Column("column", "key"),
                Column("name", "name"),
                Column("tools", "tools"),
                Column("filled", "filled", number=True),
            ],
            "",
        )


def _rows(data: dict[str, Any]) -> Iterator[Part]:
    fields = dict.fromkeys(key for row in data["rows"] for key in row.get("data") or {})
    filled = dict.fromkeys(key for row in data["rows"] for key in row.get("results") or {})

    def imported(key: str) -> Column:
        return Column(key, lambda row: (row.get("data") or {}).get(key))

    def found(key: str) -> Column:
        return Column(key, lambda row: _found((row.get("results") or {}).get(key)))

    columns = [Column("", "number", number=True), *map(imported, fields), *map(found, filled), Column("row", "id")]
    yield table(data["rows"], columns, "No rows.")


def _found(result: dict[str, Any] | None) -> Any:
    if not result:
        return None
    value = result.get("value")
    return value if value not in (None, "", {}, []) else str(result.get("status"))
