"""Intentions: the one way to open a transaction that writes, and the one place that tries it again.

For verbs of lifecycle, purchases and inbox, and for API writes; the verbs of the ledger join what is open and never
retry. The law: an intention happens whole or not at all. It is repeated when the database could not do it, which is
safe even where a commit's answer was lost, because every movement has a key made from facts. A refusal never is.
One intention may be made of others: then they are its steps.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psycopg
from django.db import connection, transaction
from psycopg_pool import PoolTimeout

from oxygen_site.sql import query

TRIES = 6
# Deadlock, serialization failure, lock time-out: the transaction lost, the connection lives.
LOST_THE_RACE = {"40P01", "40001", "55P03"}
# The server goes down, comes up, or threw the connection out (25P03: idle too long, as after a long stop).
LOST_THE_SERVER = {"57P01", "57P02", "57P03", "25P03"}
STATUS = "SELECT pg_xact_status(%(number)s::xid8)"
PATIENCE = 15  # seconds; a backend that nobody speaks to any more ends its transaction after ten


class Undecided(Exception):
    """Whether a commit happened could not be learned in time."""


class Spoiled(Exception):
    """A savepoint could not be rolled back to. Django notes that, goes on, and would undo all of it in silence."""


class Refused(Exception):
    """What a rule says no with: a stable `code`, a sentence for the user, an HTTP status, facts for the page."""

    def __init__(self, code: str, message: str, status: int = 409, field: str | None = None, **facts: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.field = field
        self.facts = facts


class Booked(Exception):
    """A step's refusal on its way out of the intention that it is a step of: what was booked is to stay booked."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


_made_of_others: ContextVar[bool] = ContextVar("made_of_others", default=False)


def intention[T](verb: Callable[[], T | Refused], *, certain: bool = False, of_others: bool = False) -> T:
    """Run a verb as one durable transaction, again from its beginning where the database failed it.

    A verb that raises leaves nothing behind. A verb that returns a Refused is committed first and raised then, so that
    what it booked on the way (as an expiry before a 402) stays booked. `certain`, one statement more, is for verbs that
    would not answer the same twice: where a commit's answer is lost, the database is asked whether it happened.
    `of_others`: the intentions that the verb calls are steps of this one, so that all of it happens or nothing.
    """
    if _made_of_others.get():
        return _step(verb)
    for tries_left in reversed(range(TRIES)):
        number = None
        try:
            with transaction.atomic(durable=True):
                answer = _whole(verb) if of_others else verb()
                if connection.needs_rollback:
                    raise Spoiled
                if certain:
                    ((number,),) = query("SELECT pg_current_xact_id()::text")
        except Exception as failure:
            lost = connection_lost(failure)
            if lost and not connection.in_atomic_block:
                connection.close()
            if not (lost and number and _committed(number)):
                again = lost or isinstance(failure, Spoiled) or _sqlstate(failure) in LOST_THE_RACE
                if not tries_left or not again:
                    raise
                time.sleep(random.uniform(0, 0.1 * 2 ** (TRIES - 1 - tries_left)))  # noqa: S311
                continue
        if isinstance(answer, Refused):
            raise answer
        return answer
    raise AssertionError("unreachable: the last try returns or raises")


def _step[T](verb: Callable[[], T | Refused]) -> T:
    answer = verb()
    if isinstance(answer, Refused):
        raise Booked(answer)
    return answer


def _whole[T](verb: Callable[[], T | Refused]) -> T | Refused:
    before = _made_of_others.set(True)
    try:
        return verb()
    except Booked as booked:
        return booked.refusal
    finally:
        _made_of_others.reset(before)


def _committed(number: str) -> bool:
    """Ask what became of a transaction; while its backend is still at it, wait, as long as an idle one may live."""
    give_up = time.monotonic() + PATIENCE
    while (status := intention(lambda: query(STATUS, number=number)))[0][0] == "in progress":
        if time.monotonic() > give_up:
            raise Undecided(f"transaction {number} is still in progress")
        time.sleep(0.05)
    return status == [("committed",)]


@contextmanager
def one_snapshot(*, patient: bool = False) -> Iterator[None]:
    """Read everything inside as of one instant, so that figures of several queries add up. It cannot write.

    `patient`: no statement has a time limit.
    """
    if connection.in_atomic_block:  # the caller's snapshot, whatever it is
        yield
        return
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if patient:
                cursor.execute("SET LOCAL statement_timeout = 0")
        yield


def connection_lost(failure: BaseException) -> bool:
    """Say whether a failure, or each of a group, is that the database could not be reached any more."""
    if isinstance(failure, BaseExceptionGroup):
        return all(connection_lost(each) for each in failure.exceptions)
    cause = _database_error(failure)
    if cause is None or isinstance(cause, PoolTimeout):  # the pool has waited already
        return False
    if cause.sqlstate is None:
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return cause.sqlstate in LOST_THE_SERVER or cause.sqlstate.startswith("08")


def _sqlstate(failure: BaseException) -> str | None:
    cause = _database_error(failure)
    return cause.sqlstate if cause else None


def _database_error(failure: BaseException | None) -> psycopg.Error | None:
    """Django and the queue wrap the driver's errors; what decides is the one they were raised from."""
    while failure is not None and not isinstance(failure, psycopg.Error):
        failure = failure.__cause__
    return failure
