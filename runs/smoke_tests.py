"""Smoke tests: on how many rows one runs, and how many calls all of an org's may make in one of its days.

For `lifecycle.py`, which keeps it, and for whoever says it beforehand. Laws: a smoke test is called and never charged,
so it is short. Counted is each tool once an item, from when a start promises it; a try after a refusal that cost
nothing buys nothing, and is not counted. What was promised and not called is free again when the run ends.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.db.models import Q

from billing.models import Account, Organization
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused
from runs.cascade import TRIES
from runs.models import Attempt, Item, Run

ROWS = 3  # a run
CALLS = 20  # an org and day


@dataclass(frozen=True)
class Quota:
    """The calls that an org's smoke tests have made today or may still make, and when the next day begins."""

    used: int
    resets_at: datetime

    @property
    def left(self) -> int:
        return max(CALLS - self.used, 0)


def rows(limit: int | None) -> int:
    """Say on how many rows a smoke test runs at most. Refused where more are asked for: smoke_test_limit."""
    if limit is not None and limit > ROWS:
        sentence = f"A smoke test runs on at most {ROWS} rows. Name {ROWS} or fewer, or start a live run."
        raise Refused("smoke_test_limit", sentence, field="limit", limit=ROWS)
    return ROWS if limit is None else limit


def quota(org: Organization, now: datetime) -> Quota:
    """Count an org's calls of today, in its own time zone. Three queries over a day's handful of runs."""
    day = now.astimezone(org.tz).date()
    begins, ends = (datetime.combine(each, time.min, org.tz) for each in (day, day + timedelta(days=1)))
    tests = Run.objects.filter(org=org, mode=Run.Mode.SMOKE_TEST)
    today = {run.id: run for run in tests.filter(Q(ended_at__isnull=True) | Q(ended_at__gte=begins))}
    to_come = Item.objects.filter(run__in=today, status__in=(Item.Status.PENDING, Item.Status.RUNNING))
    promised = {(run, number): len(today[run].steps) for run, number in to_come.values_list("run", "number")}
    sent = Attempt.objects.filter(run__in=today, sent_at__gte=begins).values_list("run", "item", "number")
    made = {(run, item, number // TRIES) for run, item, number in sent if (run, item) not in promised}
    return Quota(len(made) + sum(promised.values()), ends)


def objection(org: Organization, calls: int, now: datetime) -> Refused | None:
    """Say why a smoke test that may make so many calls cannot start today; None where it can."""
    today = quota(org, now)
    if calls <= today.left:
        return None
    return Refused(
        "smoke_test_limit",
        f"This smoke test may make {calls} call{'' if calls == 1 else 's'}, and of the {CALLS} a day {today.left} "
        f"{'is' if today.left == 1 else 'are'} left. They start again at midnight, {org.zone} time.",
        limit=CALLS,
        used=today.used,
        resets_at=today.resets_at,
    )


def require(run: Run) -> None:
    """Refused where a smoke test that is about to start may not: smoke_test_limit. A step; of two, one waits here."""
    Account.objects.select_for_update(no_key=True).get(org=run.org_id)
    if refusal := objection(run.org, run.rows * len(run.steps), clock()):
        raise refusal
