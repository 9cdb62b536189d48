"""The same pages at several sizes of one history: seeded once, asked by turns, divided round by round.

For pages.py. Each size is a database of one durable server, proved before anything is timed, and a process of its own,
in which the real views answer Django's test client: every page once a round at each size, and only answers of the same
round are divided. Time is all of the server's: middleware, queries and template.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

from benchmarks import cluster
from benchmarks.bars import Bar, judge, ratios

ROUNDS, FEW = 41, 9
WARM_UP = 5
PIECES = 2  # of a file that is streamed: the first may be its heads alone


class Page(NamedTuple):
    """What is asked, and under which name it is told. What a page that `grows` reads is told, and judged by nobody."""

    name: str
    address: str
    query: dict[str, str] = {}
    fragment: str = ""
    grows: bool = False


class Answer(NamedTuple):
    """How long a page took, how long of it the database, in seconds, and how many queries."""

    seconds: float
    in_database: float
    queries: int


# ---------------------------------------------------------------- one size, in a process of its own


def serve(
    pipe: Connection,
    seed: Callable[[], tuple[Any, Any]],
    flaws: Callable[[], list[str]],
    pages: Callable[[Any, Any], Iterator[Page]],
) -> None:
    """Seed what this process speaks to, prove it and name its pages; then answer for each asked how long it took."""
    from django.db import connection
    from django.test import Client

    connection.settings_dict["OPTIONS"]["options"] = "-c search_path=public,ledger -c statement_timeout=0"
    began = time.monotonic()
    of, reader = seed()
    seeded = time.monotonic()
    found = flaws()
    client = Client(raise_request_exception=True)
    client.force_login(reader)
    asked = [] if found else list(pages(of, client))
    pipe.send((seeded - began, time.monotonic() - seeded, found, asked))
    connection.close()
    while not found and (number := pipe.recv()) is not None:
        pipe.send(_timed(partial(_ask, client, asked[number])))


def _ask(client: Any, page: Page) -> None:
    headers = {"HX-Request": "true", "HX-Target": page.fragment} if page.fragment else {}
    response = client.get(page.address, page.query, headers=headers)
    assert response.status_code == 200, (page, response.status_code)
    if response.streaming:
        assert list(islice(response.streaming_content, PIECES)), page


def _timed(ask: Callable[[], None]) -> Answer:
    from django.db import connection

    spent: list[float] = []

    def watch(execute: Callable[..., Any], *rest: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*rest)
        finally:
            spent.append(time.perf_counter() - began)

    with connection.execute_wrapper(watch):
        began = time.perf_counter()
        ask()
        seconds = time.perf_counter() - began
    return Answer(seconds, sum(spent), len(spent))


# ---------------------------------------------------------------- all sizes


def compare(
    name: str,
    size: Callable[[Connection, str, int], None],
    sizes: tuple[int, ...],
    *,
    quick: bool,
    queries: int | None = None,
    then: Callable[[dict[int, str]], Iterable[Bar]] = lambda urls: (),
) -> int:
    """Time the pages of `size` at several sizes by turns, then judge what else is measured there; answer the exit code.

    `quick`: in a few rounds. `queries`: the most a page may ask. `then` is given the databases' addresses.
    """
    times = WARM_UP + (FEW if quick else ROUNDS)
    with cluster.durable(name) as server:
        pipes, urls = {}, {}
        spawn = multiprocessing.get_context("spawn")
        for entries in sizes:
            pipes[entries], theirs = spawn.Pipe()
            urls[entries] = cluster.migrated(server, f"entries_{entries}")
            spawn.Process(target=size, args=(theirs, urls[entries], entries), daemon=True).start()
        for entries, pipe in pipes.items():
            seeding, proving, flaws, pages = pipe.recv()
            space = cluster.megabytes(urls[entries])
            print(
                f"{entries:,} entries: {seeding:.0f} s to seed, {proving:.0f} to prove, {space:,} MB", file=sys.stderr
            )
            if flaws:
                print(*flaws, sep="\n")
                return 1
        rounds = [_round(pipes, pages, sizes[:: 1 if n % 2 else -1]) for n in range(times)][WARM_UP:]
        for pipe in pipes.values():
            pipe.send(None)
        for number, page in enumerate(pages):
            told = [f"{median(r[number, n].seconds for r in rounds) * 1000:.1f}" for n in sizes]
            count = rounds[0][number, sizes[0]].queries
            print(f"  {page.name:<26} {' / '.join(told)} ms, {count} queries", file=sys.stderr)
        return judge([*_bars(rounds, sizes, pages, queries), *then(urls)])


type Round = dict[tuple[int, int], Answer]  # by page and size


def _round(pipes: dict[int, Connection], pages: list[Page], sizes: tuple[int, ...]) -> Round:
    answers = {}
    for number in range(len(pages)):
        for entries in sizes:
            pipes[entries].send(number)
            answers[number, entries] = pipes[entries].recv()
    return answers


def _bars(rounds: list[Round], sizes: tuple[int, ...], pages: list[Page], most: int | None) -> Iterator[Bar]:
    """Divide the larger sizes by the smallest, page by page."""
    small = sizes[0]
    for number, page in enumerate(pages):

        def of(entries: int, figure: str, number: int = number) -> list[float]:
            return [getattr(r[number, entries], figure) for r in rounds]

        if most:
            yield Bar(f"{page.name}, queries", of(small, "queries"), most=most)
        for entries in sizes[1:]:
            told = f"{page.name}: {entries:,} ÷ {small:,}"
            seconds, in_database, queries = (
                ratios(of(entries, figure), of(small, figure)) for figure in Answer._fields
            )
            yield Bar(f"{told}, queries", queries, least=1, most=1)
            yield Bar(f"{told}, time", seconds, most=None if page.grows else 1.25)
        yield Bar(f"{told}, database alone", in_database)
