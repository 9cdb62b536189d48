"""Operations of the JSON API about runs: foresee one, start it, look at it, and what may be said to it.

Thin: the gate, a verb of `lifecycle.py` or a read, and the shape of its answer. `docs/api.md` tells people.
"""

from typing import Annotated, Literal
from uuid import UUID

from django.shortcuts import get_object_or_404
from ninja import Body, Query, Router
from pydantic import StringConstraints

from billing import access
from billing.access import OrgRequest
from oxygen_site.api import (
    Count,
    CreditsIn,
    Cursor,
    Data,
    Limit,
    Shown,
    Taken,
    may,
    read_cursor,
    write,
    write_cursor,
)
from oxygen_site.transactions import Refused, one_snapshot
from runs import lifecycle, preflight, queries
from runs.api.pointing import pointing
from runs.api.shapes import (
    AskedMode,
    ItemShown,
    ItemStatus,
    Outcome,
    PreflightShown,
    RunShown,
    RunStatus,
    item_shown,
    preflight_shown,
    run_shown,
    runs_shown,
)
from runs.models import Capability, Column, Fill, Run, Table

router = Router(tags=["runs"], by_alias=True)

Named = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Target(Taken):
    """What to fill: a column of a table by its key, or what a capability fills; the first `limit` rows left, or all."""

    table: UUID
    column: str | None = None
    capability: str | None = None
    limit: Count | None = None


class ToEstimate(Target):
    max_credits: CreditsIn | None = None


class ToStart(ToEstimate):
    mode: AskedMode = "live"
    approved: bool = False
    name: Named | None = None


class Approved(Taken):
    """`plan`: the mark of the plan that was looked at; where it is another one by now, it has to be looked at again."""

    plan: str | None = None


class NewCap(Taken):
    max_credits: CreditsIn | None = None


class Runs(Shown):
    runs: list[RunShown]
    next_cursor: str | None


class Items(Shown):
    items: list[ItemShown]
    next_cursor: str | None


def filled(request: OrgRequest, table: UUID, column: str | None, capability: str | None) -> tuple[Table, Fill]:
    """Find a table of the request's org, and what is to be filled in it. 404; Refused: invalid_target (422)."""
    if (column is None) == (capability is None):
        raise Refused("invalid_target", "Name a column or a capability, one of the two.", 422)
    found = get_object_or_404(Table.objects.select_related("org"), org=request.org, id=table)
    if capability is not None:
        return found, get_object_or_404(Capability, key=capability)
    return found, get_object_or_404(Column.objects.select_related("table__org"), table=found, key=column)


# ------------------------------------------------------------------ before and at the start


@router.post("/runs/estimate", auth=may("read"), response=Data[PreflightShown], summary="Estimate a run")
@one_snapshot()
def estimate_run(request: OrgRequest, body: ToEstimate) -> Data[PreflightShown]:
    """What a live run would cost, hold and need, and what would refuse it. Nothing is made: it takes no key."""
    table, fill = filled(request, body.table, body.column, body.capability)
    read = preflight.read(table, fill, limit=body.limit, cap=body.max_credits)
    return Data(data=preflight_shown(read, "live", body.limit))


@router.post(
    "/runs",
    auth=may("start_runs"),
    response={201: Data[RunShown], 200: Data[PreflightShown], 402: None},
    summary="Start a run",
)
@write(201)
@pointing(cap="max_credits")
def start_run(request: OrgRequest, body: ToStart) -> Data[RunShown] | tuple[int, Data[PreflightShown]]:
    """Start a run and answer it, or answer with 200 what it would be (`dry_run`).

    A live run on managed providers needs `max_credits`, the most it may spend. `approved` takes the right to approve;
    without it a run that needs approval waits. A smoke test is called and never charged, over at most 3 rows.
    """
    table, fill = filled(request, body.table, body.column, body.capability)
    if body.mode == "dry_run":
        read = preflight.read(table, fill, limit=body.limit, cap=body.max_credits)
        return 200, Data(data=preflight_shown(read, body.mode, body.limit))
    if body.approved:
        access.require(request, "approve")
    run = lifecycle.create(
        table,
        fill,
        cap=body.max_credits,
        limit=body.limit,
        mode=body.mode,
        name=body.name,
        approved=body.approved,
        by=request.user,
        key=request.key,
    )
    return Data(data=run_shown(request.org, run.id))


# ------------------------------------------------------------------ looking


@router.get("/runs", auth=may("read"), response=Data[Runs], summary="List runs")
@one_snapshot()
def list_runs(
    request: OrgRequest,
    status: RunStatus | Literal["open"] | None = None,
    table: UUID | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Data[Runs]:
    """The organization's runs, newest first; of one status, or `open` ones, or over one table."""
    place = read_cursor(request, "runs", cursor)
    page = queries.runs_page(
        request.org, before=UUID(place[0]) if place else None, status=status, table=table, size=limit
    )
    following = write_cursor(request, "runs", [page.next]) if page.next else None
    return Data(data=Runs(runs=runs_shown(request.org, page.cards), next_cursor=following))


@router.get("/runs/{uuid:run_id}", auth=may("read"), response=Data[RunShown], summary="Read a run")
@one_snapshot()
def get_run(request: OrgRequest, run_id: UUID) -> Data[RunShown]:
    """A run with its rows counted, its credits as booked, and what may be said to it now."""
    return Data(data=run_shown(request.org, run_id))


@router.get("/runs/{uuid:run_id}/items", auth=may("read"), response=Data[Items], summary="List a run's items")
@one_snapshot()
def list_items(
    request: OrgRequest,
    run_id: UUID,
    status: ItemStatus | None = None,
    calls: Annotated[
        Outcome | Literal["absorbed"] | None, Query(description="Only items with a call that ended like this.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Data[Items]:
    """A run's rows by number, with what was found and each call that was made for them."""
    run, listed = queries.run_of(request.org, run_id), f"items:{run_id}"
    place = read_cursor(request, listed, cursor)
    page = queries.items_page(run, after=int(place[0]) if place else 0, status=status, calls=calls, size=limit)
    following = write_cursor(request, listed, [page.next]) if page.next else None
    return Data(data=Items(items=[item_shown(line) for line in page.lines], next_cursor=following))


# ------------------------------------------------------------------ what is said to a run


@router.post(
    "/runs/{uuid:run_id}/approve",
    auth=may("approve"),
    response={200: Data[RunShown], 402: None},
    summary="Approve a run",
)
@write()
def approve_run(request: OrgRequest, run_id: UUID, body: Annotated[Approved | None, Body()] = None) -> Data[RunShown]:
    """Start a run that waits for approval, exactly as planned.

    409 `plan_changed` where prices or rows have changed since: read the run again, and approve what it is now.
    """
    run = queries.run_of(request.org, run_id)
    lifecycle.approve(run, plan=body.plan if body else None, by=request.user, key=request.key)
    return Data(data=run_shown(request.org, run_id))


@router.post("/runs/{uuid:run_id}/pause", auth=may("steer_own"), response=Data[RunShown], summary="Pause a run")
@write()
def pause_run(request: OrgRequest, run_id: UUID) -> Data[RunShown]:
    """Stop at once; what is in flight finishes. It keeps what it holds."""
    lifecycle.pause(_steered(request, run_id), by=request.user, key=request.key)
    return Data(data=run_shown(request.org, run_id))


@router.post("/runs/{uuid:run_id}/resume", auth=may("steer_own"), response=Data[RunShown], summary="Resume a run")
@write()
def resume_run(request: OrgRequest, run_id: UUID) -> Data[RunShown]:
    """Let a paused run go on with its pending rows. 409 `cap_reached` where no further row fits: continue it."""
    lifecycle.resume(_steered(request, run_id), by=request.user, key=request.key)
    return Data(data=run_shown(request.org, run_id))


@router.post("/runs/{uuid:run_id}/cancel", auth=may("steer_own"), response=Data[RunShown], summary="Cancel a run")
@write()
def cancel_run(request: OrgRequest, run_id: UUID) -> Data[RunShown]:
    """Stop for good: what is in flight settles, the rest is released, what was found stays."""
    lifecycle.cancel(_steered(request, run_id), by=request.user, key=request.key)
    return Data(data=run_shown(request.org, run_id))


@router.post(
    "/runs/{uuid:run_id}/continue",
    auth=may("steer_own"),
    response={201: Data[RunShown], 402: None},
    summary="Continue a run",
)
@write(201)
@pointing(cap="max_credits")
def continue_run(request: OrgRequest, run_id: UUID, body: NewCap) -> Data[RunShown]:
    """Start a new run over a paused run's pending rows, under a cap of its own, and cancel the old one, or do neither.

    Where the new run needs approval, whoever may approve does so by this; anyone else is refused.
    """
    run = _steered(request, run_id)
    new = lifecycle.continue_remaining(run, cap=body.max_credits, by=request.user, key=request.key)
    return Data(data=run_shown(request.org, new.id))


def _steered(request: OrgRequest, run_id: UUID) -> Run:
    run = queries.run_of(request.org, run_id)
    access.require_steering(request, run)
    return run
