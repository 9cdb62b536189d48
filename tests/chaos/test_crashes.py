"""PostgreSQL itself crashes while runs go on: what was committed is there, what was not never was, and work goes on."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection

from billing.models import Organization, User
from oxygen_site import postgres
from tests import cluster
from tests.chaos.processes import ask, until
from tests.chaos.storm import Storm
from tests.conftest import give
from tests.effort import effort
from tests.runs.conftest import Providers
from tests.tally import Tally


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[postgres.Server]:
    with cluster.of_its_own() as server:
        yield server


@pytest.fixture
def fresh_database(server: postgres.Server, django_db_blocker: Any) -> Iterator[str]:
    """In place of a database on the tests' server, which all tests share and which writes nothing to disk."""
    with django_db_blocker.unblock(), cluster.speaking_to(server.url):
        yield server.url


A_VICTIM = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
ORDER BY application_name LIKE 'worker %' DESC, state = 'idle' LIMIT 1"""


class Crashes:
    """Three ways to lose a server in the middle of everything, and what the books say right after."""

    def __init__(self, storm: Storm, server: postgres.Server) -> None:
        self.storm, self.server, self.number = storm, server, 0
        self.ways = [self._stop_at_once, self._kill_the_server, self._kill_a_backend]
        storm.dice.shuffle(self.ways)

    def crash(self) -> bool:
        if not any(worker.alive() and worker.holds() for worker in self.storm.crew.workers):
            return False
        time.sleep(self.storm.dice.uniform(0, 0.2))
        self.ways[self.number % len(self.ways)]()
        self.number += 1
        connection.close()
        self.storm.found.books(*self.storm.orgs)
        return True

    def _stop_at_once(self) -> None:
        self.server.process.send_signal(signal.SIGQUIT)  # as pg_ctl stop --mode immediate
        self._start_again()

    def _kill_the_server(self) -> None:
        self.server.process.kill()
        self._start_again()

    def _kill_a_backend(self) -> None:
        """The server takes shared memory for damaged, throws everybody out, and recovers by itself."""
        (victim,) = ask(A_VICTIM)[0]
        os.kill(victim, signal.SIGKILL)
        until(self._thrown_out)
        until(self._recovered)

    def _start_again(self) -> None:
        self.server.process.wait()
        time.sleep(self.storm.dice.uniform(0, 1.5))
        self.server.start()

    @staticmethod
    def _thrown_out() -> bool:
        try:
            ask("SELECT 1")
        except DatabaseError:
            connection.close()
            return True
        return False

    def _recovered(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.server.url):
            return True
        return False


@pytest.mark.usefixtures("fresh_database", "soon", "catalog")
def test_no_credit_is_lost_when_the_database_crashes(
    server: postgres.Server,
    acme: Organization,
    alice: User,
    globex: Organization,
    mallory: User,
    providers: Providers,
    tally: Tally,
    tmp_path: Path,
) -> None:
    assert ask("SHOW fsync") == [("on",)]
    for org in (acme, globex):
        give(org, 100_000)
    storm = Storm("crashes", {acme: alice, globex: mallory}, providers, tmp_path / "workers.log")
    crashes = Crashes(storm, server)
    try:
        storm.rage(*[crashes.crash] * effort(10), *[storm.cut] * effort(20))
        storm.calm_down()
    finally:
        storm.crew.send_home()
    tally("PostgreSQL crashes", crashes.number)
    storm.reckon(tally)
