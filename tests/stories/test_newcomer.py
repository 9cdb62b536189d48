"""docs/cli.md opens with five commands from nothing to a paused run and its receipt. They are run as they stand."""

import re
import shutil

import pytest

from oxygen_site.postgres import CLONE
from tests.stories.conftest import Shell

RUN = re.compile(r"^Run +([0-9a-f-]{36})", re.MULTILINE)
TABLE = re.compile(r"^Table +([0-9a-f-]{36})", re.MULTILINE)


@pytest.mark.usefixtures("catalog", "worker")
def test_five_commands_lead_from_nothing_to_a_paused_run_and_its_receipt(shell: Shell) -> None:
    page = (CLONE / "docs" / "cli.md").read_text("utf-8")
    first, second, third, fourth, fifth = page.partition("```\n")[2].partition("```")[0].splitlines()
    shutil.copytree(CLONE / "sandbox" / "data", shell.home / "sandbox" / "data")

    imported = shell.run(first)
    table = TABLE.search(imported.out)
    assert (imported.code, bool(table)) == (0, True), imported.err
    assert table
    assert shell.run(second.replace("TABLE", table[1])).code == 0

    estimated = shell.run(third.replace("TABLE", table[1]))
    assert (estimated.code, "Nothing was called and nothing was charged." in estimated.err) == (0, True)

    paused = shell.run(fourth.replace("TABLE", table[1]))
    assert paused.code == 5
    run = RUN.search(paused.out)
    assert run
    receipt = shell.run(fifth.replace("RUN", run[1]))
    assert receipt.code == 0
    assert "paused (cap reached)" in receipt.out
    assert re.search(r"^Captured +10$", receipt.out, re.MULTILINE)
    assert f"oxygen table-runs continue {run[1]} --max-credits N" in receipt.err
