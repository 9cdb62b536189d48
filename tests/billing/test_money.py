"""docs/money.md says what is so: its table of entries, its laws, its callers and its tests."""

import re
from datetime import timedelta
from pathlib import Path

from django.db import connection

from billing import books, ledger
from billing.models import Entry, Organization
from oxygen_site.clock import advance
from tests import test_house
from tests.billing import moves
from tests.billing.moves import attempt
from tests.laws import LEDGER, SOLD

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/money.md").read_text("utf-8")
SIGN = {"+": 1, "−": -1, "": 0}


def rows(heading: str) -> list[list[str]]:
    """Read the cells of the tables under a heading, without their heads."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    heads = {n - 1 for n, row in enumerate(cells) if set(row[0]) <= {"-"} and row[0]}
    return [row for n, row in enumerate(cells) if n not in heads and n - 1 not in heads]


def effects() -> dict[str, tuple[int, int]]:
    return {
        kind.strip("`"): (SIGN[available], SIGN[reserved])
        for kind, _, available, reserved in rows("What each entry does")
    }


def test_the_table_of_entries_is_what_the_ledger_does(acme: Organization) -> None:
    """Each move changes available and reserved by its amount, in the direction the page gives its kind."""
    seen: set[str] = set()
    before = moves.balance(acme.pk)
    known = Entry.objects.filter(org=acme.pk).count()

    def check() -> None:
        nonlocal before, known
        fresh = list(Entry.objects.filter(org=acme.pk).order_by("at", "account_seq"))[known:]
        changes = [[sign * entry.amount for sign in effects()[entry.kind]] for entry in fresh]
        after = moves.balance(acme.pk)
        assert (after[0] - before[0], after[1] - before[1]) == (sum(c[0] for c in changes), sum(c[1] for c in changes))
        seen.update(entry.kind for entry in fresh)
        before, known = after, known + len(fresh)

    grant = moves.grant(acme.pk, 50, days=1)
    check()
    run = moves.open_run(acme.pk, 20, begin=5)
    check()
    moves.settle(acme.pk, run, *(attempt(n) for n in range(1, 6)))
    check()
    moves.close(acme.pk, run)
    check()
    moves.owe(acme.pk, grant, 10)
    check()
    moves.owe(acme.pk, grant, 4)
    check()
    moves.adjust(acme.pk, 3)
    check()
    advance(timedelta(days=2))
    ledger.expire(acme.pk)
    check()
    assert seen == set(effects()) == set(Entry.Kind.values)


def test_every_law_of_credits_and_money_is_named_and_every_name_is_a_law() -> None:
    laws = {law.partition(".")[2] for law in LEDGER | SOLD}
    assert {law for law in laws if f"`{law}`" not in PAGE} == set()
    prefixes = ("account_", "grant_", "reservation_", "draw_", "entry_", "clock_offset_")
    named = {name for name in re.findall(r"`(\w+)`", PAGE) if name.startswith(prefixes)}
    assert named - laws == {"account_seq", "grant_key"}


def test_every_function_it_names_is_there(ground: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace")
        functions = {name for (name,) in cursor.fetchall()}
    assert set(re.findall(r"`ledger\.(\w+)`", PAGE)) - {"py"} <= functions


def test_it_tells_every_invariant() -> None:
    assert {row[0] for row in rows("The invariants")} == {name[:2] for name in books.ALL}


def test_it_names_who_calls_the_ledger() -> None:
    named = {path for row in rows("Who calls the ledger") for path in re.findall(r"`([\w/.]+)`", row[0])}
    assert named == set(test_house.ONLY["billing.ledger"])


def test_the_tests_it_names_are_there() -> None:
    named = [path for row in rows("Which tests") for path in re.findall(r"`([\w/.]+)`", row[1])]
    assert [path for path in named if not (ROOT / path).is_file()] == []
