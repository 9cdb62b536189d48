"""`oxygen table-runs`: start a run and steer it, without waiting for anything."""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli import receipts
from oxygen_cli.command import APPROVED, CAP, NAME, ROWS, Group, Session, mode, refuse_usage

RUN = click.argument("run", metavar="RUN")


@click.group("table-runs", cls=Group)
def table_runs() -> None:
    """Start a run, pause it, resume it, cancel it, continue it."""


@table_runs.command(
    writes=True, example="oxygen table-runs create TABLE --column email --limit 100 --max-credits 100 --json"
)
@click.argument("table", metavar="TABLE")
@click.option("--column", metavar="COLUMN", help="Which column to fill.")
@click.option("--capability", metavar="CAPABILITY", help="What to find out, instead of a column.")
@ROWS
@CAP
@mode()
@APPROVED
@NAME
def create(
    session: Session, table: str, column: str | None, capability: str | None, limit: int | None,
    max_credits: Decimal | None, mode: str, approved: bool, name: str | None,
) -> None:  # fmt: skip
    """Start a run, and leave it to itself.

    It runs over the rows that are not filled yet.
    """
    if bool(column) == bool(capability):
        raise refuse_usage("Give either --column or --capability.")
    body: dict[str, Any] = {"table": table, "column": column, "capability": capability, "limit": limit, "mode": mode}
    body |= {"max_credits": max_credits, "approved": approved, "name": name}
    session.show(session.api.write("POST", "/runs", body), receipts.run)


@table_runs.command(writes=True, example="oxygen table-runs pause RUN")
@RUN
def pause(session: Session, run: str) -> None:
    """Start no further row; those being worked on are finished."""
    _steer(session, run, "pause")


@table_runs.command(writes=True, example="oxygen table-runs resume RUN")
@RUN
def resume(session: Session, run: str) -> None:
    """Go on with the rows that are pending, under the same cap."""
    _steer(session, run, "resume")


@table_runs.command(writes=True, example="oxygen table-runs cancel RUN")
@RUN
def cancel(session: Session, run: str) -> None:
    """End a run, keep what it found and give back what it holds."""
    _steer(session, run, "cancel")


@table_runs.command("continue", writes=True, example="oxygen table-runs continue RUN --max-credits 30")
@RUN
@CAP
def continue_(session: Session, run: str, max_credits: Decimal | None) -> None:
    """Run the remaining rows under a new cap.

    A new run is started for them, and the old one ends.
    """
    _steer(session, run, "continue", max_credits=max_credits)


def _steer(session: Session, run: str, verb: str, **body: object) -> None:
    session.show(session.api.write("POST", f"/runs/{quote(run, safe='')}/{verb}", body), receipts.run)
