"""Deliberate damage is noticed: each law that keeps credits right is taken away, and the test that fails then is named.

A copy is damaged, never the product; its tests run on the same server in databases of their own. docs/money.md names
the same pairs. `make soak` does it all; `make test` sees that each law still stands where it would be taken from.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.billing.test_money import rows
from tests.effort import SOAK

ROOT = Path(__file__).resolve().parent.parent
LEDGER, DISPATCH = "billing/migrations/sql/0002_ledger.sql", "runs/dispatch.py"


class Damage(NamedTuple):
    taken: str
    file: str
    law: str
    instead: str
    noticed: str


DAMAGES = [
    Damage(
        "the fencing",
        DISPATCH,
        """SELECT i.number, i.lease_no, (SELECT status FROM runs_run WHERE id = %(run)s) = 'cancelling',
       EXISTS (SELECT FROM runs_limit WHERE failures > 0)
FROM runs_item AS i
JOIN unnest(%(items)s::int[], %(leases)s::int[]) AS c(item, lease_no) ON c.item = i.number AND c.lease_no = i.lease_no
WHERE i.run_id = %(run)s AND i.owner = %(owner)s AND""",
        """SELECT i.number, c.lease_no, (SELECT status FROM runs_run WHERE id = %(run)s) = 'cancelling',
       EXISTS (SELECT FROM runs_limit WHERE failures > 0)
FROM runs_item AS i
JOIN unnest(%(items)s::int[], %(leases)s::int[]) AS c(item, lease_no) ON c.item = i.number
WHERE i.run_id = %(run)s AND""",
        "tests/runs/test_dispatch.py::test_a_zombies_late_settle_changes_nothing",
    ),
    Damage(
        "the key of a captured entry",
        LEDGER,
        "  PRIMARY KEY (org, source, item, attempt),\n",
        "",
        "tests/billing/test_ledger_races.py::test_an_attempt_settled_by_many_at_once_is_captured_once",
    ),
    Damage(
        "the cap check at the claim",
        LEDGER,
        "least(p_n, div(reserved - captured - held, nullif(p_unit, 0)))",
        "p_n",
        "tests/runs/test_dispatch.py::test_no_more_items_start_than_the_cap_has_room_for",
    ),
    Damage(
        "the row lock of the account",
        LEDGER,
        "PERFORM FROM account WHERE org = p_org FOR NO KEY UPDATE;\n  IF NOT FOUND THEN RAISE EXCEPTION 'no account",
        "PERFORM FROM account WHERE org = p_org;\n  IF NOT FOUND THEN RAISE EXCEPTION 'no account",
        "tests/billing/test_ledger_races.py::test_the_last_credits_go_to_as_many_runs_as_they_reach",
    ),
    Damage(
        "the sweep of lapsed leases",
        DISPATCH,
        "status = 'running' AND lease_until < clock_timestamp() AND (",
        "false AND (",
        "tests/runs/test_dispatch.py::test_a_lapsed_item_is_taken_over_with_its_own_attempt",
    ),
    Damage(
        "the clamp to the attempt's maximum",
        LEDGER,
        "least(cost, maximum)",
        "cost",
        "tests/runs/test_dispatch.py::test_what_is_billed_above_the_maximum_is_absorbed",
    ),
]


def copy_to(folder: Path) -> Path:
    unneeded = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
    return shutil.copytree(ROOT, folder / "copy", ignore=unneeded)


def run_the_test(copy: Path, test: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "OXYGEN_TEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=copy,
        env=inherited | {"OXYGEN_SOAK": "0"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


EACH = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.taken)


@EACH
def test_a_law_stands_where_it_would_be_taken_away(damage: Damage) -> None:
    path, _, test = damage.noticed.partition("::")
    assert damage.law in (ROOT / damage.file).read_text("utf-8")
    assert f"def {test}(" in (ROOT / path).read_text("utf-8")


@pytest.mark.skipif(not SOAK, reason="a quarter of a minute each")
@EACH
def test_taking_a_law_away_fails_the_test_that_is_named_for_it(damage: Damage, tmp_path: Path) -> None:
    copy = copy_to(tmp_path)
    whole = run_the_test(copy, damage.noticed)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    file = copy / damage.file
    text = file.read_text("utf-8")
    file.write_text(text.replace(damage.law, damage.instead), "utf-8")
    damaged = run_the_test(copy, damage.noticed)
    assert (damaged.returncode, " failed" in damaged.stdout) == (1, True), damaged.stdout + damaged.stderr


def test_the_page_about_money_names_the_same_damages_and_tests() -> None:
    assert [row[0] for row in rows("Deliberate damage")] == [damage.taken for damage in DAMAGES]
    assert [row[1].strip("`") for row in rows("Deliberate damage")] == [damage.noticed for damage in DAMAGES]
