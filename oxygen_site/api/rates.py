"""How often a key may call: so many times in each minute of the machine's clock, whichever process it asks."""

from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from oxygen_site.sql import query
from oxygen_site.transactions import Refused, intention

COUNT = """
INSERT INTO billing_callcount AS c (key_id, minute, calls)
VALUES (%(key)s, date_trunc('minute', clock_timestamp()), 1)
ON CONFLICT (key_id) DO UPDATE
SET calls = CASE WHEN c.minute = excluded.minute THEN c.calls + 1 ELSE 1 END, minute = excluded.minute
RETURNING calls, 60 - floor(extract(second FROM clock_timestamp()))::int"""


class Rate(NamedTuple):
    """What is left of a minute's calls, and after how many seconds the next begins."""

    left: int
    seconds: int


def count(key: UUID) -> Rate:
    """Count a call of a key. One write, of a table that needs not outlive a crash."""
    ((calls, seconds),) = intention(lambda: query(COUNT, key=key))
    return Rate(settings.API_CALLS_PER_MINUTE - calls, seconds)


def require(rate: Rate) -> None:
    if rate.left < 0:
        raise Refused(
            "too_many_requests",
            f"A key may call {settings.API_CALLS_PER_MINUTE} times a minute. Go on in {rate.seconds} seconds.",
            429,
        )


def headers(rate: Rate) -> dict[str, str]:
    """Write what is left into headers, as draft-ietf-httpapi-ratelimit-headers has them."""
    told = {
        "RateLimit-Policy": f'"default";q={settings.API_CALLS_PER_MINUTE};w=60',
        "RateLimit": f'"default";r={max(rate.left, 0)};t={rate.seconds}',
    }
    return told | ({"Retry-After": str(rate.seconds)} if rate.left < 0 else {})
