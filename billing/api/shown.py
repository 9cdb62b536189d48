"""What several operations of this floor show and take: an organization, a span of time, an instant, a name."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from billing.models import Organization
from oxygen_site.api import Instant, Shown

RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Org(Shown):
    slug: str
    name: str


class Span(Shown):
    """From `start` up to, but not including, `end`."""

    start: Instant
    end: Instant


def org_shown(org: Organization) -> Org:
    return Org(slug=org.slug, name=org.name)


def span_shown(start: datetime, end: datetime) -> Span:
    return Span(start=start, end=end)


def _instant(text: Any) -> datetime:
    """Read an instant as RFC 3339 has it, with its zone; a leap second counts as the second before it."""
    written = RFC3339.fullmatch(text) if isinstance(text, str) else None
    if not written:
        raise ValueError("An instant is written as in 2026-11-25T09:30:00Z.")
    day, minute, second, fraction, zone = written.groups(default="")
    said = datetime.fromisoformat(f"{day}T{minute}{'59' if second == '60' else second}{fraction}{zone.upper()}")
    try:
        return said.astimezone(UTC)
    except OverflowError:  # the first day there is, or the last
        return said.replace(tzinfo=UTC)


def _day(text: Any) -> date:
    if not isinstance(text, str) or not DAY.fullmatch(text):
        raise ValueError("A day is written as in 2026-11-25.")
    return date.fromisoformat(text)


InstantIn = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339, with its zone."}),
]
DayIn = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]  # of a provider or a tool
Mode = Literal["managed", "byok"]
Outcome = Literal["succeeded", "no_result", "failed_before_billing", "failed_after_billing", "unknown"]


def own_account(mode: Mode | None) -> bool | None:
    """Say whether a mode means the org's own account; None where none is named."""
    return None if mode is None else mode == "byok"


def mode_shown(own: bool) -> Mode:
    return "byok" if own else "managed"
