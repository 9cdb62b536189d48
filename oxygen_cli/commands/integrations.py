"""`oxygen integrations`: which providers there are, and who pays them."""

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from oxygen_cli.command import Group, Session, refuse_usage
from oxygen_cli.shown import Column, Part, facts, table, when


@click.group(cls=Group)
def integrations() -> None:
    """Providers, and who pays them."""


@integrations.command("list", example="oxygen integrations list")
def list_(session: Session) -> None:
    """List the providers with the mode of each."""
    session.show_list("/integrations", "integrations", _integrations)


@integrations.command(writes=True, example="oxygen integrations connect hubspot < key.txt")
@click.argument("provider")
def connect(session: Session, provider: str) -> None:
    """Use the own account at PROVIDER.

    Its calls cost no credits from the next run on. The account's key is asked for, or read from standard input. It is
    never shown again.
    """
    if sys.stdin.isatty():
        credential = str(click.prompt(f"API key of your account at {provider}", hide_input=True, err=True)).strip()
    else:
        credential = sys.stdin.read().strip()
    if not credential:
        raise refuse_usage("Give the account's API key on standard input.")
    path = f"/integrations/{quote(provider, safe='')}/account"
    session.show(session.api.write("PUT", path, {"credential": credential}), _integration)


@integrations.command(writes=True, example="oxygen integrations disconnect hubspot")
@click.argument("provider")
def disconnect(session: Session, provider: str) -> None:
    """Let go of the own account at PROVIDER."""
    session.show(session.api.write("DELETE", f"/integrations/{quote(provider, safe='')}/account"), _integration)


def _integrations(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["integrations"],
        [
            Column("provider", "provider"),
            Column("name", "name"),
            Column("category", "category"),
            Column("mode", "mode"),
            Column("own account", "connected"),
            Column("answers", "available"),
        ],
        "No providers.",
    )


def _integration(data: dict[str, Any]) -> Iterator[Part]:
    yield facts(
        ("Provider", data.get("name") or data.get("provider")),
        ("Mode", data.get("mode")),
        ("Own account", data.get("connected")),
        *([("Connected", when(data["connected_at"]))] if data.get("connected_at") else []),
    )
