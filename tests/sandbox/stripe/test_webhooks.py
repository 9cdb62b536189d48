"""The post: signed, tried again, and everything that may go wrong with it; as a receiver with the real SDK sees it."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import Sandbox
from tests.sandbox.stripe.schema import Json, judged_event

SECRET = "whsec_oxygen"


class Receiver(ThreadingHTTPServer):
    """An endpoint of ours: what it was sent, and the statuses it answers with next."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.received: list[tuple[bytes, str]] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/stripe/webhook/"

    def events(self, secret: str = SECRET) -> list[Json]:
        """What came, each proven by the SDK."""
        said = [stripe.Webhook.construct_event(body, header, secret, 300) for body, header in self.received]
        return [event.to_dict() for event in said]

    def ids(self) -> list[str]:
        return [event["id"] for event in self.events()]


class Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((body, self.headers["Stripe-Signature"]))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver(sandbox: Sandbox) -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sandbox.order("webhook", url=server.url, secret=SECRET)
        yield server
        sandbox.order("post", hold=True)
        server.shutdown()


def customers(sandbox: Sandbox, how_many: int) -> list[str]:
    """Make some; the ids of the events that tell of them."""
    for n in range(how_many):
        sandbox.stripe.customers.create(params={"name": str(n)})
    return [event["id"] for event in sandbox.events()]


def test_each_event_comes_once_signed_and_in_order(sandbox: Sandbox, receiver: Receiver) -> None:
    made = customers(sandbox, 3)
    sandbox.delivered()
    assert receiver.ids() == made
    event = receiver.events()[0]
    assert (event["type"], event["api_version"], event["livemode"]) == ("customer.created", "2026-10-28.endive", False)
    assert judged_event(event) == []
    assert {each["pending_webhooks"] for each in sandbox.events()} == {0}


def test_an_endpoint_made_by_the_api_hears_only_what_it_asked_for(sandbox: Sandbox, receiver: Receiver) -> None:
    (own,) = sandbox.stripe.webhook_endpoints.list().data
    sandbox.stripe.webhook_endpoints.delete(own.id)
    endpoint = sandbox.stripe.webhook_endpoints.create(
        params={"url": receiver.url, "api_version": "2026-10-28.endive", "enabled_events": ["customer.updated"]}
    )
    ada = sandbox.stripe.customers.create(params={"name": "Ada"})
    sandbox.stripe.customers.update(ada.id, params={"name": "Ada L."})
    sandbox.delivered()
    (event,) = receiver.events(str(endpoint.secret))
    assert (event["type"], event["data"]["previous_attributes"]) == ("customer.updated", {"name": "Ada"})
    sandbox.stripe.webhook_endpoints.update(endpoint.id, params={"disabled": True})
    sandbox.stripe.customers.update(ada.id, params={"name": "Ada"})
    sandbox.delivered()
    assert len(receiver.received) == 1


def test_what_is_not_taken_is_sent_again_with_the_same_id_and_a_new_signature(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers += [500, 404]
    (made,) = customers(sandbox, 1)
    (letter,) = sandbox.delivered()["letters"]
    assert letter["tries"] == [500, 404, 200]
    assert receiver.ids() == [made] * 3
    assert len({body for body, _ in receiver.received}) == 1


def test_undelivered_events_are_found_in_the_list(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.order("post", drop_next=1)
    lost, kept = customers(sandbox, 2)
    sandbox.delivered()
    assert receiver.ids() == [kept]
    missed = sandbox.stripe.events.list(params={"delivery_success": False, "types": ["customer.created"]})
    assert [each.id for each in missed.data] == [lost]
    sandbox.order("redeliver", event=lost)
    sandbox.delivered()
    assert receiver.ids() == [kept, lost]


def test_events_may_come_twice_reversed_and_shuffled(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.order("post", times=2, hold=True, order="reversed")
    made = customers(sandbox, 3)
    assert receiver.received == []
    sandbox.order("post", hold=False)
    sandbox.delivered()
    assert receiver.ids() == [each for each in reversed(made) for _ in range(2)]
    receiver.received.clear()
    sandbox.order("post", times=1, hold=True, order="shuffled", seed=3)
    later = [each for each in customers(sandbox, 5) if each not in made]
    sandbox.order("post", hold=False)
    sandbox.delivered()
    assert sorted(receiver.ids()) == sorted(later)
    assert receiver.ids() != later


def test_events_may_come_late(sandbox: Sandbox, receiver: Receiver) -> None:
    (prompt,) = customers(sandbox, 1)
    sandbox.delivered()
    sandbox.order("post", delay=600)
    customers(sandbox, 1)
    sandbox.order("post", delay=0)
    customers(sandbox, 1)
    while len(receiver.received) < 2:
        pass
    account = sandbox.http.get("/_emu/deliveries").json()
    assert [each["done"] for each in account["letters"]][1] is False
    assert receiver.ids()[0] == prompt


def test_types_may_be_dropped(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.order("post", drop_types=["customer.created"])
    customers(sandbox, 2)
    assert all(each["dropped"] for each in sandbox.delivered()["letters"])
    assert receiver.received == []


@pytest.mark.parametrize("habit", [{"secret": "whsec_mallory"}, {"age": 301}])
def test_a_forged_or_stale_signature_is_seen_by_the_sdk(
    sandbox: Sandbox, receiver: Receiver, habit: dict[str, Any]
) -> None:
    sandbox.order("post", **habit)
    customers(sandbox, 1)
    sandbox.delivered()
    with pytest.raises(stripe.SignatureVerificationError):
        receiver.events()


def test_an_event_may_claim_another_api_version(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.order("post", api_version="2020-08-27")
    customers(sandbox, 1)
    sandbox.delivered()
    assert receiver.events()[0]["api_version"] == "2020-08-27"


def test_the_success_page_can_be_made_to_come_before_the_event(
    sandbox: Sandbox, receiver: Receiver, prices: Any
) -> None:
    sandbox.order("post", hold=True)
    session = sandbox.stripe.checkout.sessions.create(
        params={
            "mode": "subscription",
            "line_items": [{"price": prices("starter", 2000).id, "quantity": 1}],
            "success_url": "http://oxygen.example/",
        }
    )
    assert sandbox.press(str(session.url), "pay", number="4242424242424242").status_code == 303
    assert receiver.received == []
    sandbox.order("post", hold=False)
    sandbox.delivered()
    assert receiver.events()[-1]["type"] == "checkout.session.completed"


@pytest.mark.parametrize(
    ("verb", "wishes"),
    [
        ("post", {"order": "random"}),
        ("webhook", {"url": "https://billing.example/hook"}),
        ("webhook", {"url": "ftp://127.0.0.1/"}),
        ("post", {"speed": 5}),
        ("settings", {"after_retries": "forgive"}),
        ("settings", {"mood": "bad"}),
        ("settings", {"tax_percent": "much"}),
        ("faults", {"kind": "flood"}),
        ("clock", {}),
        ("disputes", {"charge": "ch_none"}),
        ("redeliver", {"event": "evt_none"}),
        ("wonders", {}),
    ],
)
def test_the_control_api_refuses_what_it_does_not_know(sandbox: Sandbox, verb: str, wishes: dict[str, Any]) -> None:
    before = sandbox.http.get("/_emu").json()
    answer = sandbox.http.post(f"/_emu/{verb}", json=wishes)
    assert answer.status_code in (400, 404, 422)
    assert answer.json()["error"]["message"]
    after = sandbox.http.get("/_emu").json()
    assert {**after, "now": 0} == {**before, "now": 0}


def test_a_port_that_is_taken_is_said_in_words(sandbox: Sandbox) -> None:
    port = sandbox.url.rpartition(":")[2]
    tried = subprocess.run(
        [sys.executable, "-m", "sandbox.stripe", "--port", port], capture_output=True, text=True, timeout=30
    )
    assert tried.returncode == 1
    assert f"Port {port} cannot be used" in tried.stderr
