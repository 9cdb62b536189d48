"""Credit months: the spans in which a plan gives its credits. Pure; anybody may use it.

A month is counted from its anchor (for the free plan the org's creation), in UTC, and begins on the month's last day
where there is no such day. Always from the anchor, never from the month before: a 31st comes back after February.
"""

from calendar import monthrange
from datetime import UTC, datetime


def credit_month(anchor: datetime, at: datetime) -> tuple[datetime, datetime]:
    """Give the credit month [start, end) that holds `at`."""
    anchor, at = anchor.astimezone(UTC), at.astimezone(UTC)
    months = (at.year - anchor.year) * 12 + at.month - anchor.month
    if months_later(anchor, months) > at:
        months -= 1
    return months_later(anchor, months), months_later(anchor, months + 1)


def months_later(anchor: datetime, months: int) -> datetime:
    """Give the instant `months` after `anchor`, on the month's last day where there is no such day."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)
