"""What the API costs an execution plane beside dispatch's own settle: `make bench`, or `--quick` for a look.

One side is the product: gunicorn with its own settings, and eight processes that send batches of 500 outcomes to
`POST /reservations/…/settle`. The other is eight processes that call `dispatch.settle` with the same 500. Both write
the same rows: an attempt, the end of its item, an entry, two lines of usage. They take turns on one durable server;
holds are taken, and batches made, before the clock starts. At the end the books must be clean.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from multiprocessing.connection import Connection
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from benchmarks import cluster
from benchmarks.bars import Bar, is_quick, judge, ratios
from benchmarks.engine import TOOL, People, process

CLIENTS = 8
BATCH = 500
BATCHES = 6  # a client's in a round
ROUNDS = 9
ITEMS = CLIENTS * BATCHES * BATCH
API, DISPATCH = "api", "dispatch"

type Work = Callable[[], None]
type Calls = list[list[tuple[int, int]]]  # batches of (item, lease)


# ---------------------------------------------------------------- a client's process


def client(pipe: Connection, url: str, secret: str) -> None:
    """Take orders (side, run, owner, calls) until None: make ready, say so, and settle when told to."""
    import django

    django.setup()
    sides: dict[str, Callable[..., list[Work]]] = {API: _through_the_api(url, secret), DISPATCH: _through_dispatch}
    while (order := pipe.recv()) is not None:
        side, *facts = order
        batches = sides[side](*facts)
        pipe.send("ready")
        pipe.recv()
        for settle in batches:
            settle()
        pipe.send("done")


def _through_the_api(url: str, secret: str) -> Callable[..., list[Work]]:
    import httpx2

    http = httpx2.Client(timeout=60, trust_env=False)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def batches(run: UUID, owner: UUID, calls: Calls) -> list[Work]:
        def settle(body: bytes) -> None:
            answer = http.post(f"{url}/api/v1/reservations/{run}/settle", content=body, headers=headers)
            assert answer.content.count(b'"settled"') == BATCH, answer.text[:500]

        outcome = {"tool": TOOL, "outcome": "succeeded", "cost": 1, "reference": "hun_1", "latency_ms": 12}
        bodies = [json.dumps({"outcomes": [{"item": item} | outcome for item, _ in batch]}).encode() for batch in calls]
        return [lambda body=body: settle(body) for body in bodies]  # type: ignore[misc]

    return batches


def _through_dispatch(run_id: UUID, owner: UUID, calls: Calls) -> list[Work]:
    from runs import dispatch
    from runs.dispatch import Answer, Call
    from runs.models import Run
    from runs.providers.outcomes import Outcome

    run = Run.objects.get(id=run_id)
    outcome = Outcome("succeeded", Decimal(1), "Answered. Charged 1.", None, "hun_1")
    batches = [[Answer(Call(item, lease, 0, {}), outcome, 12) for item, lease in batch] for batch in calls]
    return [lambda batch=batch: _settled(dispatch.settle, run, owner, batch) for batch in batches]  # type: ignore[misc]


def _settled(settle: Callable[..., list[Any]], run: Any, owner: UUID, batch: list[Any]) -> None:
    assert settle(run, owner, batch) == []


# ---------------------------------------------------------------- what is settled


def outside(people: People) -> tuple[UUID, UUID, Calls]:
    """Open a reservation and take holds for all of a round."""
    from runs import lifecycle, planes

    run = lifecycle.create_outside(people.acme, [TOOL], items=ITEMS, cap=Decimal(ITEMS), by=people.alice)
    held = [planes.hold(run, [""] * BATCH, 3600).items for _ in range(ITEMS // BATCH)]
    return run.id, run.id, [[(item, 1) for item in items] for items in held]


def inside(people: People, table: Any) -> tuple[UUID, UUID, Calls]:
    """Start a run of our own and claim all of it, under leases that outlive the round."""
    from runs import dispatch

    run, owner = people.start(table), uuid4()
    claimed = [dispatch.claim(run, owner, BATCH) for _ in range(ITEMS // BATCH)]
    return run.id, owner, [[call.key for call in calls] for calls in claimed]


def rate(pipes: list[Connection], side: str, run: UUID, owner: UUID, calls: Calls) -> float:
    """Let the clients settle all of it; answer items a second."""
    from django.db import connection

    for n, pipe in enumerate(pipes):
        pipe.send((side, run, owner, calls[n::CLIENTS]))
    for pipe in pipes:
        assert pipe.recv() == "ready"
    with connection.cursor() as cursor:  # so much is in flight at once in no run of our own: let the planner know
        cursor.execute("ANALYZE runs_item, runs_attempt")
    began = time.monotonic()
    for pipe in pipes:
        pipe.send("go")
    for pipe in pipes:
        assert pipe.recv() == "done"
    return ITEMS / (time.monotonic() - began)


# ---------------------------------------------------------------- both sides


def settling(people: People, rounds: int) -> Iterator[Bar]:
    from billing import keys

    table = people.table(ITEMS)
    _, secret = keys.make(people.acme, people.alice, "A plane", ["read", "run"])
    taken: dict[str, list[float]] = {API: [], DISPATCH: []}
    with cluster.web_server(OXYGEN_API_CALLS_PER_MINUTE=str(10**9)) as url, ExitStack() as stack:
        pipes = [stack.enter_context(process(client, url, secret)) for _ in range(CLIENTS)]
        for n in range(-1, rounds):
            for side in (API, DISPATCH)[:: 1 if n % 2 else -1]:
                figure = rate(pipes, side, *(outside(people) if side == API else inside(people, table)))
                if n >= 0:  # the first round warms up
                    taken[side].append(figure)
    for side, figures in taken.items():
        print(f"  {side:<8} {median(figures):>7,.0f} items a second, {CLIENTS} clients, batch {BATCH}", file=sys.stderr)
    yield Bar(f"items a second, API ÷ dispatch, {CLIENTS} clients", ratios(taken[API], taken[DISPATCH]), least=0.5)


def main(arguments: list[str]) -> int:
    quick = is_quick("api_settle", __doc__, "3 rounds", arguments)
    with cluster.durable("api-settle") as server:
        cluster.speak_to(cluster.migrated(server, "api_settle"))
        os.environ["OXYGEN_LEASE_SECONDS"] = "3600"
        from django.conf import settings
        from django.db import connection

        from billing import books

        settings.LEASE_SECONDS = 3600
        code = judge(settling(People(), 3 if quick else ROUNDS))
        drifts = books.drifts()
        connection.close()
    for drift in drifts:
        print(f"drift: {drift}")
    return 1 if drifts else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
