"""`oxygen`: the group of all commands, and how each of them ends."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from oxygen_cli import VERSION, exact, problems
from oxygen_cli.command import Group
from oxygen_cli.problems import Problem

# Where each command lives: a module is loaded when it is called for.
COMMANDS = {
    "billing": "billing",
    "cells": "values",
    "columns": "columns",
    "completion": "account",
    "enrich-column": "columns",
    "explain": "explain",
    "integrations": "integrations",
    "login": "account",
    "logout": "account",
    "rows": "values",
    "runs": "runs",
    "table-runs": "table_runs",
    "tables": "tables",
    "tools": "tools",
    "whoami": "account",
    "workflows": "templates",
}


class Oxygen(Group):
    """All commands by subject."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(
            import_module(f"oxygen_cli.commands.{COMMANDS[cmd_name]}"), cmd_name.replace("-", "_")
        )
        return found


@click.group(cls=Oxygen, context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="oxygen", message="%(prog)s %(version)s")
def oxygen() -> None:
    """Credits, tables and runs of Oxygen.

    Sign in with `oxygen login`, or set OXYGEN_API_URL and OXYGEN_API_KEY. Each command prints tables for people, and
    with --json what programs read. `oxygen COMMAND --help` says more.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = oxygen.main(given, prog_name="oxygen", standalone_mode=False) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has gone; that is no failure
        code = 0
    except Problem as problem:
        code = _tell(problem, given)
    except click.UsageError as wrong:
        code = _misused(wrong, given)
    except (click.Abort, KeyboardInterrupt):
        code = _tell(problems.ours("interrupted", "Interrupted", "Stopped.", problems.INTERRUPTED), given)
    sys.exit(code)


def _tell(problem: Problem, given: list[str]) -> int:
    print(exact.write(problem.body) if "--json" in given else problem.sentences(), file=sys.stderr)
    return problem.exit_code


def _misused(wrong: click.UsageError, given: list[str]) -> int:
    if "--json" in given and not isinstance(wrong, click.exceptions.NoArgsIsHelpError):
        return _tell(problems.ours("usage", "Wrong usage", wrong.format_message(), problems.USAGE), given)
    wrong.show()
    return problems.USAGE


if __name__ == "__main__":
    main()
