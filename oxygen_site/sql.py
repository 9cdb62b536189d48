"""One statement of set-based SQL, for the hot path: on a cursor that is kept, and with arrays written as text.

For `dispatch.py`, `standing.py` and `limits.py` of runs. It joins whatever transaction is open, as Django's own cursor
does; but making one of those anew costs a worker as much as a small statement, and psycopg's lists ten times the text.
"""

from collections.abc import Iterable
from typing import Any

from django.db import connection


def query(sql: str, **facts: Any) -> list[tuple[Any, ...]]:
    """Execute a statement and answer its rows, none where it has none. JSON comes as text."""
    connection.ensure_connection()
    driver: Any = connection.connection
    with connection.wrap_database_errors:
        try:
            cursor = driver.kept
        except AttributeError:
            cursor = driver.kept = driver.cursor()
        cursor.execute(sql, facts)
        return cursor.fetchall() if cursor.description else []


def array(values: Iterable[object]) -> str:
    """Write an array's text. Of numbers, ids and slugs only: nothing is quoted."""
    return "{" + ",".join(map(str, values)) + "}"
