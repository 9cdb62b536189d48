"""A worker told to stop under load is gone within ten seconds and leaves nothing to be recovered.

What is answered meanwhile is settled. A call that takes longer is not waited for: its item is handed over at once, and
asked again under its own key.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.models import Organization, User
from runs.models import Run
from tests.chaos.processes import Crew, ask, until
from tests.chaos.reckoning import Reckoning
from tests.conftest import give
from tests.effort import SEED, effort
from tests.runs.conftest import Providers, start
from tests.tally import Tally

SECONDS = 10  # from the signal to the end of the process: the contract
ROWS = 80  # a stop

pytestmark = pytest.mark.usefixtures("fresh_database", "soon", "catalog")


@pytest.fixture
def crew(
    fresh_database: str, soon: None, providers: Providers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Crew]:
    monkeypatch.setenv("OXYGEN_UNKNOWN_SECONDS", "60")  # a busy machine may take long to start the next worker
    crew = Crew(1, tmp_path / "workers.log")
    yield crew
    crew.send_home()


def test_a_worker_told_to_stop_leaves_nothing_to_recover(
    acme: Organization, alice: User, providers: Providers, crew: Crew, tally: Tally
) -> None:
    dice = random.Random(f"{SEED}:drain")
    stops = effort(20)
    give(acme, ROWS * stops)
    providers.script(latency=0.5)
    run = start(acme, alice, "hunter.email_finder", rows=ROWS * stops, cap=ROWS * stops)
    for _ in range(stops):
        leaving = crew.workers[0]
        until(leaving.holds)
        crew.replace(leaving)
        providers.script(latency=round(dice.uniform(0.2, 1), 2))
        time.sleep(dice.uniform(0, 1.5))
        until(leaving.holds)
        assert Run.objects.get(id=run.id).is_open, "nothing was left to stop in"
        leaving.ask_to_stop()
        assert leaving.process.wait(SECONDS) == 0, f"SEED={SEED}"
        assert leaving.holds() == [], f"SEED={SEED}"
    providers.script(latency=0)
    until(lambda: not Run.objects.get(id=run.id).is_open, crew.tend)
    crew.send_home()

    run.refresh_from_db()
    assert run.status == "succeeded"
    assert set(run.items.values_list("lease_no", flat=True)) == {1}, f"something was recovered, SEED={SEED}"
    found = Reckoning()
    calls = found.run(run, providers)
    found.books(acme)
    tally("graceful stops", stops)
    tally("provider calls", calls)
    tally("runs ended", 1)
    found.tell(tally)
    assert calls == run.rows


def test_a_call_that_takes_longer_is_handed_over_at_once(
    acme: Organization, alice: User, providers: Providers, crew: Crew, tally: Tally
) -> None:
    providers.script(hold=True)
    run = start(acme, alice, "hunter.email_finder", rows=3, cap=3)
    leaving = crew.workers[0]
    until(lambda: providers.charges(run)["calls"] == run.rows)
    leaving.ask_to_stop()
    assert leaving.process.wait(SECONDS) == 0
    leased = ask("SELECT count(*) FROM runs_item WHERE status = 'running' AND lease_until > clock_timestamp()")
    assert leased == [(0,)], "somebody has to wait for a lease of a worker that said goodbye"
    assert run.items.filter(status="running").count() == run.rows

    until(lambda: providers.charges(run)["calls"] == 2 * run.rows, crew.tend)
    providers.script(hold=False)
    until(lambda: not Run.objects.get(id=run.id).is_open, crew.tend)
    run.refresh_from_db()
    assert run.status == "succeeded"
    found = Reckoning()
    calls = found.run(run, providers)
    found.books(acme)
    tally("graceful stops", 1)
    tally("provider calls", calls)
    tally("runs ended", 1)
    found.tell(tally)
    assert calls == 2 * run.rows
