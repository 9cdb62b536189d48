"""Whole runs, driven by the worker's own code over real HTTP."""

from decimal import Decimal

import pytest

from billing.models import Account, Organization, User
from runs import worker
from runs.models import Run
from tests.runs.conftest import Providers, assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("fresh_database", "catalog")


def test_a_run_ends_and_captures_what_was_charged(acme: Organization, alice: User, providers: Providers) -> None:
    run = worker.drive_to_rest(start(acme, alice, "hunter.email_finder", rows=40, cap=40))
    assert run.status == Run.Status.SUCCEEDED
    assert booked(run).captured == Decimal(providers.charges(run)["total"]) == 40
    assert Account.objects.get(org=acme.id).available == 60
    assert_books_hold(acme)
