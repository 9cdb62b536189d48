"""The local Stripe as tests have it: one process, its control API and pages, and a judge of all that it says.

For the sandbox's own tests and for the product's, which talk to it over HTTP. Every answer that the SDK brings back is
held against Stripe's schema at once; every event and object there is, when a test is over.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import stripe

from tests.sandbox.stripe.schema import Json, judged, judged_event, judged_object

NEW_YEAR = int(datetime(2027, 1, 1, 12, tzinfo=UTC).timestamp())
RANDOM = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OF_FACTS = re.compile(r"[a-z_]+:\S+")  # an idempotency key says what is asked for, and of which row of ours


class Judged(stripe.RequestsClient):
    """The SDK's own transport; what it brings back is held against Stripe's schema.

    The keys that the SDK makes up for `by` are named after it, so that the log tells them from the product's.
    """

    def __init__(self, by: str = "") -> None:
        super().__init__(timeout=(5, 20))
        self.by = by
        self.faults: list[str] = []
        self.answers = 0

    def request(  # type: ignore[override]  # as the transport it stands on
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        headers = dict(headers or {})
        if self.by and RANDOM.fullmatch(key := headers.get("Idempotency-Key", "")):
            headers["Idempotency-Key"] = f"{self.by}:{key}"
        body, status, said = super().request(method, url, headers, post_data)
        self.answers += 1
        self.faults += judged(method.lower(), urlsplit(url).path, status, json.loads(body))
        return body, status, said


class Sandbox:
    """The local Stripe from outside: its control API, its pages, and the SDK pointed at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=20, trust_env=False)
        self.judge = Judged("test")
        self.products = Judged()
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

    def kept(self) -> Json:
        """What `order("reset", to=…)` comes back to."""
        everything: Json = self.http.get("/_emu/kept").json()
        return everything

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

    def asked(self, method: str = "POST") -> list[Json]:
        """The log of requests to the API."""
        return [each for each in self.http.get("/_emu/requests").json()["requests"] if each["method"] == method]

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Nothing has happened yet. Afterwards no answer, event or object may be other than the schema says."""
        self.order("reset")
        self.judge.faults.clear()
        self.products.faults.clear()
        yield
        faults = self.judge.faults + self.products.faults
        faults += [fault for event in self.events() for fault in judged_event(event)]
        things = self.http.get("/_emu/objects").json()["objects"]
        assert faults + [fault for thing in things for fault in judged_object(thing)] == []


@contextmanager
def running() -> Iterator[Sandbox]:
    """A local Stripe of this process's own."""
    command = [sys.executable, "-m", "sandbox.stripe", "--port", "0", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = Sandbox(process.stdout.readline().strip())
        yield seen
        seen.http.close()
        process.terminate()
