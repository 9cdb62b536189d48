"""One local Stripe for these tests, emptied before each; the SDK that talks to it shows every answer to the judge."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import stripe

from tests.sandbox.stripe.schema import Json, judged, judged_event, judged_object

NEW_YEAR = int(datetime(2027, 1, 1, 12, tzinfo=UTC).timestamp())


class Judged(stripe.RequestsClient):
    """The SDK's own transport; what it brings back is held against Stripe's schema."""

    def __init__(self) -> None:
        super().__init__(timeout=(5, 20))
        self.faults: list[str] = []
        self.answers = 0

    def request(  # type: ignore[override]  # as the transport it stands on
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, said = super().request(method, url, headers, post_data)
        self.answers += 1
        self.faults += judged(method.lower(), urlsplit(url).path, status, json.loads(body))
        return body, status, said


class Sandbox:
    """The local Stripe from outside: its control API, its pages, and the SDK pointed at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=20, trust_env=False)
        self.judge = Judged()
        client = self.client()
        self.stripe = client.v1

    def client(self, **more: Any) -> stripe.StripeClient:
        wished: dict[str, Any] = {"http_client": self.judge, "base_addresses": {"api": self.url}}
        return stripe.StripeClient("sk_test_oxygen", **(wished | more))

    def order(self, verb: str, **wishes: Any) -> Json:
        """Use the control API."""
        answer = self.http.post(f"/_emu/{verb}", json=wishes)
        assert answer.status_code == 200, answer.text
        done: Json = answer.json()
        return done

    def press(self, path: str, act: str, **fields: str) -> httpx2.Response:
        """Press a button of a hosted page, as a browser without scripts."""
        return self.http.post(urlsplit(path).path, data={"act": act, **fields})

    def delivered(self) -> Json:
        """Wait until the post has nothing left to send."""
        for _ in range(400):
            account: Json = self.http.get("/_emu/deliveries").json()
            if not account["pending"]:
                return account
            time.sleep(0.02)
        raise AssertionError(f"still in the post: {account}")

    def told(self, *names: str) -> list[str]:
        """The names of the events so far, oldest first; only those asked for, when some are."""
        rows = [each["type"] for each in self.events()]
        return [name for name in rows if name in names] if names else rows

    def events(self) -> list[Json]:
        """All events as they were sent, oldest first."""
        rows: list[Json] = []
        more, key = True, {"Authorization": "Bearer sk_test_oxygen"}
        while more:
            after = {"starting_after": rows[-1]["id"]} if rows else {}
            answer = self.http.get("/v1/events", params={"limit": "100", **after}, headers=key).json()
            rows, more = rows + answer["data"], answer["has_more"]
        return rows[::-1]


@pytest.fixture(scope="session")
def _stripe() -> Iterator[Sandbox]:
    command = [sys.executable, "-m", "sandbox.stripe", "--port", "0", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = Sandbox(process.stdout.readline().strip())
        yield seen
        seen.http.close()
        process.terminate()


@pytest.fixture
def sandbox(_stripe: Sandbox) -> Iterator[Sandbox]:
    """An empty Stripe. Afterwards, no answer, event or object of it may be other than the schema says."""
    _stripe.order("reset")
    _stripe.judge.faults.clear()
    yield _stripe
    faults = [fault for event in _stripe.events() for fault in judged_event(event)]
    faults += [fault for thing in _stripe.http.get("/_emu/objects").json()["objects"] for fault in judged_object(thing)]
    assert _stripe.judge.faults + faults == []


@pytest.fixture
def prices(sandbox: Sandbox) -> Callable[..., stripe.Price]:
    """Sell something: `prices("starter", 2000)` by the month, or by another interval, or once."""

    def price(key: str, amount: int, interval: str | None = "month") -> stripe.Price:
        product = sandbox.stripe.products.create(params={"name": key.title()})
        wished: Any = {"product": product.id, "currency": "usd", "unit_amount": amount, "lookup_key": key}
        if interval:
            wished["recurring"] = {"interval": interval}
        return sandbox.stripe.prices.create(params=wished)

    return price


@pytest.fixture
def buyer(sandbox: Sandbox) -> Callable[..., stripe.Customer]:
    """Somebody with a card, on a test clock that stands at New Year unless another instant is named."""

    def customer(card: str = "pm_card_visa", at: int = NEW_YEAR) -> stripe.Customer:
        clock = sandbox.stripe.test_helpers.test_clocks.create(params={"frozen_time": at})
        made = sandbox.stripe.customers.create(params={"email": "ada@acme.example", "test_clock": clock.id})
        method = sandbox.stripe.payment_methods.attach(card, params={"customer": made.id})
        return sandbox.stripe.customers.update(
            made.id, params={"invoice_settings": {"default_payment_method": method.id}}
        )

    return customer


@pytest.fixture
def pass_time(sandbox: Sandbox) -> Callable[[stripe.Customer, int], None]:
    """Advance a customer's clock by so many seconds."""

    def advance(customer: stripe.Customer, seconds: int) -> None:
        assert isinstance(customer.test_clock, str)
        clock = sandbox.stripe.test_helpers.test_clocks.retrieve(customer.test_clock)
        sandbox.stripe.test_helpers.test_clocks.advance(clock.id, params={"frozen_time": clock.frozen_time + seconds})
        assert sandbox.stripe.test_helpers.test_clocks.retrieve(clock.id).status == "ready"

    return advance
