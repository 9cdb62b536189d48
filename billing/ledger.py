"""THE DOOR: the only code that moves credits.

Each verb is one SQL function of `migrations/sql/`, named alike, and a step of its caller's transaction: it opens none
and never retries (`transactions.intention` does both). Callers are named in docs/money.md and kept by test_house.py.
Lock order: account, then attempts' entries, then the reservation, then grants and draws, then usage rows by key.
Credits are exact: a `Decimal` of at most four places. Orgs and runs go by their UUIDs, actors by strings of ids
("user:…", "run:…", "system:expiry"). The same key with the same content answers as the first time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import DatabaseError, connection

PLACES = Decimal("0.0001")


class LedgerError(Exception):
    """What the ledger refuses; a bug or a race of its caller, never a person's mistake."""


class Closed(LedgerError):
    """The run is closed, or there is no such run or account."""


class Conflict(LedgerError):
    """The same key was used with other content."""


class InFlight(LedgerError):
    """Items in flight still hold some of the run."""


class AlreadySettled(LedgerError):
    """Some attempt of the batch was settled before: roll back, then `settle_slow`."""


class Settled(NamedTuple):
    """One attempt's end. `cost` as the provider billed, `maximum` its tool's, `held` the part of the hold set free."""

    item: int
    attempt: int
    provider: str
    tool: str
    byok: bool
    outcome: str
    cost: Decimal
    maximum: Decimal
    held: Decimal


REFUSALS = {"LG001": Closed, "LG003": Conflict, "LG004": InFlight}


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        cause = error.__cause__
        state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
        if state in REFUSALS:
            raise REFUSALS[state](str(error).partition("\n")[0]) from error
        raise


def _call(sql: str, *args: Any) -> Any:
    with _refusals(), connection.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor.fetchone()[0]


def _exact(credits: Decimal) -> Decimal:
    if not credits.is_finite() or credits != credits.quantize(PLACES):
        raise ValueError(f"credits are a finite Decimal of at most four places, not {credits!r}")
    return credits


# ------------------------------------------------------------------ the account


def open_account(org: UUID, zone: str) -> None:
    """Give a new org its balance of 0, with usage cut in days of `zone`. Again: nothing."""
    _call("SELECT ledger.open_account(%s, %s)", org, zone)


def change_zone(org: UUID, zone: str) -> None:
    """Cut the org's usage anew in days of another zone; its settles wait, about a second per million entries."""
    _call("SELECT set_config('statement_timeout', '0', true)")  # of this transaction: it takes what it takes
    _call("SELECT ledger.set_zone(%s, %s)", org, zone)


def grant(
    org: UUID,
    *,
    key: str,
    source: str,
    amount: Decimal,
    expires_at: datetime,
    actor: str,
    effective_at: datetime | None = None,
    reason: str | None = None,
    paid: Decimal | None = None,
    currency: str | None = None,
    stripe_line: str | None = None,
    stripe_payment: str | None = None,
) -> UUID:
    """Give credits, effective now unless said. Answer the grant's id; Conflict where `key` gave something else."""
    return _call(
        "SELECT ledger.grant_credits(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        *(org, key, source, _exact(amount), expires_at, actor),
        *(effective_at, reason, paid, currency, stripe_line, stripe_payment),
    )


def expire(org: UUID) -> None:
    """Book the expiry of every grant that is due; every other verb of the account does so first."""
    _call("SELECT ledger.expire_due(%s)", org)


def claw_back(org: UUID, grant: UUID, *, owed: Decimal, actor: str) -> None:
    """Set what is owed of a grant in all: take what is undrawn, or restore what is too much. Again: moves nothing."""
    _call("SELECT ledger.claw_back(%s, %s, %s, %s)", org, grant, _exact(owed), actor)


def adjust(org: UUID, id: UUID, *, amount: Decimal, actor: str, reason: str) -> Decimal:
    """Take credits away in burn order, for a reason. Answer what is missing; above 0, nothing was taken.

    `id` is a `new_id()` made with the form that asks, so that sending it twice takes once.
    """
    return _call("SELECT ledger.adjust(%s, %s, %s, %s, %s)", org, id, _exact(amount), actor, reason)


# ------------------------------------------------------------------ a run's reservation


def reserve(
    org: UUID, run: UUID, *, cap: Decimal, estimated_max: Decimal, run_kind: str, member: UUID, actor: str
) -> Decimal:
    """Hold the lesser of cap and estimated maximum for a run. Answer what is missing; above 0, nothing is held."""
    return _call(
        "SELECT ledger.reserve(%s, %s, %s, %s, %s, %s, %s)",
        *(org, run, _exact(cap), _exact(estimated_max), run_kind, member, actor),
    )


def give_back(org: UUID, run: UUID, *, actor: str) -> Decimal:
    """Return to available what the rows not begun can no longer need. Answer how much came back."""
    return _call("SELECT ledger.give_back(%s, %s, %s)", org, run, actor)


def close(org: UUID, run: UUID, *, actor: str) -> Decimal:
    """End a run's reservation: what it captured is spent, the rest returns. Answer how much came back.

    InFlight while anything is held. A BYOK step holds 0: the caller looks for running items itself.
    """
    return _call("SELECT ledger.close(%s, %s, %s)", org, run, actor)


# ------------------------------------------------------------------ its items: the hot path


def admit(org: UUID, run: UUID, n: int, unit: Decimal) -> int:
    """Carve the holds of up to n items of `unit` credits each; answer how many may start: 0 at the cap or paused."""
    with connection.wrap_database_errors:
        return _kept_cursor().execute("SELECT ledger.admit(%s, %s, %s, %s)", (org, run, n, unit)).fetchone()[0]


def pause(org: UUID, run: UUID, paused: bool) -> None:
    """Stop admitting items, or admit again."""
    _call("SELECT ledger.pause(%s, %s, %s)", org, run, paused)


_BATCH = (
    "(%t, %t, %t::int[], %t::smallint[], %t::text[], %t::text[], %t::boolean[], %t::text[],"
    " %t::numeric[], %t::numeric[], %t::numeric[])"
)
_SETTLE = "SELECT ledger.settle" + _BATCH
_SETTLE_SLOW = "SELECT * FROM ledger.settle_slow" + _BATCH  # noqa: S608


_key = itemgetter(0, 1)  # the order of entries: two batches with common items queue, instead of crossing


@cache  # of providers, tools and outcomes there are few
def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _batch(org: UUID, run: UUID, attempts: Sequence[Settled]) -> list[Any]:
    item, attempt, provider, tool, byok, outcome, *credits = zip(*attempts, strict=True)
    columns = (
        *(map(str, column) for column in (item, attempt)),
        *(map(_quoted, column) for column in (provider, tool)),
        map(str, byok),
        map(_quoted, outcome),
        *(map(str, column) for column in credits),
    )
    # Array literals: exact, and a tenth of what psycopg's own lists cost the client.
    return [org, run, *("{" + ",".join(column) + "}" for column in columns)]


def _kept_cursor() -> Any:
    # The connection's own, past Django's: making one anew costs the client as much as the rest of a small settle.
    connection.ensure_connection()
    driver = connection.connection
    try:
        return driver.settling
    except AttributeError:
        driver.settling = driver.cursor()
        return driver.settling


def settle(org: UUID, run: UUID, attempts: Sequence[Settled]) -> Decimal:
    """Settle a batch of a run's attempts; answer the credits captured. One statement, and one settle a transaction.

    AlreadySettled or Closed: roll the transaction back and call `settle_slow` with the same attempts.
    """
    if not attempts:
        return Decimal(0)
    try:
        with _refusals(), connection.wrap_database_errors:
            return _kept_cursor().execute(_SETTLE, _batch(org, run, sorted(attempts, key=_key))).fetchone()[0]
    except DatabaseError as error:
        if isinstance(error.__cause__, psycopg.errors.UniqueViolation):
            raise AlreadySettled(str(run)) from error
        raise


def settle_slow(org: UUID, run: UUID, attempts: Sequence[Settled]) -> list[tuple[int, int, str]]:
    """Settle what was not settled before; answer (item, attempt, verdict) for each.

    A verdict is "settled", "replayed" or "conflict": settled before with other content, where the first stands.
    Closed where a new attempt comes for a run that has ended.
    """
    with _refusals(), connection.cursor() as cursor:
        cursor.execute(_SETTLE_SLOW, _batch(org, run, attempts))
        return cursor.fetchall()


# ------------------------------------------------------------------ its months


def make_months() -> int:
    """Make the partitions of the months to come; answer how many after this one of business time are ready."""
    _call("SELECT count(*) FROM ledger.make_months()")
    return _call("SELECT ledger.months_ahead()")
