"""The grants: credits given, and what became of them."""

from typing import Annotated, Literal
from uuid import UUID

from ninja import Query, Router

from billing import statements
from billing.access import OrgRequest
from billing.models import Grant as Given
from oxygen_site.api import Credits, Cursor, Data, Instant, Limit, Shown, may, read_cursor, write_cursor
from oxygen_site.transactions import one_snapshot

router = Router(tags=["balance"])
Open = Annotated[bool | None, Query(alias="open")]


class Grant(Shown):
    """Credits given once. `paid` is in minor units, tax included; null where nothing was paid.

    What of `amount` is not remaining, burned, expired, clawed_back less restored, or adjusted is drawn by open runs.
    """

    id: UUID
    source: Literal["plan_refill", "plan_upgrade", "top_up", "promo", "adjustment"]
    amount: Credits
    remaining: Credits
    burned: Credits
    expired: Credits
    clawed_back: Credits
    restored: Credits
    adjusted: Credits
    owed: Credits
    effective_at: Instant
    expires_at: Instant
    paid: int | None
    currency: str | None
    key: str


class Grants(Shown):
    grants: list[Grant]
    next_cursor: str | None


@router.get("/grants", auth=may("read"), response=Data[Grants], summary="List the grants")
@one_snapshot()
def list_grants(request: OrgRequest, is_open: Open = None, limit: Limit = 50, cursor: Cursor = None) -> Data[Grants]:
    """The grants, newest first; with `open`, those with something left, or those without.

    Credits burn soonest to expire first, then by effective time, then by key.
    """
    # One query.
    place = read_cursor(request, "grants", cursor)
    listed = statements.grants(request.org, is_open=is_open, after=UUID(place[0]) if place else None, limit=limit)
    return Data(
        data=Grants(
            grants=list(map(_grant, listed.rows)),
            next_cursor=write_cursor(request, "grants", [str(listed.next)]) if listed.next else None,
        )
    )


def _grant(grant: Given) -> Grant:
    facts = {name: getattr(grant, name) for name in Grant.model_fields}
    return Grant.model_validate(facts | {"paid": None if grant.paid is None else int(grant.paid)})
