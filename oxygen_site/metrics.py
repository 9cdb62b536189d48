"""`/metrics`: what an operator graphs and is woken by, read from the database whenever somebody asks.

For Prometheus. Laws: nothing is counted in a process, so every process and machine says the same, and a restart
forgets nothing; no organization, person or run is a label. Totals come from the ledger's rollups, what is in flight
from partial indexes. docs/operations.md says what each figure is for.
"""

import secrets
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from oxygen_site.health import standing

LOOPBACK = ("127.0.0.1", "::1")

# Captured of closed runs stands in their accounts. What a run drew at its start and no longer has, it gave back.
CREDITS = """
SELECT a.spent + r.open_captured, r.released, r.absorbed, a.available, a.drawn - r.open_captured, r.conflicts
FROM (SELECT coalesce(sum(spent), 0) AS spent, coalesce(sum(available), 0) AS available,
             coalesce(sum(drawn), 0) AS drawn
      FROM ledger.account) AS a,
     (SELECT coalesce(sum(captured) FILTER (WHERE closed_at IS NULL), 0) AS open_captured,
             coalesce(sum(least(cap, estimated_max) - reserved), 0) AS released,
             coalesce(sum(absorbed), 0) AS absorbed, coalesce(sum(conflicts), 0) AS conflicts
      FROM ledger.reservation) AS r"""

CALLS = """
SELECT provider, outcome, sum(calls) FROM ledger.usage_by_tool GROUP BY provider, outcome ORDER BY provider, outcome"""

LEFT_ALONE = """
SELECT provider_id, count(*) FROM runs_limit WHERE open_until IS NOT NULL GROUP BY provider_id ORDER BY provider_id"""

# A run waits for a worker from when its reservation was opened: one that needed approval was made long before.
OPEN_RUNS = """
SELECT r.status, count(*), extract(epoch FROM ledger.clock() - min(v.opened_at))::float
FROM runs_run AS r LEFT JOIN ledger.reservation AS v ON v.org = r.org_id AND v.run = r.id AND r.status = 'queued'
WHERE r.status IN ('awaiting_approval', 'queued', 'running', 'paused', 'cancelling') GROUP BY r.status"""

LATE = "SELECT coalesce(sum(late_settles), 0) FROM runs_run WHERE late_settles > 0"

# An item holds from its first attempt on. Who waits for an answer, or for its provider, is not waiting for a worker.
IN_FLIGHT = """
SELECT count(*), count(i.unanswered_at), coalesce(extract(epoch FROM ledger.clock() - min(a.sent_at)), 0)::float,
       greatest(coalesce(extract(epoch FROM clock_timestamp() - min(i.lease_until) FILTER (
         WHERE i.unanswered_at IS NULL AND r.pause_reason IS DISTINCT FROM 'provider_unavailable')), 0), 0)::float
FROM runs_item AS i JOIN runs_run AS r ON r.id = i.run_id
LEFT JOIN runs_attempt AS a ON a.run_id = i.run_id AND a.item = i.number AND a.number = 0
WHERE i.status = 'running'"""

BOOKS = """
SELECT count(*) FILTER (WHERE broken <> '{}'),
       coalesce(sum((SELECT sum(jsonb_array_length(found)) FROM jsonb_each(broken) AS b(name, found))), 0),
       coalesce(extract(epoch FROM ledger.clock() - min(at)), 0)::float
FROM ledger.proof"""

EVENTS = """
SELECT state, count(*), extract(epoch FROM ledger.clock() - min(received_at))::float FROM billing_stripeevent
WHERE state IN ('received', 'failed', 'parked') GROUP BY state"""

CHECK = """
SELECT jsonb_array_length(drift), extract(epoch FROM ledger.clock() - at)::float FROM billing_stripecheck
ORDER BY at DESC LIMIT 1"""

OPEN = ("awaiting_approval", "queued", "running", "paused", "cancelling")


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer the figures in Prometheus' text format, to who has the token; in the demo, to its own machine."""
    _admit(request)
    return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _admit(request: HttpRequest) -> None:
    """Without a token there is no such page: behind a proxy on the same machine everybody comes from loopback."""
    if settings.METRICS_TOKEN:
        shown = request.headers.get("Authorization", "").encode()
        if secrets.compare_digest(shown, f"Bearer {settings.METRICS_TOKEN}".encode()):
            return
    elif settings.PLAYING and request.META["REMOTE_ADDR"] in LOOPBACK:
        return
    raise Http404


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures())
    return registry


class _Figures(Collector):
    def describe(self) -> list[Metric]:
        return []  # or registering would ask the database

    def collect(self) -> Iterator[Metric]:
        yield from _credits()
        yield from _calls()
        yield from _runs()
        yield from _books()
        yield from _stripe()
        yield from _queue()


def _credits() -> Iterator[Metric]:
    ((captured, released, absorbed, available, reserved, conflicts),) = _rows(CREDITS)
    yield _total("oxygen_credits_captured", "Credits captured for good.", captured)
    yield _total("oxygen_credits_released", "Credits runs gave back of what they had reserved.", released)
    yield _total("oxygen_credits_absorbed", "Credits providers billed beyond what could be charged.", absorbed)
    yield _now("oxygen_credits_available", "Credits new work may hold, of all organizations.", available)
    yield _now("oxygen_credits_reserved", "Credits open runs hold, of all organizations.", reserved)
    yield _total("oxygen_settle_conflicts", "Attempts settled again with other content.", conflicts)


def _calls() -> Iterator[Metric]:
    calls = CounterMetricFamily("oxygen_provider_calls", "Provider calls that settled.", labels=("provider", "outcome"))
    unknown = 0
    for provider, outcome, count in _rows(CALLS):
        calls.add_metric((provider, outcome), count)
        unknown += count if outcome == "unknown" else 0
    yield calls
    alone = GaugeMetricFamily(
        "oxygen_provider_left_alone", "Accounts that fail and are not called.", labels=("provider",)
    )
    for provider, count in _rows(LEFT_ALONE):
        alone.add_metric((provider,), count)
    yield alone
    yield _total("oxygen_attempts_unknown", "Attempts given up without an answer.", unknown)


def _runs() -> Iterator[Metric]:
    counts, ages = dict.fromkeys(OPEN, 0), {}
    for status, count, age in _rows(OPEN_RUNS):
        counts[status], ages[status] = count, age
    runs = GaugeMetricFamily("oxygen_runs", "Runs that have not ended.", labels=("status",))
    for status, count in counts.items():
        runs.add_metric((status,), count)
    yield runs
    yield _now("oxygen_run_lag_seconds", "Since when the oldest queued run waits.", ages.get("queued", 0))
    ((items, unanswered, hold, overdue),) = _rows(IN_FLIGHT)
    yield _now("oxygen_items_in_flight", "Items with a hold and a lease.", items)
    yield _now("oxygen_items_unanswered", "Those of which it is unknown what became of their call.", unanswered)
    yield _now("oxygen_oldest_hold_seconds", "Since when the oldest item in flight is held for.", hold)
    ((late,),) = _rows(LATE)
    yield _total("oxygen_late_settles", "Answers that came too late to move anything.", late)
    yield _now("oxygen_lease_overdue_seconds", "Since when the oldest lapsed lease waits to be taken over.", overdue)


def _books() -> Iterator[Metric]:
    ((orgs, drifts, age),) = _rows(BOOKS)
    yield _now("oxygen_books_drifts", "Contradictions the last proofs found. Must be 0.", drifts)
    yield _now("oxygen_books_drifted_organizations", "Organizations whose books do not tie out. Must be 0.", orgs)
    yield _now("oxygen_books_proof_age_seconds", "Since when some organization's books were not proved.", age)


def _stripe() -> Iterator[Metric]:
    counts, ages = dict.fromkeys(("received", "failed", "parked"), 0), {}
    for state, count, age in _rows(EVENTS):
        counts[state], ages[state] = count, age
    events = GaugeMetricFamily("oxygen_stripe_events", "Stripe's events that led to nothing yet.", labels=("state",))
    for state, count in counts.items():
        events.add_metric((state,), count)
    yield events
    waited = ages.get("received", 0)
    yield _now("oxygen_stripe_event_lag_seconds", "Since when the oldest received event waits.", waited)
    ((drifts, age),) = _rows(CHECK) or [(0, 0)]
    yield _now("oxygen_stripe_drifts", "What the last comparison with Stripe found different. Must be 0.", drifts)
    yield _now("oxygen_stripe_check_age_seconds", "Since when nothing was compared with Stripe.", age)


def _queue() -> Iterator[Metric]:
    now = standing()
    yield _now("oxygen_workers", "Workers that gave a sign of life.", now.workers)
    yield _now("oxygen_jobs_due", "Jobs that could run now.", now.jobs_due)
    yield _now("oxygen_job_lag_seconds", "Since when the oldest of them is due.", now.job_lag or 0)
    yield _now("oxygen_ledger_months_ahead", "Months of ledger partitions ready. At least 1.", now.months_ahead)


def _total(name: str, says: str, value: Any) -> Metric:
    return CounterMetricFamily(name, says, value=value)


def _now(name: str, says: str, value: Any) -> Metric:
    return GaugeMetricFamily(name, says, value=value)


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()
