"""What the pages of API keys show: an org's keys, or an agency's, and whether each still opens anything. Reads only."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from django.db.models import FETCH_RAISE, Q

from billing import access
from billing.models import Agency, ApiKey, Organization

PAGE = 50
type State = Literal["works", "replaced", "idle", "expired", "revoked"]


@dataclass(frozen=True)
class Keyset:
    """The place of a key in the list: the next page begins after it."""

    at: datetime
    id: UUID

    @classmethod
    def read(cls, text: str) -> "Keyset":
        """Read what `text` wrote; ValueError for anything else."""
        at, _, id = text.partition("_")
        return cls(datetime.strptime(at, _AT).replace(tzinfo=UTC), UUID(id))

    @property
    def text(self) -> str:
        return f"{self.at.astimezone(UTC).strftime(_AT)}_{self.id.hex}"

    def older(self) -> Q:
        return Q(created_at__lte=self.at) & (Q(created_at__lt=self.at) | Q(id__lt=self.id))


_AT = "%Y%m%dT%H%M%S.%f"


@dataclass(frozen=True)
class KeyLine:
    """A key and how it stands: `replaced` works to its end, `idle` is of somebody who is not there any more."""

    key: ApiKey
    state: State

    @property
    def may_end(self) -> bool:
        return self.state not in ("expired", "revoked")

    @property
    def may_rotate(self) -> bool:
        return self.may_end and self.key.replacement is None


@dataclass(frozen=True)
class Listed:
    lines: list[KeyLine]
    older: str | None


def listed(of: Organization | Agency, now: datetime, before: Keyset | None = None) -> Listed:
    """List the keys of an org or an agency, newest first, 50 a page. Two queries."""
    found = of.keys.select_related("made_by", "revoked_by", "replaces", "replaced_by")
    if before:
        found = found.filter(before.older())
    page = list(found.order_by("-created_at", "-id").fetch_mode(FETCH_RAISE)[: PAGE + 1])
    there = set(access.people_of(of).values_list("pk", flat=True).filter(pk__in={key.made_by_id for key in page}))
    last = page[PAGE - 1] if len(page) > PAGE else None
    lines = [KeyLine(key, _state(key, now, there)) for key in page[:PAGE]]
    return Listed(lines, Keyset(last.created_at, last.pk).text if last else None)


def _state(key: ApiKey, now: datetime, there: set[UUID]) -> State:
    if key.revoked_at:
        return "revoked"
    if key.has_ended(now):
        return "expired"
    if key.made_by_id not in there:
        return "idle"
    return "replaced" if key.replacement else "works"
