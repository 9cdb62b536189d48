"""How well estimates foretold: what runs were estimated at beside what they captured.

For pages and the API: of one run, and of all that a cascade did lately. Reads only. Counted are live runs on managed
providers that did all their rows, the last RUNS of the org, so that it costs the same however many there were.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from billing.models import Organization, Reservation
from runs.models import Run
from runs.queries import RunCard

RUNS = 200
PLACES = Decimal("0.0001")
DID_ALL = (Run.Status.SUCCEEDED, Run.Status.COMPLETED_WITH_ERRORS, Run.Status.FAILED)

type Cascade = tuple[str, ...]  # the tools, in order


@dataclass(frozen=True)
class Calibration:
    """So many runs: what they were estimated at for the rows they did, and what they captured."""

    runs: int
    estimated: Decimal
    captured: Decimal

    @property
    def ratio(self) -> Decimal:
        return (self.captured / self.estimated).quantize(PLACES, ROUND_HALF_UP)


def of_tools(org: Organization, tools: Iterable[str]) -> dict[str, Calibration]:
    """Calibrate tools by the runs that asked each of them alone; a tool without one is not there. Two queries."""
    known = _lately(org)
    return {tool: known[(tool,)] for tool in tools if (tool,) in known}


def of_cascade(org: Organization, tools: Sequence[str]) -> Calibration | None:
    """Calibrate a cascade by the runs of the same tools in the same order. Two queries."""
    return _lately(org).get(tuple(tools))


def of_run(card: RunCard) -> Calibration | None:
    """Compare a run's estimate for the rows that it did with what it captured; None before that says anything."""
    estimated = (card.run.estimated * card.done / card.run.rows).quantize(PLACES, ROUND_HALF_UP)
    return Calibration(1, estimated, card.captured) if estimated else None


def _lately(org: Organization) -> dict[Cascade, Calibration]:
    ended = Run.objects.filter(org=org, mode=Run.Mode.LIVE, status__in=DID_ALL, estimated__gt=0).order_by("-id")
    runs = {run.id: run for run in ended.only("steps", "estimated")[:RUNS]}
    held = Reservation.objects.filter(org=org.pk, run__in=runs).values_list("run", "captured")
    captured: dict[UUID, Decimal] = dict(held)
    by_cascade: dict[Cascade, list[Run]] = defaultdict(list)
    for run in runs.values():
        by_cascade[tuple(step["tool"] for step in run.steps)].append(run)
    return {
        cascade: Calibration(
            len(alike),
            sum((run.estimated for run in alike), Decimal(0)),
            sum((captured[run.id] for run in alike), Decimal(0)),
        )
        for cascade, alike in by_cascade.items()
    }
