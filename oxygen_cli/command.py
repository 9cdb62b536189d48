"""What every command is: its options and help, and the session that its function is given.

A command's function takes the session first, then its own arguments, asks the API through it, shows what comes back,
and answers its exit code where that is not 0.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from oxygen_cli import exact, problems, settings, shown
from oxygen_cli.settings import Settings
from oxygen_cli.shown import Part

if TYPE_CHECKING:
    from oxygen_cli.client import Client

type Draw = Callable[[Any], Iterable[Part]]

PAGE = 200  # the longest that the API hands out


class Session:
    """One invocation: whom it speaks to, and how it shows what it hears."""

    def __init__(
        self,
        as_json: bool = False,
        org: str | None = None,
        url: str | None = None,
        profile: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        self.as_json = as_json
        self.org = org
        self.url = url
        self.profile = profile
        self.idempotency_key = idempotency_key

    @cached_property
    def settings(self) -> Settings:
        return settings.find(self.url, self.org, self.profile)

    @cached_property
    def api(self) -> "Client":
        from oxygen_cli.client import Client  # and with it the network, where it is needed

        return Client(self.settings, self.idempotency_key, self.say)

    def say(self, text: str) -> None:
        """Tell people something beside the data. Programs get the data alone."""
        if not self.as_json:
            click.echo(text, err=True)

    def show(self, data: dict[str, Any], draw: Draw) -> None:
        """Print what came back: a list under .data; a single object also at the top level."""
        if self.as_json:
            print(exact.write({"data": data} if "next_cursor" in data else {**data, "data": data}))
            return
        for part in draw(data):
            self.say(part) if isinstance(part, str) else shown.put(part)

    def show_list(
        self, path: str, plural: str, draw: Draw, limit: int | None = None, cursor: str | None = None, **params: Any
    ) -> None:
        """Read a list, over as many pages as `limit` takes, and print it."""
        data = self.pages(path, plural, limit, cursor, **params)
        self.show(data, draw)
        if data["next_cursor"]:
            self.say(f"There is more: a higher --limit, or --cursor {data['next_cursor']}")

    def pages(
        self, path: str, plural: str, limit: int | None = None, cursor: str | None = None, **params: Any
    ) -> dict[str, Any]:
        got: list[Any] = []
        while True:
            most = None if limit is None else min(PAGE, limit - len(got))
            data = self.api.get(path, limit=most, cursor=cursor, **params)
            got += data[plural]
            cursor = data.get("next_cursor")
            if limit is None or not cursor or len(got) >= limit:
                return {**data, plural: got, "next_cursor": cursor}


# ------------------------------------------------------------------ commands and groups


def _common() -> list[click.Parameter]:
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for programs."),
        click.Option(
            ["--org"], metavar="SLUG", help="Which organization, for an agency's key. Else OXYGEN_ORG, or as signed in."
        ),
        click.Option(["--url"], metavar="URL", help="Which server. Else OXYGEN_API_URL, or as signed in."),
        click.Option(
            ["--profile"], metavar="NAME", help="Which of the stored sign-ins. Else OXYGEN_PROFILE, or default."
        ),
    ]


def _idempotency_key() -> click.Parameter:
    once = "Do this once, however often it is called with this key. Else each call is its own."
    return click.Option(["--idempotency-key"], metavar="KEY", help=once)


class Command(click.Command):
    """A command with the options that all have. `example`: lines for its help; `writes`: it changes something;
    `json`: its data can be JSON."""

    def __init__(self, *args: Any, example: str = "", writes: bool = False, json: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        if writes:
            self.params.append(_idempotency_key())
        self.own = len(self.params)
        self.params += _common() if json else _common()[1:]

    def invoke(self, ctx: click.Context) -> Any:
        names = {"idempotency_key", *(each.name for each in self.params[self.own :] if each.name)}
        session = Session(**{name: ctx.params.pop(name) for name in names & ctx.params.keys()})
        assert self.callback is not None
        return ctx.invoke(self.callback, session, **ctx.params)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_own(ctx, formatter)
        self.format_common(ctx, formatter)

    def format_own(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _section("Options", self.params[: self.own], ctx, formatter)

    def format_common(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [*self.params[self.own :], *filter(None, [self.get_help_option(ctx)])]
        _section("Options of every command", options, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.example:
            with formatter.section("Example" if "\n" not in self.example else "Examples"):
                for line in self.example.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _section(title: str, params: Sequence[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    options = [each for each in params if isinstance(each, click.Option)]
    if records := [record for each in options if (record := each.get_help_record(ctx))]:
        with formatter.section(title):
            formatter.write_dl(records)


class Group(click.Group):
    """Commands on one subject."""

    command_class = Command
    group_class = type


# ------------------------------------------------------------------ kinds of values


class Credits(click.ParamType[Decimal]):
    """Credits as people write them: a number above 0 with at most four decimals."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            credits = Decimal(value)
        except InvalidOperation:
            self.fail(f"{value} is no number of credits.", param, ctx)
        if not credits.is_finite() or credits <= 0 or credits != round(credits, 4):
            self.fail(f"{value}: credits are above 0, with at most four decimals.", param, ctx)
        return credits


class Count(click.ParamType[int]):
    """How many, from 1 on."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not str(value).isdecimal() or not int(value):
            self.fail(f"{value} is no number from 1 on.", param, ctx)
        return int(value)


class Input(click.ParamType[dict[str, Any]]):
    """A JSON object, given as such, as @FILE, or as - from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        try:
            if value == "-":
                value = sys.stdin.read()
            elif value.startswith("@"):
                with open(value[1:], encoding="utf-8") as file:  # noqa: PTH123 - pathlib says no more
                    value = file.read()
            given = exact.read(value)
        except OSError as wrong:
            self.fail(f"{wrong.filename} cannot be read: {wrong.strerror}.", param, ctx)
        except ValueError as wrong:
            self.fail(f"that is no JSON ({wrong}).", param, ctx)
        if not isinstance(given, dict):
            self.fail("""give a JSON object, as in '{"table_id": "…"}'.""", param, ctx)
        return given


CREDITS, INPUT, COUNT = Credits(), Input(), Count()

LIMIT = click.option("--limit", type=COUNT, default=50, show_default=True, metavar="N", help="At most so many.")
CURSOR = click.option("--cursor", metavar="CURSOR", help="Go on after a list that said there is more.")
CAP = click.option("--max-credits", type=CREDITS, metavar="N", help="The cap: the most that the run may consume.")
BACKGROUND = click.option("--background", is_flag=True, help="Do not wait for the run to end.")
APPROVED = click.option("--approved", is_flag=True, help="Approve the run as it starts, for who may approve.")
NAME = click.option("--name", metavar="NAME", help="What the run is called.")
ROWS = click.option("--limit", type=COUNT, metavar="N", help="At most so many rows. Else all that are not filled.")
MODES = click.Choice(["dry_run", "smoke_test", "live"])


def mode(default: str | None = "live") -> Callable[[Any], Any]:
    """Offer --mode."""
    meaning = "dry_run calls nothing; smoke_test calls for at most 3 rows, free of charge; live is charged."
    return click.option("--mode", type=MODES, default=default, show_default=default is not None, help=meaning)


def refuse_usage(detail: str) -> problems.Problem:
    return problems.ours("usage", "Wrong usage", detail, problems.USAGE)
