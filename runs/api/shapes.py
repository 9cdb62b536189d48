"""What operations show of runs: a run, its items and attempts, and a run that nobody has started yet.

For the modules beside it. What is shown is declared here field by field, and nothing else gets out.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from billing.models import Organization, User
from oxygen_site.api import Credits, Instant, Shown
from runs import approval, calibration, queries
from runs.calibration import Calibration
from runs.cascade import ZERO
from runs.estimates import PLACES, Quoted
from runs.models import Item, Mode
from runs.preflight import Preflight
from runs.queries import AttemptLine, ItemLine, RunCard

AskedMode = Literal["live", "smoke_test", "dry_run"]
Verb = Literal["approve", "pause", "resume", "cancel", "continue"]
RunStatus = Literal[
    "awaiting_approval",
    "queued",
    "running",
    "paused",
    "cancelling",
    "cancelled",
    "succeeded",
    "completed_with_errors",
    "failed",
]
ItemStatus = Literal["pending", "running", "succeeded", "failed", "cancelled"]
Outcome = Literal["succeeded", "no_result", "failed_before_billing", "failed_after_billing", "unknown"]


class Person(Shown):
    id: UUID
    name: str


class Calibrated(Shown):
    """What `runs` were estimated at for the rows they did, what they captured, and captured ÷ estimated."""

    runs: int
    estimated: Credits
    captured: Credits
    ratio: Credits


# ------------------------------------------------------------------ a run


class ItemCounts(Shown):
    """`unknown`: those of the running ones of whose call nobody knows what became."""

    total: int
    pending: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    unknown: int


class Approval(Shown):
    needed: bool
    reason: str | None
    approved_by: Person | None


class RunShown(Shown):
    """A run with its items counted and its credits as booked.

    `reserved`: what the organization cannot spend elsewhere because of it; `held`: the part of that for items in
    flight. `next`: what may be said to it now. `why`: why it cannot be resumed though it is paused. An `outside` run
    is an execution plane's reservation, and fills no table here.
    """

    id: UUID
    name: str
    kind: Literal["column", "enrichment", "workflow", "outside"]
    mode: Literal["live", "smoke_test"]
    status: RunStatus
    pause_reason: Literal["cap_reached", "provider_unavailable", "by_user"] | None
    table: UUID | None
    table_name: str | None
    column: str | None
    max_credits: Credits | None
    estimated_min: Credits
    estimated: Credits
    estimated_max: Credits
    reserved: Credits
    captured: Credits
    held: Credits
    released: Credits
    absorbed: Credits
    items: ItemCounts
    success_rate: Credits | None
    calibration: Calibrated | None
    continues: UUID | None
    continued_by: UUID | None
    approval: Approval
    plan: str | None
    started_by: Person
    created_at: Instant
    started_at: Instant | None
    paused_at: Instant | None
    ended_at: Instant | None
    next: list[Verb]
    why: str | None


def run_shown(org: Organization, run: UUID) -> RunShown:
    """Show a run of an org as it is now. Five queries."""
    return runs_shown(org, [queries.receipt(queries.run_of(org, run))])[0]


def runs_shown(org: Organization, cards: Sequence[RunCard]) -> list[RunShown]:
    """Show runs of an org in the order given. Two queries besides the cards' own."""
    runs = [card.run for card in cards]
    continued, rates = queries.continued(runs), queries.success_rates(org, runs)
    return [_run(org, card, continued, rates) for card in cards]


def _run(org: Organization, card: RunCard, continued: Mapping[UUID, UUID], rates: Mapping[UUID, Decimal]) -> RunShown:
    run, waits = card.run, card.can_approve
    counts = {status: getattr(card, status) for status in (*Item.Status.values, "unknown")}
    verbs = {
        "approve": waits,
        "pause": card.can_pause,
        "resume": card.can_resume,
        "cancel": card.can_cancel,
        "continue": card.can_continue,
    }
    return RunShown.model_validate(
        {
            "id": run.id,
            "name": run.name,
            "kind": run.kind,
            "mode": run.mode,
            "status": run.status,
            "pause_reason": run.pause_reason,
            "table": run.table_id,
            "table_name": run.table and run.table.name,
            "column": run.column and run.column.key,
            "max_credits": run.cap,
            "estimated_min": run.estimated_min,
            "estimated": run.estimated,
            "estimated_max": run.estimated_max,
            "reserved": card.open_hold,
            "captured": card.captured,
            "held": card.held,
            "released": card.released,
            "absorbed": card.absorbed,
            "items": counts | {"total": run.rows},
            "success_rate": rates.get(run.id),
            "calibration": calibrated(calibration.of_run(card)),
            "continues": run.continues_id,
            "continued_by": continued.get(run.id),
            "approval": {
                "needed": waits,
                "reason": approval.reason(org, run.kind, run.to_hold) if waits else None,
                "approved_by": run.approved_by and _person(run.approved_by),
            },
            "plan": run.plan if waits else None,
            "started_by": _person(run.member),
            "created_at": run.created_at,
            "started_at": run.started_at,
            "paused_at": run.paused_at,
            "ended_at": run.ended_at,
            "next": [verb for verb, possible in verbs.items() if possible],
            "why": card.why or None,
        }
    )


def _person(user: User) -> Person:
    return Person(id=user.pk, name=str(user))


def calibrated(known: Calibration | None) -> Calibrated | None:
    return Calibrated.model_validate(known, from_attributes=True) if known else None


# ------------------------------------------------------------------ its items


class AttemptShown(Shown):
    """One call of a provider. `credits` is null while it is under way; `cost` is what the provider billed."""

    number: int
    step: int
    tries: int = Field(alias="try")
    provider: str
    tool: str
    mode: Literal["managed", "byok"]
    outcome: Outcome | None
    credits: Credits | None
    cost: Credits | None
    absorbed: Credits
    reason: str
    reference: str
    latency_ms: int | None
    sent_at: Instant | None
    settled_at: Instant | None


class ItemShown(Shown):
    """One row of a run, or what an execution plane calls `ref`. `value` is what was found; `credits` what its calls
    captured.
    """

    item: int
    row: UUID | None
    row_number: int | None
    ref: str | None
    status: ItemStatus
    value: dict[str, Any] | None
    credits: Credits
    attempts: list[AttemptShown]


def item_shown(line: ItemLine) -> ItemShown:
    item = line.item
    return ItemShown.model_validate(
        {
            "item": item.number,
            "row": item.row_id,
            "row_number": item.row and item.row.number,
            "ref": item.ref,
            "status": item.status,
            "value": item.result,
            "credits": line.credits,
            "attempts": [attempt_shown(each) for each in line.attempts],
        }
    )


def attempt_shown(line: AttemptLine) -> dict[str, Any]:
    attempt = line.attempt
    return {
        "number": attempt.number,
        "step": attempt.step,
        "try": attempt.try_number,
        "provider": attempt.provider,
        "tool": attempt.tool,
        "mode": Mode.BYOK if attempt.byok else Mode.MANAGED,
        "outcome": attempt.outcome,
        "credits": line.credits,
        "cost": attempt.cost,
        "absorbed": line.absorbed + (attempt.absorbed or ZERO),
        "reason": attempt.reason,
        "reference": attempt.reference,
        "latency_ms": attempt.latency_ms,
        "sent_at": attempt.sent_at,
        "settled_at": attempt.settled_at,
    }


# ------------------------------------------------------------------ a run that nobody has started


class QuotedTool(Shown):
    """A tool on today's terms: credits are 0 on the own account, and null where no price is known."""

    tool: str
    provider: str
    mode: Literal["managed", "byok"]
    estimated_credits_per_call: Credits | None
    maximum_credits_per_call: Credits | None
    success_rate: Credits


class Foreseen(Shown):
    """What it may cost, and hold. Null where some tool has no price; `coverage`: the share of calls that have one.

    `would_hold`: under `max_credits`, or under the suggested cap where none is named. `available_after` is below 0
    where that is more than there is.
    """

    estimated_min: Credits | None
    estimated: Credits | None
    estimated_max: Credits | None
    suggested_cap: Credits | None
    per_item_max: Credits | None
    coverage: Credits
    unpriced: list[str]
    would_hold: Credits | None
    available: Credits
    available_after: Credits | None


class NeedsApproval(Shown):
    needed: bool
    reason: str | None


class Blocker(Shown):
    """What a live run would be refused with as things are: the code and the sentence of that refusal."""

    code: str
    detail: str


class PreflightShown(Shown):
    """A run that nobody has started: nothing is made, called, held or charged. No blocker: it may start."""

    table: UUID
    table_name: str
    column: str
    limit: int | None
    mode: AskedMode
    max_credits: Credits | None
    rows: int
    tools: list[QuotedTool]
    credits: Foreseen
    approval: NeedsApproval
    blockers: list[Blocker]
    calibration: Calibrated | None


def preflight_shown(read: Preflight, asked: AskedMode, limit: int | None = None) -> PreflightShown:
    terms = read.terms
    return PreflightShown.model_validate(
        {
            "table": read.table.pk,
            "table_name": read.table.name,
            "column": read.column.key,
            "limit": limit,
            "mode": asked,
            "max_credits": read.cap,
            "rows": terms.rows,
            "tools": [_quoted(tool) for tool in read.tools],
            "credits": {
                "estimated_min": terms.min,
                "estimated": terms.likely,
                "estimated_max": terms.max,
                "suggested_cap": terms.suggested_cap,
                "per_item_max": read.unit,
                "coverage": terms.coverage,
                "unpriced": list(terms.unpriced),
                "would_hold": read.holds,
                "available": read.available,
                "available_after": read.after,
            },
            "approval": {"needed": bool(read.approval), "reason": read.approval or None},
            "blockers": [{"code": each.code, "detail": each.message} for each in read.blockers],
            "calibration": calibrated(read.calibration),
        }
    )


def _quoted(tool: Quoted) -> dict[str, Any]:
    return {
        "tool": tool.tool,
        "provider": tool.provider,
        "mode": Mode.BYOK if tool.byok else Mode.MANAGED,
        "estimated_credits_per_call": ZERO if tool.byok else tool.price,
        "maximum_credits_per_call": ZERO if tool.byok else tool.maximum,
        "success_rate": tool.rate.quantize(PLACES, ROUND_HALF_UP),
    }
