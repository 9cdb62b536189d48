"""One of the bank's writers: any verb of the ledger on any of a few orgs, while somebody kills its connections.

For `test_bank.py`, each in a process of its own. An operation is one verb that was committed, or refused by a rule; a
batch that settles counts as one. A writer keeps its own account of what it was told, org by org: what is booked must be
the sum of what the writers were told.
"""

import os
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from billing import ledger
from oxygen_site.clock import clock, new_id
from oxygen_site.transactions import intention
from tests.billing import moves
from tests.billing.moves import attempt

NAME = "a writer of the bank"
OUTCOMES = ("succeeded", "no_result", "failed_after_billing", "failed_before_billing")
VERBS = (
    *("reserve", "reserve", "reserve", "admit", "admit", "admit", "settle", "settle", "settle", "settle", "settle"),
    *("give_back", "close", "close", "close", "grant", "adjust", "claw_back", "restore", "expire", "pause"),
)
OPEN_AT_MOST = 6  # runs of one writer; then it closes one


type Sums = dict[UUID, dict[str, Decimal]]  # by org and by what became of them; of runs and attempts how many


class Told(NamedTuple):
    """What a writer did and was told. `again`: tries beyond the first."""

    done: int
    again: int
    sums: Sums


@dataclass
class Open:
    """A run as its writer knows it: how many of its rows have begun, and which have not settled."""

    org: UUID
    rows: int
    begun: int = 0
    flying: list[int] = field(default_factory=list)


class Writer:
    def __init__(self, seed: str, orgs: list[UUID]) -> None:
        self.dice = random.Random(seed)
        self.seed, self.orgs = seed, orgs
        self.told: Sums = defaultdict(lambda: defaultdict(Decimal))
        self.grants: list[tuple[UUID, UUID, Decimal]] = []  # org, id, amount
        self.runs: dict[UUID, Open] = {}
        self.done = self.again = 0

    def commit[T](self, verb: Callable[..., T], *args: object, certain: bool = False) -> T:
        tries = 0

        def once() -> T:
            nonlocal tries
            tries += 1
            return verb(*args)

        try:
            return intention(once, certain=certain)
        finally:
            self.again += tries - 1
            self.done += 1

    def credits(self, most: int) -> Decimal:
        return Decimal(self.dice.randint(1, most * 10_000)) / 10_000

    def run(self) -> UUID | None:
        return self.dice.choice(list(self.runs)) if self.runs else None

    def work(self, operations: int) -> None:
        while self.done < operations:
            getattr(self, self.dice.choice(VERBS))()
        for run in list(self.runs):
            self.end(run)

    # -------------------------------------------------------------- the account

    def grant(self) -> None:
        org, amount = self.dice.choice(self.orgs), self.credits(120)
        # Some lapse while the bank is open.
        lives = timedelta(days=30) if self.dice.random() < 0.8 else timedelta(milliseconds=self.dice.randint(1, 2000))
        give = partial(
            ledger.grant,
            org,
            key=f"{self.seed}:{self.done}",
            source="top_up",
            amount=amount,
            expires_at=intention(clock) + lives,
            actor="user:test",
        )
        self.grants = [*self.grants[-20:], (org, self.commit(give), amount)]
        self.told[org]["granted"] += amount

    def expire(self) -> None:
        self.commit(ledger.expire, self.dice.choice(self.orgs))

    def adjust(self) -> None:
        org, amount = self.dice.choice(self.orgs), self.credits(4)
        if not self.commit(moves.adjust, org, amount, intention(new_id)):
            self.told[org]["adjusted"] += amount

    def claw_back(self) -> None:
        self.owe(self.dice.choice((1, 2, 4)))

    def restore(self) -> None:
        self.owe(0)

    def owe(self, quarters: int) -> None:
        if self.grants:
            org, grant, amount = self.dice.choice(self.grants)
            self.commit(moves.owe, org, grant, (amount * quarters / 4).quantize(ledger.PLACES))

    # -------------------------------------------------------------- runs

    def reserve(self) -> None:
        if len(self.runs) == OPEN_AT_MOST:
            self.end(self.dice.choice(list(self.runs)))
        org, run, rows = self.dice.choice(self.orgs), intention(new_id), self.dice.randint(1, 8)
        if self.commit(moves.reserve, org, run, self.dice.randint(1, 9), rows) == 0:
            self.runs[run] = Open(org, rows)

    def admit(self) -> None:
        """Twice would hold twice: so, as `dispatch` does, it asks what became of a commit without an answer."""
        if run := self.run():
            facts = self.runs[run]
            n = min(self.dice.randint(1, 4), facts.rows - facts.begun)
            started = self.commit(ledger.admit, facts.org, run, n, Decimal(1), certain=True) if n else 0
            facts.flying += range(facts.begun + 1, facts.begun + started + 1)
            facts.begun += started

    def settle(self) -> None:
        if flying := [run for run, facts in self.runs.items() if facts.flying]:
            self.settle_some(self.dice.choice(flying), self.dice.randint(1, 3))

    def settle_some(self, run: UUID, n: int) -> None:
        """As `dispatch` does; it was our own commit whose answer was lost, if some of it was settled before."""
        facts = self.runs[run]
        items, facts.flying = facts.flying[:n], facts.flying[n:]
        batch = [attempt(item, self.credits(2), outcome=self.dice.choice(OUTCOMES)) for item in items]
        try:
            self.commit(ledger.settle, facts.org, run, batch)
        except ledger.AlreadySettled:
            verdicts = self.commit(ledger.settle_slow, facts.org, run, batch)
            assert [verdict for _, _, verdict in verdicts] == ["replayed"] * len(batch), verdicts
        told = self.told[facts.org]
        for each in batch:
            amount = Decimal(0) if each.outcome == "failed_before_billing" else min(each.cost, each.maximum)
            told["captured"] += amount
            told["absorbed"] += each.cost - amount
            told["settled"] += 1

    def give_back(self) -> None:
        if run := self.run():
            self.commit(moves.give_back, self.runs[run].org, run)

    def pause(self) -> None:
        if run := self.run():
            self.commit(ledger.pause, self.runs[run].org, run, self.dice.random() < 0.3)

    def close(self) -> None:
        """Refused while something is in flight."""
        if run := self.run():
            flying = self.runs[run].flying
            try:
                self.commit(moves.close, self.runs[run].org, run)
            except ledger.InFlight:
                assert flying
            else:
                assert not flying
                self.told[self.runs.pop(run).org]["closed"] += 1

    def end(self, run: UUID) -> None:
        while self.runs[run].flying:
            self.settle_some(run, 8)
        self.commit(moves.close, self.runs[run].org, run)
        self.told[self.runs.pop(run).org]["closed"] += 1


def write(seed: str, operations: int, orgs: list[UUID]) -> Told:
    """Do so many operations, in a process of one's own; answer what was told."""
    os.environ["PGAPPNAME"] = NAME  # by it the nemesis knows whom to kill
    writer = Writer(seed, orgs)
    writer.work(operations)
    connection.close()
    return Told(writer.done, writer.again, {org: dict(told) for org, told in writer.told.items()})
