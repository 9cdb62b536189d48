"""The hot path: claim items, settle their attempts, bring a run to rest. Set-based SQL, synchronous.

For `worker.py`; `lifecycle.py` uses `enroll` and `end`. Each verb but those two is one intention. Laws: intent before
effect, so an attempt is written in the transaction before its call; a running item has exactly one open attempt, which
is replayed under its own key when a lease has run out; a settle is fenced by owner and lease, so a late one changes
nothing. Claim and settle never lock the run's row. Lock order: items by number, attempts, entries, reservation.
"""

import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from psycopg.types.json import Jsonb

from billing import ledger
from billing.models import Reservation
from oxygen_site.clock import clock
from oxygen_site.transactions import intention
from runs.cascade import ZERO, Move, follow, place
from runs.models import Item, Run
from runs.providers.outcomes import Outcome

log = logging.getLogger("oxygen.runs")

AT_ONCE = timedelta(0)
AGAIN = timedelta(seconds=1)  # until a slice that found nothing to do looks again while others are at work


class Call(NamedTuple):
    """One provider call that may be made now: which attempt of which item, under which lease, with the row's data."""

    item: int
    lease_no: int
    number: int
    row: dict[str, Any]


class Answer(NamedTuple):
    call: Call
    outcome: Outcome
    latency_ms: int


def _query(sql: str, **facts: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, facts)
        return cursor.fetchall() if cursor.description else []


# ------------------------------------------------------------------ claim


LAPSED = """
WITH due AS (
  SELECT number FROM runs_item
  WHERE run_id = %(run)s AND status = 'running' AND lease_until < clock_timestamp()
  ORDER BY number LIMIT %(n)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE runs_item AS i
SET owner = %(owner)s, lease_no = lease_no + 1, lease_until = clock_timestamp() + %(lease)s * interval '1 second'
FROM due WHERE i.run_id = %(run)s AND i.number = due.number
RETURNING i.number"""

# A statement of its own: it sees what the settle before us wrote.
OPEN_ATTEMPTS = """
SELECT i.number, i.lease_no, a.number, r.data
FROM runs_item AS i
JOIN runs_attempt AS a ON a.run_id = i.run_id AND a.item = i.number AND a.outcome IS NULL
JOIN runs_row AS r ON r.id = i.row_id
WHERE i.run_id = %(run)s AND i.number = ANY(%(numbers)s::int[])
ORDER BY i.number"""

PENDING = """
SELECT number FROM runs_item WHERE run_id = %(run)s AND status = 'pending'
ORDER BY number LIMIT %(n)s FOR NO KEY UPDATE SKIP LOCKED"""

START = """
WITH begun AS (
  UPDATE runs_item
  SET status = 'running', owner = %(owner)s, lease_no = lease_no + 1,
      lease_until = clock_timestamp() + %(lease)s * interval '1 second'
  WHERE run_id = %(run)s AND number = ANY(%(numbers)s::int[])
  RETURNING number, lease_no, row_id),
sent AS (
  INSERT INTO runs_attempt (run_id, item, number, provider, tool, byok, sent_at, reference, reason)
  SELECT %(run)s, number, 0, %(provider)s, %(tool)s, %(byok)s, (SELECT ledger.clock()), '', '' FROM begun)
SELECT begun.number, begun.lease_no, 0, r.data FROM begun JOIN runs_row AS r ON r.id = begun.row_id
ORDER BY begun.number"""


def claim(run: Run, owner: UUID, n: int) -> list[Call]:
    """Take up to n items: first those whose lease has run out, then pending ones that the reservation admits."""
    return intention(lambda: _claim(run, owner, n))


def _claim(run: Run, owner: UUID, n: int) -> list[Call]:
    facts = {"run": run.id, "owner": owner, "lease": settings.LEASE_SECONDS}
    calls = []
    if lapsed := [number for (number,) in _query(LAPSED, n=n, **facts)]:
        log.info("run %s: taking up %s items that waited for another try or were left by a worker", run.id, len(lapsed))
        calls = _query(OPEN_ATTEMPTS, run=run.id, numbers=lapsed)
    if n > len(lapsed) and (pending := [number for (number,) in _query(PENDING, run=run.id, n=n - len(lapsed))]):
        admitted = ledger.admit(run.org_id, run.id, len(pending), run.unit)
        if admitted:
            first = run.cascade[0]
            step = {"provider": first.provider, "tool": first.tool, "byok": first.byok}
            calls += _query(START, numbers=pending[:admitted], **facts, **step)
    # A bare cursor answers JSON as text.
    return [Call(item, lease_no, number, json.loads(row)) for item, lease_no, number, row in calls]


RENEW = """
WITH mine AS (
  SELECT i.number FROM runs_item AS i
  JOIN unnest(%(items)s::int[], %(leases)s::int[]) AS c(item, lease_no) ON c.item = i.number AND c.lease_no = i.lease_no
  WHERE i.run_id = %(run)s AND i.owner = %(owner)s AND i.status = 'running'
  ORDER BY i.number FOR NO KEY UPDATE OF i SKIP LOCKED)
UPDATE runs_item AS i SET lease_until = clock_timestamp() + %(lease)s * interval '1 second'
FROM mine WHERE i.run_id = %(run)s AND i.number = mine.number"""


def renew(run: Run, owner: UUID, calls: Sequence[Call]) -> None:
    """Extend the leases of calls still under way; those that were lost stay lost."""
    items, leases = [call.item for call in calls], [call.lease_no for call in calls]
    facts = {"items": items, "leases": leases, "lease": settings.LEASE_SECONDS}
    intention(lambda: _query(RENEW, run=run.id, owner=owner, **facts))


# ------------------------------------------------------------------ settle


MINE = """
SELECT i.number, i.lease_no, (SELECT status FROM runs_run WHERE id = %(run)s) = 'cancelling'
FROM runs_item AS i
JOIN unnest(%(items)s::int[], %(leases)s::int[]) AS c(item, lease_no) ON c.item = i.number AND c.lease_no = i.lease_no
WHERE i.run_id = %(run)s AND i.owner = %(owner)s AND i.status = 'running'
ORDER BY i.number FOR NO KEY UPDATE OF i"""

NOTE = """
UPDATE runs_attempt AS t
SET outcome = a.outcome, cost = a.cost, reason = a.reason, reference = a.reference, latency_ms = a.latency_ms,
    settled_at = (SELECT ledger.clock())
FROM unnest(%(items)s::int[], %(numbers)s::int[], %(outcomes)s::text[], %(costs)s::numeric[], %(reasons)s::text[],
            %(references)s::text[], %(latencies)s::int[])
  AS a(item, number, outcome, cost, reason, reference, latency_ms)
WHERE t.run_id = %(run)s AND t.item = a.item AND t.number = a.number AND t.outcome IS NULL
RETURNING t.item"""

END = """
UPDATE runs_item AS i
SET status = CASE WHEN EXISTS (
      SELECT FROM runs_attempt AS t
      WHERE t.run_id = i.run_id AND t.item = i.number AND t.outcome IN ('succeeded', 'no_result')
    ) THEN 'succeeded' ELSE 'failed' END,
    owner = NULL, lease_until = NULL, result = a.result, ended_at = (SELECT ledger.clock())
FROM unnest(%(items)s::int[], %(results)s::jsonb[]) AS a(item, result)
WHERE i.run_id = %(run)s AND i.number = a.item"""

# A try that has to wait is nobody's meanwhile: its lease runs out when it is due, and whoever claims next sends it.
GO_ON = """
WITH next AS (
  SELECT * FROM unnest(%(items)s::int[], %(numbers)s::int[], %(providers)s::text[], %(tools)s::text[],
                       %(byoks)s::boolean[], %(waits)s::int[]) AS n(item, number, provider, tool, byok, wait)),
kept AS (
  UPDATE runs_item AS i SET lease_until = clock_timestamp() + coalesce(next.wait, %(lease)s) * interval '1 second'
  FROM next WHERE i.run_id = %(run)s AND i.number = next.item)
INSERT INTO runs_attempt (run_id, item, number, provider, tool, byok, sent_at, reference, reason)
SELECT %(run)s, item, number, provider, tool, byok, (SELECT ledger.clock()), '', '' FROM next"""


def settle(run: Run, owner: UUID, answers: Sequence[Answer]) -> list[Call]:
    """Settle a batch of answers, one an item; answer the calls that follow at once. What comes late changes nothing."""
    try:
        return intention(lambda: _settle(run, owner, answers, slow=False))
    except (ledger.AlreadySettled, ledger.Closed):
        return intention(lambda: _settle(run, owner, answers, slow=True))


def _settle(run: Run, owner: UUID, answers: Sequence[Answer], *, slow: bool) -> list[Call]:
    items, leases = [answer.call.item for answer in answers], [answer.call.lease_no for answer in answers]
    mine = _query(MINE, run=run.id, owner=owner, items=items, leases=leases)
    stopped = {(item, lease_no): cancelling for item, lease_no, cancelling in mine}
    noted = _note(run, [answer for answer in answers if answer.call[:2] in stopped])
    kept = sorted((answer for answer in answers if answer.call[:2] in stopped and answer.call.item in noted), key=_item)
    if len(kept) < len(answers):
        log.warning("run %s: dropped %s late answers of %s", run.id, len(answers) - len(kept), owner)
    moves = [
        follow(
            run.cascade,
            answer.call.number,
            answer.outcome.outcome,
            passing=answer.outcome.wait is not None,
            stopped=stopped[answer.call[:2]],
        )
        for answer in kept
    ]
    _end_items(run, [answer for answer, move in zip(kept, moves, strict=True) if move.next is None])
    calls = _go_on(run, [(answer, move) for answer, move in zip(kept, moves, strict=True) if move.next is not None])
    settled = [_settled(run, answer, move) for answer, move in zip(kept, moves, strict=True)]
    if slow:
        for item, attempt, verdict in ledger.settle_slow(run.org_id, run.id, settled):
            if verdict != "settled":
                log.error("run %s, item %s, attempt %s had an entry before: %s", run.id, item, attempt, verdict)
    else:
        ledger.settle(run.org_id, run.id, settled)
    return calls


def _item(answer: Answer) -> int:
    return answer.call.item


def _note(run: Run, answers: Sequence[Answer]) -> set[int]:
    if not answers:
        return set()
    outcomes = [answer.outcome for answer in answers]
    noted = _query(
        NOTE,
        run=run.id,
        items=[answer.call.item for answer in answers],
        numbers=[answer.call.number for answer in answers],
        outcomes=[outcome.outcome for outcome in outcomes],
        costs=[outcome.cost for outcome in outcomes],
        reasons=[outcome.reason[:200] for outcome in outcomes],
        references=[outcome.reference for outcome in outcomes],
        latencies=[answer.latency_ms for answer in answers],
    )
    return {item for (item,) in noted}


def _end_items(run: Run, answers: Sequence[Answer]) -> None:
    if answers:
        results = [answer.outcome.result and Jsonb(answer.outcome.result) for answer in answers]
        _query(END, run=run.id, items=[answer.call.item for answer in answers], results=results)


def _go_on(run: Run, moves: Sequence[tuple[Answer, Move]]) -> list[Call]:
    if not moves:
        return []
    calls = [answer.call._replace(number=move.next) for answer, move in moves if move.next is not None]
    steps = [run.cascade[place(call.number)[0]] for call in calls]
    # Only another try of the same tool waits; the next tool goes at once.
    waits = [
        answer.outcome.wait if place(call.number)[1] else None for (answer, _), call in zip(moves, calls, strict=True)
    ]
    _query(
        GO_ON,
        run=run.id,
        lease=settings.LEASE_SECONDS,
        items=[call.item for call in calls],
        numbers=[call.number for call in calls],
        providers=[step.provider for step in steps],
        tools=[step.tool for step in steps],
        byoks=[step.byok for step in steps],
        waits=waits,
    )
    return [call for call, wait in zip(calls, waits, strict=True) if wait is None]


def _settled(run: Run, answer: Answer, move: Move) -> ledger.Settled:
    call, outcome = answer.call, answer.outcome
    step = run.cascade[place(call.number)[0]]
    what = (step.provider, step.tool, step.byok, outcome.outcome)
    return ledger.Settled(call.item, call.number, *what, outcome.cost, step.maximum, move.freed)


# ------------------------------------------------------------------ the run as a whole


ENROLL = """
INSERT INTO runs_item (run_id, number, row_id, status, lease_no)
SELECT %(run)s, number, row, 'pending', 0 FROM unnest(%(rows)s::uuid[]) WITH ORDINALITY AS r(row, number)"""

STANDING = """
SELECT r.status,
       EXISTS (SELECT FROM runs_item WHERE run_id = r.id AND status = 'pending'),
       (SELECT min(lease_until) - clock_timestamp() FROM runs_item
        WHERE run_id = r.id AND status = 'running'),
       coalesce(v.reserved - v.captured - v.held >= r.unit AND NOT v.paused, false)
FROM runs_run AS r LEFT JOIN ledger.reservation AS v ON v.org = r.org_id AND v.run = r.id
WHERE r.id = %(run)s"""


def enroll(run: Run, rows: Sequence[UUID]) -> None:
    """Make the items of a new run, one a row, numbered from 1. A step of `lifecycle`'s transaction."""
    _query(ENROLL, run=run.id, rows=list(rows))


def begin(run: Run) -> None:
    """Say that a queued run has begun."""
    queued = Run.objects.filter(id=run.id, status=Run.Status.QUEUED)
    intention(lambda: queued.update(status=Run.Status.RUNNING, started_at=clock()))


def give_back(run: Run) -> Decimal:
    """Return to available what the rows not begun can no longer need; nothing is locked where there is nothing."""
    held = Reservation.objects.filter(org=run.org_id, run=run.id, closed_at=None).first()
    if held is None or held.room <= held.needed:
        return ZERO
    return intention(lambda: ledger.give_back(run.org_id, run.id, actor=f"run:{run.id}"))


def rest(run: Run) -> timedelta | None:
    """End or pause a run of which nothing is left to do or to afford.

    Answer how long a slice that found nothing to claim should wait before it looks again; None: until it is woken.
    """
    status, pending, lapse, fits = _query(STANDING, run=run.id)[0]
    if status not in Run.OPEN:
        return None
    going_on = pending and status in Run.PAUSABLE
    if lapse is not None:
        return max(min(lapse, AGAIN) if going_on else lapse, AT_ONCE)
    return AT_ONCE if going_on and fits else intention(lambda: _conclude(run))


def _conclude(run: Run) -> timedelta | None:
    now = Run.objects.select_for_update(no_key=True).get(id=run.id)
    if not now.is_open:
        return None
    standing = set(now.items.order_by().values_list("status", flat=True).distinct())
    if Item.Status.RUNNING in standing:
        return AGAIN
    if Item.Status.PENDING not in standing:
        end(now, _verdict(now, standing), actor=f"run:{run.id}")
        return None
    if now.status == Run.Status.PAUSED:
        return None
    return AT_ONCE if _affords_more(now) else None


def _verdict(run: Run, standing: set[str]) -> Run.Status:
    if run.status == Run.Status.CANCELLING:
        return Run.Status.CANCELLED
    if Item.Status.FAILED not in standing:
        return Run.Status.SUCCEEDED
    return Run.Status.COMPLETED_WITH_ERRORS if Item.Status.SUCCEEDED in standing else Run.Status.FAILED


def _affords_more(run: Run) -> bool:
    """Whether another item fits; where none does and none is in flight, the run pauses at its cap."""
    if not run.unit:
        return True
    ledger.pause(run.org_id, run.id, True)  # from here on nobody is admitted: what we see now stays
    room = Reservation.objects.get(org=run.org_id, run=run.id).room
    if room >= run.unit or run.items.filter(status=Item.Status.RUNNING).exists():
        ledger.pause(run.org_id, run.id, False)
        return True
    run.status, run.pause_reason, run.paused_at = Run.Status.PAUSED, Run.PauseReason.CAP_REACHED, clock()
    run.save(update_fields=["status", "pause_reason", "paused_at"])
    return False


def end(run: Run, status: Run.Status, *, actor: str) -> None:
    """Close a run of which nothing is in flight. A step of a transaction that holds the run's row.

    InFlight where an item is running after all; a BYOK item holds nothing, so the ledger alone would not notice.
    """
    ledger.close(run.org_id, run.id, actor=actor)
    if run.items.filter(status=Item.Status.RUNNING).exists():
        raise ledger.InFlight(f"an item of run {run.id} is running")
    run.status, run.pause_reason, run.ended_at = status, None, clock()
    run.save(update_fields=["status", "pause_reason", "ended_at"])
