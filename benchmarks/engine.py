"""What the engine costs beside its own HTTP client, how it grows, and who waits: `make bench`, or `--quick` for a look.

One side is the product: the worker's slice claims, calls and settles a run of 2,000 rows. The other is the bare limit:
the worker's own wire, as many calls in flight, the same rows, no ledger. Both in the same process, by turns; only
figures of one round are divided. Then a run of 200,000 rows beside one of 2,000, and a run of 10 rows beside one of
100,000. The provider is one that costs nothing (provider.py). At the end the books must be clean.
"""

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

from benchmarks import cluster
from benchmarks.bars import Bar, is_quick, judge, ratios
from benchmarks.provider import provider
from oxygen_site import postgres

IN_FLIGHT = {32: 0.8, 64: 0.7, 128: 0.7}  # calls, and the least share of the bare limit
ROUNDS = 9
ITEMS = 2_000
LATENCY = 0.050
MANY = 200_000
LONG, SHORT = 100_000, 10
TURNS = 9  # of the short run, alone and beside the long one
TOOL = "hunter.email_finder"
ENGINE, BARE = "engine", "bare"


class Taken(NamedTuple):
    """Items a second, and the worker's processor seconds for each."""

    rate: float
    cpu: float


# ---------------------------------------------------------------- the worker's process


def worker(pipe: Connection) -> None:
    """Take orders (side, calls in flight, run) until None; answer with what it took to work through the run's rows."""
    import django

    django.setup()
    from django.conf import settings

    from runs.models import Run

    sides: dict[str, Callable[[Run], Callable[[], Any]]] = {ENGINE: _engine, BARE: _bare}
    while (order := pipe.recv()) is not None:
        side, settings.WORKER_CONCURRENCY, run_id = order
        run = Run.objects.get(id=run_id)
        work = sides[side](run)
        began, cpu = time.monotonic(), time.process_time()
        work()
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        pipe.send(Taken(run.rows / seconds, cpu / run.rows))


def _engine(run: Any) -> Callable[[], None]:
    from runs import worker

    def work() -> None:
        ended = worker.drive_to_rest(run)
        assert ended.status == "succeeded", ended.status

    return work


def _bare(run: Any) -> Callable[[], None]:
    from django.conf import settings

    from runs.dispatch import Call
    from runs.providers.http import Wire

    rows = run.items.order_by("number").values_list("number", "row__data")
    calls = [Call(number, 1, 0, row) for number, row in rows]
    step = run.cascade[0]

    async def ask() -> None:
        left = iter(calls)

        async def one_by_one() -> None:
            for call in left:
                answer = await wire.ask(run.id, call, step)
                assert answer, call
                assert answer.outcome.outcome == "succeeded", answer

        async with Wire({}) as wire, asyncio.TaskGroup() as group:
            for _ in range(settings.WORKER_CONCURRENCY):
                group.create_task(one_by_one())

    return lambda: asyncio.run(ask())


class Grown(NamedTuple):
    """A whole run: seconds of claiming an item, by fifths; the worker's most memory, in kB; items a second."""

    claim: list[float]
    memory: int
    rate: float


def grow(pipe: Connection, run_id: UUID) -> None:
    """Drive one run in a process that does nothing else."""
    import django

    django.setup()
    from runs import dispatch, worker
    from runs.models import Run

    claims: list[tuple[int, float]] = []
    claim = dispatch.claim

    def timed(*what: Any) -> Any:
        began = time.perf_counter()
        calls = claim(*what)
        claims.append((len(calls), time.perf_counter() - began))
        return calls

    dispatch.claim = timed  # type: ignore[assignment]
    run = Run.objects.get(id=run_id)
    began = time.monotonic()
    ended = worker.drive_to_rest(run)
    rate = run.rows / (time.monotonic() - began)
    assert ended.status == "succeeded", ended.status
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    pipe.send(Grown(list(_by_fifths(claims)), int(peak[1]), rate))


def _by_fifths(claims: list[tuple[int, float]]) -> Iterator[float]:
    """Seconds an item of each fifth of the items."""
    whole, passed = sum(n for n, _ in claims), 0
    fifths: list[list[tuple[int, float]]] = [[] for _ in range(5)]
    for n, seconds in claims:
        fifths[min(5 * passed // whole, 4)].append((n, seconds))
        passed += n
    for fifth in fifths:
        yield sum(seconds for _, seconds in fifth) / sum(n for n, _ in fifth)


# ---------------------------------------------------------------- tables and runs

ROWS = """
INSERT INTO runs_row (id, table_id, number, data)
SELECT gen_random_uuid(), %s, n, jsonb_build_object('first_name', 'Given' || n, 'last_name', 'Family' || n,
  'company', 'Company ' || n, 'domain', 'company' || n || '.example')
FROM generate_series(1, %s) AS n"""


class People:
    """An org with credits enough, whose member starts runs through the product's own verbs."""

    def __init__(self) -> None:
        from django.core.management import call_command

        from billing import ledger, orgs
        from billing.models import User
        from oxygen_site.clock import clock
        from oxygen_site.transactions import intention

        call_command("sync_catalog", stdout=StringIO())
        self.alice = User.objects.create_user("alice@oxygen.example", "a long enough password", name="Alice")
        self.acme = orgs.create("Acme", "Europe/Lisbon", owner=self.alice)
        self.numbers = count()
        intention(
            lambda: ledger.grant(
                self.acme.pk,
                key="benchmark",
                source="promo",
                amount=Decimal(10**9),
                expires_at=clock() + timedelta(days=30),
                actor="system:benchmark",
            )
        )

    def table(self, rows: int) -> Any:
        from django.db import connection

        from oxygen_site.clock import clock
        from runs.models import Table

        table = Table.objects.create(org=self.acme, name=f"People {rows}", row_count=rows, created_at=clock())
        with connection.cursor() as cursor:
            cursor.execute(ROWS, [table.pk, rows])
            cursor.execute("ANALYZE")
        return table

    def start(self, table: Any) -> Any:
        """Start a run over all of a table's rows, in a column of its own."""
        from runs import lifecycle
        from runs.tables import add_column

        column = add_column(table, f"found-{next(self.numbers)}", "Found", [TOOL])
        return lifecycle.create(table, column, cap=Decimal(10 * table.row_count), by=self.alice)


# ---------------------------------------------------------------- processes

spawn = multiprocessing.get_context("spawn")


@contextmanager
def process(target: Callable[..., None], *args: Any) -> Iterator[Connection]:
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=target, args=(theirs, *args), daemon=True)
    child.start()
    theirs.close()  # a child that dies is an error to whoever listens
    try:
        yield ours
    finally:
        child.kill()
        child.join()


@contextmanager
def providers(latency: float) -> Iterator[None]:
    """Let every process started meanwhile find providers that answer after so many seconds."""
    with process(provider, latency) as pipe:
        os.environ["OXYGEN_PROVIDERS_URL"] = pipe.recv()
        yield


# ---------------------------------------------------------------- the engine beside the bare limit


def throughput(people: People, rounds: int) -> Iterator[Bar]:
    taken: dict[tuple[str, int], list[Taken]] = {(side, n): [] for n in IN_FLIGHT for side in (ENGINE, BARE)}
    table = people.table(ITEMS)
    with providers(LATENCY), process(worker) as pipe:
        for n in range(-1, rounds):
            for side, in_flight in list(taken)[:: 1 if n % 2 else -1]:
                pipe.send((side, in_flight, people.start(table).id))
                figures = pipe.recv()
                if n >= 0:  # the first round warms up
                    taken[side, in_flight].append(figures)
    for (side, in_flight), figures in taken.items():
        rate, cpu = (median(column) for column in zip(*figures, strict=True))
        print(
            f"  {side:<6} {in_flight:>4} in flight {rate:>7,.0f} items a second {1e6 * cpu:>6,.0f} µs each",
            file=sys.stderr,
        )
    for in_flight, least in IN_FLIGHT.items():
        engine, bare = (list(zip(*taken[side, in_flight], strict=True)) for side in (ENGINE, BARE))
        yield Bar(f"items a second ÷ bare, {in_flight} in flight", ratios(engine[0], bare[0]), least=least)
        yield Bar(f"items per processor second ÷ bare, {in_flight} in flight", ratios(bare[1], engine[1]), least=least)


# ---------------------------------------------------------------- how it grows


def growth(people: People, many: int) -> Iterator[Bar]:
    """Drive a run of ITEMS and one of `many`, each in a fresh process, with a provider that answers at once."""
    grown = []
    for rows in (ITEMS, many):
        began = time.monotonic()
        run = people.start(people.table(rows))
        made = time.monotonic() - began
        with providers(0), process(grow, run.id) as pipe:
            grown.append(pipe.recv())
        tell = "  {:>7,} rows: made in {:.1f} s; {:,.0f} items a second, {:,.0f} µs to claim one, {:,.0f} MB at most"
        claim = 1e6 * sum(grown[-1].claim) / 5
        print(tell.format(rows, made, grown[-1].rate, claim, grown[-1].memory / 1024), file=sys.stderr)
    small, large = grown
    yield Bar(f"claiming an item of {many:,}: last fifth ÷ first", [large.claim[-1] / large.claim[0]], most=1.2)
    yield Bar(f"memory of the worker, {many:,} items ÷ {ITEMS:,}", [large.memory / small.memory], most=1.2)


# ---------------------------------------------------------------- who waits


@contextmanager
def a_worker() -> Iterator[None]:
    """Let `manage.py work` run with its own settings, as in production: a pool of connections, the queue."""
    command = [sys.executable, "manage.py", "work"]
    environment = os.environ | {"OXYGEN_ENV": "demo"}
    child = subprocess.Popen(command, cwd=postgres.CLONE, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


def fairness(people: People, turns: int) -> Iterator[Bar]:
    """Time a short run alone, and while a long one is under way; the long one is paused and resumed between."""
    from runs import lifecycle

    alone: list[float] = []
    beside: list[float] = []
    short, long = people.table(SHORT), people.table(LONG)
    with providers(LATENCY), a_worker():
        run_to_its_end(people.start(short))  # the worker is up
        run = people.start(long)
        for turn in range(-1, turns):
            wait_for(run, "running")
            time.sleep(1)
            took = run_to_its_end(people.start(short))
            run = lifecycle.pause(run, by=people.alice)
            while run.items.in_flight().exists():
                time.sleep(0.05)
            took_alone = run_to_its_end(people.start(short))
            run = lifecycle.resume(run, by=people.alice)
            if turn >= 0:
                beside.append(took)
                alone.append(took_alone)
        lifecycle.cancel(run, by=people.alice)
        wait_for(run, "cancelled")
    print(f"  {SHORT} rows: {median(alone):.3f} s alone, {median(beside):.3f} s beside {LONG:,}", file=sys.stderr)
    yield Bar(f"{SHORT} rows beside {LONG:,}: time ÷ alone", ratios(beside, alone), most=3)


def run_to_its_end(run: Any) -> float:
    """Wait for a run that was just started; answer its time by the books, from created to ended."""
    wait_for(run, "succeeded")
    return (run.ended_at - run.created_at).total_seconds()


def wait_for(run: Any, status: str) -> None:
    for _ in range(12_000):
        run.refresh_from_db()
        if run.status == status:
            return
        time.sleep(0.01)
    raise TimeoutError(f"run {run.id} is {run.status}, not {status}")


def main(arguments: list[str]) -> int:
    quick = is_quick("engine", __doc__, "3 rounds, a tenth of the rows", arguments)
    with cluster.durable("engine") as server:
        cluster.speak_to(cluster.migrated(server, "engine"))
        from django.db import connection

        from billing import books

        people = People()
        bars = [
            *throughput(people, 3 if quick else ROUNDS),
            *growth(people, MANY // 10 if quick else MANY),
            *fairness(people, 3 if quick else TURNS),
        ]
        code = judge(bars)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        drifts = books.drifts()
        connection.close()
    for drift in drifts:
        print(f"drift: {drift}")
    return 1 if drifts else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
