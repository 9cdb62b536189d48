"""The post: signed webhooks, sent one after the other and again until they are taken; and what may go wrong with it.

Retries and signatures go by the real clock, whatever time it is in the sandbox.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import httpx2

from sandbox.stripe.answers import rendered
from sandbox.stripe.state import Json, World

WAITS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)  # seconds of real time between tries
PATIENCE = 10


@dataclass
class Habits:
    """How the post behaves, until it is told otherwise."""

    hold: bool = False  # nothing is sent until this is lifted
    order: str = "as_made"  # in which what was held goes out then: as_made, reversed or shuffled
    seed: int = 0
    times: int = 1  # how often each is delivered
    delay: float = 0  # seconds of real time before each first try
    drop_next: int = 0  # so many are never sent
    drop_types: list[str] = field(default_factory=list)
    secret: str = ""  # sign with this instead
    age: int = 0  # seconds by which the signature's time lies in the past
    api_version: str = ""  # claim this instead

    def changed(self, wishes: dict[str, Any]) -> Self:
        """These habits with `wishes` in place of their own; ValueError says what is wrong with them."""
        known = {each.name: each for each in fields(self)}
        if strange := wishes.keys() - known:
            raise ValueError(f"no such field: {', '.join(sorted(strange))}")
        if wishes.get("order", "as_made") not in ("as_made", "reversed", "shuffled"):
            raise ValueError("order is as_made, reversed or shuffled")
        return type(self)(**(asdict(self) | wishes))


@dataclass
class Letter:
    """One event on its way to one endpoint."""

    event: str
    endpoint: str
    not_before: float  # real seconds, monotonic
    left: int = 1  # deliveries still to make
    tries: list[int] = field(default_factory=list)  # the status of each, 0 where nobody answered
    done: bool = False
    dropped: bool = False


def signature(secret: str, body: bytes, at: int) -> str:
    """Sign bytes as Stripe does."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Post:
    def __init__(self, world: World) -> None:
        self.world = world
        self.habits = Habits()
        self.letters: list[Letter] = []
        self._news = asyncio.Event()
        self.changed = asyncio.Event()  # something was done since this was cleared, here or in the world

    def collect(self) -> None:
        """Take what events have left to be sent. Called after all that is done."""
        self.changed.set()
        for event, endpoint in self.world.outgoing:
            self.send(event, endpoint)
        self.world.outgoing.clear()

    def send(self, event: str, endpoint: str) -> None:
        """Put one event in the post, by its present habits."""
        letter = Letter(event, endpoint, time.monotonic() + self.habits.delay, self.habits.times)
        name = self.world.get("event", event)["type"]
        if self.habits.drop_next or name in self.habits.drop_types:
            self.habits.drop_next = max(0, self.habits.drop_next - 1)
            letter.done = letter.dropped = True
        self.letters.append(letter)
        self._news.set()

    def follow(self, wishes: dict[str, Any]) -> None:
        """Change habits; what was held goes out in the order wished for."""
        held = self.habits.hold
        self.habits = self.habits.changed(wishes)
        if held and not self.habits.hold:
            waiting = [each for each in self.letters if not each.done]
            if self.habits.order == "reversed":
                waiting.reverse()
            elif self.habits.order == "shuffled":
                random.Random(self.habits.seed).shuffle(waiting)
            self.letters = [each for each in self.letters if each.done] + waiting
        self._news.set()

    def redeliver(self, event: str, times: int) -> None:
        """Send an event once more to every endpoint."""
        for endpoint in self.world.all("webhook_endpoint"):
            for _ in range(times):
                self.send(event, endpoint["id"])

    def pending(self) -> int:
        return sum(not each.done for each in self.letters)

    def account(self) -> Json:
        """What was sent, and what is still to be."""
        return {
            "pending": self.pending(),
            "letters": [
                {
                    "event": each.event,
                    "type": self.world.get("event", each.event)["type"],
                    "endpoint": each.endpoint,
                    "tries": each.tries,
                    "done": each.done,
                    "dropped": each.dropped,
                }
                for each in self.letters
            ],
        }

    async def run(self) -> None:
        """Send what is to be sent, for as long as this process lives."""
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            while True:
                letter = self._next()
                if letter is None:
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), self._pause())
                    continue
                await self._deliver(client, letter)
                self.changed.set()

    def _next(self) -> Letter | None:
        now = time.monotonic()
        ready = (each for each in self.letters if not each.done and each.not_before <= now)
        return None if self.habits.hold else next(ready, None)

    def _pause(self) -> float:
        times = [each.not_before - time.monotonic() for each in self.letters if not each.done]
        return 60 if self.habits.hold or not times else max(0.01, min(times))

    async def _deliver(self, client: httpx2.AsyncClient, letter: Letter) -> None:
        endpoint = self.world.find(letter.endpoint)
        event = self.world.find(letter.event)
        if endpoint is None or event is None or endpoint["status"] != "enabled":
            letter.done = True
            return
        status = await self._post(client, endpoint, event)
        letter.tries.append(status)
        if 200 <= status < 300:
            letter.left -= 1
            letter.done = letter.left < 1
            if letter.done:
                event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
        elif len(letter.tries) > len(WAITS):
            letter.done = True  # given up; the event stays undelivered
        else:
            letter.not_before = time.monotonic() + WAITS[len(letter.tries) - 1]

    async def _post(self, client: httpx2.AsyncClient, endpoint: Json, event: Json) -> int:
        said = rendered(event)
        if self.habits.api_version:
            said["api_version"] = self.habits.api_version
        body = json.dumps(said, indent=2, ensure_ascii=False).encode()
        secret = self.habits.secret or self.world.secrets[endpoint["id"]]
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(secret, body, int(time.time()) - self.habits.age),
        }
        try:
            answer = await client.post(endpoint["url"], content=body, headers=headers)
        except (httpx2.HTTPError, OSError):
            return 0
        return int(answer.status_code)
