"""`oxygen tools`: what can be called, what a call costs, and a try of it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli import watch
from oxygen_cli.command import BACKGROUND, CAP, CURSOR, INPUT, LIMIT, Group, Session, mode
from oxygen_cli.shown import Column, Part, credits, facts, percent, table


@click.group(cls=Group)
def tools() -> None:
    """Search the tools, see what a call costs, try one."""


@tools.command(example='oxygen tools search "email finder"')
@click.argument("query", default="")
@click.option("--provider", metavar="PROVIDER", help="Of one provider.")
@LIMIT
@CURSOR
def search(session: Session, query: str, provider: str | None, limit: int, cursor: str | None) -> None:
    """List the tools whose names fit QUERY; all without it."""
    session.show_list("/tools", "tools", _tools, limit, cursor, query=query or None, provider=provider)


@tools.command(example="oxygen tools get hunter.email_finder --json | jq '.estimated_credits_per_call'")
@click.argument("tool", metavar="TOOL")
def get(session: Session, tool: str) -> None:
    """Show one tool: its prices, and how often it finds something."""
    session.show(session.api.get(f"/tools/{quote(tool, safe='')}"), _tool)


@tools.command(
    writes=True,
    example='oxygen tools test hunter.email_finder --input-json \'{"domain": "example.com"}\' --mode smoke_test',
)
@click.argument("tool", metavar="TOOL")
@click.option("--input-json", type=INPUT, required=True, help="What the tool gets: a JSON object, @FILE or -.")
@mode("smoke_test")
@CAP
@BACKGROUND
def test(
    session: Session, tool: str, input_json: dict[str, Any], mode: str, max_credits: Decimal | None, background: bool
) -> int:
    """Call one tool once, and wait for what it says."""
    body = {"input": input_json, "mode": mode, "max_credits": max_credits}
    return watch.started(session, session.api.write("POST", f"/tools/{quote(tool, safe='')}/test", body), background)


def _tools(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["tools"],
        [
            Column("tool", "id"),
            Column("name", "name"),
            Column("mode", "mode"),
            Column("a call", "estimated_credits_per_call", number=True),
            Column("at most", "maximum_credits_per_call", number=True),
            Column("finds", lambda tool: percent(tool.get("success_rate")), number=True),
        ],
        "No tool fits.",
    )


def _tool(data: dict[str, Any]) -> Iterator[Part]:
    seen = data.get("calibration")
    calls = data.get("calls_observed")
    yield facts(
        ("Tool", data.get("id")),
        ("Name", data.get("name")),
        ("Provider", data.get("provider_name") or data.get("provider")),
        ("Category", data.get("category")),
        ("Mode", data.get("mode")),
        ("A call", data.get("estimated_credits_per_call")),
        ("At most", data.get("maximum_credits_per_call")),
        ("Finds", percent(data.get("success_rate")) + (f" of {credits(calls)} calls" if calls else "")),
        *(
            [("Estimate and actual", f"{credits(seen.get('estimated'))} and {credits(seen.get('captured'))}")]
            if seen
            else []
        ),
    )
