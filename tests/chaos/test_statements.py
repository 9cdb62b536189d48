"""The connection is lost, or the server raises, at each statement and COMMIT of each operation that moves credits.

Whatever it was, the intention is repeated whole: the answer and all that can be seen afterwards are those of the same
operation in a like place where nothing went wrong, and the books prove themselves. A read outside of any transaction is
not repeated by anybody but the caller, as a page's reader or the queue does; a test repeats it likewise.
"""

import random
from collections.abc import Callable, Iterator
from itertools import count, product
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection

from billing import books
from billing.models import User
from tests.chaos.driver import AFTER, BEFORE, COMMIT, RACES, Fault, Seen, planted
from tests.chaos.operations import OPERATIONS, Place, Verb
from tests.effort import SEED, SOAK, effort
from tests.runs.conftest import _catalog_file, catalog  # noqa: F401
from tests.tally import Tally

pytestmark = pytest.mark.usefixtures("fresh_database", "catalog")

SEEDS = 5
SAMPLE = 4  # faults of an operation in the tenth; in the whole each fault comes under two of the five seeds
ERRORS = 22


@pytest.fixture
def nemesis(fresh_database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    """Places share Oxygen's accounts at the providers: what one place lost there must not close them for the next."""
    settings.BREAKER_FAILURES = 10**6


class Ground:
    """Where one operation is done again and again, each time in a new place that is like the first."""

    def __init__(
        self, prepare: Callable[[Place], Verb], seed: str, alice: User, nemesis: psycopg.Connection[Any]
    ) -> None:
        self.prepare, self.seed, self.alice, self.nemesis = prepare, seed, alice, nemesis
        self.numbers = count()
        self.told, self.there, seen = self.do(None)
        self.points = seen.points

    def do(self, fault: Fault | None) -> tuple[object, dict[str, list[Any]], Seen]:
        """Prepare a place, do it there with a fault or without; answer what was told, what is there, and the points."""
        place = Place.made(f"{self.prepare.__name__} {self.seed} {next(self.numbers)}", self.alice, self.seed)
        verb = self.prepare(place)
        with planted(fault, self.nemesis) as seen:
            try:
                answer = verb()
            except OperationalError:
                if seen.struck is None or seen.struck.inside:
                    raise
                connection.close()
                answer = verb()
        assert (seen.struck is None) == (fault is None), f"{fault} did not strike"
        assert books.drifts(place.org.pk) == [], f"{fault} {seen.struck}, SEED={SEED}"
        return place.told(answer), place.seen(), seen


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_connection_lost_at_any_statement_changes_nothing(
    name: str, alice: User, nemesis: psycopg.Connection[Any], tally: Tally
) -> None:
    struck = 0
    for n in range(SEEDS if SOAK else 1):
        ground = Ground(OPERATIONS[name], f"{SEED}:{n}", alice, nemesis)
        commits = [at for at, point in enumerate(ground.points) if point.statement == COMMIT]
        assert commits, "no transaction at all"
        faults = [Fault(*fault) for fault in product(range(len(ground.points)), (BEFORE, AFTER))]
        acknowledgement = Fault(commits[-1], AFTER)  # lost under every seed
        faults.remove(acknowledgement)
        if SOAK:
            faults = [fault for place, fault in enumerate(faults) if (place + 2 * n) % SEEDS < 2]
        else:
            faults = random.Random(f"{SEED}:{name}").sample(faults, SAMPLE - 1)
        for fault in [acknowledgement, *faults]:
            answer, found, seen = ground.do(fault)
            message = f"{name}: {fault.how} {seen.struck}, point {fault.at}, seed {ground.seed}, SEED={SEED}"
            assert answer == ground.told, message
            for what, rows in ground.there.items():
                assert found[what] == rows, f"{what} of {message}"
            struck += 1
    tally("statement faults", struck)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_server_could_not_do_at_any_statement_is_done_again(
    name: str, alice: User, nemesis: psycopg.Connection[Any], tally: Tally
) -> None:
    dice = random.Random(f"{SEED}:{name}")
    ground = Ground(OPERATIONS[name], f"{SEED}:errors", alice, nemesis)
    inside = [at for at, point in enumerate(ground.points) if point.inside]
    for _ in range(effort(ERRORS)):
        fault = Fault(dice.choice(inside), dice.choice(RACES))
        answer, found, seen = ground.do(fault)
        message = f"{name}: {fault.how} at {seen.struck}, point {fault.at}, SEED={SEED}"
        assert answer == ground.told, message
        assert found == ground.there, message
    tally("errors injected", effort(ERRORS))
