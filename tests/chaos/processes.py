"""Real workers, each under a name by which the database knows its sessions and its claims; and who tends them.

For the chaos tests. Workers are started, killed, frozen and told to stop from outside, as machines do it. What a worker
holds, and whether it settles an answer for what it holds no longer, is noted by triggers of the test's own, in the
test's own database, from the name of the session.
The law: nothing here outlives the test, however that ends.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from oxygen_site import postgres
from tests.effort import SEED

SOON = {
    "OXYGEN_LEASE_SECONDS": 1,
    "OXYGEN_RESCUE_SECONDS": 1,
    "OXYGEN_SLICE_SECONDS": 1,
    "OXYGEN_BREAKER_SECONDS": 1,
    "OXYGEN_DRAIN_SECONDS": 3,
    "OXYGEN_UNKNOWN_SECONDS": 6,  # longer than a worker's drain and the next one's start
    "OXYGEN_WORKER_CONCURRENCY": 4,
    "OXYGEN_WORKER_JOBS": 4,
}
A_WHILE = 120  # seconds within which anything that will happen has happened, on the slowest machine

NOTES = """
CREATE TABLE claims (run uuid, item int, lease_no int, worker text, PRIMARY KEY (run, item, lease_no));
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO public.claims VALUES (NEW.run_id, NEW.number, NEW.lease_no, current_setting('application_name'));
  RETURN NULL;
END $$;
CREATE TRIGGER claims AFTER UPDATE ON runs_item FOR EACH ROW WHEN (NEW.lease_no > OLD.lease_no)
  EXECUTE FUNCTION note_claim();

CREATE TABLE trespasses (run uuid, item int, attempt int, worker text, holder text);
CREATE FUNCTION note_trespass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO public.trespasses
  SELECT NEW.run_id, NEW.item, NEW.number, current_setting('application_name'), c.worker
  FROM runs_item AS i JOIN public.claims AS c ON c.run = i.run_id AND c.item = i.number AND c.lease_no = i.lease_no
  WHERE i.run_id = NEW.run_id AND i.number = NEW.item AND c.worker <> current_setting('application_name');
  RETURN NULL;
END $$;
CREATE TRIGGER trespasses AFTER UPDATE ON runs_attempt FOR EACH ROW
  WHEN (OLD.outcome IS NULL AND NEW.latency_ms IS NOT NULL) EXECUTE FUNCTION note_trespass()"""

# With a call under way: what waits for another try, or for an answer that may never come, is nobody's.
HELD = """
SELECT c.run, c.item, c.lease_no FROM claims AS c
JOIN runs_item AS i ON i.run_id = c.run AND i.number = c.item AND i.lease_no = c.lease_no
JOIN runs_attempt AS a ON a.run_id = c.run AND a.item = c.item AND a.outcome IS NULL AND a.sent_at IS NOT NULL
WHERE i.status = 'running' AND i.unanswered_at IS NULL AND i.lease_until > clock_timestamp() AND c.worker = %s"""

TAKEN_OVER = """
SELECT count(*) FROM claims AS c
JOIN unnest(%s::uuid[], %s::int[], %s::int[]) AS h(run, item, lease_no)
  ON c.run = h.run AND c.item = h.item AND c.lease_no = h.lease_no + 1
WHERE c.worker <> %s"""

# One whose session is at work, where there is one: an idle one is hit as a connection that was kept.
A_BACKEND = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'worker %%'
ORDER BY (state = 'idle') = %s, random() LIMIT 1"""


def ask(sql: str, *facts: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, facts or None)
        return cursor.fetchall() if cursor.description else []


class Claim(NamedTuple):
    run: UUID
    item: int
    lease_no: int


class Worker:
    """One `manage.py work`. No two ever share a name."""

    _numbers = count(1)

    def __init__(self, log: Path) -> None:
        self.name = f"worker {next(self._numbers)}"
        with log.open("ab") as told:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "work"],
                cwd=postgres.CLONE,
                env=os.environ | {"PGAPPNAME": self.name},
                stderr=told,
                preexec_fn=postgres.end_with_owner(signal.SIGKILL),
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def holds(self) -> list[Claim]:
        """Read which items it is making a call for."""
        return [Claim(*held) for held in ask(HELD, self.name)]

    def lost(self, held: list[Claim]) -> bool:
        """Say whether somebody else took over any of what it held."""
        runs, items, leases = ([getattr(claim, part) for claim in held] for part in Claim._fields)
        return bool(ask(TAKEN_OVER, runs, items, leases, self.name)[0][0])

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask_to_stop(self) -> None:
        self.process.terminate()


class Crew:
    """So many workers, each replaced when it dies, as a supervisor does."""

    def __init__(self, size: int, log: Path) -> None:
        ask(NOTES)
        self._log = log
        self._hired: list[Worker] = []
        self.workers = [self._hire() for _ in range(size)]

    def tend(self) -> None:
        self.workers = [worker if worker.alive() else self._hire() for worker in self.workers]

    def replace(self, worker: Worker) -> None:
        """Start another in its place, and leave this one to itself."""
        self.workers[self.workers.index(worker)] = self._hire()

    def send_home(self) -> None:
        for worker in self._hired:
            if worker.alive():
                worker.kill()

    def _hire(self) -> Worker:
        self._hired.append(Worker(self._log))
        return self._hired[-1]


def cut_a_session(idle: bool) -> int:
    """Throw one session of a worker out of the database; answer how many were."""
    found = ask(A_BACKEND, not idle)
    return sum(gone for (backend,) in found for (gone,) in ask("SELECT pg_terminate_backend(%s)::int", backend))


def until(happened: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
    give_up = time.monotonic() + A_WHILE
    while not happened():
        assert time.monotonic() < give_up, f"SEED={SEED}"
        meanwhile()
        time.sleep(0.02)
