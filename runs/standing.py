"""Where a run stands: enroll its items, begin it, give back, give up, and bring it to rest.

For `worker.py` and `jobs.py`; `lifecycle.py` and `planes.py` use `enroll`, `begun`, `give_up` and `end`, which are
steps of their transactions, while each other verb is one intention. Laws: a run ends or pauses only once nothing of it
is in flight; what only waits for an answer that may never come does not delay a pause, and is given up after
UNKNOWN_SECONDS of business time, when it is cancelled, or when it is continued. Lock order: run, account, items by
number, attempts, entries, reservation.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from billing import ledger
from billing.models import Account, Reservation
from oxygen_site.clock import clock
from oxygen_site.sql import array, query
from oxygen_site.transactions import intention
from runs import dispatch
from runs.cascade import ZERO
from runs.dispatch import Answer, Call
from runs.models import Attempt, Item, Run
from runs.models.limits import OXYGENS
from runs.providers import limits, outcomes

AT_ONCE = timedelta(0)
AGAIN = timedelta(seconds=1)  # until a slice that found nothing to do looks again while others are at work

ENROLL = """
INSERT INTO runs_item (run_id, number, row_id, status, lease_no)
SELECT %(run)s, number, row, 'pending', 0 FROM unnest(%(rows)s::uuid[]) WITH ORDINALITY AS r(row, number)"""

STANDING = """
SELECT r.status,
       EXISTS (SELECT FROM runs_item WHERE run_id = r.id AND status = 'pending'),
       (SELECT min(lease_until) - clock_timestamp() FROM runs_item
        WHERE run_id = r.id AND status = 'running'),
       EXISTS (SELECT FROM runs_item WHERE run_id = r.id AND status = 'running' AND unanswered_at IS NULL),
       coalesce(v.reserved - v.captured - v.held >= r.unit AND NOT v.paused, false)
FROM runs_run AS r LEFT JOIN ledger.reservation AS v ON v.org = r.org_id AND v.run = r.id
WHERE r.id = %(run)s"""

# Whatever moves a figure of a run writes its row or its reservation's anew, and so another number of a transaction into
# it; but that nobody knows what became of a call is noted on the item alone.
VERSIONS = """
SELECT r.id, r.xmin::text, v.xmin::text,
       (SELECT count(*) FROM runs_item WHERE run_id = r.id AND status = 'running' AND unanswered_at IS NOT NULL)
FROM runs_run AS r LEFT JOIN ledger.reservation AS v ON v.org = r.org_id AND v.run = r.id
WHERE r.org_id = %(org)s AND """
VERSIONS_OF_OPEN = f"{VERSIONS} r.status = ANY(%(open)s) ORDER BY r.id"
VERSION = f"{VERSIONS} r.id = %(run)s"

# A lease is machine time, which moving business time leaves alone: what is left of it is the same in both.
LEASES = """
SELECT run_id, count(*), ledger.clock() + (min(lease_until) - clock_timestamp()) FROM runs_item
WHERE run_id = ANY(%(runs)s::uuid[]) AND status = 'running' GROUP BY run_id"""

# By run, which accounts have to be asked whether they are back; none while one of the run's is left alone or asked.
HELD_UP = """
SELECT r.id, coalesce(array_agg(l.provider_id || ' ' || l.account) FILTER (WHERE l.open_until IS NOT NULL), '{}')
FROM runs_run AS r CROSS JOIN jsonb_to_recordset(r.steps) AS s(provider text, byok boolean)
LEFT JOIN runs_limit AS l ON l.provider_id = s.provider
  AND l.account = CASE WHEN s.byok THEN r.org_id ELSE %(oxygens)s END
WHERE r.status = 'paused' AND r.pause_reason = 'provider_unavailable'
GROUP BY r.id
HAVING coalesce(bool_and(coalesce(greatest(l.open_until, l.probing_until), '-infinity') <= clock_timestamp()), true)
ORDER BY r.id"""

# Nobody is waiting for its answer any more, or nobody is left to; a call under way keeps its item.
OVERDUE = """
SELECT i.number FROM runs_item AS i
JOIN runs_attempt AS a ON a.run_id = i.run_id AND a.item = i.number AND a.outcome IS NULL
WHERE i.run_id = %(run)s AND i.status = 'running'
  AND a.sent_at <= (SELECT ledger.clock()) - %(patience)s * interval '1 second'
  AND (i.unanswered_at IS NOT NULL OR i.lease_until < clock_timestamp())
ORDER BY i.number FOR NO KEY UPDATE OF i"""


# What never left the worker that claimed it; what was sent once before stays sent.
UNSEND = """
UPDATE runs_attempt AS a SET sent_at = NULL FROM unnest(%(items)s::int[], %(numbers)s::int[]) AS c(item, number)
WHERE a.run_id = %(run)s AND a.item = c.item AND a.number = c.number AND a.outcome IS NULL"""


def versions(org: UUID, run: UUID | None = None) -> list[tuple[Any, ...]]:
    """Tell apart how an org's open runs stand, or one run: other than before once any figure of them moved. One query.

    It costs the same however many items they have.
    """
    return query(VERSION, org=org, run=run) if run else query(VERSIONS_OF_OPEN, org=org, open=list(Run.OPEN))


def leases(runs: Iterable[UUID]) -> list[tuple[UUID, int, datetime]]:
    """Read how many items of each run are in flight, and until when all are leased; business time. One query."""
    return query(LEASES, runs=array(runs))


def enroll(run: Run, rows: Sequence[UUID]) -> None:
    """Make the items of a new run, one a row, numbered from 1. A step of `lifecycle`'s transaction."""
    query(ENROLL, run=run.id, rows=array(rows))


def begin(run: Run) -> None:
    """Say that a queued run has begun."""
    intention(lambda: begun(run))


def begun(run: Run) -> None:
    """Say so as a step."""
    queued = Run.objects.filter(id=run.id, status=Run.Status.QUEUED)
    queued.update(status=Run.Status.RUNNING, started_at=clock())


def give_back(run: Run) -> Decimal:
    """Return to available what the rows not begun can no longer need; nothing is locked where there is nothing."""
    held = Reservation.objects.filter(org=run.org_id, run=run.id, closed_at=None).first()
    if held is None or held.room <= held.needed:
        return ZERO
    return intention(lambda: ledger.give_back(run.org_id, run.id, actor=f"run:{run.id}"), certain=True)


def rest(run: Run) -> timedelta | None:
    """End or pause a run of which nothing is left to do or to afford.

    Answer how long a slice that found nothing to claim should wait before it looks again; None: until it is woken.
    """
    status, pending, lapse, in_flight, fits = query(STANDING, run=run.id)[0]
    if status not in Run.OPEN:
        return None
    going_on = pending and status in Run.PAUSABLE
    if status in Run.PAUSABLE and (pending or lapse is not None) and limits.down(run):
        intention(lambda: _pause_for_provider(run))
        return lapse and max(lapse, AT_ONCE)
    if in_flight and status != Run.Status.CANCELLING:  # which gives up what waits, whatever else is under way
        return max(min(lapse, AGAIN) if going_on else lapse, AT_ONCE)
    return AT_ONCE if going_on and fits else intention(lambda: _conclude(run, lapse or AGAIN))


def _pause_for_provider(run: Run) -> None:
    """Leave the rest as it is until the provider answers again; what is claimed keeps its hold and its turn."""
    now = Run.objects.select_for_update(no_key=True).get(id=run.id)
    if now.status in Run.PAUSABLE:
        ledger.pause(now.org_id, now.id, True)
        now.status, now.pause_reason = Run.Status.PAUSED, Run.PauseReason.PROVIDER_UNAVAILABLE
        now.paused_at = clock()
        now.save(update_fields=["status", "pause_reason", "paused_at"])


def held_up() -> list[Run]:
    """The runs paused for a provider that may be tried again: all where it answers, one where that is to be seen."""
    chosen, asking = [], set[str]()
    for run_id, unsure in query(HELD_UP, oxygens=OXYGENS):
        if asking.isdisjoint(unsure):
            asking.update(unsure)
            chosen.append(run_id)
    return list(Run.objects.filter(id__in=chosen).order_by("id"))


def go_on(run: Run) -> bool:
    """Let a run that was paused for its provider go on, where it still is. A step; the caller wakes it."""
    now = Run.objects.select_for_update(no_key=True).get(id=run.id)
    if now.pause_reason != Run.PauseReason.PROVIDER_UNAVAILABLE:
        return False
    ledger.pause(now.org_id, now.id, False)
    now.status, now.pause_reason = Run.Status.RUNNING, None
    now.save(update_fields=["status", "pause_reason"])
    return True


def _conclude(run: Run, lapse: timedelta) -> timedelta | None:
    now = Run.objects.select_for_update(no_key=True).get(id=run.id)
    if not now.is_open:
        return None
    if now.status == Run.Status.CANCELLING:
        give_up(now, waiting=True)
    standing = set(now.items.order_by().values_list("status", flat=True).distinct())
    if now.items.in_flight().exists():
        return AGAIN
    if Item.Status.PENDING in standing:
        if now.status != Run.Status.PAUSED and _affords_more(now):
            return AT_ONCE
    elif Item.Status.RUNNING not in standing:
        end(now, verdict(now, standing), actor=f"run:{run.id}")
        return None
    if Item.Status.RUNNING not in standing:
        return None
    return max(min(lapse, timedelta(seconds=settings.LEASE_SECONDS)), AT_ONCE)


def verdict(run: Run, standing: set[str]) -> Run.Status:
    """Say how a run ends whose items are all done, from which states there are among them."""
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
    if room >= run.unit or run.items.in_flight().exists():
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


# ------------------------------------------------------------------ what will not be answered


def hand_over(run: Run, owner: UUID, calls: Sequence[Call], unsent: Iterable[Call]) -> None:
    """Leave calls that are still its owner's to whoever claims next, at once; some of them were not sent after all."""
    facts: dict[str, Any] = {"run": run.id, "owner": owner}
    facts |= {"items": array(call.item for call in calls), "leases": array(call.lease_no for call in calls)}

    def verb() -> None:
        mine = {(item, lease_no) for item, lease_no, *_ in query(dispatch.MINE, **facts)}
        back = [call for call in unsent if call.key in mine and not call.again]
        query(UNSEND, run=run.id, items=array(c.item for c in back), numbers=array(c.number for c in back))
        query(dispatch.RENEW, lease=0, **facts)

    intention(verb)


def give_up(run: Run, *, waiting: bool) -> None:
    """Settle at once what has no answer as unknown and, where asked, tries that only wait for their turn as not sent.

    A step of a transaction that holds the run's row; takes the account, as whoever ends the run does next.
    """
    Account.objects.select_for_update(no_key=True).get(org=run.org_id)
    unsent = Exists(Attempt.objects.filter(run=run.id, item=OuterRef("number"), outcome=None, sent_at=None))
    wanted = Q(unanswered_at__isnull=False)
    if waiting:
        wanted |= Q(unsent)
    items = run.items.filter(wanted, status=Item.Status.RUNNING).order_by("number").select_for_update(no_key=True)
    known = {item.number: item.unanswered_at is None for item in items}
    _let_go(run, [attempt for attempt in _open(run, known) if attempt.sent_at is None or not known[attempt.item]])


def give_up_overdue(run: Run) -> bool:
    """Settle as unknown what was first sent longer ago than its hold may stay; say whether there was any. A step."""
    numbers = [number for (number,) in query(OVERDUE, run=run.id, patience=settings.UNKNOWN_SECONDS)]
    _let_go(run, _open(run, numbers))
    return bool(numbers)


def _open(run: Run, numbers: Iterable[int]) -> list[Attempt]:
    return list(run.attempts.filter(item__in=list(numbers), outcome=None).order_by("item"))


def _let_go(run: Run, attempts: Sequence[Attempt]) -> None:
    answers = [
        Answer(
            Call(attempt.item, 0, attempt.number, {}),
            outcomes.GIVEN_UP if attempt.sent_at else outcomes.CALLED_OFF,
            None,
        )
        for attempt in attempts
    ]
    if answers:
        dispatch.let_go(run, answers)
