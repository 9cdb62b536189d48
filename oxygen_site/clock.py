"""Business time: the database's clock plus an offset that only grows.

The one place to read the time of entries, expiries, credit months and ids from; leases, limits and heartbeats are
machine time and read the database's real clock instead. Only the demo and tests move business time: the demo begins
weeks behind, lives through them and catches up to exactly the real time.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection


def clock() -> datetime:
    """Read business time. One query."""
    return _ask("SELECT ledger.clock()")


def new_id() -> UUID:
    """Make a UUIDv7 of business time. One query."""
    return _ask("SELECT ledger.new_id()")


def day_starts(days: Sequence[date], zone: str) -> list[datetime]:
    """Say at which instant each day begins in a zone, as `ledger.local_day` cuts them. One query.

    That is the first instant which is of the day, or of a later one where the zone leaves it out; where clocks are put
    back over midnight, the earlier of two.
    """
    starts: list[datetime] = _ask(
        """
        SELECT array_agg(start ORDER BY n) FROM unnest(%s::date[]) WITH ORDINALITY AS d (day, n), LATERAL (
          SELECT min(at) AS start FROM generate_series(-4, 4) AS halves,
            LATERAL (SELECT (day::timestamp AT TIME ZONE %s) + halves * interval '30 minutes' AS at) AS near
          WHERE ledger.local_day(at, %s) >= day) AS first""",
        list(days),
        zone,
        zone,
    )
    return starts


def begin(behind: timedelta) -> datetime:
    """Set business time `behind` the real clock; only the empty ledger of a demo or test lets it."""
    return _move("SELECT ledger.begin_clock(%s)", behind)


def advance(by: timedelta) -> datetime:
    """Move business time forward; never backwards."""
    return _move("SELECT ledger.advance_clock(%s)", by)


def catch_up() -> datetime:
    """Bring business time that is behind to the real time; time that is ahead stays where it is."""
    return _move("SELECT ledger.advance_clock(-ahead) FROM ledger.clock_offset")


def _move(sql: str, *by: timedelta) -> datetime:
    if not settings.MOVABLE_CLOCK:
        raise RuntimeError("Business time is moved in the demo and in tests only.")
    return _ask(sql, *by)


def _ask(sql: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    assert row is not None
    return row[0]
