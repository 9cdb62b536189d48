"""Own accounts at providers: connected by an admin, kept encrypted, sent with the org's own calls and nowhere else."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Organization, User
from oxygen_site.transactions import Refused
from runs import accounts, lifecycle, worker
from runs.models import Integration, Provider
from tests.runs.conftest import assert_books_hold, booked, column_of, start, table_of

pytestmark = pytest.mark.usefixtures("catalog")

HUBSPOT, HUNTER = "hubspot.contact_upsert", "hunter.email_finder"
KEY = "pat-eu1-3f9c"


def provider(name: str) -> Provider:
    return Provider.objects.get(id=name)


class Desk(ThreadingHTTPServer):
    """A provider that finds something for everybody and remembers who asked it for what."""

    seen: list[tuple[str, str | None]]


class Clerk(BaseHTTPRequestHandler):
    server: Desk

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((asked["tool"], self.headers["Authorization"]))
        answers = {HUNTER: b'{"result": {"email": "a@b.example"}, "cost": "1"}'}
        found = answers.get(asked["tool"], b'{"result": null}')
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def desk(settings: Any) -> Iterator[Desk]:
    desk = Desk(("127.0.0.1", 0), Clerk)
    desk.seen = []
    Thread(target=desk.serve_forever, daemon=True).start()
    settings.PROVIDERS_URL = f"http://127.0.0.1:{desk.server_port}"
    yield desk
    desk.shutdown()
    desk.server_close()


def test_a_run_that_needs_an_account_nobody_connected_is_refused_naming_it(acme: Organization, alice: User) -> None:
    column = column_of(table_of(acme, 2), HUNTER, HUBSPOT)
    with pytest.raises(Refused, match="HubSpot, which is not connected") as refused:
        lifecycle.create(column.table, column, cap="2", by=alice)
    assert (refused.value.code, refused.value.status) == ("integration_required", 422)
    accounts.connect(acme, provider("hubspot"), KEY)
    assert lifecycle.create(column.table, column, cap="2", by=alice).status == "queued"


def test_a_credential_is_stored_as_nobody_can_read_it(acme: Organization) -> None:
    kept = bytes(accounts.connect(acme, provider("hubspot"), KEY).credential or b"")
    assert KEY.encode() not in kept
    assert len(kept) > 60


def test_connecting_makes_an_own_account_free_and_disconnecting_paid_again(acme: Organization, alice: User) -> None:
    accounts.connect(acme, provider("hunter"), KEY)
    assert start(acme, alice, HUNTER, rows=1, cap=None).unit == 0
    accounts.disconnect(acme, provider("hunter"))
    accounts.disconnect(acme, provider("hunter"))
    assert start(acme, alice, HUNTER, rows=1, cap=1).unit == 1


def test_connecting_again_takes_the_old_keys_place(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUBSPOT, rows=1, cap=None)
    accounts.connect(acme, provider("hubspot"), "a-newer-key")
    assert accounts.credentials(run) == {"hubspot": "a-newer-key"}


@pytest.mark.parametrize("wrong", ["", "short", "two words here", "line\nbreak-in-it", "schlüssel-eins", "x" * 401])
def test_what_cannot_be_a_key_is_refused_by_its_field(acme: Organization, wrong: str) -> None:
    with pytest.raises(Refused) as refused:
        accounts.connect(acme, provider("hubspot"), wrong)
    assert (refused.value.code, refused.value.field) == ("invalid_credential", "credential")
    assert not Integration.objects.exists()


def test_without_the_servers_key_nothing_is_kept(acme: Organization, settings: Any) -> None:
    settings.CREDENTIALS_KEY = ""
    with pytest.raises(Refused, match="the server has no key"):
        accounts.connect(acme, provider("hubspot"), KEY)


def test_a_credential_of_another_server_key_counts_as_not_connected(
    acme: Organization, alice: User, settings: Any
) -> None:
    run = start(acme, alice, HUBSPOT, rows=1, cap=None)
    settings.CREDENTIALS_KEY = "another-key-that-is-known-to-nobody-here-00="
    assert accounts.credentials(run) == {}


@pytest.mark.usefixtures("fresh_database")
def test_the_credential_goes_with_the_orgs_own_calls_and_no_others(acme: Organization, alice: User, desk: Desk) -> None:
    run = start(acme, alice, HUBSPOT, HUNTER, rows=1, cap=1)
    accounts.connect(acme, provider("hubspot"), KEY)
    assert worker.drive_to_rest(run).status == "succeeded"
    assert desk.seen == [(HUBSPOT, f"Bearer {KEY}"), (HUNTER, None)]
    assert booked(run).captured == 1
    assert_books_hold(acme)


@pytest.mark.usefixtures("fresh_database")
def test_an_account_disconnected_meanwhile_is_not_called(acme: Organization, alice: User, desk: Desk) -> None:
    run = start(acme, alice, HUBSPOT, HUNTER, rows=1, cap=1)
    accounts.disconnect(acme, provider("hubspot"))
    worker.drive_to_rest(run)
    assert desk.seen == [(HUNTER, None)]
    assert run.attempts.get(tool=HUBSPOT).outcome == "failed_before_billing"
    assert_books_hold(acme)


# ------------------------------------------------------------------ the page


@pytest.fixture
def page(acme: Organization, alice: User, client: Client) -> str:
    client.force_login(alice)
    return reverse("runs:accounts", args=[acme.slug])


def test_an_admin_connects_and_disconnects(page: str, acme: Organization, client: Client) -> None:
    assert client.post(page, {"do": "connect", "provider": "hubspot", "credential": KEY}).status_code == 302
    shown = client.get(page).content.decode()
    assert "You, connected" in shown
    assert KEY not in shown
    assert client.post(page, {"do": "disconnect", "provider": "hubspot"}).status_code == 302
    assert not Integration.objects.filter(org=acme).exists()


def test_what_cannot_be_a_key_is_said_on_the_page_and_not_repeated(page: str, client: Client) -> None:
    answer = client.post(page, {"do": "connect", "provider": "hubspot", "credential": "two words"})
    assert answer.status_code == 422
    assert "That is no API key" in answer.content.decode()
    assert "two words" not in answer.content.decode()


def test_there_is_no_such_provider(page: str, client: Client) -> None:
    assert client.post(page, {"do": "connect", "provider": "acme", "credential": KEY}).status_code == 422
