"""What Oxygen's operators look after: calls of which nobody knows what became, and costs that could not be charged.

For the admin alone, over all organizations. Reads only; nothing here can be settled by hand, because nothing has to be:
a hold comes back by itself, and what was absorbed is Oxygen's own to take up with the provider. Each list is read by an
index of its own, newest first, SHOWN at most; one more says that there are more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q, QuerySet

from billing.models import Reservation
from runs.cascade import ZERO
from runs.models import Attempt, Item, Run
from runs.models.runs import NOT_CHARGED, NOT_READ

SHOWN = 100


@dataclass(frozen=True)
class Doubt:
    """A call with its run, and what its provider may bill at most."""

    run: Run
    attempt: Attempt
    most: Decimal

    @property
    def absorbed(self) -> Decimal:
        """What the provider says it billed that nobody was charged: beyond the maximum, or all of a late answer."""
        above = max((self.attempt.cost or ZERO) - self.most, ZERO)
        return above + (self.attempt.absorbed or ZERO)


@dataclass(frozen=True)
class Oddity:
    """A run in which a provider billed more than its maximum, or answers came late or differed."""

    run: Run
    absorbed: Decimal
    conflicts: int


def unanswered() -> list[Doubt]:
    """Calls that may still be answered, those that went quiet last first. Three queries."""
    running = Item.objects.filter(status=Item.Status.RUNNING, unanswered_at__isnull=False).order_by("-unanswered_at")
    items = list(running.values_list("run", "number")[: SHOWN + 1])
    wanted = Attempt.objects.filter(outcome=None, run__in={run for run, _ in items}, item__in={n for _, n in items})
    found = {(attempt.run_id, attempt.item): attempt for attempt in wanted}
    return _doubts([found[item] for item in items if item in found])


def given_up() -> list[Doubt]:
    """Calls that were given up; what a later answer named is `absorbed`. Two queries."""
    return _doubts(Attempt.objects.filter(outcome="unknown").order_by("-sent_at"))


def absorbed() -> list[Doubt]:
    """Calls billed above their maximum, or answered after they were given up; newest runs first. Two queries."""
    return _doubts(_newest(NOT_CHARGED))


def unreadable() -> list[Doubt]:
    """Calls whose cost could not be read: their result was kept, and they cost 0; newest runs first. Two queries."""
    return _doubts(_newest(NOT_READ))


def oddities() -> list[Oddity]:
    """Runs with something absorbed, in conflict or late. Three queries."""
    late = set(Run.objects.filter(late_settles__gt=0).order_by("-id").values_list("id", flat=True)[: SHOWN + 1])
    odd = Reservation.objects.filter(Q(absorbed__gt=0) | Q(conflicts__gt=0) | Q(run__in=late)).order_by("-run")
    held = list(odd[: SHOWN + 1])
    runs = _runs(reservation.run for reservation in held)
    return [Oddity(runs[each.run], each.absorbed, each.conflicts) for each in held if each.run in runs]


def _newest(such: Q) -> QuerySet[Attempt]:
    return Attempt.objects.filter(such).order_by("-run_id", "-item", "-number")


def _doubts(attempts: QuerySet[Attempt] | list[Attempt]) -> list[Doubt]:
    found = list(attempts[: SHOWN + 1])
    runs = _runs(attempt.run_id for attempt in found)
    return [Doubt(run := runs[attempt.run_id], attempt, run.cascade[attempt.step].maximum) for attempt in found]


def _runs(ids: Iterable[object]) -> dict[object, Run]:
    return dict(Run.objects.select_related("org").in_bulk(list(set(ids))))
