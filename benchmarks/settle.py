"""How fast attempts settle, beside the least that this server could do for them: `make bench`, or `--quick` for a look.

One side is the product: real processes that call `ledger.settle`, a statement a transaction, on one busy org or 200.
The other is the bare limit (limit.sql), driven by pgbench. Both are taken in slices of under half a second on one
durable server, every kind once a round; only slices of one round are divided. At the end the books must be clean.
"""

import gc
import math
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from benchmarks import cluster
from benchmarks.bars import Bar, is_quick, judge, ratios
from oxygen_site import postgres

HERE = Path(__file__).parent
SECONDS = 0.4  # of a slice
ROUNDS = 21
CLIENTS = 8
ORGS = 200
TOOLS = [(f"provider{n // 2}", f"provider{n // 2}.tool{n % 2}") for n in range(24)]
CASCADE = 3  # of them a run calls
OUTCOMES = [("succeeded", "1.2500"), ("no_result", "0.5000"), ("failed_before_billing", "0")]
CHANCES = [7, 2, 1]
MAXIMUM = Decimal("2.0000")
ROOM = 30_000_000  # items a run may settle in all
ITEMS_A_SLICE = 100_000  # item numbers set aside for each


@dataclass(frozen=True)
class Side:
    """One way of settling: on `orgs` orgs, or the bare limit where there are none."""

    batch: int
    clients: int
    orgs: int

    def __str__(self) -> str:
        where = {0: "limit", 1: "one org"}.get(self.orgs, f"{self.orgs} orgs")
        return f"batch {self.batch}, {self.clients} clients, {where}"


class Slice(NamedTuple):
    """Items a second; the server's processor seconds and bytes of WAL for each."""

    rate: float
    cpu: float
    wal: float


BATCHES = (1, 10, 100, 1000)
ONE, MANY, LIMIT = 1, ORGS, 0
# Those that are divided by each other stand close.
SIDES = [
    *(Side(batch, 4, where) for batch in BATCHES for where in (ONE, LIMIT, MANY)),
    *(Side(100, 1, where) for where in (ONE, LIMIT)),
    *(Side(1, clients, ONE) for clients in (1, 8)),
    Side(1, 8, MANY),
]


# ---------------------------------------------------------------- the product's side


class Order(NamedTuple):
    """What one client is to settle: its share of the runs, by turns, in so many batches."""

    runs: list[tuple[Any, Any]]
    batch: int
    statements: int
    first: int
    seed: int


def client(pipe: Connection) -> None:
    """Settle as ordered: prepare, say so, wait for the word, answer when it began and ended."""
    import django

    django.setup()
    from billing import ledger

    while (order := pipe.recv()) is not None:
        batches = [(org, run, list(attempts)) for org, run, attempts in _batches(order)]
        gc.collect()
        gc.freeze()  # what was made ready for the slice is the benchmark's, not a settle's to look through
        pipe.send("ready")
        pipe.recv()
        began = time.monotonic()
        for org, run, attempts in batches:
            ledger.settle(org, run, attempts)
        pipe.send((began, time.monotonic()))
        gc.unfreeze()


def _batches(order: Order) -> Iterator[tuple[Any, Any, Iterator[Any]]]:
    from billing.ledger import Settled

    chance = random.Random(order.seed)
    item = order.first
    for org, run in islice(cycle(order.runs), order.statements):
        tools = random.Random(str(run)).sample(TOOLS, CASCADE)  # the run's own, as frozen on it
        outcomes = chance.choices(OUTCOMES, CHANCES, k=order.batch)
        attempts = [
            Settled(item + n, 0, *chance.choice(tools), False, outcome, Decimal(cost), MAXIMUM, MAXIMUM)
            for n, (outcome, cost) in enumerate(outcomes)
        ]
        item += order.batch
        yield org, run, iter(attempts)


def open_runs(orgs: int, runs: int) -> list[tuple[Any, Any]]:
    """Open so many orgs with credits, each with so many runs of one member; answer (org, run)."""
    from billing import ledger
    from billing.orgs import create
    from oxygen_site.clock import clock, new_id
    from oxygen_site.transactions import intention

    opened = []
    member = new_id()
    credits = MAXIMUM * ROOM
    for n in range(orgs):
        org = create(f"Benchmark {orgs} {n}", "Europe/Lisbon").pk

        def verb(org: Any = org) -> None:
            ledger.grant(
                org,
                key="benchmark",
                source="promo",
                amount=credits * runs,
                expires_at=clock() + timedelta(days=30),
                actor="system:benchmark",
            )
            for _ in range(runs):
                run = new_id()
                ledger.reserve(
                    org,
                    run,
                    cap=credits,
                    estimated_max=credits,
                    run_kind="column",
                    member=member,
                    actor=f"user:{member}",
                )
                ledger.admit(org, run, ROOM, MAXIMUM)
                opened.append((org, run))

        intention(verb)
    return opened


# ---------------------------------------------------------------- slices


class Bench:
    """The server, the clients and the runs of one benchmark; takes slices."""

    def __init__(self, server: postgres.Server, url: str) -> None:
        self.server, self.url = server, url
        self.watch = psycopg.connect(url, autocommit=True)
        self.watch.execute((HERE / "limit.sql").read_bytes())
        self.runs = {ONE: open_runs(1, CLIENTS), MANY: open_runs(ORGS, 1)}
        self.slices = 0
        self.statements = {side: max(1, 200 // side.batch) for side in SIDES}
        spawn = multiprocessing.get_context("spawn")
        self.pipes = []
        for _ in range(CLIENTS):
            ours, theirs = spawn.Pipe()
            spawn.Process(target=client, args=(theirs,), daemon=True).start()
            self.pipes.append(ours)

    def calibrate(self) -> None:
        """Find how many statements of each side fill a slice, warming everything up on the way."""
        for _ in range(2):
            for side in SIDES:
                rate = self.take(side).rate
                fitting = math.ceil(rate * SECONDS / side.batch / side.clients)
                self.statements[side] = max(2, min(fitting, ITEMS_A_SLICE // side.batch))

    def take(self, side: Side) -> Slice:
        self.slices += 1
        statements = self.statements[side]
        items = statements * side.batch * side.clients
        if side.orgs == LIMIT:
            return self._measured(items, lambda: self._limit(side, statements))
        pipes = self.pipes[: side.clients]
        for n, pipe in enumerate(pipes):
            runs = self.runs[side.orgs][n :: side.clients]
            pipe.send(Order(runs, side.batch, statements, 1 + self.slices * ITEMS_A_SLICE, self.slices * CLIENTS + n))
        for pipe in pipes:
            pipe.recv()

        def settle() -> float:
            for pipe in pipes:
                pipe.send("go")
            times = [pipe.recv() for pipe in pipes]
            return max(ended for _, ended in times) - min(began for began, _ in times)

        return self._measured(items, settle)

    def _measured(self, items: int, settle: Any) -> Slice:
        wal, cpu = self._wal(), cluster.processor_seconds(self.server)
        seconds = settle()
        return Slice(
            items / seconds, (cluster.processor_seconds(self.server) - cpu) / items, (self._wal() - wal) / items
        )

    def _wal(self) -> int:
        row = self.watch.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        assert row
        return int(row[0])

    def _limit(self, side: Side, statements: int) -> float:
        """Let pgbench settle so many batches with each client; answer the seconds it took without connecting."""
        names = {"slice": self.slices, "batch": side.batch, "last": 0}
        done = subprocess.run(
            [
                str(self.server.binaries / "pgbench"),
                *("--no-vacuum", "--protocol=prepared", f"--client={side.clients}", f"--transactions={statements}"),
                *(f"--jobs={min(side.clients, os.cpu_count() or 1)}", f"--file={HERE / 'limit.pgbench'}"),
                *(f"--define={name}={value}" for name, value in names.items()),
                self.url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        tps = re.search(r"tps = ([\d.]+) \(without initial connection time\)", done.stdout)
        assert tps, done.stdout
        return statements * side.clients / float(tps[1])

    def stop(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        self.watch.close()


def statements_per_settle() -> list[float]:
    """Count what a batch of each size has the server execute, as seen on the wire."""
    from django.db import connection

    from billing import ledger

    [(org, run)] = open_runs(1, 1)
    counts = []
    for n, batch in enumerate(BATCHES):
        [(_, _, attempts)] = _batches(Order([(org, run)], batch, 1, 1 + n * ITEMS_A_SLICE, n))
        with tempfile.TemporaryFile() as wire:
            connection.connection.pgconn.trace(wire.fileno())
            ledger.settle(org, run, list(attempts))
            connection.connection.pgconn.untrace()
            wire.seek(0)
            counts.append(float(len(re.findall(rb"\tF\t\d+\t(?:Execute|Query)\t", wire.read()))))
    return counts


# ---------------------------------------------------------------- the bars


def bars(rounds: list[dict[Side, Slice]], statements: list[float]) -> Iterator[Bar]:
    """Divide the sides of each round."""

    def ratio(above: Side, below: Side, of: str = "rate") -> list[float]:
        return ratios([getattr(r[above], of) for r in rounds], [getattr(r[below], of) for r in rounds])

    def one(batch: int, clients: int = 4) -> Side:
        return Side(batch, clients, ONE)

    def limit(batch: int, clients: int = 4) -> Side:
        return Side(batch, clients, LIMIT)

    yield Bar("batch 100 ÷ limit, 1 client", ratio(one(100, 1), limit(100, 1)), least=0.30)
    yield Bar("batch 100 ÷ limit, 4 clients", ratio(one(100), limit(100)), least=0.25)
    yield Bar("batch 1 ÷ limit, 4 clients", ratio(one(1), limit(1)), least=0.33)
    yield Bar("batch 10 ÷ limit, 4 clients", ratio(one(10), limit(10)))
    yield Bar("batch 1000 ÷ limit, 4 clients", ratio(one(1000), limit(1000)))
    for batch in BATCHES:
        yield Bar(f"batch {batch} on {ORGS} orgs ÷ limit, 4 clients", ratio(Side(batch, 4, MANY), limit(batch)))
    yield Bar("batch 10 ÷ batch 1, 4 clients", ratio(one(10), one(1)))
    yield Bar("batch 100 ÷ batch 1, 4 clients", ratio(one(100), one(1)), least=20)
    yield Bar("batch 1000 ÷ batch 100, 4 clients", ratio(one(1000), one(100)), least=0.9)
    yield Bar(f"one org ÷ {ORGS} orgs, 8 clients, batch 1", ratio(one(1, 8), Side(1, 8, MANY)), least=0.75)
    yield Bar("one org, batch 1: 8 clients ÷ 1 client", ratio(one(1, 8), one(1, 1)), least=1.5)
    yield Bar("server CPU per item ÷ limit's, batch 100, 4 clients", ratio(one(100), limit(100), "cpu"), most=3.0)
    yield Bar("WAL per item ÷ limit's, batch 100, 4 clients", ratio(one(100), limit(100), "wal"), most=2.0)
    yield Bar("statements per settle, batches 1 to 1000", statements, most=1)


def main(arguments: list[str]) -> int:
    rounds = 5 if is_quick("settle", __doc__, "5 rounds instead of 21", arguments) else ROUNDS
    with cluster.durable("settle") as server:
        url = cluster.migrated(server, "settle")
        cluster.speak_to(url)
        from django.db import connection

        from billing import books

        bench = Bench(server, url)
        bench.calibrate()
        taken = []
        for n in range(rounds):
            order = SIDES if n % 2 else SIDES[::-1]
            taken.append({side: bench.take(side) for side in order})
        statements = statements_per_settle()
        bench.stop()
        for side in SIDES:
            middle = sorted(r[side].rate for r in taken)[rounds // 2]
            print(f"  {side!s:<36} {middle:>10,.0f} items a second", file=sys.stderr)
        code = judge(bars(taken, statements))
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        drifts = books.drifts()
        connection.close()
    for drift in drifts:
        print(f"drift: {drift}")
    return 1 if drifts else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
