"""The queue's only face: declare tasks, defer them, run a worker.

A job is a wake-up and no more: what is due stands in our own tables, so losing the whole queue loses nothing. `defer`
joins the caller's transaction: rolled back, the job never was. Periodic work is written as "do all that is due",
because a tick that was missed for long is not made up for.
"""

import asyncio
import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from procrastinate import JobContext, exceptions, jobs
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.manager import JobManager
from procrastinate.retry import RetryStrategy
from procrastinate.tasks import Task, configure_task
from procrastinate.types import JSONValue

# The app's own manager belongs to the worker while one runs; deferring always uses Django's connection.
_queue = JobManager(DjangoConnector())
_rounds: dict[str, Callable[[], None]] = {}

TRIES = 8  # of a task that may be run again


def task[**P, R](
    queue: str = "default", retry: type[Exception] | None = None
) -> Callable[[Callable[P, R]], Task[P, R, P]]:
    """Declare a function that `defer` can name; it takes plain JSON values.

    Where it raises `retry` it is run again, after 5 s, 25 s, 2 min and so on: TRIES times in all, in about a day.
    """
    again = RetryStrategy(max_attempts=TRIES - 1, exponential_wait=5, retry_exceptions=(retry,)) if retry else False
    return app.task(queue=queue, retry=again)


def periodic(cron: str, queue: str = "maint") -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Declare a function that does all that is due, every time `cron` says (a sixth field means seconds)."""

    def declare(function: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def tick(timestamp: int) -> None:
            function()

        name = f"{function.__module__}.{function.__name__}"
        app.periodic(cron=cron)(app.task(name=name, queue=queue, lock=name, queueing_lock=name)(tick))
        _rounds[name] = function
        return function

    return declare


def defer(
    task: Task[Any, Any, Any],
    *,
    key: str | None = None,
    after: timedelta | None = None,
    sooner: bool = False,
    **arguments: JSONValue,
) -> None:
    """Ask for `task` to be run, in this transaction: once it has committed, and `after` so long.

    At most one job of a `key` waits and at most one runs; where one waits already, asking again does nothing. `sooner`:
    one that was put off makes way for one that is due at once.
    """
    job = configure_task(
        name=task.name,
        job_manager=_queue,
        queue=task.queue,
        lock=key,
        queueing_lock=key,
        schedule_at=datetime.now(UTC) + after if after else None,
    )
    if key is None:
        job.defer(**arguments)
        return
    try:
        with transaction.atomic():  # a savepoint: the refusal must not break the caller's transaction
            job.defer(**arguments)
    except exceptions.AlreadyEnqueued:
        put_off = ProcrastinateJob.objects.filter(queueing_lock=key, status="todo", scheduled_at__gt=Now())
        if sooner and (ids := list(put_off.values_list("id", flat=True))):
            for id in ids:
                _queue.cancel_job_by_id(id, delete_job=True)
            with contextlib.suppress(exceptions.AlreadyEnqueued), transaction.atomic():  # somebody else was quicker
                job.defer(**arguments)


def line(task: Task[Any, Any, Any]) -> list[tuple[dict[str, Any], bool]]:
    """Read the jobs of a task that run, or could with more room: their arguments, and whether they run. One query."""
    jobs_of = ProcrastinateJob.objects.filter(task_name=task.name, status__in=("todo", "doing"))
    behind = Exists(ProcrastinateJob.objects.filter(status="doing", lock=OuterRef("lock")))  # one of its own key
    due = jobs_of.exclude(Q(status="todo") & (Q(scheduled_at__gt=Now()) | behind)).order_by("id")
    return [(args, status == "doing") for args, status in due.values_list("args", "status")]


def quiet(besides: Collection[str]) -> bool:
    """Say whether no job of other queues than these runs, or could with more room. One query."""
    due = Q(status="doing") | Q(status="todo", scheduled_at=None) | Q(status="todo", scheduled_at__lte=Now())
    return not ProcrastinateJob.objects.filter(due).exclude(queue_name__in=besides).exists()


def rounds_between(before: datetime, after: datetime) -> list[Callable[[], None]]:
    """Name the periodic functions of which at least one tick lies in (before, after], for whoever moves time."""
    ticks = app.periodic_registry.periodic_tasks.values()
    return [
        _rounds[tick.task.name]
        for tick in ticks
        if tick.task.name in _rounds and tick.croniter.get_next(datetime, start_time=before) <= after
    ]


stopping = threading.Event()  # this worker was told to stop: a job that takes long ends as soon as it can


def work() -> None:
    """Run a worker until it is told to stop; then finish what is running and return."""
    asyncio.run(_work())


async def _work() -> None:
    # Tasks are synchronous, each in a thread of its own; Python's default would run six at a time on two cores.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.WORKER_JOBS + 2))
    with app.replace_connector(app.connector.get_worker_connector()):  # type: ignore[attr-defined]
        async with app.open_async():
            worker = asyncio.ensure_future(app.run_worker_async(install_signal_handlers=False))

            def stop() -> None:
                if not stopping.is_set():  # asked once is enough
                    stopping.set()
                    worker.cancel()

            for reason in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(reason, stop)
            with contextlib.suppress(asyncio.CancelledError):
                await worker


@app.periodic(cron=f"*/{min(max(settings.RESCUE_SECONDS // 3, 1), 30)} * * * * *")
@app.task(queue="maint", queueing_lock="rescue", pass_context=True)
async def rescue(context: JobContext, timestamp: int) -> None:
    """Put the jobs of workers that gave no sign of life back into the queue."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=settings.RESCUE_SECONDS):
        with contextlib.suppress(exceptions.ConnectorException):  # somebody else was quicker
            try:
                await manager.retry_job(job)
            except exceptions.UniqueViolation:  # its successor waits already
                await manager.finish_job(job, status=jobs.Status.ABORTED, delete_job=True)
