"""Business time and the local Stripe's, moved together, forwards only; what comes due on the way is done in its order.

By a job, because a month takes a minute. A step is a day, or less where Stripe has something to do before: business
time first, then Stripe's, as in life Stripe's events come after the instant they tell of. Then its webhooks arrive and
are applied, then the rounds run that a worker would have run in that time, and only then does time go on. The job names
the instant to get to, so one that was cut short goes on from wherever both clocks are; that also brings clocks together
of which one is behind.
"""

import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from django.conf import settings

from oxygen_site import clock, jobs
from oxygen_site.demo import sandbox
from oxygen_site.transactions import Refused, intention

log = logging.getLogger("oxygen.demo")

STEP = timedelta(days=1)
SAME = timedelta(seconds=5)  # clocks that differ by less are together: one counts whole seconds
PATIENCE = 60  # seconds of real time for what one step brings
QUEUE = "demo"


class Stuck(Exception):
    """What a step brought does not come to rest, so time goes no further."""


@dataclass(frozen=True)
class Move:
    """A move that was asked for and is not over."""

    begun: datetime
    to: datetime

    def share(self, now: datetime) -> Decimal:
        """Say how much of it is done, from 0 to 1."""
        whole = self.to - self.begun
        return min(Decimal((now - self.begun) / whole), Decimal(1)) if whole else Decimal(1)


def under_way() -> Move | None:
    """Read the move that waits or runs. One query."""
    moves = [Move(*map(datetime.fromisoformat, (facts["begun"], facts["to"]))) for facts, _ in jobs.line(move_time)]
    return max(moves, key=lambda move: move.to, default=None)


def ask(to: datetime) -> None:
    """Have both clocks moved to an instant. Refused: moving (409)."""

    def verb() -> None:
        if under_way():
            raise Refused("moving", "Time is moving already. Wait until it has arrived.")
        _line_up(clock.clock().isoformat(), _whole(to).isoformat())

    intention(verb)


def bring_together(base: str) -> str:
    """Have the clock that is behind follow the other; say so. Nothing where both are together or on their way."""
    ours, theirs = clock.clock(), sandbox.read(base).now
    if abs(ours - theirs) < SAME or under_way():
        return ""
    ask(max(ours, theirs))
    behind = "Business time" if ours < theirs else "The sandbox's Stripe"
    return f"{behind} is {abs(ours - theirs)} behind and catches up now."


@jobs.task(queue=QUEUE)
def move_time(begun: str, to: str) -> None:
    base, until = settings.STRIPE_API_BASE, datetime.fromisoformat(to)
    _settle(base)
    while step := _next(base, until):
        if jobs.stopping.is_set():
            intention(partial(_line_up, begun, to))
            return
        _step(base, *step)


def _line_up(begun: str, to: str) -> None:
    jobs.defer(move_time, key="move_time", begun=begun, to=to)


def _next(base: str, until: datetime) -> tuple[datetime, datetime] | None:
    """The next step, from where the clock that is behind stands; None once both are there."""
    there = sandbox.read(base)
    now = min(clock.clock(), there.now)
    if now >= until:
        return None
    due = there.next_due if there.next_due and there.next_due > now else until
    return now, _whole(min(until, due, now + STEP))


def _step(base: str, now: datetime, at: datetime) -> None:
    clock.advance(at - clock.clock())  # never back: one that is there already stays
    sandbox.move(base, at)
    _settle(base)
    for do_what_is_due in jobs.rounds_between(now, at):
        do_what_is_due()
    _settle(base)


def _settle(base: str) -> None:
    """Wait until Stripe's webhooks have arrived and nothing that they woke is still to be done."""
    calm, give_up = 0, time.monotonic() + PATIENCE
    while calm < 2:  # twice: a job may have begun, asked Stripe for something and ended between two looks
        there = sandbox.read(base)
        calm = calm + 1 if not there.pending and jobs.quiet(besides=(QUEUE, "runs")) else 0
        if time.monotonic() > give_up:
            raise Stuck(f"At {clock.clock():%Y-%m-%d %H:%M}, {there.pending} webhooks wait and jobs are still at work.")
        if not calm:
            time.sleep(0.05)


def _whole(instant: datetime) -> datetime:
    """The same instant or the next whole second: the local Stripe knows no parts of one."""
    return datetime.fromtimestamp(math.ceil(instant.timestamp()), UTC)
