"""`oxygen columns` and `oxygen enrich-column`: fill a column of a table by the calls of its tools."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli import receipts, watch
from oxygen_cli.command import APPROVED, BACKGROUND, CAP, NAME, ROWS, Group, Session, mode
from oxygen_cli.shown import Column, Part, facts, table


@click.group(cls=Group)
def columns() -> None:
    """Add columns to a table, and run them."""


@columns.command(writes=True, example="oxygen columns add TABLE email --tool hunter.email_finder")
@click.argument("table", metavar="TABLE")
@click.argument("key")
@click.option("--tool", "tools", multiple=True, required=True, metavar="TOOL", help="Again for the next of a cascade.")
@click.option("--name", metavar="NAME", help="What the column is called. Else as its key.")
def add(session: Session, table: str, key: str, tools: tuple[str, ...], name: str | None) -> None:
    """Add the column KEY, filled by one tool or by a cascade of them."""
    body = {"key": key, "name": name, "tools": list(tools)}
    session.show(session.api.write("POST", f"/tables/{quote(table, safe='')}/columns", body), _column)


@columns.command(
    writes=True,
    example="oxygen columns run TABLE email --limit 1\noxygen columns run TABLE email --limit 50 --max-credits 50",
)
@click.argument("table", metavar="TABLE")
@click.argument("column", metavar="COLUMN")
@ROWS
@CAP
@mode(None)
@APPROVED
@NAME
@BACKGROUND
def run(
    session: Session, table: str, column: str, limit: int | None, max_credits: Decimal | None, mode: str | None,
    approved: bool, name: str | None, background: bool,
) -> int:  # fmt: skip
    """Fill a column, and wait for the run to end.

    It runs over the rows that are not filled yet. With neither --mode nor --max-credits it estimates: nothing is called
    and nothing is charged.
    """
    target = {"table": table, "column": column, "limit": limit}
    if mode is None and max_credits is None:
        session.show(session.api.post("/runs/estimate", target), receipts.preflight)
        return 0
    how = {"mode": mode or "live", "max_credits": max_credits, "approved": approved, "name": name}
    return watch.started(session, session.api.write("POST", "/runs", target | how), background)


def _column(data: dict[str, Any]) -> Iterator[Part]:
    yield facts(("Column", data.get("key")), ("Name", data.get("name")), ("Tools", data.get("tools")))


# ------------------------------------------------------------------ capabilities


@click.group("enrich-column", cls=Group)
def enrich_column() -> None:
    """Find something out about each row, by whoever finds it."""


@enrich_column.command("list", example="oxygen enrich-column list")
def list_(session: Session) -> None:
    """List what can be found out."""
    session.show_list("/capabilities", "capabilities", _capabilities)


@enrich_column.command(
    "run",
    writes=True,
    example="oxygen enrich-column run TABLE --capability work_email --limit 100 --max-credits 100",
)
@click.argument("table", metavar="TABLE")
@click.option("--capability", required=True, metavar="CAPABILITY", help="What to find out, as work_email.")
@ROWS
@CAP
@mode()
@APPROVED
@NAME
@BACKGROUND
def run_capability(
    session: Session, table: str, capability: str, limit: int | None, max_credits: Decimal | None, mode: str,
    approved: bool, name: str | None, background: bool,
) -> int:  # fmt: skip
    """Find something out, and wait for the run to end.

    It fills the column that is named after the capability, which is made where the table has none yet.
    """
    body: dict[str, Any] = {"table": table, "capability": capability, "limit": limit, "mode": mode}
    body |= {"max_credits": max_credits, "approved": approved, "name": name}
    return watch.started(session, session.api.write("POST", "/runs", body), background)


def _capabilities(data: dict[str, Any]) -> Iterator[Part]:
    columns = [Column("capability", "key"), Column("name", "name"), Column("tools", "tools")]
    yield table(data["capabilities"], columns, "No capabilities.")
