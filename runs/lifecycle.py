"""What a person or a script says to a run: create, approve, pause, resume, cancel, continue.

For views, the API, commands and seeding. Each verb is one intention and answers the run as it is afterwards; what a
rule forbids is Refused, with a sentence that names the way on. Laws: credits are reserved in the transaction that
creates or approves a run; of two people at once one moves the run, the other is told its state (the fact `state`). Who
comes with an API key acts by it, and may what it opens.
Lock order: column, run, account, items, reservation.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn
from uuid import UUID

from billing import ledger
from billing.access import actor
from billing.models import Account, ApiKey, Organization, Reservation, User
from oxygen_site.clock import clock, new_id
from oxygen_site.transactions import Refused, intention
from runs import approval, smoke_tests, standing, tables, today
from runs.cascade import plain
from runs.jobs import wake
from runs.models import Capability, Column, Fill, Item, Run, Table
from runs.providers import limits

LARGEST_CAP = Decimal(10) ** 9
PLACES = Decimal("0.0001")


def create(
    table: Table,
    fill: Fill,
    *,
    cap: Decimal | str | None,
    by: User,
    key: ApiKey | None = None,
    limit: int | None = None,
    rows: Collection[UUID] | None = None,
    mode: str = Run.Mode.LIVE,
    name: str | None = None,
    approved: bool = False,
) -> Run:
    """Start a run over the first `limit` rows not filled yet, of `rows` where named, and hold what it may spend.

    `fill` is a column, or a capability or template, which fills the column named after it, made if missing. A live run
    that needs approval and is not `approved` waits for it, and holds nothing; over named rows it does not wait. A smoke
    test holds nothing, and takes no cap. Refused: not_allowed (403), where who says `approved` may not; price_unknown,
    integration_required, cap_required, invalid_cap, cap_too_small, invalid_limit, nothing_to_run (422);
    insufficient_credits (402, with `missing`); smoke_test_limit (409).
    """

    def verb() -> Run | Refused:
        column = _locked_column(table, fill if isinstance(fill, Column) else tables.column_for(table, fill))
        left = today.rows_to_fill(column).filter(**({} if rows is None else {"id__in": rows}))
        taken = list(left.values_list("id", flat=True)[:most])
        named = name or f"{column.name}, {table.name}"
        run = _drafted(column, len(taken), capped, by, kind=kind_of(fill), mode=mode, name=named)
        run.row_limit = limit
        return _begun(run, taken, by, key, waits=not approved and rows is None)

    if limit is not None and limit < 1:
        raise Refused("invalid_limit", "Name at least one row to run on.", 422, field="limit")
    if approved:
        approval.require(table.org, by, key)
    tested = mode == Run.Mode.SMOKE_TEST
    most, capped = (smoke_tests.rows(limit), None) if tested else (limit, exact_cap(cap))
    return intention(verb, certain=True)


def create_outside(
    org: Organization,
    cascade: Sequence[str],
    *,
    items: int,
    cap: Decimal | str | None,
    by: User,
    key: ApiKey | None = None,
    name: str | None = None,
    approved: bool = False,
) -> Run:
    """Start a run of which an execution plane works on `items` items at most, and hold what it may spend.

    Each item may use these tools, in this order. Approval and refusals as of `create`; and invalid_cascade,
    unknown_tool (422).
    """

    def verb() -> Run | Refused:
        run = _drafted(
            today.nowhere(org, cascade), items, capped, by, kind=Run.Kind.OUTSIDE, mode=Run.Mode.LIVE, name=named
        )
        return _begun(run, (), by, key, waits=not approved)

    tables.check_cascade(cascade)
    named = (name or "").strip() or f"Outside, {', '.join(cascade)}"
    if approved:
        approval.require(org, by, key)
    capped = exact_cap(cap)
    return intention(verb, certain=True)


def approve(run: Run, *, by: User, key: ApiKey | None = None, plan: str | None = None) -> Run:
    """Start a run that waits for approval, exactly as planned: take its rows and hold what it may spend.

    `plan` is the mark of the plan that was looked at, where one was. Refused: not_allowed (403); wrong_state;
    plan_changed, where tools, prices, modes or the number of rows are no longer those (the run then has the new plan,
    to be approved anew); insufficient_credits (402), after which it still waits; and as `create`.
    """

    def verb() -> Run | Refused:
        column = _column(run)
        now = _locked(run, (Run.Status.AWAITING_APPROVAL,), "approved")
        rows = list(today.rows_to_fill(column).values_list("id", flat=True)[: now.row_limit])
        most = now.rows if now.is_outside else len(rows)
        looked_at = now.plan if plan is None else plan
        if _renewed(now, today.terms(column, most, now.cap)) or now.plan != looked_at:
            return _changed(now)
        if missing := _reserved(now, actor(by, key)):
            return today.short(missing, now.to_hold)
        now.approved_by, now.status = by, Run.Status.QUEUED
        now.save(update_fields=["approved_by", "status"])
        standing.enroll(now, rows)
        wake(now)
        return now

    approval.require(run.org, by, key)
    return intention(verb, certain=True)


def pause(run: Run, *, by: User, key: ApiKey | None = None) -> Run:
    """Stop dispatch at once; what is in flight finishes. Refused: wrong_state."""

    def verb() -> Run:
        now = _locked(run, Run.PAUSABLE, "paused")
        ledger.pause(now.org_id, now.id, True)
        return _moved(now, Run.Status.PAUSED, Run.PauseReason.BY_USER)

    return intention(verb, certain=True)


def resume(run: Run, *, by: User, key: ApiKey | None = None) -> Run:
    """Let a paused run go on with its pending rows. Refused: wrong_state; cap_reached where no further item fits."""

    def verb() -> Run:
        now = _locked(run, (Run.Status.PAUSED,), "resumed")
        # What an execution plane may still take is told when it asks.
        if not now.is_outside and now.unit and not now.items.in_flight().exists() and _room(now) < now.unit:
            raise Refused(
                "cap_reached",
                f"The cap of {plain(now.cap or Decimal(0))} credits is spent: one more row may cost {plain(now.unit)}. "
                "Continue with a new cap to run the remaining rows.",
                state=now.status,
            )
        ledger.pause(now.org_id, now.id, False)
        limits.try_now(now)
        moved = _moved(now, Run.Status.RUNNING if now.started_at else Run.Status.QUEUED)
        wake(moved)
        return moved

    return intention(verb, certain=True)


def cancel(run: Run, *, by: User, key: ApiKey | None = None) -> Run:
    """Stop for good: what is in flight settles, what waits is given up, the rest is released. Refused: wrong_state."""

    def verb() -> Run:
        now = _locked(run, (*Run.PAUSABLE, Run.Status.PAUSED, Run.Status.AWAITING_APPROVAL), "cancelled")
        if now.status == Run.Status.AWAITING_APPROVAL:
            return _withdrawn(now)
        _drop_pending(now)
        standing.give_up(now, waiting=True)
        if now.items.filter(status=Item.Status.RUNNING).exists():
            ledger.pause(now.org_id, now.id, True)
            moved = _moved(now, Run.Status.CANCELLING)
            wake(moved)
            return moved
        standing.end(now, Run.Status.CANCELLED, actor=actor(by, key))
        return now

    return intention(verb, certain=True)


def continue_remaining(run: Run, *, cap: Decimal | str | None, by: User, key: ApiKey | None = None) -> Run:
    """Start a new run over a paused run's pending rows at today's prices, and cancel the old one, or do neither.

    Where the new run needs approval, whoever may give it does so by this. Refused: not_allowed (403) for anyone else;
    wrong_state, in_flight, and as `create`.
    """

    def verb() -> Run:
        old = _locked(run, (Run.Status.PAUSED,), "continued")
        if old.table is None or old.column is None:
            raise Refused(
                "wrong_state",
                "An execution plane works on this run, and none of its items waits here. "
                "Close it, and open another reservation for the rest.",
                state=old.status,
            )
        rows = list(old.items.filter(status=Item.Status.PENDING).order_by("number").values_list("row", flat=True))
        capped = None if old.is_smoke_test else exact_cap(cap)
        new = _drafted(old.column, len(rows), capped, by, kind=old.kind, mode=old.mode, name=old.name, continues=old)
        if why := approval.reason(old.org, new.kind, new.to_hold, new.mode):
            approval.require(old.org, by, key, why)
            new.approved_by = by
        _drop_pending(old)
        standing.give_up(old, waiting=False)
        if old.items.filter(status=Item.Status.RUNNING).exists():
            raise Refused("in_flight", "Some of its rows are still being worked on. Try again when they are done.")
        standing.end(old, Run.Status.CANCELLED, actor=actor(by, key))
        if missing := _reserved(new, actor(by, key)):
            raise today.short(missing, new.to_hold)
        return _started(new, rows)

    return intention(verb, certain=True)


def kind_of(fill: Fill) -> Run.Kind:
    """Say of which kind a run is that fills this."""
    if isinstance(fill, Column):
        return Run.Kind.COLUMN
    return Run.Kind.ENRICHMENT if isinstance(fill, Capability) else Run.Kind.WORKFLOW


# ------------------------------------------------------------------ a new run


def _locked_column(table: Table, column: Column) -> Column:
    """Two starts never share a row: each looks for its rows, and takes them, alone."""
    columns = Column.objects.select_for_update(no_key=True, of=("self",)).select_related("table__org")
    return columns.get(id=column.id, table=table)


def _column(run: Run) -> Column:
    column = today.filled_by(run)
    return _locked_column(column.table, column) if column.pk else column


def _drafted(
    column: Column,
    rows: int,
    cap: Decimal | None,
    by: User,
    *,
    kind: str,
    mode: str,
    name: str,
    continues: Run | None = None,
) -> Run:
    """A run not saved yet, with today's terms frozen on it; Refused where it may not start."""
    return Run(
        **today.terms(column, rows, cap, mode),
        id=new_id(),
        org=column.table.org,
        table=column.table if column.pk else None,
        column=column if column.pk else None,
        kind=kind,
        mode=mode,
        name=name[:200],
        member=by,
        continues=continues,
        status=Run.Status.QUEUED,
        cap=cap,
        created_at=clock(),
    )


def _reserved(run: Run, who: str) -> Decimal:
    if run.is_smoke_test:
        smoke_tests.require(run)
    return ledger.reserve(
        run.org_id,
        run.id,
        cap=run.cap or Decimal(0),
        estimated_max=run.estimated_max,
        run_kind=run.kind,
        member=run.member_id,
        actor=who,
    )


def _begun(run: Run, rows: Sequence[UUID], by: User, key: ApiKey | None, *, waits: bool) -> Run | Refused:
    if why := approval.reason(run.org, run.kind, run.to_hold, run.mode):
        if waits:
            return _asked(run)
        approval.require(run.org, by, key, why)
        run.approved_by = by
    if missing := _reserved(run, actor(by, key)):
        return today.short(missing, run.to_hold)
    return _started(run, rows)


def _started(run: Run, rows: Sequence[UUID]) -> Run:
    run.save(force_insert=True)
    standing.enroll(run, rows)
    wake(run)
    return run


# ------------------------------------------------------------------ a run that needs approval


def _asked(run: Run) -> Run:
    """It has neither rows nor credits yet, so that nobody else has to wait for the answer."""
    run.status = Run.Status.AWAITING_APPROVAL
    run.save(force_insert=True)
    return run


def _withdrawn(run: Run) -> Run:
    run.status, run.ended_at = Run.Status.CANCELLED, clock()
    run.save(update_fields=["status", "ended_at"])
    return run


def _renewed(run: Run, terms: dict[str, Any]) -> bool:
    """Put today's terms on the run where it was planned with others; say whether it was."""
    if (run.steps, run.rows) == (terms["steps"], terms["rows"]):
        return False
    vars(run).update(terms)
    run.save(update_fields=list(terms))
    return True


def _changed(run: Run) -> Refused:
    return Refused(
        "plan_changed",
        f"Prices or rows have changed since you looked: it is {run.rows} row{'' if run.rows == 1 else 's'} now, for "
        f"{plain(run.estimated_min)} to {plain(run.estimated_max)} credits. Approve it again if that is right.",
        state=run.status,
        plan=run.plan,
    )


# ------------------------------------------------------------------ the cap


def exact_cap(given: Decimal | str | None) -> Decimal | None:
    """Read a cap; None where there is none. Refused: invalid_cap."""
    if given is None or given == "":
        return None
    try:
        cap = Decimal(given)
    except InvalidOperation:
        _invalid_cap("The cap is not a number. Write credits in plain digits, as 250 or 12.5.")
    if not cap.is_finite():
        _invalid_cap("The cap is not a number. Write credits in plain digits, as 250 or 12.5.")
    if cap <= 0:
        _invalid_cap("The cap must be above 0: it is the most this run may spend.")
    if cap > LARGEST_CAP:
        _invalid_cap(f"The cap is too large: the most is {plain(LARGEST_CAP)} credits.")
    if cap != cap.quantize(PLACES):
        _invalid_cap("The cap has more than four decimals: a credit has no smaller parts.")
    return cap.quantize(PLACES)


def _invalid_cap(why: str) -> NoReturn:
    raise Refused("invalid_cap", why, 422, field="cap")


# ------------------------------------------------------------------ a run that is there


def _locked(run: Run, allowed: Sequence[Run.Status], done: str) -> Run:
    now = Run.objects.select_for_update(no_key=True).get(id=run.id)
    if now.status not in allowed:
        raise Refused(
            "wrong_state", f"This run is {now.get_status_display().lower()}; it cannot be {done}.", state=now.status
        )
    return now


def _drop_pending(run: Run) -> None:
    """Nothing of it starts any more: claims under way are waited for, later ones find no row."""
    Account.objects.select_for_update(no_key=True).get(org=run.org_id)
    run.items.filter(status=Item.Status.PENDING).update(status=Item.Status.CANCELLED, ended_at=clock())


def _moved(run: Run, status: Run.Status, reason: Run.PauseReason | None = None) -> Run:
    run.status, run.pause_reason = status, reason
    if status == Run.Status.PAUSED:
        run.paused_at = clock()
    run.save(update_fields=["status", "pause_reason", "paused_at"])
    return run


def _room(run: Run) -> Decimal:
    return Reservation.objects.get(org=run.org_id, run=run.id).room
