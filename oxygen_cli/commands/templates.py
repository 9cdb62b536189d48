"""`oxygen workflows templates`: work that is laid out already; it needs a table and an approval."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli import exact, receipts, watch
from oxygen_cli.command import APPROVED, BACKGROUND, CAP, INPUT, Group, Session, mode
from oxygen_cli.shown import Column, Part, facts, heading, lines, table

TEMPLATE = click.argument("template", metavar="TEMPLATE")
GIVEN = click.option(
    "--input-json",
    type=INPUT,
    required=True,
    help="""What it runs on: '{"table_id": "…", "limit": 100}', @FILE or -.""",
)


@click.group(cls=Group)
def workflows() -> None:
    """Workflow templates."""


@workflows.group(cls=Group)
def templates() -> None:
    """List templates, see what one would cost, run it."""


@templates.command("list", example="oxygen workflows templates list")
def list_(session: Session) -> None:
    """List the templates."""
    session.show_list("/templates", "templates", _templates)


@templates.command(example="oxygen workflows templates get TEMPLATE")
@TEMPLATE
def get(session: Session, template: str) -> None:
    """Show one template: its tools, and what it takes."""
    session.show(session.api.get(_path(template)), _template)


@templates.command(
    example="""oxygen workflows templates preflight TEMPLATE --input-json '{"table_id": "TABLE"}' --mode dry_run"""
)
@TEMPLATE
@GIVEN
@mode("dry_run")
@CAP
def preflight(
    session: Session, template: str, input_json: dict[str, Any], mode: str, max_credits: Decimal | None
) -> None:
    """Show what a run would cost, hold and need, without starting it."""
    body = {"input": input_json, "mode": mode, "max_credits": max_credits}
    session.show(session.api.post(f"{_path(template)}/preflight", body), receipts.preflight)


@templates.command(
    writes=True,
    example='oxygen workflows templates run TEMPLATE --input-json \'{"table_id": "TABLE"}\''
    " --max-credits 100 --approved",
)
@TEMPLATE
@GIVEN
@mode()
@CAP
@APPROVED
@BACKGROUND
def run(
    session: Session,
    template: str,
    input_json: dict[str, Any],
    mode: str,
    max_credits: Decimal | None,
    approved: bool,
    background: bool,
) -> int:
    """Run a template over a table, and wait for the run to end.

    Without --approved it waits until somebody approves it.
    """
    body = {"input": input_json, "mode": mode, "max_credits": max_credits, "approved": approved}
    return watch.started(session, session.api.write("POST", f"{_path(template)}/run", body), background)


def _path(template: str) -> str:
    return f"/templates/{quote(template, safe='')}"


def _templates(data: dict[str, Any]) -> Iterator[Part]:
    columns = [Column("template", "id"), Column("name", "name"), Column("tools", "tools")]
    yield table(data["templates"], columns, "No templates.")


def _template(data: dict[str, Any]) -> Iterator[Part]:
    yield facts(
        ("Template", data["id"]),
        ("Name", data.get("name")),
        ("Description", data.get("description")),
        ("Tools", data.get("tools")),
    )
    if data.get("input"):
        yield heading("Input")
        yield lines(exact.write(data["input"]))
