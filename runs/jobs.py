"""Wake-ups of runs on the queue, and the round that gives a run one it has lost.

`lifecycle.py` wakes runs in its own transactions. The law: a job holds no truth, so any of them may be lost, doubled or
late; what a run still needs stands in its own rows.
"""

import logging
from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from oxygen_site.jobs import defer, line, periodic, task
from oxygen_site.transactions import connection_lost, intention
from runs import planes, standing, worker
from runs.models import Item, Run
from runs.standing import AGAIN, AT_ONCE

log = logging.getLogger("oxygen.runs")

OURS, OUTSIDE = Run.objects.exclude(kind=Run.Kind.OUTSIDE), Run.objects.filter(kind=Run.Kind.OUTSIDE)


@task(queue="runs")
def drive_run(run: str, shard: int, org: str) -> None:
    """Drive a slice of a run and, where more is to be done, get in line again: runs take turns, and so do orgs."""
    try:
        wait = AT_ONCE if _gives_way(org) else worker.drive_slice(UUID(run), settings.SLICE_SECONDS)
    except Exception as failure:
        if not connection_lost(failure):
            raise
        log.warning("run %s: a slice lost its database and begins again", run)
        wait = AGAIN
    if wait is not None:
        intention(partial(_line_up, run, shard, org, after=wait))


def _gives_way(org: str) -> bool:
    """Whether an org with fewer slices at work than this one has another in line: it goes first."""
    at_work: Counter[str] = Counter()
    in_line = set()
    for facts, works in line(drive_run):
        if works:
            at_work[facts["org"]] += 1
        else:
            in_line.add(facts["org"])
    return any(at_work[other] + 1 < at_work[org] for other in in_line - {org})


def wake(run: Run) -> None:
    """Have a run driven, by as many slices side by side as its rows can keep busy; an outside one by none."""
    if run.is_outside:
        return
    busy = -(-run.rows // settings.WORKER_CONCURRENCY)
    for shard in range(min(settings.RUN_SHARDS, busy)):
        _line_up(str(run.id), shard, str(run.org_id), sooner=True)


def _line_up(run: str, shard: int, org: str, *, after: timedelta | None = None, sooner: bool = False) -> None:
    defer(drive_run, key=f"{run}:{shard}", after=after or None, sooner=sooner, run=run, shard=shard, org=org)


@periodic("* * * * *")
def ensure_driven() -> None:
    """Wake every run that has something left to do: dispatch, take over, or end."""
    items = Item.objects.filter(run=OuterRef("pk"))
    in_flight, waiting = Exists(items.filter(status="running")), Exists(items.filter(status="pending"))
    paused = Q(status=Run.Status.PAUSED) & (Q(in_flight) | ~Q(waiting))
    for run in OURS.filter(Q(status__in=Run.LIVE) | paused):
        intention(partial(wake, run))


@periodic("*/5 * * * * *")
def ask_providers_again() -> None:
    """Let runs go on that were paused for a provider: it answers again, or it is time to see whether it does."""
    for run in standing.held_up():
        intention(partial(_go_on, run))


def _go_on(run: Run) -> None:
    if standing.go_on(run):
        wake(run)


@periodic("* * * * *")
def give_up_overdue() -> None:
    """Free the holds of calls that were sent too long ago and of which nobody knows what became."""
    in_flight = Exists(Item.objects.filter(run=OuterRef("pk"), status=Item.Status.RUNNING))
    for run in OURS.filter(in_flight, status__in=Run.OPEN):
        intention(partial(_give_up_overdue, run))


def _give_up_overdue(run: Run) -> None:
    if standing.give_up_overdue(run):
        wake(run)


@periodic("*/5 * * * * *")
def look_after_planes() -> None:
    """Return the holds of outside runs whose leases have run out, and what those runs can no longer need."""
    for run in OUTSIDE.filter(status__in=Run.OPEN).exclude(status=Run.Status.AWAITING_APPROVAL):
        planes.return_lapsed(run)
        standing.give_back(run)
