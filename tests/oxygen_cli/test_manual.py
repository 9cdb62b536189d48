"""The command's own help, and docs/cli.md that is made of it."""

from collections.abc import Iterator

import click
import pytest

from oxygen_cli.__main__ import oxygen as whole
from oxygen_cli.command import Command
from oxygen_cli.manual import commands_of, context_of, manual
from tests.oxygen_cli.conftest import ROOT, Oxygen


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in commands_of(group):
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


EVERY = {(): whole} | dict(commands(whole))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_each_command_says_what_it_does_and_shows_how(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    first = (command.help or "").splitlines()[0]
    assert first[0].isupper()
    assert first.endswith((".", ":"))
    if isinstance(command, Command):
        assert command.example
        assert all(" ".join(path) in line for line in command.example.splitlines())
        assert all(each.help for each in command.params if isinstance(each, click.Option))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_each_help_fits_80_columns(path: tuple[str, ...]) -> None:
    context = context_of(EVERY[path], " ".join(path), width=80)
    text, _, _ = EVERY[path].get_help(context).partition("\nExample")
    assert max(map(len, text.splitlines())) <= 80
    assert not isinstance(EVERY[path], click.Group) or "..." not in text.partition("Commands:")[2]


def test_the_manual_is_what_the_command_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == manual(), "python -m oxygen_cli.manual > docs/cli.md"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_is_taught_the_commands(oxygen: Oxygen, shell: str) -> None:
    assert "_OXYGEN_COMPLETE" in oxygen("completion", shell).stdout


def test_a_shell_that_was_taught_completes(oxygen: Oxygen) -> None:
    asked = {"_OXYGEN_COMPLETE": "bash_complete", "COMP_WORDS": "oxygen table-runs c", "COMP_CWORD": "2"}
    assert oxygen(env=asked).stdout.split() == ["plain,cancel", "plain,continue", "plain,create"]


def test_help_needs_neither_network_nor_key(oxygen: Oxygen) -> None:
    done = oxygen("billing", "--help", env={"OXYGEN_API_URL": None, "OXYGEN_API_KEY": None})
    assert done.returncode == 0
    assert "balance" in done.stdout
