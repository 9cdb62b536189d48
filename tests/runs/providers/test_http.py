"""What comes over the wire to providers: odd answers that are no other call's trouble, and credentials sent back."""

import asyncio
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from threading import Thread
from typing import Any

import pytest

from billing.models import Organization, User
from runs import accounts, dispatch, worker
from runs.dispatch import Answer, Call
from runs.models import Provider, Run
from runs.providers.http import Wire
from tests.conftest import lines
from tests.runs.conftest import ME, assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, HUBSPOT = "hunter.email_finder", "hubspot.contact_upsert"
KEY = 'pat/eu1"3f9c\\x'

type Said = tuple[int, dict[str, str], bytes]

FOUND: Said = (200, {}, b'{"result": {"email": "a@b.example"}, "cost": "1"}')


class Desk(ThreadingHTTPServer):
    """A provider that answers as `says` does, which is given a call's number among all and the key it came with."""

    calls = 0
    says: Callable[[int, str], Said]


class Clerk(BaseHTTPRequestHandler):
    server: Desk

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls += 1
        status, headers, body = self.server.says(self.server.calls, self.headers.get("Authorization", ""))
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def desk(settings: Any) -> Iterator[Desk]:
    desk = Desk(("127.0.0.1", 0), Clerk)
    Thread(target=desk.serve_forever, daemon=True).start()
    settings.PROVIDERS_URL = f"http://127.0.0.1:{desk.server_port}"
    yield desk
    desk.shutdown()
    desk.server_close()


# What nobody foresaw: the HTTP client itself raises a ValueError for such a Location, followed or not.
ODD: dict[str, Said] = {
    "a Location that is none": (302, {"Location": "//:80"}, b""),
    "a year that is none": (429, {"Retry-After": "Fri, 31 Dec 99999999999 23:59:59 GMT"}, b"never seen"),
    "a number that is none": (200, {}, b'{"result": {"x": 1e99999999999999999999}}'),
    "a result without an end": (200, {}, b'{"result": {"x": ' + b"[" * 2_000 + b"]" * 2_000 + b"}}"),
}


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_is_no_other_calls_trouble(acme: Organization, alice: User, desk: Desk, odd: str) -> None:
    desk.says = lambda n, _: ODD[odd] if n == 1 else FOUND
    run = start(acme, alice, HUNTER, rows=4, cap=4)
    worker.drive_slice(run.id, 1)
    assert run.items.filter(status="succeeded").count() >= 3
    assert booked(run).captured >= 3
    assert_books_hold(acme)


@pytest.mark.usefixtures("fresh_database")
def test_an_answer_nobody_foresaw_is_told_loudly_and_of_no_use(
    acme: Organization, alice: User, desk: Desk, written: StringIO
) -> None:
    desk.says = lambda n, _: ODD["a Location that is none"]
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    worker.drive_slice(run.id, 1)
    assert run.items.get().unanswered_at is not None
    (told,) = [line for line in lines(written, "oxygen.runs") if line["level"] == "error"]
    assert (told["item"], told["attempt"]) == (1, 0)
    assert "ValueError" in told["exception"]


# ------------------------------------------------------------------ the org's own credential


def echo(status: int) -> Callable[[int, str], Said]:
    """An answer that repeats the key wherever it can, one slash of it written as JSON also allows."""

    def says(_: int, shown: str) -> Said:
        key = shown.removeprefix("Bearer ")
        body = {
            "id": f"req-{key}",
            "error": {"code": "x", "message": f"{key} is no valid key. Not {key}"},
            "result": {f"by {key}": [key, {"for": f"<{key}>"}]},
        }
        return status, {}, json.dumps(body).replace("/", "\\/").encode()

    return says


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "Answered. Paid on the organization's own account."),
        (401, "Refused: *** is no valid key. Not ***. Nothing was charged."),
    ],
)
def test_a_key_that_a_provider_repeats_is_nowhere_in_what_is_kept(
    acme: Organization, alice: User, desk: Desk, written: StringIO, status: int, reason: str
) -> None:
    desk.says = echo(status)
    run = start(acme, alice, HUBSPOT, rows=1, cap=None)
    accounts.connect(acme, Provider.objects.get(id="hubspot"), KEY)
    worker.drive_to_rest(run)
    attempt, item = run.attempts.get(), run.items.get()
    assert (attempt.reason, attempt.reference) == (reason, "req-***")
    assert item.result == ({"by ***": ["***", {"for": "<***>"}]} if status == 200 else None)
    assert KEY not in written.getvalue()


def test_a_key_repeated_in_what_is_looked_up_is_not_kept_either(acme: Organization, alice: User, desk: Desk) -> None:
    def says(n: int, shown: str) -> Said:
        return 200, {}, b'{"status": 401, "answer": %s}' % echo(401)(n, shown)[2]

    desk.says = says
    run = start(acme, alice, HUBSPOT, rows=1, cap=None)
    (call,) = dispatch.claim(run, ME, 1)
    answer = ask(run, call._replace(again=True, look_up=True))
    assert answer is not None
    assert answer.outcome.reason == "Refused: *** is no valid key. Not ***. Nothing was charged."
    assert answer.outcome.reference == "req-***"


def ask(run: Run, call: Call) -> Answer | None:
    async def once() -> Answer | None:
        async with Wire({"hubspot": KEY}) as wire:
            return await wire.ask(run.id, call, run.cascade[0])

    return asyncio.run(once())
