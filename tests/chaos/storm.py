"""A storm: workers drive runs, people steer them, providers have a temper, a nemesis strikes; and then it is calm.

For test_storms.py and test_crashes.py. Safety: while it rages, what must hold at every instant is read again and again.
Liveness: once it is calm, every run ends or rests at its cap. Then everything is reckoned. Whatever is thrown is thrown
by the seed; what the machine makes of it is its own.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from django.db.models import F, Q

from billing.models import Account, Organization, Reservation, User
from oxygen_site.transactions import Refused
from runs import jobs, lifecycle
from runs.models import Item, Provider, Run
from tests.chaos.processes import A_WHILE, Claim, Crew, Worker, ask, cut_a_session, until
from tests.chaos.reckoning import Reckoning
from tests.effort import SEED
from tests.runs.conftest import Providers, start
from tests.tally import Tally

WORKERS = 3
UNDER_WAY = 4  # runs, at least
CASCADES = (
    ("hubspot.contact_upsert",),
    ("hunter.email_finder",),
    ("openai.ai_column",),
    ("hunter.email_finder", "icypeas.email_finder"),
    ("hubspot.contact_upsert", "prospeo.email_finder"),
    ("prospeo.email_finder", "hunter.email_finder", "openai.ai_column"),
    ("icypeas.email_finder", "hubspot.contact_upsert", "hunter.email_finder"),
)
# A bit of everything. Being throttled is thrown by the key: the same call is refused whenever it comes.
TEMPER = {
    "throttled": 0.06,
    "failed_after": 0.05,
    "lost_before": 0.04,
    "lost_after": 0.04,
    "garbled": 0.03,
    "unavailable": 0.03,
    "slow": 0.03,
}
LATENCIES = (0.02, 0.05, 0.1, 0.2, 0.2, 0.4, 1.5)  # the last is longer than a lease
OVER = Q(captured__gt=F("cap")) | Q(reserved__gt=F("cap")) | Q(reserved__lt=F("captured") + F("held"))

type Fault = Callable[[], bool]


class Zombie(NamedTuple):
    worker: Worker
    held: list[Claim]
    sleeps_until: float


class Storm:
    """Over the runs of some orgs, each with the person who steers them."""

    def __init__(self, name: str, cast: dict[Organization, User], providers: Providers, log: Path) -> None:
        self.dice = random.Random(f"{SEED}:{name}")
        self.cast, self.orgs, self.providers = cast, list(cast), providers
        self.runs: list[Run] = []
        self.found = Reckoning()
        self.kills = self.zombies = self.cuts = self.looks = 0
        self.zombies_to_come = 0
        self.zombie: Zombie | None = None
        self._due: dict[Callable[[], object], float] = {}
        # Two that take no keys: what became of a call can be looked up at one of them.
        Provider.objects.filter(id="icypeas").update(takes_keys=False, looks_up=False)
        Provider.objects.filter(id="prospeo").update(takes_keys=False, looks_up=True)
        providers.script(rates=TEMPER, finds=0.6, latency=0.1)
        for keyless in ("icypeas.email_finder", "prospeo.email_finder"):
            providers.script(tool=keyless, keys=False)
        providers.script(tool="openai.ai_column", cost_times="1.5")  # at times above its maximum
        self.crew = Crew(WORKERS, log)

    # -------------------------------------------------------------- safety

    def rage(self, *faults: Fault, zombies: int = 0) -> None:
        """Let each fault strike once it can, in any order, and so many zombies walk meanwhile."""
        to_come = list(faults)
        self.dice.shuffle(to_come)
        self.zombies_to_come = zombies
        for fault in to_come:
            self._pass(self.dice.uniform(0, 0.5))
            until(fault, self._go_on)
        while self.zombies_to_come:
            before = self.zombies_to_come
            until(lambda before=before: self.zombies_to_come < before, self._go_on)  # type: ignore[misc]

    def kill(self) -> bool:
        """Kill a worker in the middle of its work."""
        if (victim := self._someone_busy()) is None:
            return False
        victim.kill()
        self.kills += 1
        return True

    def cut(self) -> bool:
        """Throw a worker's session out of the database."""
        cut = cut_a_session(idle=self.dice.random() < 0.3)
        self.cuts += cut
        return bool(cut)

    def _someone_busy(self) -> Worker | None:
        awake = [worker for worker in self.crew.workers if self.zombie is None or worker is not self.zombie.worker]
        busy = [worker for worker in awake if worker.alive() and worker.holds()]
        return self.dice.choice(busy) if busy else None

    def _haunt(self) -> None:
        """Freeze a worker until somebody has taken over what it held, and let it go on as if nothing had been."""
        if self.zombie is None:
            if self.zombies_to_come and (worker := self._someone_busy()) is not None:
                worker.freeze()
                self.zombie = Zombie(worker, worker.holds(), time.monotonic() + self.dice.uniform(1.2, 3))
            return
        worker, held, sleeps_until = self.zombie
        late = time.monotonic() - sleeps_until
        lost = late > 0 and worker.lost(held)
        if lost or late > 10:
            worker.thaw()
            self.zombie = None
            self.zombies += lost
            self.zombies_to_come -= lost

    def _go_on(self) -> None:
        self.crew.tend()
        self._haunt()
        self._every(0.3, self._steer)
        self._every(1, self._look)
        self._every(2, self._minute)
        self._every(2, self._change_temper)

    def _pass(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        until(lambda: time.monotonic() >= over, self._go_on)

    def _every(self, seconds: float, what: Callable[[], object]) -> None:
        if time.monotonic() >= self._due.get(what, 0):
            what()
            self._due[what] = time.monotonic() + seconds

    def _look(self) -> None:
        """Read what must hold at every instant."""
        self.found.overshoots += Reservation.objects.filter(OVER).count()
        self.found.lost += Account.objects.filter(available__lt=0).count()
        self.found.books(self.dice.choice(self.orgs))
        self.looks += 1

    @staticmethod
    def _minute() -> None:
        """What production does every minute comes sooner here, as do leases and rescues."""
        jobs.ensure_driven()
        jobs.give_up_overdue()

    def _change_temper(self) -> None:
        self.providers.script(latency=self.dice.choice(LATENCIES), retry_after=self.dice.randrange(2))

    def _steer(self) -> None:
        going = list(Run.objects.filter(status__in=Run.OPEN).order_by("id"))
        if sum(run.is_live for run in going) < UNDER_WAY:
            self._start()
        elif self.dice.random() < 0.4:
            self._whim(self.dice.choice(going))

    def _start(self) -> None:
        org, tools, rows = self.dice.choice(self.orgs), self.dice.choice(CASCADES), self.dice.randint(20, 80)
        cap = None if tools == CASCADES[0] else rows * 5 if self.dice.random() < 0.6 else self.dice.randint(6, 15)
        self.runs.append(start(org, self.cast[org], *tools, rows=rows, cap=cap))

    def _whim(self, run: Run) -> None:
        by = self.cast[run.org]
        try:
            match self.dice.choice(("pause", "pause", "resume", "resume", "resume", "continue", "cancel")):
                case "pause":
                    lifecycle.pause(run, by=by)
                case "resume":
                    lifecycle.resume(run, by=by)
                case "continue":
                    self.runs.append(lifecycle.continue_remaining(run, cap=run.cap and str(run.cap), by=by))
                case "cancel":
                    lifecycle.cancel(run, by=by)
        except Refused:
            pass  # as people are told, who press what is no longer there

    # -------------------------------------------------------------- liveness

    def calm_down(self) -> None:
        """Strike no more; all that waits for a person goes on. Whatever is not at rest after a while never will be."""
        if self.zombie is not None:
            self.zombie.worker.thaw()
            self.zombie = None
        self.providers.script(latency=0, retry_after=0, rates={"throttled": TEMPER["throttled"]})
        give_up = time.monotonic() + A_WHILE
        while time.monotonic() < give_up and not self._at_rest():
            self.crew.tend()
            self._every(2, self._minute)
            time.sleep(0.5)

    def _at_rest(self) -> bool:
        resting = Q(status=Run.Status.PAUSED) & ~Q(pause_reason=Run.PauseReason.PROVIDER_UNAVAILABLE)
        going = Run.objects.filter(status__in=Run.OPEN).exclude(resting).exists()
        busy = going or Item.objects.filter(status=Item.Status.RUNNING).exists()
        woken = [self._goes_on(run) for run in Run.objects.filter(resting)]
        return not busy and not any(woken)

    def _goes_on(self, run: Run) -> bool:
        """Have a paused run resumed; at its cap too, for what waited for an answer may have made room since."""
        try:
            lifecycle.resume(run, by=self.cast[run.org])
        except Refused:
            if run.pause_reason == Run.PauseReason.BY_USER:
                lifecycle.cancel(run, by=self.cast[run.org])
            return False
        return True

    def reckon(self, tally: Tally) -> None:
        """Add everything up, and tell."""
        calls = sum(self.found.run(run, self.providers) for run in Run.objects.all())
        self.found.books(*self.orgs)
        settled_for_others = ask("SELECT * FROM trespasses")
        tally("kill -9", self.kills)
        tally("zombies", self.zombies)
        tally("backends killed", self.cuts)
        tally("provider calls", calls)
        tally("runs ended", Run.objects.filter(ended_at__isnull=False).count())
        self.found.tell(tally)
        assert settled_for_others == [], f"SEED={SEED}: by workers that held the items no longer"
