"""`oxygen rows` and `oxygen cells`: where a value comes from."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli import receipts
from oxygen_cli.command import CURSOR, LIMIT, Group, Session
from oxygen_cli.shown import Column, Part, facts, heading, state, table, when


@click.group(cls=Group)
def rows() -> None:
    """What happened to a row."""


@rows.command(example="oxygen rows history TABLE ROW")
@click.argument("table", metavar="TABLE")
@click.argument("row", metavar="ROW")
@LIMIT
@CURSOR
def history(session: Session, table: str, row: str, limit: int, cursor: str | None) -> None:
    """List the runs that worked on a row, and what each cost."""
    session.show_list(f"{_path(table, row)}/history", "events", _events, limit, cursor)


@click.group(cls=Group)
def cells() -> None:
    """Where a value comes from."""


@cells.command(example="oxygen cells inspect TABLE ROW email")
@click.argument("table", metavar="TABLE")
@click.argument("row", metavar="ROW")
@click.argument("column", metavar="COLUMN")
def inspect(session: Session, table: str, row: str, column: str) -> None:
    """Show which run, which calls and how many credits made a value."""
    session.show(session.api.get(f"{_path(table, row)}/cells/{quote(column, safe='')}"), _cell)


def _path(table: str, row: str) -> str:
    return f"/tables/{quote(table, safe='')}/rows/{quote(row, safe='')}"


def _events(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["events"],
        [
            Column("when", lambda each: when(each.get("at"))),
            Column("column", "column"),
            Column("status", lambda each: state(each.get("status"))),
            Column("calls", "attempts", number=True),
            Column("credits", "credits", number=True),
            Column("run", "run"),
        ],
        "No run has worked on this row.",
    )


def _cell(data: dict[str, Any]) -> Iterator[Part]:
    yield facts(
        ("Row", data.get("row_number")),
        ("Column", data.get("column")),
        ("Value", data.get("value")),
        ("Status", state(data.get("status"))),
        ("Credits", data.get("credits")),
        ("Run", data.get("run")),
    )
    yield heading("Calls")
    yield receipts.attempts(data.get("attempts") or [])
