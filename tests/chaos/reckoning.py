"""After the storm everything is added up from each side, and whatever does not agree is named.

A run's items against its rows, its attempts against the providers' own count of charges by key, its entries against its
attempts, its reservation against its entries. For each attempt, not for sums: two wrongs do not make a right.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil

from billing import books
from billing.models import Entry, Organization
from runs.cascade import ZERO, key
from runs.models import Attempt, Item, Run
from tests.effort import SEED
from tests.runs.conftest import Providers, booked
from tests.tally import Tally


@dataclass
class Reckoning:
    """What was found wrong, in words and as the figures that must be 0."""

    lost: Decimal = ZERO
    doubles: int = 0
    overshoots: int = 0
    endless: int = 0
    wrong: list[str] = field(default_factory=list)

    def books(self, *orgs: Organization) -> None:
        for org in orgs:
            drifts = books.drifts(org.id)
            self.lost += len(drifts)
            self.wrong += map(str, drifts)

    def run(self, run: Run, providers: Providers) -> int:
        """Reckon a run that has come to rest; answer how often its providers were called."""
        statement = providers.charges(run)
        charged = {key: (facts["charges"], Decimal(facts["cost"])) for key, facts in statement["by_key"].items()}
        entries = {(entry.item, entry.attempt): entry for entry in Entry.objects.filter(source=run.id, item__gt=0)}
        captured = ZERO
        for attempt in run.attempts.order_by("item", "number"):
            charges, cost = charged.pop(key(run.id, attempt.item, attempt.number), (0, ZERO))
            self.doubles += max(0, charges - 1)
            captured += self._attempt(run, attempt, entries.pop((attempt.item, attempt.number), None), cost)
        for name, (_, cost) in charged.items():
            self._differ(f"{name} was charged, and there is no such attempt", cost)
        for entry in entries.values():
            self.doubles += 1
            self.wrong.append(f"run {run.id}, item {entry.item}: an entry of no attempt {entry.attempt}")
        held = booked(run)
        self._differ(f"run {run.id} captured {held.captured}, its attempts {captured}", held.captured - captured)
        if held.cap is not None and max(held.captured, held.reserved) > held.cap:
            self.overshoots += 1
        self._rest(run)
        return int(statement["calls"])

    def _attempt(self, run: Run, attempt: Attempt, entry: Entry | None, cost: Decimal) -> Decimal:
        """Reckon an attempt with what its provider says it cost; answer what it should have captured."""
        name = f"run {run.id}, item {attempt.item}, attempt {attempt.number} ({attempt.outcome})"
        if attempt.outcome is None or attempt.cost is None or entry is None:
            self._differ(f"{name} was never settled", cost)
            return ZERO
        if attempt.outcome == "unknown":  # Oxygen's loss, never the customer's; what a late answer said is kept
            if attempt.absorbed not in (None, cost):
                self._differ(f"{name} absorbed {attempt.absorbed}, and cost {cost}", cost)
            cost = ZERO
        due = min(cost, run.cascade[attempt.step].maximum)
        self._differ(f"{name} says it cost {attempt.cost}, its provider {cost}", attempt.cost - cost)
        self._differ(f"{name} captured {entry.amount}, due was {due}", entry.amount - due)
        return due

    def _rest(self, run: Run) -> None:
        items = Counter(run.items.order_by().values_list("status", flat=True))
        done = items[Item.Status.SUCCEEDED] + items[Item.Status.FAILED] + items[Item.Status.CANCELLED]
        at_its_cap = (run.status, run.pause_reason) == (Run.Status.PAUSED, Run.PauseReason.CAP_REACHED)
        if done + items[Item.Status.PENDING] != run.rows:
            self.wrong.append(f"run {run.id} has {run.rows} rows and {dict(items)}")
        if at_its_cap == (items[Item.Status.PENDING] == 0):
            self.wrong.append(f"run {run.id} is {run.status}, its items {dict(items)}")
        if at_its_cap and not 0 <= booked(run).room < run.unit:
            self.wrong.append(f"run {run.id} rests with room for another item")
        if run.is_open and not at_its_cap:
            self.endless += 1
            self.wrong.append(f"run {run.id} is {run.status} {run.pause_reason or ''}, its items {dict(items)}")
        if booked(run).held:
            self._differ(f"run {run.id} still holds {booked(run).held}", booked(run).held)

    def _differ(self, what: str, by: Decimal) -> None:
        if by:
            self.lost += abs(by)
            self.wrong.append(what)

    def tell(self, tally: Tally) -> None:
        """Count what was found, and only then insist that it is nothing."""
        tally("credits lost", ceil(self.lost))
        tally("double captures", self.doubles)
        tally("cap overshoots", self.overshoots)
        tally("runs that never end", self.endless)
        figures = (self.lost, self.doubles, self.overshoots, self.endless)
        assert (figures, self.wrong) == ((0, 0, 0, 0), []), f"SEED={SEED}: {figures} {self.wrong}"
