"""What a probe is told: that the process answers, and what stands in the way of work."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from oxygen_site.jobs import defer, rescue
from tests import cluster

pytestmark = pytest.mark.django_db


def sql(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.fixture
def worker() -> None:
    """A worker that has just given a sign of life, as the queue itself registers one."""
    sql("SELECT procrastinate_register_worker_v1()")


def checks(client: Client, *, status: int) -> dict[str, Any]:
    answer = client.get("/readyz")
    assert answer.status_code == status
    assert answer.json()["status"] == ("ready" if status == 200 else "not ready")
    return answer.json()["checks"]


def test_a_process_that_answers_says_so_and_asks_nobody(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.usefixtures("worker")
def test_all_is_well(client: Client, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(3):
        assert checks(client, status=200) == {
            "database": {"ok": True},
            "migrations": {"ok": True, "missing": 0},
            "workers": {"ok": True, "alive": 1, "youngest_heartbeat_seconds": 0},
            "jobs": {"ok": True, "due": 0, "oldest_due_seconds": None},
            "ledger_months": {"ok": True, "ahead": 3},
        }


def test_without_a_worker_nothing_will_be_done(client: Client) -> None:
    assert checks(client, status=503)["workers"] == {"ok": False, "alive": 0, "youngest_heartbeat_seconds": None}


@pytest.mark.usefixtures("worker")
def test_a_worker_that_is_silent_too_long_does_not_count(client: Client, settings: Any) -> None:
    sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '100 seconds'")
    settings.RESCUE_SECONDS = 99
    told = checks(client, status=503)["workers"]
    assert (told["ok"], told["youngest_heartbeat_seconds"]) == (False, 100)
    settings.RESCUE_SECONDS = 101
    assert checks(client, status=200)["workers"]["alive"] == 1


@pytest.mark.usefixtures("worker")
def test_a_job_that_nobody_takes_stands_in_the_way(client: Client) -> None:
    defer(rescue, timestamp=0)
    assert checks(client, status=200)["jobs"] == {"ok": True, "due": 1, "oldest_due_seconds": 0}
    sql("UPDATE procrastinate_events SET at = at - interval '301 seconds'")
    assert checks(client, status=503)["jobs"] == {"ok": False, "due": 1, "oldest_due_seconds": 301}


@pytest.mark.usefixtures("worker")
def test_a_job_for_later_is_not_due(client: Client) -> None:
    defer(rescue, after=timedelta(hours=1), timestamp=0)
    sql("UPDATE procrastinate_events SET at = at - interval '1 day'")
    assert checks(client, status=200)["jobs"]["due"] == 0


@pytest.mark.usefixtures("worker")
def test_the_last_month_of_the_ledger_stands_in_the_way(client: Client) -> None:
    sql("UPDATE ledger.clock_offset SET ahead = '3 months'")  # to where nobody has made months yet
    assert checks(client, status=503)["ledger_months"] == {"ok": False, "ahead": 0}


@pytest.mark.usefixtures("worker")
def test_a_migration_that_was_not_applied_stands_in_the_way(client: Client) -> None:
    sql("DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations WHERE app = 'billing')")
    assert checks(client, status=503) == {
        "database": {"ok": True},
        "migrations": {"ok": False, "missing": 1},
    }


@pytest.mark.usefixtures("fresh_database")
def test_without_its_database_the_process_lives_and_is_not_ready(client: Client) -> None:
    with cluster.pointed_at("oxygen_test_that_is_not_there"):
        assert client.get("/healthz").status_code == 200
        assert checks(client, status=503) == {"database": {"ok": False}}


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/metrics"])
def test_a_probe_changes_nothing(client: Client, address: str) -> None:
    assert client.post(address).status_code == 405
