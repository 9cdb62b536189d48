"""Every constraint, unique index and trigger of our tables refuses what it is there to refuse.

CHECKs and triggers are broken by the statements of laws.py. Keys, NOT NULLs and foreign keys are broken by what the
catalog says of them: a row copied, a row copied with nothing in that column, a row that points at nobody.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from billing import books, keys
from billing.models import (
    Agency,
    AutoTopUp,
    CallCount,
    Customer,
    Grant,
    Invitation,
    Invoice,
    KeptAnswer,
    LowBalance,
    Organization,
    Pack,
    PaidPeriod,
    Payment,
    Plan,
    PlanChange,
    Price,
    Purchase,
    StripeCheck,
    StripeEvent,
    Subscription,
    User,
)
from oxygen_site.clock import clock
from runs import dispatch
from runs.models import Integration, Run
from runs.providers import limits
from runs.providers.outcomes import Outcome
from tests.laws import BREAKERS
from tests.runs.conftest import start

OURS = """
    pg_class t JOIN pg_namespace s ON s.oid = t.relnamespace
    AND t.relkind IN ('r', 'p') AND NOT t.relispartition
    AND (s.nspname = 'ledger' OR s.nspname = 'public' AND t.relname ~ '^(billing|runs)_')"""
COUNT = re.compile(r"CHECK \(\((\w+) >= 0\)\)")  # what Django adds to a positive integer


@pytest.fixture
def world(acme: Organization, harbor: Agency, alice: User) -> dict[str, Any]:
    """At least one row in each of our tables: a run of Acme's with items in flight, two settled, and all the cast."""
    call_command("sync_catalog", stdout=StringIO())
    run = start(acme, alice, "hunter.email_finder", rows=9, cap=6)
    calls = dispatch.claim(run, owner := uuid4(), 3)
    found = dispatch.Answer(calls[0], Outcome("succeeded", Decimal(1), "Answered.", {"email": "a@b.example"}, "1"), 12)
    dispatch.settle(run, owner, [found])
    limits.no_answer(run, calls[1])
    script = keys.rotate(keys.make(acme, alice, "A script", ["read"])[0], alice, timedelta(days=1))[0]
    CallCount.objects.create(key=script, minute=clock(), calls=1)
    KeptAnswer.objects.create(org=acme, key="once", fingerprint="0" * 64, kept_at=clock())
    LowBalance.objects.create(org=acme, threshold=5, unit="days")
    Invitation.objects.create(
        org=acme, email="bob@b.example", role="member", by=alice, made_at=clock(), expires_at=clock()
    )
    keys.revoke(keys.make(harbor, alice, "A board", ["read"])[0], by=alice)
    Integration.objects.create(org=acme, provider_id="hunter", mode="byok")
    alice.groups.add(Group.objects.create(name="all"))
    alice.user_permissions.add(Permission.objects.all()[0])
    Run.objects.filter(id=run.id).update(continues=run)
    sold_to(acme, alice)
    books.prove()
    ask("SET CONSTRAINTS ALL IMMEDIATE")
    ask("SET CONSTRAINTS ALL DEFERRED")
    return {"org": acme.pk, "run": run.id, "grant": Grant.objects.get(org=acme.pk).id}


def sold_to(org: Organization, alice: User) -> None:
    """What was sold to an org: of all there may be one of at a time, one that is and one that was."""
    now, common = clock(), {"rank": 1, "credits": 5, "name": "Growth"}
    Plan.objects.create(id="growth-1", key="growth", version=1, on_sale=False, **common)
    plan = Plan.objects.create(id="growth-2", key="growth", version=2, on_sale=True, **common)
    pack = Pack.objects.create(id="1000-1", credits=1000, on_sale=True)
    cents = {"amount": 100, "currency": "usd"}
    price = Price.objects.create(lookup_key="growth", plan=plan, interval="month", stripe_id="price_1", **cents)
    once = Price.objects.create(lookup_key="pack", pack=pack, interval="once", **cents)
    for state, closed_at, status in (("paid", now, "canceled"), ("open", None, "active")):
        customer = Customer.objects.create(org=org, stripe_id=f"cus_{state}", closed_at=closed_at)
        standing = Subscription.objects.create(
            stripe_id=f"sub_{state}",
            customer=customer,
            org=org,
            price=price,
            next_price=price,
            reading=1,
            status=status,
            period_start=now,
            period_end=now,
            started_at=now,
        )
        for what, automatic in ((price, False), (once, False), (once, True)):
            bought: dict[str, Any] = {"price": what, "is_plan": what is price, "automatic": automatic, "by": alice}
            Purchase.objects.create(org=org, state=state, asked_at=now, **bought)
        PlanChange.objects.create(
            org=org,
            subscription=standing,
            by=alice,
            old=price,
            new=price,
            when="renewal",
            state="applied" if closed_at else "scheduled",
            at=now,
            quoted_at=now,
            until=now,
        )
    Payment.objects.create(stripe_id="pi_1", org=org, reading=1, paid_at=now, **cents)
    PaidPeriod.objects.create(
        key="refill:1",
        org=org,
        source="plan_refill",
        price=price,
        anchor=now,
        start=now,
        **{"end": now, "first": 5, "credits": 5, "level": 5, "paid_at": now, "given_until": now, **cents},
    )
    Invoice.objects.create(
        stripe_id="in_1",
        org=org,
        reading=1,
        status="paid",
        created_at=now,
        currency="usd",
        total=100,
        tax=0,
        amount_paid=100,
        amount_due=0,
    )
    AutoTopUp.objects.create(org=org, threshold=5, pack=pack, monthly_max=100)
    StripeEvent.objects.create(
        id="evt_1", type="invoice.paid", object="in_1", created_at=now, received_at=now, state="received", payload={}
    )
    StripeCheck.objects.create(at=now, caught_up=0)


def ask(sql: str, facts: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, facts or {})
        return cursor.fetchall() if cursor.description else []


def refusal(sql: str, facts: dict[str, Any] | None = None) -> psycopg.errors.Diagnostic:
    """Do it, with what is deferred forced, and undo it; answer what the database refused it with."""
    try:
        with transaction.atomic():
            ask(sql, facts)
            ask("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError as refused:
        cause = refused.__cause__
    else:
        pytest.fail(f"nothing refused: {sql}")
    assert isinstance(cause, psycopg.Error)
    return cause.diag


def of_parent(name: str | None) -> str:
    """The law's own name, where a partition of the entries refused in its stead."""
    return re.sub(r"^entry_\d{6}", "entry", name or "")


def constraints(kind: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """Read (table, name, definition, columns) of each constraint of a kind."""
    yield from ask(
        f"""SELECT t.oid::regclass::text, c.conname, pg_get_constraintdef(c.oid),
                   array(SELECT attname::text FROM pg_attribute WHERE attrelid = t.oid AND attnum = ANY (c.conkey))
            FROM pg_constraint c JOIN {OURS} ON t.oid = c.conrelid WHERE c.contype = %(kind)s ORDER BY 1, 2""",
        {"kind": kind},
    )


def columns(table: str) -> list[str]:
    rows = ask(
        """SELECT attname FROM pg_attribute
           WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''""",
        {"table": table},
    )
    return [name for (name,) in rows]


def copy(table: str, into: str | None = None, where: str = "true", **changed: str) -> str:
    quoted = {name: f'"{name}"' for name in columns(table)}
    values = ", ".join(changed.get(name, there) for name, there in quoted.items())
    return (
        f"INSERT INTO {into or table} ({', '.join(quoted.values())}) SELECT {values} FROM {table} WHERE {where} LIMIT 1"
    )


def our_laws() -> set[str]:
    """The CHECKs, triggers and partial unique indexes of our tables."""
    checks = {f"{table}.{name}" for table, name, text, _ in constraints("c") if not COUNT.fullmatch(text)}
    triggers = ask(
        f"SELECT t.relname || '.' || tgname FROM pg_trigger JOIN {OURS} ON t.oid = tgrelid WHERE NOT tgisinternal"
    )
    indexes = ask(
        f"""SELECT t.relname || '.' || i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
            JOIN {OURS} ON t.oid = x.indrelid
            WHERE x.indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = x.indexrelid)"""
    )
    return checks | {name for (name,) in [*triggers, *indexes]}


@pytest.mark.django_db
def test_every_law_has_a_breaker_and_every_breaker_a_law() -> None:
    assert our_laws() == set(BREAKERS)


def test_what_breaks_a_law_is_refused_by_that_law(world: dict[str, Any]) -> None:
    for law, statements in BREAKERS.items():
        table, name = law.split(".")
        for statement in statements:
            refused = refusal(statement, {key: world[key] for key in world if f"%({key})s" in statement})
            if refused.constraint_name:
                assert of_parent(refused.constraint_name) == name, statement
            else:  # a trigger
                assert refused.sqlstate in ("LG002", "LG005"), statement
                assert table in (refused.message_primary or "") or table == "clock_offset", statement


def test_no_row_stands_twice(world: dict[str, Any]) -> None:
    for table, name, _, _ in constraints("p"):
        assert of_parent(refusal(copy(table)).constraint_name) == name


def test_what_else_is_unique_stands_once(world: dict[str, Any]) -> None:
    """A copy in which all is other that must be, but for what this law says."""
    unique = list(constraints("u"))
    for table, name, _, columns in unique:
        others = {which[-1] for of, _, _, which in unique if of == table} | {key_of(table)}
        changed = {column: another(table, column) for column in others - set(columns)}
        filled = " AND ".join(f'"{column}" IS NOT NULL' for column in columns)
        assert of_parent(refusal(copy(table, where=filled, **changed)).constraint_name) == name


def key_of(table: str) -> str:
    """The column of the primary key; of several, the one that makes it a row's own."""
    (its,) = [columns for of, _, _, columns in constraints("p") if of == table]
    return "id" if "id" in its else its[0]


def another(table: str, column: str) -> str:
    other = {"uuid": "uuidv7()", "bigint": "-1", "integer": "-1", "character varying": "'another'"}
    (kind,) = (kind for of, called, kind in types() if (of, called) == (table, column))
    return f'CASE WHEN "{column}" IS NOT NULL THEN {other[kind]} END'


def test_no_column_that_must_be_filled_is_empty(world: dict[str, Any]) -> None:
    partition = ask("SELECT min(tableoid)::regclass::text FROM ledger.entry")[0][0]
    for table, _, _, (column,) in constraints("n"):
        into = partition if table == "entry" else table  # without its source an entry goes nowhere
        refused = refusal(copy(table, into, **{column: "NULL"}))
        assert (refused.sqlstate, refused.column_name) == ("23502", column), table


def test_no_row_points_at_nobody(world: dict[str, Any]) -> None:
    nobody = {"uuid": "gen_random_uuid()", "bigint": "-1", "integer": "-1", "character varying": "'nobody'"}
    for table, name, _, (column,) in constraints("f"):
        kind = next(kind for of, called, kind in types() if (of, called) == (table, column))
        row = f"(SELECT ctid FROM {table} ORDER BY {column} IS NULL, ctid LIMIT 1)"
        refused = refusal(f"UPDATE {table} SET {column} = {nobody[kind]} WHERE ctid = {row}")
        assert (refused.sqlstate, refused.constraint_name) == ("23503", name)


def test_no_count_is_below_zero(world: dict[str, Any]) -> None:
    for table, name, text, _ in constraints("c"):
        if count := COUNT.fullmatch(text):
            refused = refusal(f"UPDATE {table} SET {count[1]} = -1")
            stricter = {other for of, other, _, which in constraints("c") if (of, which) == (table, [count[1]])}
            assert refused.constraint_name in stricter | {name}


@pytest.mark.django_db
def test_every_month_of_entries_has_its_own_guard_against_truncate() -> None:
    unguarded = ask(
        """SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'ledger.entry'::regclass
           AND inhrelid NOT IN (SELECT tgrelid FROM pg_trigger WHERE tgname = 'no_truncate')"""
    )
    assert unguarded == []


@pytest.mark.django_db
def test_no_trigger_sleeps() -> None:
    assert ask(f"SELECT t.relname, tgname FROM pg_trigger JOIN {OURS} ON t.oid = tgrelid WHERE tgenabled <> 'O'") == []


def types() -> set[tuple[str, str, str]]:
    return {
        (table, column, kind)
        for table, column, kind in ask(
            f"""SELECT t.oid::regclass::text, attname::text, split_part(format_type(atttypid, atttypmod), '(', 1)
                FROM pg_attribute JOIN {OURS} ON t.oid = attrelid WHERE attnum > 0"""
        )
    }
