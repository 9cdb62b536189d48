"""The hot path: claim items, settle their attempts. Set-based SQL, synchronous.

For `worker.py`; `standing.py` lets go of attempts, and `planes.py` settles others' with the steps of this. Each other
verb is one intention. Laws: intent before effect, so an attempt is written in the transaction before its call; a
running item has exactly one open attempt, which is replayed under its own key when a lease has run out, or never asked
again where its provider takes no keys; a settle is fenced by owner and lease, so a late one moves nothing and is
counted. Claim and settle never lock the run's row. Lock order: items by number, attempts, entries, reservation.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import F

from billing import ledger
from oxygen_site.clock import clock
from oxygen_site.sql import array, query
from oxygen_site.transactions import intention
from runs.cascade import TRIES, Move, follow, place
from runs.models import Attempt, Run
from runs.providers import limits
from runs.providers.limits import Leave
from runs.providers.outcomes import Outcome

log = logging.getLogger("oxygen.runs")

type Leaves = Mapping[str, Leave]  # by provider


class Call(NamedTuple):
    """One provider call that may be made now: which attempt of which item, under which lease, with the row's data."""

    item: int
    lease_no: int
    number: int
    row: dict[str, Any]
    again: bool = False  # sent before, and nobody knows what became of it
    look_up: bool = False  # and its provider takes no keys: only ask

    @property
    def key(self) -> tuple[int, int]:
        return self.item, self.lease_no

    @property
    def step(self) -> int:
        return place(self.number)[0]


class Answer(NamedTuple):
    call: Call
    outcome: Outcome
    latency_ms: int | None


# ------------------------------------------------------------------ claim


# Nothing, where leave has to be asked for first.
TAKE = f"""
WITH leave AS (SELECT %(asked)s OR NOT {limits.ANY_LIMIT} AS given),
due AS (
  SELECT number FROM runs_item
  WHERE run_id = %(run)s AND status = 'running' AND lease_until < clock_timestamp() AND (SELECT given FROM leave)
  ORDER BY number LIMIT %(n)s FOR NO KEY UPDATE SKIP LOCKED),
lapsed AS (
  UPDATE runs_item AS i
  SET owner = %(owner)s, lease_no = lease_no + 1, lease_until = clock_timestamp() + %(lease)s * interval '1 second'
  FROM due WHERE i.run_id = %(run)s AND i.number = due.number
  RETURNING i.number),
pending AS (
  SELECT number FROM runs_item WHERE run_id = %(run)s AND status = 'pending' AND (SELECT given FROM leave)
  ORDER BY number LIMIT %(n)s - (SELECT count(*) FROM lapsed) FOR NO KEY UPDATE SKIP LOCKED)
SELECT number, true FROM lapsed UNION ALL SELECT number, false FROM pending
UNION ALL SELECT NULL, NULL FROM leave WHERE NOT given"""

# Sent, and its provider takes no keys: asking again might buy again, so the item waits to be given up. Statements of
# their own, this and the next: they see what the settle before us wrote.
NEVER_AGAIN = """
UPDATE runs_item AS i
SET lease_until = clock_timestamp() + %(patience)s * interval '1 second',
    unanswered_at = coalesce(i.unanswered_at, (SELECT ledger.clock()))
FROM runs_attempt AS a JOIN runs_provider AS p ON p.id = a.provider AND NOT p.takes_keys AND NOT p.looks_up
WHERE i.run_id = %(run)s AND i.number = ANY(%(numbers)s::int[])
  AND a.run_id = i.run_id AND a.item = i.number AND a.outcome IS NULL AND a.sent_at IS NOT NULL
RETURNING i.number"""

OPEN_ATTEMPTS = """
WITH sent AS (
  UPDATE runs_attempt SET sent_at = coalesce(sent_at, (SELECT ledger.clock()))
  WHERE run_id = %(run)s AND item = ANY(%(numbers)s::int[]) AND outcome IS NULL
  RETURNING item, number, provider, old.sent_at IS NOT NULL AS again)
SELECT i.number, i.lease_no, sent.number, r.data, sent.again, sent.again AND NOT coalesce(p.takes_keys, true)
FROM sent JOIN runs_item AS i ON i.run_id = %(run)s AND i.number = sent.item JOIN runs_row AS r ON r.id = i.row_id
LEFT JOIN runs_provider AS p ON p.id = sent.provider
ORDER BY i.number"""

# What would be claimed now, by the provider that it needs next.
WANTED = """
SELECT provider, lapsed, count(*) FROM (
  (SELECT a.provider, true AS lapsed FROM runs_item AS i
   JOIN runs_attempt AS a ON a.run_id = i.run_id AND a.item = i.number AND a.outcome IS NULL
   WHERE i.run_id = %(run)s AND i.status = 'running' AND i.lease_until < clock_timestamp()
   ORDER BY i.number LIMIT %(n)s)
  UNION ALL
  (SELECT %(first)s, false FROM runs_item AS i JOIN ledger.reservation AS v ON v.org = %(org)s AND v.run = i.run_id
   WHERE i.run_id = %(run)s AND i.status = 'pending' AND NOT v.paused
     AND v.reserved - v.captured - v.held >= %(unit)s LIMIT %(n)s)) AS wanted
GROUP BY provider, lapsed"""

# No leave to call its provider: its lease runs out when it is worth asking again, and whoever claims then takes it up.
# Until then nobody knows what became of what was sent.
PUT_OFF = """
WITH ranked AS (
  SELECT item, provider, sent_at, row_number() OVER (PARTITION BY provider ORDER BY item) AS nth FROM runs_attempt
  WHERE run_id = %(run)s AND item = ANY(%(numbers)s::int[]) AND outcome IS NULL)
UPDATE runs_item AS i
SET lease_until = clock_timestamp() + l.wait * interval '1 second',
    unanswered_at = CASE WHEN ranked.sent_at IS NOT NULL THEN coalesce(i.unanswered_at, (SELECT ledger.clock())) END
FROM ranked JOIN unnest(%(providers)s::text[], %(calls)s::int[], %(waits)s::int[]) AS l(provider, calls, wait)
  ON l.provider = ranked.provider AND ranked.nth > l.calls
WHERE i.run_id = %(run)s AND i.number = ranked.item
RETURNING i.number"""

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
SELECT begun.number, begun.lease_no, 0, r.data, false, false FROM begun JOIN runs_row AS r ON r.id = begun.row_id
ORDER BY begun.number"""


def claim(run: Run, owner: UUID, n: int) -> list[Call]:
    """Take up to n items: first those whose lease has run out, then pending ones that the reservation admits.

    Only as many as their providers may be called now, and nothing new while one of the run's providers is left alone.
    """
    calls = intention(lambda: _claim(run, owner, n), certain=True)
    return _claim_with_leave(run, owner, n) if calls is None else calls


def _claim_with_leave(run: Run, owner: UUID, n: int) -> list[Call]:
    facts = {"run": run.id, "org": run.org_id, "unit": run.unit, "first": run.cascade[0].provider}
    needs = intention(lambda: query(WANTED, n=n, **facts))
    lapsed: Counter[str] = Counter({provider: count for provider, waited, count in needs if waited})
    fresh = sum(count for _, waited, count in needs if not waited)
    fresh = 0 if limits.down(run) else min(fresh, n - lapsed.total())
    first = facts["first"]
    leave = limits.take(run, lapsed + Counter({first: fresh}))
    if first in leave:
        fresh = max(0, min(fresh, leave[first].calls - lapsed[first]))
    return intention(lambda: _claim(run, owner, lapsed.total() + fresh, fresh, leave), certain=True) or []


def _claim(run: Run, owner: UUID, n: int, fresh: int | None = None, leave: Leaves | None = None) -> list[Call] | None:
    facts = {"run": run.id, "owner": owner, "lease": settings.LEASE_SECONDS}
    taken = query(TAKE, n=n, asked=leave is not None, **facts, **limits.named(run))
    if taken == [(None, None)]:
        return None
    lapsed, pending = (sorted(number for number, again in taken if again is which) for which in (True, False))
    calls = []
    if lapsed:
        log.info("run %s: taking up %s items that waited for another try or were left by a worker", run.id, len(lapsed))
        waiting = query(NEVER_AGAIN, run=run.id, numbers=array(lapsed), patience=settings.UNKNOWN_SECONDS)
        again = set(lapsed) - {number for (number,) in waiting}
        if leave:
            again -= _put_off(run, again, leave)
        calls = query(OPEN_ATTEMPTS, run=run.id, numbers=array(sorted(again)))
    if pending[:fresh]:
        admitted = ledger.admit(run.org_id, run.id, len(pending[:fresh]), run.unit)
        if admitted:
            first = run.cascade[0]
            step = {"provider": first.provider, "tool": first.tool, "byok": first.byok}
            calls += query(START, numbers=array(pending[:admitted]), **facts, **step)
    return [Call(item, lease_no, number, json.loads(row), *how) for item, lease_no, number, row, *how in calls]


def _put_off(run: Run, numbers: Iterable[int], leave: Leaves) -> set[int]:
    providers, leaves = list(leave), leave.values()
    calls, waits = array(each.calls for each in leaves), array(each.wait for each in leaves)
    facts = {"providers": providers, "calls": calls, "waits": waits, "numbers": array(sorted(numbers))}
    return {number for (number,) in query(PUT_OFF, run=run.id, **facts)}


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
    facts = {"items": array(call.item for call in calls), "leases": array(call.lease_no for call in calls)}
    intention(lambda: query(RENEW, run=run.id, owner=owner, lease=settings.LEASE_SECONDS, **facts))


def unanswered(run: Run, owner: UUID, call: Call) -> None:
    """Note that nobody knows what became of a call; its item is taken up again when the lease runs out."""
    mine = run.items.in_flight().filter(number=call.item, lease_no=call.lease_no, owner=owner)
    intention(lambda: mine.update(unanswered_at=clock()))
    if not call.look_up:
        limits.no_answer(run, call)


# ------------------------------------------------------------------ settle


MINE = """
SELECT i.number, i.lease_no, (SELECT status FROM runs_run WHERE id = %(run)s) = 'cancelling',
       EXISTS (SELECT FROM runs_limit WHERE failures > 0)
FROM runs_item AS i
JOIN unnest(%(items)s::int[], %(leases)s::int[]) AS c(item, lease_no) ON c.item = i.number AND c.lease_no = i.lease_no
WHERE i.run_id = %(run)s AND i.owner = %(owner)s AND i.status = 'running'
ORDER BY i.number FOR NO KEY UPDATE OF i"""

NOTE = """
UPDATE runs_attempt AS t
SET outcome = a.outcome, cost = a.cost, reason = a.reason, reference = a.reference, latency_ms = a.latency_ms,
    settled_at = (SELECT ledger.clock())
FROM jsonb_to_recordset(%(answers)s::jsonb)
  AS a(item int, number int, outcome text, cost numeric, reason text, reference text, latency_ms int)
WHERE t.run_id = %(run)s AND t.item = a.item AND t.number = a.number AND t.outcome IS NULL
RETURNING t.item"""

END = """
UPDATE runs_item AS i
SET status = CASE WHEN (
      SELECT bool_or(t.outcome IN ('succeeded', 'no_result')) AND NOT bool_or(t.outcome = 'unknown')
      FROM runs_attempt AS t WHERE t.run_id = i.run_id AND t.item = i.number
    ) THEN 'succeeded' ELSE 'failed' END,
    owner = NULL, lease_until = NULL, unanswered_at = NULL, result = a.result, ended_at = (SELECT ledger.clock())
FROM jsonb_to_recordset(%(answers)s::jsonb) AS a(item int, result jsonb)
WHERE i.run_id = %(run)s AND i.number = a.item"""

# A try that has to wait is nobody's meanwhile and not sent: its lease runs out when it is due, and whoever claims next
# sends it.
GO_ON = """
WITH next AS (
  SELECT * FROM unnest(%(items)s::int[], %(numbers)s::int[], %(providers)s::text[], %(tools)s::text[],
                       %(byoks)s::boolean[], %(waits)s::int[]) AS n(item, number, provider, tool, byok, wait)),
kept AS (
  UPDATE runs_item AS i
  SET lease_until = clock_timestamp() + coalesce(next.wait, %(lease)s) * interval '1 second', unanswered_at = NULL
  FROM next WHERE i.run_id = %(run)s AND i.number = next.item)
INSERT INTO runs_attempt (run_id, item, number, provider, tool, byok, sent_at, reference, reason)
SELECT %(run)s, item, number, provider, tool, byok, CASE WHEN wait IS NULL THEN (SELECT ledger.clock()) END, '', ''
FROM next"""


def settle(run: Run, owner: UUID, answers: Sequence[Answer]) -> list[Call]:
    """Settle a batch of answers, one an item; answer the calls that follow at once. What comes late moves nothing."""
    leave = _leave_to_go_on(run, answers)
    try:
        calls, late, failing = intention(lambda: _settle(run, owner, answers, leave, slow=False), certain=True)
    except (ledger.AlreadySettled, ledger.Closed):
        calls, late, failing = intention(lambda: _settle(run, owner, answers, leave, slow=True), certain=True)
    limits.tell(run, answers, failing=failing)
    if late:
        log.warning("run %s: dropped %s late answers of %s", run.id, len(late), owner)
        # After the settle, which holds items: the run's row is locked before them.
        intention(lambda: _count(run, late), certain=True)
    return calls


def let_go(run: Run, answers: Sequence[Answer]) -> None:
    """Settle open attempts that nobody will answer any more. A step of a transaction that holds their items."""
    noted = note(run, answers)
    kept = [answer for answer in answers if answer.call.item in noted]
    moves = [follow(run.cascade, answer.call.number, answer.outcome.outcome, stopped=True) for answer in kept]
    _book(run, kept, moves, {}, slow=True)


def _leave_to_go_on(run: Run, answers: Sequence[Answer]) -> Leaves:
    """Take leave for the tools that will be asked next; locks nothing where the providers have no limit."""
    if len(run.cascade) == 1:
        return {}
    nexts: Counter[str] = Counter()
    for call, outcome, _ in answers:
        move = follow(run.cascade, call.number, outcome.outcome, passing=outcome.wait is not None)
        if move.next is not None and move.next % TRIES == 0:
            nexts[run.cascade[place(move.next)[0]].provider] += 1
    return limits.take(run, nexts)


def _settle(
    run: Run, owner: UUID, answers: Sequence[Answer], leave: Leaves, *, slow: bool
) -> tuple[list[Call], list[Answer], bool]:
    items, leases = array(a.call.item for a in answers), array(a.call.lease_no for a in answers)
    mine = query(MINE, run=run.id, owner=owner, items=items, leases=leases)
    stopped = {(item, lease_no): cancelling for item, lease_no, cancelling, _ in mine}
    noted = note(run, [answer for answer in answers if answer.call.key in stopped])
    kept = sorted((answer for answer in answers if answer.call.key in stopped and answer.call.item in noted), key=_item)
    moves = [
        follow(
            run.cascade,
            answer.call.number,
            answer.outcome.outcome,
            passing=answer.outcome.wait is not None,
            stopped=stopped[answer.call.key],
        )
        for answer in kept
    ]
    late = [answer for answer in answers if answer not in kept] if len(kept) < len(answers) else []
    return _book(run, kept, moves, leave, slow=slow), late, any(failing for *_, failing in mine)


def _book(run: Run, kept: Sequence[Answer], moves: Sequence[Move], leave: Leaves, *, slow: bool) -> list[Call]:
    end_items(run, [answer for answer, move in zip(kept, moves, strict=True) if move.next is None])
    further = [(answer, move) for answer, move in zip(kept, moves, strict=True) if move.next is not None]
    calls = _go_on(run, further, leave)
    settled = [booking(run, answer, move) for answer, move in zip(kept, moves, strict=True)]
    if slow and settled:
        for item, attempt, verdict in ledger.settle_slow(run.org_id, run.id, settled):
            if verdict != "settled":
                log.error("run %s, item %s, attempt %s had an entry before: %s", run.id, item, attempt, verdict)
    else:
        ledger.settle(run.org_id, run.id, settled)
    return calls


def _item(answer: Answer) -> int:
    return answer.call.item


def _count(run: Run, late: Sequence[Answer]) -> None:
    """Count what came too late; where its attempt was given up, note what it cost and whose it was.

    A refusal, or a call that never left, is the end of one sending and says nothing about the others.
    """
    Run.objects.filter(id=run.id).update(late_settles=F("late_settles") + len(late))
    for call, outcome, _ in late:
        if outcome.outcome == "failed_before_billing":
            continue
        given_up = Attempt.objects.filter(run=run, item=call.item, number=call.number, outcome="unknown", absorbed=None)
        given_up.update(absorbed=outcome.cost, reference=outcome.reference)


def note(run: Run, answers: Sequence[Answer]) -> set[int]:
    """Write down how open attempts ended, one an item; answer the items that had one. A step, as the next two."""
    if not answers:
        return set()
    facts = [
        {
            "item": answer.call.item,
            "number": answer.call.number,
            "outcome": answer.outcome.outcome,
            "cost": str(answer.outcome.cost),
            "reason": answer.outcome.reason[:200],
            "reference": answer.outcome.reference,
            "latency_ms": answer.latency_ms,
        }
        for answer in answers
    ]
    noted = query(NOTE, run=run.id, answers=json.dumps(facts))
    return {item for (item,) in noted}


def end_items(run: Run, answers: Sequence[Answer]) -> None:
    """End the items of which these were the last answers."""
    if answers:
        facts = [{"item": answer.call.item, "result": answer.outcome.result or None} for answer in answers]
        query(END, run=run.id, answers=json.dumps(facts))


def _go_on(run: Run, moves: Sequence[tuple[Answer, Move]], leave: Leaves) -> list[Call]:
    if not moves:
        return []
    calls = [
        answer.call._replace(number=move.next, again=False, look_up=False)
        for answer, move in moves
        if move.next is not None
    ]
    steps = [run.cascade[call.step] for call in calls]
    # Another try of the same tool waits as long as it was told to; the next tool goes at once, where it has leave.
    left = {provider: each.calls for provider, each in leave.items()}
    waits: list[int | None] = []
    for (answer, _), call, step in zip(moves, calls, steps, strict=True):
        if place(call.number)[1]:
            waits.append(answer.outcome.wait)
            continue
        waits.append(None if left.get(step.provider, 1) > 0 else leave[step.provider].wait)
        if step.provider in left:
            left[step.provider] -= 1
    query(
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


def booking(run: Run, answer: Answer, move: Move) -> ledger.Settled:
    """Say what the ledger is told of an answer."""
    call, outcome = answer.call, answer.outcome
    step = run.cascade[call.step]
    what = (step.provider, step.tool, step.byok, outcome.outcome)
    return ledger.Settled(call.item, call.number, *what, outcome.cost, step.maximum, move.freed)
