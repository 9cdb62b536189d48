"""`oxygen explain`: why something cannot run, and what would let it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import click

from oxygen_cli.command import CAP, ROWS, Command, Session, refuse_usage
from oxygen_cli.shown import Column, Part, lines, table, when


@click.command(
    cls=Command,
    example="oxygen explain\noxygen explain --run RUN\noxygen explain --table TABLE --column email",
)
@click.option("--run", metavar="RUN", help="Why a run does not go on.")
@click.option("--table", metavar="TABLE", help="Why a table could not be run on, with --column or --capability.")
@click.option("--column", metavar="COLUMN", help="Which of its columns.")
@click.option("--capability", metavar="CAPABILITY", help="What is to be found out.")
@ROWS
@CAP
def explain(
    session: Session, run: str | None, table: str | None, column: str | None, capability: str | None,
    limit: int | None, max_credits: Decimal | None,
) -> None:  # fmt: skip
    """Say what is in the way of a run, and what helps.

    Of one that was started, of one to come, or of runs at all: every limit that applies, and the one that binds.
    """
    if (run and table) or bool(column) + bool(capability) != bool(table):
        raise refuse_usage("Give --run, or --table with either --column or --capability, or nothing at all.")
    about = {"run": run, "table": table, "column": column, "capability": capability}
    session.show(session.api.get("/explain", **about, limit=limit, max_credits=max_credits), _explained)


def _explained(data: dict[str, Any]) -> Iterator[Part]:
    yield lines(f"{data['sentence']}\n ")
    yield table(
        data.get("limits") or [],
        [
            Column("limit", "name"),
            Column("used", "used", number=True),
            Column("of", "limit", number=True),
            Column("unit", "unit"),
            Column("resets", lambda each: when(each.get("resets_at"))),
            Column("in the way", "binds"),
        ],
        "No limit applies.",
    )
    if action := data.get("action"):
        yield f"\n{action.get('label')}: {action.get('command') or action.get('url') or ''}"
