"""Every invariant sees the damage it is there to see, in one org's books and in all, and blames nobody else's."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, transaction

from billing import books, ledger
from billing.models import Organization, Proof
from oxygen_site.clock import advance
from tests.billing import moves
from tests.billing.moves import attempt

ENTRY = """
    INSERT INTO entry (org, source, at, item, kind, amount, account_seq, available_after, drawn_after, actor)
    SELECT org, id, now() - interval '1 year', {item}, 'granted', 5, {seq}, 0, 0, 'system:test'
    FROM credit_grant WHERE org = '{org}' LIMIT 1"""

# Done behind the ledger's back to the org, and undone; a CHECK that would refuse it is gone for so long.
DAMAGE = {
    "I1 conservation": [
        "ALTER TABLE account DROP CONSTRAINT account_conserves",
        "UPDATE account SET spent = spent + 1 WHERE org = '{org}'",
    ],
    "I2 available is what is left in the grants": [
        "UPDATE credit_grant SET remaining = remaining - 1 WHERE org = '{org}' AND open"
    ],
    "I3 drawn is what open runs reserve": [
        "UPDATE account SET drawn = drawn - 1, available = available + 1 WHERE org = '{org}'"
    ],
    "I3 a run reserves exactly its draws": ["UPDATE draw SET amount = amount + 1 WHERE org = '{org}'"],
    "I4 a reservation is its entries, within its cap": [
        "UPDATE reservation SET absorbed = absorbed + 1 WHERE org = '{org}'"
    ],
    "I5 usage by tool is the entries": ["UPDATE usage_by_tool SET calls = calls + 1 WHERE org = '{org}'"],
    "I5 usage by run is the entries": ["DELETE FROM usage_by_run WHERE org = '{org}'"],
    "I6 spent is captured by closed runs and burned from grants": [
        "UPDATE credit_grant SET burned = burned + 1 WHERE org = '{org}'"
    ],
    "I7 every balance after is the fold so far": [ENTRY.replace("{item}", "70").replace("{seq}", "70")],
    "I7 the account is its entries": [
        "UPDATE account SET granted = granted + 1, expired = expired + 1 WHERE org = '{org}'"
    ],
    "I8 a run that has ended holds nothing": [
        "UPDATE reservation SET needed = 1 WHERE org = '{org}' AND closed_at IS NOT NULL"
    ],
    "I9 every credit of a grant is somewhere": ["UPDATE credit_grant SET adjusted = adjusted + 1 WHERE org = '{org}'"],
    "I9 a grant is its entries": ["UPDATE credit_grant SET entries = entries + 1 WHERE org = '{org}'"],
    "I9 the fold gives every grant and draw": [
        """UPDATE credit_grant SET remaining = remaining + CASE rank WHEN 1 THEN -1 ELSE 1 END
           FROM (SELECT id, row_number() OVER (ORDER BY id) AS rank FROM credit_grant
                 WHERE org = '{org}' AND remaining BETWEEN 1 AND amount - 1) AS two
           WHERE two.id = credit_grant.id AND rank <= 2"""
    ],
}


@pytest.fixture
def busy(acme: Organization) -> Organization:
    """Acme with a closed run, an open one, and every kind of entry."""
    moves.grant(acme.pk, 10, days=1)
    owed = moves.grant(acme.pk, 20, days=60)
    for rows in (5, 6):
        run = moves.open_run(acme.pk, rows + 10, begin=rows)
        moves.settle(acme.pk, run, *(attempt(n, n) for n in range(1, rows + 1)))
        moves.close(acme.pk, run)
    moves.give_back(acme.pk, moves.open_run(acme.pk, 105, upto=200))
    moves.owe(acme.pk, owed, 5)
    moves.owe(acme.pk, owed, 2)
    moves.adjust(acme.pk, 1)
    advance(timedelta(days=2))
    ledger.expire(acme.pk)
    return acme


@contextmanager
def damaged(org: Organization, name: str) -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            for statement in DAMAGE[name]:
                cursor.execute(statement.format(org=org.pk))
                assert cursor.rowcount != 0
        yield
        transaction.set_rollback(True)


def test_books_of_every_kind_of_entry_are_proved(busy: Organization, globex: Organization) -> None:
    assert books.drifts(busy.pk) == books.drifts() == []
    assert books.tie_out(busy.pk).ties


def test_every_invariant_has_its_damage() -> None:
    assert set(DAMAGE) == set(books.ALL)
    assert {name[:2] for name in books.HOURLY} == {"I1", "I2", "I3", "I6", "I7", "I8"}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen_and_named(name: str, busy: Organization, globex: Organization) -> None:
    with damaged(busy, name):
        assert name in {drift.invariant for drift in books.drifts(busy.pk)}
        assert name in {drift.invariant for drift in books.drifts()}
        assert {drift.org for drift in books.drifts()} == {busy.pk}
        assert books.drifts(globex.pk) == []


def test_a_proof_is_noted_and_the_tie_out_line_reads_it(busy: Organization) -> None:
    assert books.tie_out(busy.pk).proven_at is None
    books.prove()
    tie = books.tie_out(busy.pk)
    assert tie.proven_at
    assert tie.ties


def test_what_drifted_stands_on_the_tie_out_line_until_it_is_proved_again(busy: Organization) -> None:
    name = "I5 usage by tool is the entries"
    with damaged(busy, name):
        assert [drift.invariant for drift in books.prove(busy.pk)] == [name] * len(books.drifts(busy.pk))
        books.prove(names=books.HOURLY)  # does not look at usage, so what is broken stands
        assert list(Proof.objects.get(org=busy.pk).broken) == [name]
        assert not books.tie_out(busy.pk).ties
    books.prove(busy.pk)
    assert books.tie_out(busy.pk).ties


def test_a_drift_says_what_it_found(busy: Organization) -> None:
    with damaged(busy, "I2 available is what is left in the grants"):
        drift = books.drifts(busy.pk, names=["I2 available is what is left in the grants"])[0]
        assert f"available {drift.facts['available']}, remaining {drift.facts['available'] - 1}" in str(drift)
