"""The figures from outside, told to who may know them, the same as the books say."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from billing import books, orgs
from billing.models import Organization, StripeCheck, StripeEvent, User
from oxygen_site.clock import advance, clock
from runs import dispatch, lifecycle, standing
from runs.dispatch import Answer
from runs.models import Run
from runs.providers.outcomes import Outcome
from tests.runs.conftest import booked, start

TOKEN = "a token of forty characters or thereabouts"
HUNTER = "hunter.email_finder"


def figures(client: Client, **headers: str) -> dict[str, Any]:
    """Every sample by its name and labels."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    samples = [
        sample for family in text_string_to_metric_families(answer.content.decode()) for sample in family.samples
    ]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


@pytest.fixture
def client() -> Client:
    return Client(REMOTE_ADDR="127.0.0.1")


@pytest.fixture
def catalog(db: None) -> None:
    call_command("sync_catalog", stdout=StringIO())


# ------------------------------------------------------------------ who may


@pytest.mark.django_db
@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer no", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}é"])
def test_without_the_token_there_is_nothing_here(client: Client, settings: Any, shown: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert client.get("/metrics", headers={"Authorization": shown}).status_code == 404


@pytest.mark.django_db
def test_the_token_opens_it(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert figures(Client(REMOTE_ADDR="203.0.113.5"), Authorization=f"Bearer {TOKEN}")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("playing", "address", "status"),
    [(True, "127.0.0.1", 200), (True, "::1", 200), (True, "203.0.113.5", 404), (False, "127.0.0.1", 404)],
)
def test_where_no_token_is_set_only_the_demo_tells_its_own_machine(
    settings: Any, playing: bool, address: str, status: int
) -> None:
    settings.METRICS_TOKEN, settings.PLAYING = "", playing
    assert Client(REMOTE_ADDR=address).get("/metrics").status_code == status


# ------------------------------------------------------------------ what


@pytest.mark.django_db
def test_an_empty_house_has_every_figure_and_all_are_0(client: Client) -> None:
    told = figures(client)
    assert told.pop("oxygen_ledger_months_ahead") == 3
    assert set(told.values()) == {0}
    assert {"oxygen_credits_captured_total", "oxygen_attempts_unknown_total", "oxygen_books_drifts"} <= told.keys()


@pytest.mark.usefixtures("catalog")
def test_credits_are_those_of_the_books(client: Client, acme: Organization, globex: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    settle(run, 1, "succeeded", cost=3)  # two above the maximum
    settle(run, 1, "failed_before_billing")
    told = figures(client)
    assert told["oxygen_credits_captured_total"] == 1
    assert told["oxygen_credits_absorbed_total"] == 2
    assert told["oxygen_credits_reserved"] == booked(run).reserved - 1
    assert told["oxygen_credits_available"] == 200 - booked(run).reserved

    lifecycle.cancel(run, by=alice)
    told = figures(client)
    assert (told["oxygen_credits_captured_total"], told["oxygen_credits_released_total"]) == (1, 4)
    assert (told["oxygen_credits_reserved"], told["oxygen_credits_available"]) == (0, 199)


@pytest.mark.usefixtures("catalog")
def test_calls_are_counted_by_provider_and_outcome(client: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    settle(run, 2, "failed_after_billing", cost=1)
    settle(run, 1, "unknown")
    told = figures(client)
    assert told["oxygen_provider_calls_total failed_after_billing hunter"] == 2
    assert told["oxygen_provider_calls_total unknown hunter"] == told["oxygen_attempts_unknown_total"] == 1


@pytest.mark.usefixtures("catalog")
def test_what_is_in_flight_and_in_line_has_an_age(client: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    advance(timedelta(seconds=90))
    assert (told := figures(client))["oxygen_runs queued"] == 1
    assert told["oxygen_run_lag_seconds"] == pytest.approx(90, abs=5)

    standing.begin(run)
    dispatch.claim(run, uuid4(), 2)
    sql("UPDATE runs_attempt SET sent_at = sent_at - interval '600 seconds' WHERE item = 1")
    sql("UPDATE runs_item SET lease_until = clock_timestamp() - interval '7 seconds' WHERE number = 2")
    sql(
        "UPDATE runs_item SET unanswered_at = ledger.clock(), lease_until = clock_timestamp() - interval '1 hour'"
        " WHERE number = 1"
    )
    told = figures(client)
    assert (told["oxygen_runs queued"], told["oxygen_runs running"], told["oxygen_run_lag_seconds"]) == (0, 1, 0)
    assert (told["oxygen_items_in_flight"], told["oxygen_items_unanswered"]) == (2, 1)
    assert told["oxygen_oldest_hold_seconds"] == pytest.approx(600, abs=5)
    assert told["oxygen_lease_overdue_seconds"] == pytest.approx(7, abs=5)


@pytest.mark.usefixtures("catalog")
def test_a_run_is_in_line_from_its_approval_on(client: Client, acme: Organization, alice: User) -> None:
    orgs.change_approval_threshold(acme, Decimal(0))
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    advance(timedelta(days=3))
    assert (told := figures(client))["oxygen_runs awaiting_approval"] == 1
    assert told["oxygen_run_lag_seconds"] == 0
    lifecycle.approve(run, by=alice)
    assert (told := figures(client))["oxygen_runs queued"] == 1
    assert told["oxygen_run_lag_seconds"] == pytest.approx(0, abs=5)


@pytest.mark.usefixtures("catalog")
def test_a_late_settle_is_counted(client: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    (call,) = dispatch.claim(run, uuid4(), 1)
    dispatch.settle(run, uuid4(), [Answer(call, Outcome("succeeded", Decimal(1), "because"), 5)])  # of another owner
    told = figures(client)
    assert (told["oxygen_late_settles_total"], told["oxygen_credits_captured_total"]) == (1, 0)


def test_drift_that_a_proof_found_is_told(client: Client, acme: Organization) -> None:
    books.prove()
    assert figures(client)["oxygen_books_drifts"] == 0
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql("UPDATE ledger.credit_grant SET remaining = remaining - 1")
    found = books.prove()
    told = figures(client)
    assert told["oxygen_books_drifts"] == len(found) > 0
    assert told["oxygen_books_drifted_organizations"] == 1
    assert told["oxygen_books_proof_age_seconds"] < 5


def test_events_that_led_to_nothing_yet_and_drift_are_told(client: Client, db: None) -> None:
    now = clock()
    for n, state in enumerate(["received", "received", "failed", "parked", "applied", "ignored"]):
        came = now - timedelta(seconds=60 * n)
        facts = {"type": "invoice.paid", "object": "in_1", "created_at": came, "received_at": came, "payload": {}}
        StripeEvent.objects.create(id=f"evt_{n}", state=state, **facts)
    StripeCheck.objects.create(at=now - timedelta(days=1), caught_up=0, drift=[["invoice in_1", "here", "there"]] * 3)
    StripeCheck.objects.create(at=now, caught_up=7, drift=[["invoice in_1", "not taken down", "paid"]])
    told = figures(client)
    assert [told[f"oxygen_stripe_events {state}"] for state in ("received", "failed", "parked")] == [2, 1, 1]
    assert told["oxygen_stripe_event_lag_seconds"] == pytest.approx(60, abs=5)
    assert told["oxygen_stripe_drifts"] == 1
    assert told["oxygen_stripe_check_age_seconds"] == pytest.approx(0, abs=5)


@pytest.mark.usefixtures("catalog")
def test_no_organization_person_or_run_is_named(
    client: Client, acme: Organization, alice: User, django_assert_num_queries: Any
) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    settle(run, 1, "succeeded", cost=1)
    with django_assert_num_queries(10):
        text = client.get("/metrics").content.decode()
    for name in (acme.name, acme.slug, str(acme.pk), alice.email, str(alice.pk), str(run.id), run.name):
        assert name.lower() not in text.lower()


def settle(run: Run, n: int, outcome: str, cost: int = 0) -> None:
    owner = uuid4()
    calls = dispatch.claim(run, owner, n)
    assert len(calls) == n
    answers = [Answer(call, Outcome(outcome, Decimal(cost), "because"), 5) for call in calls]
    dispatch.settle(run, owner, answers)


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
