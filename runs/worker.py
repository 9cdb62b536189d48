"""One slice of a run: an event loop calls providers, while two threads claim and settle on connections of their own.

For `jobs.py`, seeding and tests. Laws: it decides nothing about credits, `dispatch` does; it may die at any
instruction, and whatever it had claimed is taken over when its lease runs out; a call of which nobody knows what became
is left to just that.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, connections
from structlog.contextvars import bind_contextvars, bound_contextvars

from oxygen_site.jobs import stopping
from runs import accounts, dispatch, standing
from runs.dispatch import Answer, Call
from runs.models import Run
from runs.providers.http import Wire
from runs.providers.outcomes import Health

log = logging.getLogger("oxygen.runs")

BATCH = 200  # answers settled together at most
QUICK = 250  # milliseconds
GATHER = 0.1  # seconds at most that an answer waits for others to be settled with, while more are to come
GIVE_BACK = timedelta(seconds=2)  # between looks at what the run can no longer need


def drive_slice(run_id: UUID, seconds: int) -> timedelta | None:
    """Drive a run for so long, or until this worker is told to stop; then finish what is in flight.

    Answer after how long to go on; None when the run has ended or somebody has to wake it first.
    """
    run = Run.objects.get(id=run_id)
    if not run.is_open or run.is_outside or run.status == Run.Status.AWAITING_APPROVAL:
        return None
    with bound_contextvars(org=str(run.org_id), run=str(run.id)):
        return _drive(run, seconds)


def _drive(run: Run, seconds: int) -> timedelta | None:
    standing.begin(run)
    stop = time.monotonic() + seconds
    while True:
        own = accounts.credentials(run)
        connection.close()  # the slice's threads bring their own
        part = _Slice(run, stop, own)
        asyncio.run(part.drive())
        wait = standing.rest(run)
        if wait == standing.AT_ONCE and not part.began:  # it has no leave to call anybody now
            wait = standing.AGAIN
        standing.give_back(run)
        if wait is None or time.monotonic() + wait.total_seconds() >= stop or stopping.wait(wait.total_seconds()):
            return wait


def drive_to_rest(run: Run) -> Run:
    """Drive a run in this thread until it ends or pauses, and answer it as it is then."""
    while drive_slice(run.id, 3600) is not None:
        pass
    run.refresh_from_db()
    return run


class _Thread:
    """A thread with a database connection of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1)

    async def do[**P, R](self, verb: Callable[P, R], *args: P.args, **facts: P.kwargs) -> R:
        bound = copy_context()  # what a line of the log is about goes with the verb
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: bound.run(verb, *args, **facts))

    async def close(self) -> None:
        await self.do(connections.close_all)
        self._executor.shutdown()


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    """Wait for something to happen, but not for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


type Key = tuple[int, int]  # item and lease


class _Slice:
    """What is in flight, by item and lease, from claim until settle; and whoever waits for that to change.

    At most `limit` calls are made at a time. What was answered leaves its place to the next before it is settled.
    """

    def __init__(self, run: Run, stop: float, own: dict[str, str]) -> None:
        self.run, self.owner, self.stop = run, uuid4(), stop
        self.limit: int = settings.WORKER_CONCURRENCY
        self.flight: dict[Key, Call] = {}
        self.asked: dict[Key, Call] = {}  # those of them that are not answered yet
        self.all_answered = asyncio.Event()
        self.began = False  # whether there was anything to do
        self.quick = False  # whether the last answer came within QUICK, and the provider is well
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()
        self.changed = asyncio.Event()
        self.wire = Wire(own)

    async def drive(self) -> None:
        claimer, settler = _Thread(), _Thread()
        try:
            async with self.wire, asyncio.TaskGroup() as group:
                self.settler = settler
                lease = timedelta(seconds=settings.LEASE_SECONDS)
                steady = [
                    self._settle(settler),
                    self._every(lease / 3, claimer, self._renew),
                    self._every(GIVE_BACK, claimer, self._give_back),
                ]
                self.callers = [group.create_task(self._ask()) for _ in range(min(self.limit, self.run.rows))]
                tasks = [group.create_task(work) for work in steady]
                await self._claim(claimer)
                for task in self.callers + tasks:
                    task.cancel()
        finally:
            await claimer.close()
            await settler.close()

    async def _claim(self, claimer: _Thread) -> None:
        patience = settings.DRAIN_SECONDS + time.monotonic()
        while True:
            self.changed.clear()
            if not stopping.is_set():
                patience = settings.DRAIN_SECONDS + time.monotonic()
                if time.monotonic() < self.stop and (free := self._free()):
                    self._send(await claimer.do(dispatch.claim, self.run, self.owner, free))
            elif time.monotonic() > patience:
                await self._hand_over(claimer)
            if not self.flight:
                return
            await self._change()

    async def _hand_over(self, claimer: _Thread) -> None:
        """Leave calls that take too long to whoever claims next, who asks again under the same keys.

        Those that no caller has taken up yet were not sent: they are only made later, also where no keys are taken.
        """
        for caller in self.callers:
            caller.cancel()
        queued = [self.calls.get_nowait() for _ in range(self.calls.qsize())]
        left = list(self.asked.values())
        for call in left:
            del self.flight[call.key], self.asked[call.key]
        if left:
            log.info("run %s: handing over %s calls, %s of them not sent", self.run.id, len(left), len(queued))
            await claimer.do(standing.hand_over, self.run, self.owner, left, queued)

    def _free(self) -> int:
        """How many to claim, or none until that is worth it.

        Where answers come quickly, up to three quarters more than may be asked are claimed ahead, so that claims are
        few and nobody waits for one, and answers may wait to be settled. Where they do not, a pause would find calls
        that are still to be made; where they fail, rows would be burned before the others are told.
        """
        most = self.limit
        if not self.quick:
            free, worth = most - len(self.flight), most // 8
        else:
            ahead = worth = 3 * most // 4
            free = min(most + ahead - len(self.asked), 5 * most - len(self.flight))
        return free if free >= max(worth, 1) else 0

    async def _change(self) -> None:
        """Wait until there is room or nothing in flight; not for long, for room is made by other slices as well."""
        await _at_most(standing.AGAIN.total_seconds(), self.changed)

    def _tell(self) -> None:
        if not self.flight or self._free():
            self.changed.set()

    def _send(self, calls: list[Call]) -> None:
        for call in calls:
            self.began = True
            self.flight[call.key] = self.asked[call.key] = call
            self.all_answered.clear()
            self.calls.put_nowait(call)

    async def _ask(self) -> None:
        while True:
            call = await self.calls.get()
            bind_contextvars(item=call.item, attempt=call.number)  # in this task's own context
            answer = await self.wire.ask(self.run.id, call, self.run.cascade[call.step])
            del self.asked[call.key]
            if not self.asked:
                self.all_answered.set()
            if answer is None:
                self.quick = False
                log.warning("run %s, item %s: no usable answer to attempt %s", self.run.id, call.item, call.number)
                try:
                    await self.settler.do(dispatch.unanswered, self.run, self.owner, call)
                finally:
                    del self.flight[call.key]
            else:
                self.quick = answer.outcome.health is Health.WELL and (answer.latency_ms or 0) < QUICK
                self.answers.put_nowait(answer)
            self._tell()

    async def _settle(self, settler: _Thread) -> None:
        """Settle together what came in while the last batch was being settled, and shortly after."""
        while True:
            batch = [await self.answers.get()]
            if self.asked and self.quick:
                await _at_most(GATHER, self.all_answered)
            while len(batch) < BATCH and not self.answers.empty():
                batch.append(self.answers.get_nowait())
            calls = await settler.do(dispatch.settle, self.run, self.owner, batch)
            for answer in batch:
                del self.flight[answer.call.key]
            self._send(calls)
            self._tell()

    async def _every(self, interval: timedelta, thread: _Thread, verb: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(interval.total_seconds())
            await thread.do(verb)

    def _renew(self) -> None:
        dispatch.renew(self.run, self.owner, list(self.flight.values()))

    def _give_back(self) -> None:
        standing.give_back(self.run)
