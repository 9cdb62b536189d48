"""The rules of the ledger in dicts and Decimals, for one org: what the database must come to.

Written from PRODUCT.md's words alone, and slow on purpose: it looks at every grant for everything, and time is a plain
number of hours. For the state machine; it raises the ledger's own refusals.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from billing.ledger import AlreadySettled, Closed, Conflict, InFlight, Settled

ZERO = Decimal(0)
CHARGED = ("succeeded", "no_result", "failed_after_billing")


@dataclass
class Grant:
    key: str
    amount: Decimal
    effective: int
    expires: int
    remaining: Decimal
    owed: Decimal = ZERO
    booked: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))  # what moved, by kind

    @property
    def place(self) -> tuple[int, int, str]:
        return self.expires, self.effective, self.key


@dataclass
class Run:
    cap: Decimal
    estimated_max: Decimal
    needed: Decimal
    draws: dict[str, Decimal]
    held: Decimal = ZERO
    captured: Decimal = ZERO
    absorbed: Decimal = ZERO
    conflicts: int = 0
    paused: bool = False
    closed: bool = False
    came_back: Decimal = ZERO  # with the close
    attempts: dict[tuple[int, int], Settled] = field(default_factory=dict)

    @property
    def reserved(self) -> Decimal:
        return sum(self.draws.values(), ZERO)

    @property
    def room(self) -> Decimal:
        return self.reserved - self.captured - self.held


class Oracle:
    def __init__(self) -> None:
        self.now = 0
        self.grants: dict[str, Grant] = {}
        self.runs: dict[UUID, Run] = {}
        self.adjustments: dict[UUID, Decimal] = {}
        self.total: dict[str, Decimal] = defaultdict(Decimal)
        self.usage: dict[tuple[str, bool, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])  # credits, calls

    # -------------------------------------------------------------- what it comes to

    @property
    def available(self) -> Decimal:
        return sum((grant.remaining for grant in self.grants.values()), ZERO)

    @property
    def reserved(self) -> Decimal:
        return sum((run.reserved - run.captured for run in self.runs.values() if not run.closed), ZERO)

    @property
    def captured(self) -> Decimal:
        return sum((run.captured for run in self.runs.values()), ZERO)

    # -------------------------------------------------------------- the account

    def grant(self, key: str, amount: Decimal, effective: int, expires: int) -> None:
        self.expire()
        if known := self.grants.get(key):
            if (known.amount, known.effective, known.expires) != (amount, effective, expires):
                raise Conflict
            return
        self.grants[key] = Grant(key, amount, effective, expires, amount)
        self.total["granted"] += amount

    def expire(self) -> None:
        for grant in self.grants.values():
            self._lapse(grant)

    def claw_back(self, key: str, owed: Decimal) -> None:
        self.expire()
        self.grants[key].owed = owed
        self._square(self.grants[key])

    def adjust(self, id: UUID, amount: Decimal) -> Decimal:
        self.expire()
        if id in self.adjustments:
            if self.adjustments[id] != amount:
                raise Conflict
            return ZERO
        if amount > self.available:
            return amount - self.available
        self.adjustments[id] = amount
        for key, part in self._take(amount).items():
            self.grants[key].booked["adjusted"] += part
        self.total["adjusted"] += amount
        return ZERO

    # -------------------------------------------------------------- runs

    def reserve(self, id: UUID, cap: Decimal, estimated_max: Decimal) -> Decimal:
        self.expire()
        if run := self.runs.get(id):
            if (run.cap, run.estimated_max) != (cap, estimated_max):
                raise Conflict
            return ZERO
        hold = min(cap, estimated_max)
        if hold > self.available:
            return hold - self.available
        self.runs[id] = Run(cap, estimated_max, needed=estimated_max, draws=self._take(hold))
        return ZERO

    def admit(self, id: UUID, n: int, unit: Decimal) -> int:
        run = self.runs[id]
        if run.paused or run.closed:
            return 0
        started = 0
        while started < n and unit <= run.room:
            run.held += unit
            run.needed -= unit
            started += 1
        return started

    def pause(self, id: UUID, paused: bool) -> None:
        if not self.runs[id].closed:
            self.runs[id].paused = paused

    def settle(self, id: UUID, attempts: list[Settled]) -> Decimal:
        run = self.runs[id]
        if any((each.item, each.attempt) in run.attempts for each in attempts):
            raise AlreadySettled
        if run.closed and attempts:
            raise Closed
        return sum((self._settle(run, each) for each in attempts), ZERO)

    def settle_slow(self, id: UUID, attempts: list[Settled]) -> list[tuple[int, int, str]]:
        run, verdicts = self.runs[id], []
        if run.closed and any((each.item, each.attempt) not in run.attempts for each in attempts):
            raise Closed
        for each in attempts:
            first = run.attempts.get((each.item, each.attempt))
            if first is None:
                self._settle(run, each)
                verdict = "settled"
            else:
                verdict = "replayed" if first == _booked(each) else "conflict"
            run.conflicts += verdict == "conflict"
            verdicts.append((each.item, each.attempt, verdict))
        return verdicts

    def give_back(self, id: UUID) -> Decimal:
        run = self.runs[id]
        if run.closed:
            return ZERO
        self.expire()
        back = max(ZERO, run.room - run.needed)
        self._return(run, back)
        return back

    def close(self, id: UUID) -> Decimal:
        run = self.runs[id]
        if run.closed:
            return run.came_back
        if run.held:
            raise InFlight
        self.expire()
        run.came_back = run.room
        self._return(run, run.room)
        run.closed, run.needed = True, ZERO
        for key, part in run.draws.items():
            self.grants[key].booked["burned"] += part
        return run.came_back

    # -------------------------------------------------------------- steps of them

    def _take(self, amount: Decimal) -> dict[str, Decimal]:
        parts: dict[str, Decimal] = {}
        for grant in sorted(self.grants.values(), key=lambda grant: grant.place):
            part = min(amount - sum(parts.values(), ZERO), grant.remaining)
            if part:
                grant.remaining -= part
                parts[grant.key] = part
        return parts

    def _return(self, run: Run, amount: Decimal) -> None:
        for key in sorted(run.draws, key=lambda key: self.grants[key].place, reverse=True):
            part = min(amount, run.draws[key])
            amount -= part
            run.draws[key] -= part
            self.grants[key].remaining += part
            self._square(self.grants[key])

    def _square(self, grant: Grant) -> None:
        gone = grant.booked["clawed_back"] - grant.booked["restored"]
        if gone > grant.owed:
            self._book(grant, "restored", -(gone - grant.owed))
        else:
            self._book(grant, "clawed_back", min(grant.owed - gone, grant.remaining))
        self._lapse(grant)

    def _lapse(self, grant: Grant) -> None:
        if grant.expires <= self.now:
            self._book(grant, "expired", grant.remaining)

    def _book(self, grant: Grant, kind: str, taken: Decimal) -> None:
        grant.remaining -= taken
        grant.booked[kind] += abs(taken)
        self.total[kind] += abs(taken)

    def _settle(self, run: Run, attempt: Settled) -> Decimal:
        attempt = _booked(attempt)
        amount = min(attempt.cost, attempt.maximum) if attempt.outcome in CHARGED else ZERO
        run.attempts[attempt.item, attempt.attempt] = attempt
        run.held -= attempt.held
        run.captured += amount
        run.absorbed += attempt.cost - amount
        usage = self.usage[attempt.tool, attempt.byok, attempt.outcome]
        usage[0] += amount
        usage[1] += 1
        return amount


def _booked(attempt: Settled) -> Settled:
    """What the org's own account paid is not ours to book."""
    return attempt._replace(cost=ZERO) if attempt.byok else attempt
