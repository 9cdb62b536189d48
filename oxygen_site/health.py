"""`/healthz`: this process answers. `/readyz`: work that comes in now will be done, and if not, what stands in the way.

For whoever watches from outside; nobody signs in, and nothing is told but states and ages. `standing` also serves
`metrics.py`. The law: what is asked every few seconds costs a handful of indexed reads, and moves nothing.
"""

from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

LATE = 300  # seconds a job may be due before somebody should look: with many runs in line, minutes are no fault


@dataclass(frozen=True)
class Standing:
    """How the queue and the ledger's months stand. Ages in seconds of machine time; None: there is none."""

    workers: int
    heartbeat: float | None  # of the youngest
    jobs_due: int
    job_lag: float | None  # of the oldest that is due
    months_ahead: int


STANDING = """
SELECT (SELECT count(*) FROM procrastinate_workers
        WHERE last_heartbeat >= now() - %(silent)s * interval '1 second'),
       (SELECT extract(epoch FROM now() - max(last_heartbeat))::float FROM procrastinate_workers),
       count(*), extract(epoch FROM now() - min(since))::float,
       ledger.months_ahead()
FROM (
  SELECT coalesce(scheduled_at, (SELECT max(at) FROM procrastinate_events WHERE job_id = j.id)) AS since
  FROM procrastinate_jobs AS j
  WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())) AS due"""


def standing() -> Standing:
    """Read how the queue and the ledger's months stand, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(STANDING, {"silent": settings.RESCUE_SECONDS})
        return Standing(*cursor.fetchone())


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that this process answers; asks nobody else."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether work will be done: 200, or 503 with each check that says no."""
    try:
        checks = _checks()
    except DatabaseError:
        checks = {"database": {"ok": False}}
    ready = all(check["ok"] for check in checks.values())
    return JsonResponse({"status": "ready" if ready else "not ready", "checks": checks}, status=200 if ready else 503)


def _checks() -> dict[str, dict[str, object]]:
    missing = len(_newest_migrations() - MigrationRecorder(connection).applied_migrations().keys())
    if missing:  # what the other checks ask for may not be there
        return {"database": {"ok": True}, "migrations": {"ok": False, "missing": missing}}
    now = standing()
    return {
        "database": {"ok": True},
        "migrations": {"ok": True, "missing": 0},
        "workers": {"ok": now.workers > 0, "alive": now.workers, "youngest_heartbeat_seconds": _whole(now.heartbeat)},
        "jobs": {"ok": (now.job_lag or 0) <= LATE, "due": now.jobs_due, "oldest_due_seconds": _whole(now.job_lag)},
        "ledger_months": {"ok": now.months_ahead >= 1, "ahead": now.months_ahead},
    }


@cache
def _newest_migrations() -> frozenset[tuple[str, str]]:
    """What this code needs: the last of each app, which is never applied before the others."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, int(seconds))
