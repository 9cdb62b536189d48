"""docs/cli.md, made of the command's own help: `python -m oxygen_cli.manual > docs/cli.md`. A test keeps it true."""

from collections.abc import Callable, Iterable, Iterator

import click

from oxygen_cli.__main__ import oxygen
from oxygen_cli.command import Command

INTRODUCTION = """\
# The `oxygen` command

Made of the command's own help by `python -m oxygen_cli.manual`: change the help, not this page.

## From nothing to a paused run and its receipt

With the demo running (`make demo`), paste the two lines that it prints, `export OXYGEN_API_URL=…` and
`export OXYGEN_API_KEY=…`, and find its `oxygen` first: `export PATH="$PWD/.venv/bin:$PATH"`. TABLE is the id that
the first line prints, RUN the one that the fourth prints.

```
oxygen tables import sandbox/data/conference-list.csv
oxygen columns add TABLE work_mail --tool hunter.email_finder
oxygen columns run TABLE work_mail
oxygen columns run TABLE work_mail --max-credits 10
oxygen runs get RUN
```

The third only estimates. The fourth spends until its cap lets no further row begin, pauses, and ends with exit code 5.
The receipt says what was captured and what can be done next.

## Installing it alone

`pip install .` in a checkout installs the command without the server. `oxygen completion bash` (or zsh, fish) prints
what teaches a shell to complete it.

## Whom it speaks to

`oxygen login` asks for the server and an API key, tries the key, and stores both in `~/.config/oxygen/config.toml`
(`$XDG_CONFIG_HOME`), which only its owner can read. `OXYGEN_API_URL` and `OXYGEN_API_KEY` go before the file, `--url`
before both. A stored key is sent to its own server only. An agency's key names the organization with `--org`, in
`OXYGEN_ORG`, or once when it is stored. Profiles (`--profile`, `OXYGEN_PROFILE`) keep several sign-ins apart.

## What it prints

Data goes to standard output, everything else to standard error. Without `--json` that is tables for people: on a
terminal too narrow for one, a block for each row; in a pipe, a line for each row. `NO_COLOR` is kept.

With `--json` an object stands under `.data` with its fields at the top level too; a list is `.data.<plural>` with
`.data.next_cursor`. `--limit` beyond 200 reads page after page. Credits are printed digit by digit as they were told.

`columns run`, `enrich-column run`, `workflows templates run` and `tools test` wait for their run unless
`--background`, with its progress on standard error. Ctrl-C stops the waiting and not the run.

Each invocation has one Idempotency-Key, kept while it tries again (no connection, 429, 502, 503, 504): what it asks
happens once. `--idempotency-key` makes several invocations one.

## How it ends

| exit code | what happened |
|---|---|
| 0 | it did what was asked |
| 1 | anything else, as a value that the API does not take (400, 422 `invalid` or `invalid_…`) |
| 2 | wrong usage |
| 3 | not signed in (401) |
| 4 | not allowed, or not there (403, 404) |
| 5 | refused by a rule (402, 409, every other 422), or a run that was waited for did not come to its end |
| 6 | the server or the network (429, 5xx, no connection) |
| 130 | Ctrl-C |

A run that was waited for comes to its end as `succeeded` or `completed_with_errors`. Where it is paused, failed or
cancelled, or waits to be approved, it is printed all the same.

An error is told in a sentence with the way on; with `--json` as one object, the problem of RFC 9457 with its `code`.
"""


def manual() -> str:
    """Write the page."""
    every = dict(_commands(oxygen, "oxygen"))
    common = _help("oxygen runs list", every["oxygen runs list"], [Command.format_common])
    parts = (Command.format_usage, Command.format_help_text, Command.format_own, Command.format_epilog)
    each = (f"\n## `{path}`\n\n{_help(path, command, parts)}" for path, command in every.items())
    return f"{INTRODUCTION}\n## Options that every command takes\n\n{common}{''.join(each)}"


def _help(path: str, command: Command, parts: Iterable[Callable[..., None]]) -> str:
    context = context_of(command, path)
    formatter = context.make_formatter()
    for write in parts:
        write(command, context, formatter)
    return f"```\n{formatter.getvalue().strip()}\n```\n"


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, Command]]:
    for name, command in commands_of(group):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        elif isinstance(command, Command):
            yield f"{path} {name}", command


def context_of(command: click.Command, path: str, width: int = 100) -> click.Context:
    """Stand where a command's help is asked for."""
    settings = {**oxygen.context_settings, "terminal_width": width}
    return click.Context(command, click.Context(oxygen, info_name="oxygen", **settings), path.removeprefix("oxygen "))


def commands_of(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Name a group's commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        if command := group.get_command(context, name):
            yield name, command


if __name__ == "__main__":
    print(manual(), end="")
