"""What the log says of a request, and what it never says."""

import logging
from io import StringIO
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse

from billing.models import Organization, User
from tests.conftest import lines


def test_a_request_is_one_line_with_its_route_and_id(acme: Organization, alice: User, written: StringIO) -> None:
    client = Client()
    client.force_login(alice)
    answer = client.get(reverse("runs:index", args=[acme.slug]), {"q": "secret"})
    (line,) = lines(written, "oxygen.requests")
    told = {name: line[name] for name in ("event", "method", "route", "status", "org", "request")}
    assert told == {
        "event": "answered",
        "method": "GET",
        "route": "orgs/<slug:slug>/runs/",
        "status": 200,
        "org": str(acme.pk),
        "request": answer["X-Request-ID"],
    }
    assert "secret" not in written.getvalue()


@pytest.mark.parametrize(("behind_proxy", "kept"), [(True, True), (False, False)])
def test_only_a_proxy_of_ours_chooses_a_requests_id(
    client: Client, settings: Any, behind_proxy: bool, kept: bool
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    answer = client.get("/healthz", headers={"X-Request-ID": "from-outside-1"})
    assert (answer["X-Request-ID"] == "from-outside-1") is kept


def test_an_id_that_would_break_the_line_is_not_taken(client: Client, settings: Any) -> None:
    settings.BEHIND_PROXY = True
    assert len(client.get("/healthz", headers={"X-Request-ID": 'x" } forged {'})["X-Request-ID"]) == 32


@pytest.mark.django_db
def test_a_key_in_a_path_is_not_told(client: Client, written: StringIO) -> None:
    client.get("/no/such/key-4f9a/")
    client.get("/no/such/kéy-4f9a/")
    assert [line["event"] for line in lines(written, "django.request")] == ["Not Found: /…", "Not Found: /…"]
    assert "4f9a" not in written.getvalue()


@pytest.mark.django_db
def test_what_the_database_quotes_of_a_row_is_cut_off(written: StringIO) -> None:
    row = "\n\n".join(["ada", "love" + "lace"])  # a traceback shows the code, so the word must not stand in it
    try:
        try:
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMP TABLE kept (word text CHECK (word = ''))")
                cursor.execute("INSERT INTO kept VALUES (%s)", [row])
        except DatabaseError as quoting:
            raise ExceptionGroup("in a slice", [quoting, ValueError("the other one")]) from quoting
    except ExceptionGroup:
        logging.getLogger("oxygen.runs").exception("failed")
    (line,) = lines(written, "oxygen.runs")
    assert "violates check constraint" in line["exception"]
    assert "the other one" in line["exception"]
    assert "lovelace" not in written.getvalue()
