"""What a person or a script says to a run: create, pause, resume, cancel, continue.

For views, the API, commands and seeding. Each verb is one intention and answers the run as it is afterwards; what a
rule forbids is Refused, with a sentence that names the way on. Laws: credits are reserved in the transaction that
creates a run; of two people at once one moves the run, the other is told its state (the fact `state`). Lock order:
column, run, account, items, reservation.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import NoReturn
from uuid import UUID

from billing import ledger
from billing.models import Account, Reservation, User
from oxygen_site.clock import clock, new_id
from oxygen_site.transactions import Refused, intention
from runs import accounts, standing, today
from runs.cascade import Step, plain, unit
from runs.estimates import Quoted, estimate
from runs.jobs import wake
from runs.models import Column, Item, Run, Table
from runs.providers import limits

LARGEST_CAP = Decimal(10) ** 9
PLACES = Decimal("0.0001")


def create(
    table: Table,
    column: Column,
    *,
    cap: Decimal | str | None,
    by: User,
    limit: int | None = None,
    kind: str = Run.Kind.COLUMN,
    name: str | None = None,
) -> Run:
    """Start a live run over the first `limit` rows the column has not filled, and hold what it may spend.

    Refused: price_unknown, integration_required, cap_required, invalid_cap, cap_too_small, invalid_limit,
    nothing_to_run (422); insufficient_credits (402, with `missing`).
    """

    def verb() -> Run | Refused:
        Column.objects.select_for_update(no_key=True).get(id=column.id, table=table)  # two starts never share a row
        rows = list(today.rows_to_fill(column).values_list("id", flat=True)[:limit])
        run = _drafted(column, rows, capped, by, kind=kind, name=name or f"{column.name}, {table.name}")
        return _short(missing, run) if (missing := _reserved(run, by)) else _started(run, rows)

    if limit is not None and limit < 1:
        raise Refused("invalid_limit", "Name at least one row to run on.", 422, field="limit")
    capped = _cap(cap)
    return intention(verb, certain=True)


def pause(run: Run, *, by: User) -> Run:
    """Stop dispatch at once; what is in flight finishes. Refused: wrong_state."""

    def verb() -> Run:
        now = _locked(run, Run.PAUSABLE, "paused")
        ledger.pause(now.org_id, now.id, True)
        return _moved(now, Run.Status.PAUSED, Run.PauseReason.BY_USER)

    return intention(verb, certain=True)


def resume(run: Run, *, by: User) -> Run:
    """Let a paused run go on with its pending rows. Refused: wrong_state; cap_reached where no further item fits."""

    def verb() -> Run:
        now = _locked(run, (Run.Status.PAUSED,), "resumed")
        if now.unit and not now.items.in_flight().exists() and _room(now) < now.unit:
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


def cancel(run: Run, *, by: User) -> Run:
    """Stop for good: what is in flight settles, what waits is given up, the rest is released. Refused: wrong_state."""

    def verb() -> Run:
        now = _locked(run, (*Run.PAUSABLE, Run.Status.PAUSED), "cancelled")
        _drop_pending(now)
        standing.give_up(now, waiting=True)
        if now.items.filter(status=Item.Status.RUNNING).exists():
            ledger.pause(now.org_id, now.id, True)
            moved = _moved(now, Run.Status.CANCELLING)
            wake(moved)
            return moved
        standing.end(now, Run.Status.CANCELLED, actor=_actor(by))
        return now

    return intention(verb, certain=True)


def continue_remaining(run: Run, *, cap: Decimal | str | None, by: User) -> Run:
    """Start a new run over a paused run's pending rows at today's prices, and cancel the old one, or do neither.

    Refused: wrong_state, in_flight, and as `create`.
    """

    def verb() -> Run:
        old = _locked(run, (Run.Status.PAUSED,), "continued")
        rows = list(old.items.filter(status=Item.Status.PENDING).order_by("number").values_list("row", flat=True))
        new = _drafted(old.column, rows, capped, by, kind=old.kind, name=old.name, continues=old)
        _drop_pending(old)
        standing.give_up(old, waiting=False)
        if old.items.filter(status=Item.Status.RUNNING).exists():
            raise Refused("in_flight", "Some of its rows are still being worked on. Try again when they are done.")
        standing.end(old, Run.Status.CANCELLED, actor=_actor(by))
        if missing := _reserved(new, by):
            raise _short(missing, new)
        return _started(new, rows)

    capped = _cap(cap)
    return intention(verb, certain=True)


# ------------------------------------------------------------------ a new run


def _drafted(
    column: Column,
    rows: Sequence[UUID],
    cap: Decimal | None,
    by: User,
    *,
    kind: str,
    name: str,
    continues: Run | None = None,
) -> Run:
    """A run not saved yet, with today's terms frozen on it; Refused where it may not start."""
    quoted = today.tools(column)
    terms = estimate(len(rows), quoted)
    if terms.min is None or terms.likely is None or terms.max is None:
        raise Refused(
            "price_unknown",
            f"{', '.join(terms.unpriced)} has no price yet, so what the run may cost is unknown. "
            "Take it out of the column, or ask Oxygen for its price.",
            422,
            coverage=terms.coverage,
        )
    steps = _frozen(quoted)
    if lacking := accounts.missing(column.table.org_id, {step.provider for step in steps if step.byok}):
        raise Refused(
            "integration_required",
            f"This column uses your own account at {', '.join(lacking)}, which is not connected. "
            "An admin connects it under Runs, Accounts.",
            422,
            providers=lacking,
        )
    most = unit(steps)
    if most and cap is None:
        suggested = f" {plain(terms.suggested_cap)} covers every row." if terms.suggested_cap else ""
        raise Refused(
            "cap_required", f"Name a cap: the most this run may spend, in credits.{suggested}", 422, field="cap"
        )
    if cap is not None and cap < most:
        raise Refused(
            "cap_too_small",
            f"One row may cost {plain(most)} credits, so the cap must be at least {plain(most)}.",
            422,
            field="cap",
            unit=most,
        )
    if not rows:
        raise Refused("nothing_to_run", "Every row is filled already, or is in another run of this column.", 422)
    return Run(
        id=new_id(),
        org_id=column.table.org_id,
        table_id=column.table_id,
        column=column,
        kind=kind,
        name=name[:200],
        member=by,
        continues=continues,
        status=Run.Status.QUEUED,
        steps=[step.freeze() for step in steps],
        cap=cap,
        unit=most,
        estimated_min=terms.min,
        estimated=terms.likely,
        estimated_max=terms.max,
        rows=len(rows),
        created_at=clock(),
    )


def _frozen(quoted: Sequence[Quoted]) -> list[Step]:
    return [step for tool in quoted if (step := tool.step) is not None]


def _reserved(run: Run, by: User) -> Decimal:
    return ledger.reserve(
        run.org_id,
        run.id,
        cap=run.cap or Decimal(0),
        estimated_max=run.estimated_max,
        run_kind=run.kind,
        member=by.id,
        actor=_actor(by),
    )


def _short(missing: Decimal, run: Run) -> Refused:
    needed = min(run.cap or Decimal(0), run.estimated_max)
    return Refused(
        "insufficient_credits",
        f"This run would hold {plain(needed)} credits, {plain(missing)} more than are available. "
        "Lower the cap, run fewer rows or add credits.",
        402,
        missing=missing,
        needed=needed,
    )


def _started(run: Run, rows: Sequence[UUID]) -> Run:
    run.save(force_insert=True)
    standing.enroll(run, rows)
    wake(run)
    return run


def _cap(given: Decimal | str | None) -> Decimal | None:
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


def _actor(by: User) -> str:
    return f"user:{by.id}"
