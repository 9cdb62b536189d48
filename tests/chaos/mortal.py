"""A process is killed at each statement and each request to Stripe of each operation about money, and another goes on.

The person presses again, or nobody does; what was left is taken up by the periodic jobs, and Stripe delivers what it
has to tell. Then there is what there would have been: nothing charged twice, nothing given twice, nothing stuck. Where
nobody presses again, it may also be that nothing was begun.
"""

import random
from collections.abc import Callable
from itertools import count

from billing import books
from billing.models import AutoTopUp, User
from billing.payments import gateway
from oxygen_site.transactions import Refused
from tests.chaos.killed import AFTER, BEFORE, BROKEN, Kill, killing
from tests.chaos.payments import OPERATIONS, Place, Seen, Verb, more
from tests.conftest import person
from tests.effort import SEED, effort
from tests.sandbox.stripe.local import Sandbox
from tests.tally import Tally

PRESSES_AGAIN = ("subscribe", "top_up")  # a Checkout that nobody was shown is given up


class Ground:
    """Where one operation is done again and again, each time for a new org."""

    def __init__(self, prepare: Callable[[Place], Verb], stripe: Sandbox, alice: User) -> None:
        self.prepare, self.local, self.alice, self.numbers = prepare, stripe, alice, count()

    def do(self, kill: Kill | None, *, begin: bool = True, again: bool = False) -> tuple[Seen, list[str], str]:
        """Prepare an org, do it there, recover; answer what is there, the points passed, and which was struck."""
        place = Place(self.local, self.alice, f"{self.prepare.__name__} {next(self.numbers)}")
        verb = self.prepare(place)
        with killing(kill, self.local) as seen:
            if begin:
                pressed(verb)
        if again:
            pressed(verb)
        place.recover()
        AutoTopUp.objects.update(on=False)  # the next org's turn
        assert books.drifts(place.org.pk) == []
        return place.seen(), seen.points, seen.struck


def pressed(verb: Verb) -> None:
    """Do it; a person reads a refusal and may press again."""
    try:
        verb()
    except gateway.Unreachable:
        pass  # a job, which is tried again
    except Refused as refusal:
        if refusal.code not in ("stripe_unreachable", "change_open", "already_subscribed"):
            raise


def kills(points: list[str]) -> list[Kill]:
    """All ways to strike: before each point (and so after the one before), after the last, an answer that breaks."""
    last = len(points) - 1
    ways = [Kill(at, BEFORE) for at in range(len(points))] + [Kill(last, AFTER)]
    return ways + [Kill(at, BROKEN) for at, point in enumerate(points) if point.startswith("POST")]


def killed_anywhere(name: str, stripe: Sandbox, tally: Tally) -> None:
    """Kill a process at each point of an operation, or at a tenth of them, and compare what comes of it."""
    dice = random.Random(f"{SEED}:{name}")
    ground = Ground(OPERATIONS[name], stripe, person("Alice"))
    meant, points, _ = ground.do(None)
    assert meant["stuck"] == []
    ways = kills(points)
    for kill in dice.sample(ways, effort(len(ways))):
        again = name in PRESSES_AGAIN or dice.random() < 0.5
        there, _, struck = ground.do(kill, again=again)
        about = (
            f"{name}: {kill.how} {struck or 'nothing'}, point {kill.at}, {'' if again else 'not '}again, SEED={SEED}"
        )
        tally("payments killed", 1)
        tally("double charges", more(there, meant, "charged"))
        tally("double grants", more(there, meant, "grants"))
        if not again and there != meant and there == ground.do(None, begin=False)[0]:
            continue
        for what, rows in there.items():
            assert rows == meant[what], f"{what} of {about}"
