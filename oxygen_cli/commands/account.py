"""`oxygen login`, `logout`, `whoami`: the key, and where it is kept; `completion`: a shell that knows the commands."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from oxygen_cli import settings
from oxygen_cli.command import Command, Session, refuse_usage
from oxygen_cli.shown import Part, facts


@click.command(
    cls=Command,
    example="oxygen login\noxygen login --url https://oxygen.example < key.txt\n"
    "oxygen login --profile bluefin --org bluefin",
)
def login(session: Session) -> None:
    """Store an API key, in a file that only you can read.

    The key is asked for and not shown, or read from standard input. It is tried before it is stored.
    """
    from oxygen_cli.client import Client  # the network, where it is needed

    asks = sys.stdin.isatty()
    url = session.url or os.environ.get("OXYGEN_API_URL")
    if not url and asks:
        url = str(click.prompt("Server", default=settings.LOCAL, err=True))
    if not url:
        raise refuse_usage(f"Which server? Give --url, as in {settings.LOCAL}, or set OXYGEN_API_URL.")
    url = settings.address(url)
    key = str(click.prompt("API key", hide_input=True, err=True) if asks else sys.stdin.read()).strip()
    if not key:
        raise refuse_usage("Give the API key on standard input.")
    org, profile = session.org or os.environ.get("OXYGEN_ORG") or "", session.profile or settings.chosen()
    tried = settings.Settings(url, key, org, "what you typed")
    organization = Client(tried, None, session.say).get("/balance")["organization"]
    settings.keep(profile, {"url": url, "key": key, "org": org})
    session.show(_who(tried, organization) | {"kept_in": str(settings.file()), "profile": profile}, _signed_in)
    if os.environ.get("OXYGEN_API_KEY"):
        session.say("OXYGEN_API_KEY is set, and goes before what was stored.")


@click.command(cls=Command, example="oxygen logout")
def logout(session: Session) -> None:
    """Forget a stored key. It still works elsewhere: revoke it on the organization's settings page."""
    profile = session.profile or settings.chosen()
    kept = profile in settings.profiles()
    if kept:
        settings.keep(profile, None)
    session.show({"profile": profile, "forgotten": kept}, _signed_out)


@click.command(cls=Command, example="oxygen whoami")
def whoami(session: Session) -> None:
    """Show which server, organization and key are used."""
    organization = session.api.get("/balance")["organization"]
    session.show(_who(session.settings, organization) | {"source": session.settings.source}, _me)


@click.command(
    cls=Command,
    json=False,
    example='eval "$(oxygen completion bash)"\n'
    'eval "$(oxygen completion zsh)"\n'
    "oxygen completion fish > ~/.config/fish/completions/oxygen.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, session: Session, shell: str) -> None:
    """Print what teaches a shell to complete the commands."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(ctx.find_root().command, {}, "oxygen", "_OXYGEN_COMPLETE").source())


def _who(used: settings.Settings, organization: dict[str, Any]) -> dict[str, Any]:
    return {"url": used.url, "organization": organization, "key": settings.known(used.key)}


def _me(data: dict[str, Any]) -> Iterator[Part]:
    organization = data["organization"]
    yield facts(
        ("Server", data["url"]),
        ("Organization", f"{organization['name']} ({organization['slug']})"),
        ("Key", data["key"]),
        *([("From", data["source"])] if "source" in data else []),
        *([("Kept in", data["kept_in"])] if "kept_in" in data else []),
    )


def _signed_in(data: dict[str, Any]) -> Iterator[Part]:
    yield "Signed in."
    yield from _me(data)


def _signed_out(data: dict[str, Any]) -> Iterator[Part]:
    yield "The key is forgotten." if data["forgotten"] else "There was no key to forget."
