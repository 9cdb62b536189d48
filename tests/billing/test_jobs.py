"""Periodic work on credits does all that is due, and says aloud what is wrong."""

import logging
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from billing import jobs, ledger
from billing.models import Entry, Organization, Proof
from oxygen_site.clock import advance
from tests.billing import moves


def test_every_org_whose_grants_are_due_has_them_expired(acme: Organization, globex: Organization) -> None:
    moves.grant(globex.pk, 7, days=90)
    advance(timedelta(days=31))
    jobs.expire_due()
    assert (moves.balance(acme.pk), moves.balance(globex.pk)) == ((0, 0, 0), (7, 0, 0))
    assert set(Entry.objects.filter(kind="expired").values_list("actor", flat=True)) == {"system:expiry"}


def test_where_nothing_is_due_nothing_is_booked(acme: Organization) -> None:
    jobs.expire_due()
    assert moves.entries(acme.pk) == [("granted", 100)]


def test_the_books_are_proved_hourly_and_nightly(acme: Organization, caplog: pytest.LogCaptureFixture) -> None:
    jobs.prove_hourly()
    jobs.prove_nightly()
    assert Proof.objects.get(org=acme.pk).broken == {}
    assert caplog.records == []


def test_drift_is_logged_as_an_error(acme: Organization, caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger.credit_grant SET remaining = remaining - 1")
        jobs.prove_hourly()
        transaction.set_rollback(True)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * len(caplog.records) != []
    assert str(acme.pk) in caplog.text


def test_three_months_of_entries_are_ready(ground: None, caplog: pytest.LogCaptureFixture) -> None:
    jobs.make_months()
    assert ledger.make_months() >= 3
    assert caplog.records == []


def test_time_that_moves_finds_its_months_made(acme: Organization) -> None:
    advance(timedelta(days=400))
    moves.grant(acme.pk, 5)
    assert ledger.make_months() >= 3


def test_the_command_makes_the_same_months(ground: None) -> None:
    call_command("make_months")
    assert ledger.make_months() >= 3
