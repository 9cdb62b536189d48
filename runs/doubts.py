"""What Oxygen's operators look after: calls of which nobody knows what became, and what could not be charged.

For the admin alone, over all organizations. Reads only; nothing here can be settled by hand, because nothing has to be:
a hold comes back by itself, and what was absorbed is Oxygen's own to take up with the provider.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q

from billing.models import Reservation
from runs.models import Attempt, Item, Run

SHOWN = 100


@dataclass(frozen=True)
class Doubt:
    """A call without a usable answer, and what its provider may have billed at most."""

    run: Run
    attempt: Attempt
    most: Decimal


@dataclass(frozen=True)
class Oddity:
    """A run in which a provider billed more than its maximum, or answers came late or differed."""

    run: Run
    absorbed: Decimal
    conflicts: int


def unanswered() -> list[Doubt]:
    """Calls that may still be answered, those sent first first. Three queries."""
    running = Item.objects.filter(status=Item.Status.RUNNING, unanswered_at__isnull=False)
    items = set(running.values_list("run", "number")[:SHOWN])
    wanted = Attempt.objects.filter(outcome=None, run__in={run for run, _ in items}, item__in={n for _, n in items})
    found = [attempt for attempt in wanted.order_by("sent_at") if (attempt.run_id, attempt.item) in items]
    return _doubts(found)


def given_up() -> list[Doubt]:
    """Calls that were given up, newest first; `absorbed` says what a later answer named. Two queries."""
    return _doubts(list(Attempt.objects.filter(outcome="unknown").order_by("-sent_at")[:SHOWN]))


def oddities() -> list[Oddity]:
    """Runs with something absorbed, in conflict or late, newest first. Two queries."""
    late = set(Run.objects.filter(late_settles__gt=0).order_by("-id").values_list("id", flat=True)[:SHOWN])
    odd = Reservation.objects.filter(Q(absorbed__gt=0) | Q(conflicts__gt=0) | Q(run__in=late)).order_by("-run")[:SHOWN]
    held = list(odd)
    runs = _runs(reservation.run for reservation in held)
    return [Oddity(runs[each.run], each.absorbed, each.conflicts) for each in held if each.run in runs]


def _doubts(attempts: list[Attempt]) -> list[Doubt]:
    runs = _runs(attempt.run_id for attempt in attempts)
    return [Doubt(run := runs[attempt.run_id], attempt, run.cascade[attempt.step].maximum) for attempt in attempts]


def _runs(ids: Iterable[object]) -> dict[object, Run]:
    return dict(Run.objects.select_related("org").in_bulk(list(set(ids))))
