"""manage.py reconcile proves the books, notes when, and fails where they drifted."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from billing.models import Organization, Proof


def reconcile(*slug: str) -> str:
    said = StringIO()
    call_command("reconcile", *slug, stdout=said)
    return said.getvalue()


def test_right_books_are_said_to_be_right_and_the_time_is_noted(acme: Organization, globex: Organization) -> None:
    assert "books of 2 organizations are right" in reconcile()
    assert {proof.org: proof.broken for proof in Proof.objects.all()} == {acme.pk: {}, globex.pk: {}}


def test_one_organization_can_be_proved_alone(acme: Organization, globex: Organization) -> None:
    assert "books of 1 organization" in reconcile("acme")
    assert [proof.org for proof in Proof.objects.all()] == [acme.pk]


def test_an_unknown_organization_is_one_sentence(acme: Organization) -> None:
    with pytest.raises(CommandError, match="There is no organization acme-9"):
        reconcile("acme-9")


def test_drift_is_named_and_the_command_fails(acme: Organization) -> None:
    said = StringIO()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger.credit_grant SET remaining = remaining - 1")
        with pytest.raises(CommandError, match=r"\d drifts in the books"):
            call_command("reconcile", stdout=said)
        transaction.set_rollback(True)
    assert f"{acme.pk}: I2 available is what is left in the grants: available 100.0000" in said.getvalue()
