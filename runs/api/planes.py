"""Operations of the JSON API for execution planes, which work on items elsewhere: reserve, hold, settle, close.

Thin: the gate, a verb of `planes.py` or `lifecycle.py`, and the shape of its answer. Settling takes no Idempotency-Key:
what it settles is named by reservation, item, tool and try, and so is safe to send again. `docs/api.md` tells people.
"""

from typing import Annotated, Literal
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Router
from pydantic import Field, StrictBool, StringConstraints

from billing import access
from billing.access import OrgRequest
from oxygen_site.api import (
    WHOLE,
    CostIn,
    Count,
    Credits,
    CreditsIn,
    Data,
    Instant,
    Shown,
    Taken,
    Whole,
    may,
    write,
    written,
)
from oxygen_site.transactions import Refused, one_snapshot
from runs import lifecycle, planes, queries
from runs.api.shapes import Outcome, RunStatus
from runs.cascade import TRIES, place
from runs.models import Run
from runs.planes import LONGEST, MOST, Said, Verdict

router = Router(tags=["execution planes"], by_alias=True)

type Named = Annotated[str, StringConstraints(min_length=1, max_length=200)]
type Ref = Annotated[str, StringConstraints(max_length=120)]
type UpToMost = Annotated[int, Field(ge=1, le=MOST), WHOLE]
type Seconds = Annotated[int, Field(ge=1, le=LONGEST), WHOLE]


# ------------------------------------------------------------------ a reservation


class ToReserve(Taken):
    """Each item may use these `tools`, in this order. `items`: how many at most."""

    tools: Annotated[list[str], Field(min_length=1, max_length=50)]
    items: Count
    max_credits: CreditsIn | None = None
    name: Named | None = None
    approved: StrictBool = False


class ToolFrozen(Shown):
    """A tool with its terms as they were when the reservation was opened; on one's own account it costs no credits."""

    tool: str
    provider: str
    mode: Literal["managed", "byok"]
    estimated_credits_per_call: Credits
    maximum_credits_per_call: Credits


class ItemsOfReservation(Shown):
    """`most` may be taken in all; `out` are held and not settled."""

    most: int
    taken: int
    out: int
    succeeded: int
    failed: int


class ReservationShown(Shown):
    """What an execution plane may spend, and what it has. It is a run of the kind `outside`, and has its id.

    `credits_per_item`: what is held for one item. `room`: what further holds may take. `late`: outcomes that came after
    their items had been given up.
    """

    id: UUID
    name: str
    status: RunStatus
    pause_reason: Literal["cap_reached", "provider_unavailable", "by_user"] | None
    tools: list[ToolFrozen]
    items: ItemsOfReservation
    credits_per_item: Credits
    max_credits: Credits | None
    reserved: Credits
    captured: Credits
    held: Credits
    room: Credits
    released: Credits
    absorbed: Credits
    late: int
    created_at: Instant
    ended_at: Instant | None


@router.post(
    "/reservations",
    auth=may("start_runs"),
    response={201: Data[ReservationShown], 402: None},
    summary="Open a reservation",
)
@write(201)
def open_reservation(request: OrgRequest, body: ToReserve) -> Data[ReservationShown]:
    """Hold what so many items may cost, `max_credits` at most, for work that is done elsewhere.

    Prices, maxima and modes stay as they are now. Tools on managed providers need `max_credits`. `approved` takes the
    right to approve; without it a reservation that needs approval waits, and holds nothing.
    """
    if body.approved:
        access.require(request, "approve")
    run = lifecycle.create_outside(
        request.org,
        body.tools,
        items=body.items,
        cap=body.max_credits,
        name=body.name,
        approved=body.approved,
        by=request.user,
        key=request.key,
    )
    return Data(data=_shown(run))


@router.get(
    "/reservations/{uuid:reservation_id}", auth=may("read"), response=Data[ReservationShown], summary="Read one"
)
@one_snapshot()
def get_reservation(request: OrgRequest, reservation_id: UUID) -> Data[ReservationShown]:
    """How far it is, and what it has captured, holds and may still take."""
    return Data(data=_shown(_run(request, reservation_id)))


def _run(request: OrgRequest, reservation_id: UUID) -> Run:
    return get_object_or_404(Run, org=request.org, kind=Run.Kind.OUTSIDE, id=reservation_id)


def _mine(request: OrgRequest, reservation_id: UUID) -> Run:
    run = _run(request, reservation_id)
    access.require_steering(request, run)
    return run


def _shown(run: Run) -> ReservationShown:
    """Two queries."""
    card = queries.receipt(run)
    done = {"succeeded": card.succeeded, "failed": card.failed}
    return ReservationShown(
        id=run.id,
        name=run.name,
        status=run.status,  # type: ignore[arg-type]
        pause_reason=run.pause_reason,  # type: ignore[arg-type]
        tools=[
            ToolFrozen(
                tool=step.tool,
                provider=step.provider,
                mode="byok" if step.byok else "managed",
                estimated_credits_per_call=step.price,
                maximum_credits_per_call=step.maximum,
            )
            for step in run.cascade
        ],
        items=ItemsOfReservation(most=run.rows, taken=card.done + card.running, out=card.running, **done),
        credits_per_item=run.unit,
        max_credits=run.cap,
        reserved=card.open_hold,
        captured=card.captured,
        held=card.held,
        room=card.room,
        released=card.released,
        absorbed=card.absorbed,
        late=run.late_settles,
        created_at=run.created_at,
        ended_at=run.ended_at,
    )


# ------------------------------------------------------------------ holds


class ToHold(Taken):
    """`refs`: what you call each item, as the run's page shows it. What is not settled within its lease is given up."""

    items: UpToMost
    refs: Annotated[list[Ref], Field(max_length=MOST)] | None = None
    lease_seconds: Seconds = 600


class Holds(Shown):
    """Each of `items` may be worked on until `lease_until`, beginning with the first tool. `left`: not taken yet.

    It has fewer than were asked for, or none, where only the settling of what is out can make room.
    """

    items: list[int]
    lease_until: Instant | None
    room: Credits
    left: int


class ToRenew(Taken):
    items: Annotated[list[Count], Field(min_length=1, max_length=MOST)]
    lease_seconds: Seconds = 600


class Renewed(Shown):
    """`items` are still yours, until then; those that are missing have ended."""

    items: list[int]
    lease_until: Instant | None


@router.post(
    "/reservations/{uuid:reservation_id}/holds",
    auth=may("start_runs"),
    response={201: Data[Holds]},
    summary="Take holds",
)
@write(201)
def take_holds(request: OrgRequest, reservation_id: UUID, body: ToHold) -> Data[Holds]:
    """Hold credits for so many items, as far as the cap has room, before anything is called for them.

    Items are numbered on from 1. Refused (409): `cap_reached`, `nothing_left`, `wrong_state`.
    """
    run = _mine(request, reservation_id)
    if body.refs is not None and len(body.refs) != body.items:
        raise Refused("invalid_refs", "Name every item in refs, or none.", 422, field="refs")
    held = planes.hold(run, body.refs or [""] * body.items, body.lease_seconds)
    return Data(data=Holds(items=held.items, lease_until=held.lease_until, room=held.room, left=held.left))


@router.post(
    "/reservations/{uuid:reservation_id}/renew", auth=may("start_runs"), response=Data[Renewed], summary="Renew leases"
)
@write()
def renew_holds(request: OrgRequest, reservation_id: UUID, body: ToRenew) -> Data[Renewed]:
    """Keep items for longer, an hour at most from now."""
    items, until = planes.renew(_mine(request, reservation_id), body.items, body.lease_seconds)
    return Data(data=Renewed(items=items, lease_until=until))


# ------------------------------------------------------------------ settle


class OutcomeIn(Taken):
    """What came of one call: the `try`-th, from 0, of this `tool` for this `item`.

    `cost` is what the provider billed; without it, the tool's price where that is fixed. `again`: the same tool is
    asked once more, after `failed_before_billing`. `last`: no further tool is asked, whatever came.
    """

    item: Count
    tool: Annotated[str, StringConstraints(max_length=80)]
    tries: Annotated[int, Field(alias="try", ge=0, lt=TRIES), WHOLE] = 0
    outcome: Outcome
    cost: CostIn | None = None
    again: StrictBool = False
    last: StrictBool = False
    reason: Annotated[str, StringConstraints(max_length=200)] = ""
    reference: Annotated[str, StringConstraints(max_length=120)] = ""
    latency_ms: Whole | None = None


class ToSettle(Taken):
    outcomes: Annotated[list[OutcomeIn], Field(min_length=1, max_length=MOST)]


class NextCall(Shown):
    tool: str
    tries: int = Field(alias="try")


class VerdictShown(Shown):
    """`credits`: what stands captured for this call. `next`: the call that the item waits for now, null at its end.

    `refused`: nothing of it was taken, for the reason in `code`.
    """

    item: int
    verdict: Literal["settled", "replayed", "conflict", "refused"]
    credits: Credits
    next: NextCall | None
    code: Literal["unknown_tool", "cost_not_zero", "unknown_item", "ended", "not_next", "given_up"] | None


class Settlement(Shown):
    """A verdict for each outcome, in the order they were sent."""

    outcomes: list[VerdictShown]


@router.post(
    "/reservations/{uuid:reservation_id}/settle",
    auth=may("start_runs"),
    response=Data[Settlement],
    summary="Settle outcomes",
)
def settle_outcomes(request: OrgRequest, reservation_id: UUID, body: ToSettle) -> HttpResponse:
    """Say what came of up to 1,000 calls. It takes no Idempotency-Key, and may be sent again as often as you like.

    Each call settles once: the same again is `replayed`, something else is a `conflict`, and the first stands. An
    outcome that cannot be settled is `refused` and spoils no other.
    """
    run = _mine(request, reservation_id)
    verdicts = planes.settle(run, [_said(each) for each in body.outcomes])
    # Of a thousand verdicts most are the same but for the item: each is shown and written once, which halves the cost.
    rests = {verdict: _rest(run, verdict) for verdict in set(verdicts)}
    outcomes = [f'{{"item":{each.item},{rests[told]}' for each, told in zip(body.outcomes, verdicts, strict=True)]
    text = f'{{"data":{{"outcomes":[{",".join(outcomes)}]}}}}'
    return HttpResponse(text, content_type="application/json; charset=utf-8")


def _said(each: OutcomeIn) -> Said:
    words = (each.reason, each.reference, each.latency_ms)
    return Said(each.item, each.tool, each.outcome, each.cost, each.tries, each.again, each.last, *words)


def _rest(run: Run, told: Verdict) -> str:
    upcoming = None
    if told.next is not None:
        step, tries = place(told.next)
        upcoming = NextCall(tool=run.cascade[step].tool, **{"try": tries})
    facts = told._asdict() | {"item": 0, "next": upcoming}
    shown = VerdictShown.model_validate(facts).model_dump(by_alias=True)
    return written({name: each for name, each in shown.items() if name != "item"}).removeprefix("{")


# ------------------------------------------------------------------ close


class ToClose(Taken):
    """`give_up`: also while items are out; nothing is charged for what was not settled."""

    give_up: StrictBool = False


@router.post(
    "/reservations/{uuid:reservation_id}/close",
    auth=may("start_runs"),
    response=Data[ReservationShown],
    summary="Close a reservation",
)
@write()
def close_reservation(request: OrgRequest, reservation_id: UUID, body: ToClose) -> Data[ReservationShown]:
    """End it, and return what it did not capture. Refused (409): `in_flight` while items are out; `wrong_state`."""
    run = planes.close(_mine(request, reservation_id), by=request.user, key=request.key, give_up=body.give_up)
    return Data(data=_shown(run))
