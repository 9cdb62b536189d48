"""A process that is killed at one statement, COMMIT or request to Stripe; or to which its answer breaks on the way.

For `mortal.py`. Killed is no Exception, so that no handler of ours repairs anything, and from then on whatever
the dead process would still ask of the database or of Stripe is refused: it happened before the kill, or never.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
from django.db import connection

from tests.sandbox.stripe.local import Judged, Sandbox

BEFORE, AFTER = "killed before", "killed after"
BROKEN = "the answer breaks"  # of a request to Stripe; the SDK does not try such a one again


class Killed(BaseException):
    """The process is no more."""


class Kill(NamedTuple):
    at: int
    how: str


@dataclass
class Seen:
    """The points passed: what is sent, and to whom."""

    points: list[str] = field(default_factory=list)
    struck: str = ""
    dead: bool = False


@contextmanager
def killing(kill: Kill | None, local: Sandbox) -> Iterator[Seen]:
    """Count what this thread sends, and strike once; whoever was killed, its connection is closed at the end."""
    seen = Seen()
    execute, commit, request = psycopg.Cursor.execute, psycopg.Connection.commit, Judged.request

    def pass_by(point: str, send: Callable[[], Any]) -> Any:
        if seen.dead:
            raise Killed
        seen.points.append(point)
        if kill is None or kill.at != len(seen.points) - 1 or seen.struck:
            return send()
        seen.struck = point
        if kill.how == BROKEN:
            method, path = point.split()
            local.order("faults", kind="lost", method=method, path=path)
            return send()
        seen.dead = True
        if kill.how == AFTER:
            send()
        raise Killed

    def execute_watched(cursor: Any, query: Any, *args: Any, **named: Any) -> Any:
        if cursor.connection is not connection.connection:
            return execute(cursor, query, *args, **named)
        point = f"SQL {' '.join(str(query).split())[:60]}"
        return pass_by(point, lambda: execute(cursor, query, *args, **named))

    def commit_watched(driver: Any) -> None:
        if driver is not connection.connection:
            return commit(driver)
        return pass_by("SQL COMMIT", lambda: commit(driver))

    def request_watched(wire: Judged, method: str, url: str, *sent: Any) -> Any:
        if wire is not local.products:
            return request(wire, method, url, *sent)
        return pass_by(f"{method.upper()} {urlsplit(url).path}", lambda: request(wire, method, url, *sent))

    psycopg.Cursor.execute = execute_watched  # type: ignore[assignment, method-assign]
    psycopg.Connection.commit = commit_watched  # type: ignore[assignment, method-assign]
    Judged.request = request_watched  # type: ignore[assignment, method-assign]
    try:
        yield seen
    except BaseException:  # also what Django makes of a dead connection on the way out
        if not seen.dead:
            raise
    finally:
        psycopg.Cursor.execute, psycopg.Connection.commit = execute, commit  # type: ignore[method-assign]
        Judged.request = request  # type: ignore[method-assign]
        if seen.dead:
            connection.close()
