"""Faults planted in the driver: at one statement or COMMIT the connection is lost, or the server raises an error.

For the tests of this room. It stands below Django and below the ledger's own cursor, so that no statement goes past it,
and nothing is pretended: backends are killed by a second connection, errors are raised by the server. The statements of
one thread's connection are numbered from 0; the COMMIT counts as one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from django.db import connection

BEFORE, AFTER = "lost before", "lost after"
COMMIT = "COMMIT"
# Serialization failure, deadlock, lock time-out.
RACES = ("40001", "40P01", "55P03")


class Point(NamedTuple):
    """One statement: what it begins with, and whether a transaction was open around it."""

    statement: str
    inside: bool


class Fault(NamedTuple):
    """What goes wrong at which point: BEFORE, AFTER, or an SQLSTATE that the server raises instead."""

    at: int
    how: str


@dataclass
class Seen:
    """The points passed so far; of a planted fault, where it struck."""

    points: list[Point] = field(default_factory=list)
    struck: Point | None = None


@contextmanager
def planted(fault: Fault | None, nemesis: psycopg.Connection[Any]) -> Iterator[Seen]:
    """Count what this thread's connection sends, and strike once at the fault's point."""
    seen = Seen()
    execute, commit = psycopg.Cursor.execute, psycopg.Connection.commit

    def pass_by(driver: psycopg.Connection[Any], statement: str, send: Callable[[], Any]) -> Any:
        if driver is not connection.connection or seen.struck:
            return send()
        here = Point(statement, not driver.autocommit)
        seen.points.append(here)
        if fault is None or fault.at != len(seen.points) - 1:
            return send()
        seen.struck = here
        if fault.how == AFTER:
            send()
        if fault.how in (BEFORE, AFTER):
            nemesis.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])
            answer = send() if fault.how == BEFORE else driver.execute("SELECT")
        else:
            answer = driver.execute(f"DO $$ BEGIN RAISE 'on purpose' USING ERRCODE = '{fault.how}'; END $$".encode())
        raise AssertionError(f"{here}: the fault did not strike, but answered {answer}")

    def execute_watched(cursor: Any, query: Any, *args: Any, **named: Any) -> Any:
        return pass_by(
            cursor.connection, " ".join(str(query).split())[:60], lambda: execute(cursor, query, *args, **named)
        )

    def commit_watched(driver: Any) -> None:
        pass_by(driver, COMMIT, lambda: commit(driver))

    psycopg.Cursor.execute = execute_watched  # type: ignore[assignment, method-assign]
    psycopg.Connection.commit = commit_watched  # type: ignore[assignment, method-assign]
    try:
        yield seen
    finally:
        psycopg.Cursor.execute, psycopg.Connection.commit = execute, commit  # type: ignore[method-assign]
