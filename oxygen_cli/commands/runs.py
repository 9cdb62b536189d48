"""`oxygen runs`: look at runs, watch them, approve them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli import receipts
from oxygen_cli import watch as watching
from oxygen_cli.command import CURSOR, LIMIT, Group, Session
from oxygen_cli.shown import Column, Part, state, table

RUN = click.argument("run", metavar="RUN")


@click.group(cls=Group)
def runs() -> None:
    """List runs, watch them, read their receipts, approve them."""


@runs.command("list", example="oxygen runs list --status paused")
@click.option("--status", metavar="STATUS", help="Of one status, as paused; or open.")
@click.option("--table", metavar="TABLE", help="Over one table.")
@LIMIT
@CURSOR
def list_(session: Session, status: str | None, table: str | None, limit: int, cursor: str | None) -> None:
    """List the runs, newest first."""
    session.show_list("/runs", "runs", receipts.runs, limit, cursor, status=status, table=table)


@runs.command(example="oxygen runs get RUN")
@RUN
def get(session: Session, run: str) -> None:
    """Show a run's receipt, and what can be done next."""
    session.show(session.api.get(_path(run)), receipts.run)


@runs.command(example="oxygen runs watch RUN")
@RUN
def watch(session: Session, run: str) -> int:
    """Wait for a run to end, with its progress. Ctrl-C stops the watching, and not the run."""
    return watching.follow(session, session.api.get(_path(run)))


@runs.command(writes=True, example="oxygen runs approve RUN")
@RUN
@click.option("--plan", metavar="PLAN", help="Only if this is still what the run would do: its `plan`, as shown.")
def approve(session: Session, run: str, plan: str | None) -> None:
    """Let a run start that waits to be approved."""
    session.show(session.api.write("POST", f"{_path(run)}/approve", {"plan": plan}), receipts.run)


@runs.command(example="oxygen runs items RUN --status failed\noxygen runs items RUN --calls failed_after_billing")
@RUN
@click.option("--status", metavar="STATUS", help="Of one status, as failed.")
@click.option("--calls", metavar="OUTCOME", help="Only with a call that ended like this, as no_result or absorbed.")
@LIMIT
@CURSOR
def items(session: Session, run: str, status: str | None, calls: str | None, limit: int, cursor: str | None) -> None:
    """List a run's rows, each with its calls and credits."""
    session.show_list(f"{_path(run)}/items", "items", _items, limit, cursor, status=status, calls=calls)


def _path(run: str) -> str:
    return f"/runs/{quote(run, safe='')}"


def _items(data: dict[str, Any]) -> Iterator[Part]:
    def calls(item: dict[str, Any]) -> str:
        made = item.get("attempts") or []
        return ", ".join(f"{each['tool']} {state(each['outcome'] or 'under way').plain}" for each in made)

    columns = [
        Column("", "row_number", number=True),
        Column("status", lambda item: state(item.get("status"))),
        Column("credits", "credits", number=True),
        Column("value", "value"),
        Column("calls", calls),
        Column("row", "row"),
    ]
    yield table(data["items"], columns, "No rows.")
