"""Where requests of the API arrive: who asks, whether it was asked before, what goes wrong with it, and the answer."""

import asyncio
import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.stripe import API_VERSION, clocks, faults
from sandbox.stripe.faults import Fault
from sandbox.stripe.forms import nested
from sandbox.stripe.operations import done, found
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Caller, Json, World
from sandbox.stripe.webhooks import Habits, Post


@dataclass
class Kept:
    """The first answer to an idempotency key; while it is busy, whoever asks again is told to wait."""

    fingerprint: str
    status: int = 0
    body: bytes = b""
    request: str = ""
    busy: bool = True


@dataclass
class Desk:
    base: str
    world: World = field(default_factory=World)
    faults: list[Fault] = field(default_factory=list)
    keys: dict[str, Kept] = field(default_factory=dict)
    log: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.base = self.base
        self.post = Post(self.world)

    def reset(self) -> None:
        """Forget everything but the time."""
        self.world.__dict__.update(World(base=self.base, offset=self.world.offset).__dict__)
        self.faults.clear()
        self.keys.clear()
        self.log.clear()
        self.post.letters.clear()
        self.post.habits = Habits()

    async def api(self, request: Request) -> Response:
        """Answer one request of Stripe's API."""
        entry: Json = {
            "id": f"req_{secrets.token_hex(8)}",
            "method": request.method,
            "path": request.url.path,
            "idempotency_key": request.headers.get("idempotency-key"),
            "pinned": "stripe-version" in request.headers,
        }
        self.log.append(entry)
        headers = {"Request-Id": entry["id"], "Stripe-Version": API_VERSION}
        if entry["idempotency_key"]:
            headers["Idempotency-Key"] = entry["idempotency_key"]
        fault = faults.of(self.faults, request.method, request.url.path)
        try:
            sent = await self._read(request)
            faults.raised(fault)
            status, body, replayed = await self._once(request, entry, sent, fault)
        except Refusal as refusal:
            status, body, replayed = refusal.status, _error(refusal, entry["id"]), False
        entry["status"] = status
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        if status == 409:
            headers["Stripe-Should-Retry"] = "true"
        kind = Lost if fault and fault.kind == "lost" else Response
        return kind(body, status, headers, "application/json")

    async def _read(self, request: Request) -> dict[str, Any]:
        _check_key(request.headers.get("authorization", ""))
        if (version := request.headers.get("stripe-version", API_VERSION)) != API_VERSION:
            raise Refusal(f"Invalid Stripe API version: {version}. The sandbox speaks {API_VERSION}.", keeps=False)
        for name in ("stripe-account", "stripe-context"):
            if name in request.headers:
                raise Refusal(f"The Stripe sandbox does not know {name}.", status=403, keeps=False)
        try:
            body = (await request.body()).decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal("The request body is not UTF-8.", keeps=False) from None
        sent_as = request.headers.get("content-type", "application/x-www-form-urlencoded")
        if body and not sent_as.startswith("application/x-www-form-urlencoded"):
            raise Refusal(f"Invalid content type {sent_as}; send application/x-www-form-urlencoded.", keeps=False)
        return nested(body if request.method == "POST" else request.url.query)

    async def _once(
        self, request: Request, entry: Json, sent: dict[str, Any], fault: Fault | None
    ) -> tuple[int, bytes, bool]:
        """Do it, or give again the answer that its idempotency key was given before."""
        key, path = entry["idempotency_key"] if request.method == "POST" else None, request.url.path
        if key:
            print_of = hashlib.sha256(json.dumps([path, sent], sort_keys=True).encode()).hexdigest()
            if kept := self.keys.get(key):
                return _again(kept, key, print_of)
            self.keys[key] = Kept(print_of, request=entry["id"])
        try:
            status, body = 200, self._do(request.method, path, sent, entry)
        except Refusal as refusal:
            status, body = refusal.status, _error(refusal, entry["id"])
            if key and not refusal.keeps:
                del self.keys[key]
                key = None
        except BaseException:
            if key:
                del self.keys[key]
            raise
        if key:
            self.keys[key].status, self.keys[key].body = status, body
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if key and key in self.keys:
            self.keys[key].busy = False
        return status, body, False

    def _do(self, method: str, path: str, sent: dict[str, Any], entry: Json) -> bytes:
        """All of it between two awaits, so that no other request sees half of it."""
        world = self.world
        clocks.catch_up(world, None, world.real())
        each, ids = found(method, path)
        world.caller = Caller(entry["id"], entry["idempotency_key"], entry["pinned"])
        try:
            return json.dumps(done(world, each, ids, sent), ensure_ascii=False).encode()
        finally:
            world.caller = Caller()
            self.post.collect()


class Lost(Response):
    """The connection breaks before the answer is whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[:1], "more_body": True})


def _again(kept: Kept, key: str, print_of: str) -> tuple[int, bytes, bool]:
    if kept.fingerprint != print_of:
        raise Refusal(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try"
            f" using a key other than '{key}' if you meant to execute a different request.",
            kind="idempotency_error",
            keeps=False,
        )
    if kept.busy:
        raise Refusal(
            "There is currently another in-progress request using this Idempotent Key (that probably means you"
            " submitted twice, and the other request is still going through).",
            status=409,
            kind="idempotency_error",
            code="idempotency_key_in_use",
            keeps=False,
        )
    return kept.status, kept.body, True


def _check_key(authorization: str) -> None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given).decode().partition(":")[0]
        except ValueError:
            given = ""
    if not given:
        raise Refusal(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer"
            " auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
            keeps=False,
        )
    if not given.startswith("sk_test_"):
        raise Refusal("Invalid API Key provided. The Stripe sandbox takes sk_test_ keys only.", status=401, keeps=False)


def _error(refusal: Refusal, request: str) -> bytes:
    return json.dumps(
        {"error": refusal.error | {"request_log_url": f"https://dashboard.stripe.com/test/logs/{request}"}},
        ensure_ascii=False,
    ).encode()
