"""The wire to providers: one POST a call, under the attempt's own key. The only importer of the HTTP client.

For `worker.py`. Laws: never while a transaction is open; never sends an attempt under another key; a call of which it
is not known whether it arrived answers None, and is asked again later, not bought again.
"""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx2
from django.conf import settings
from django.db import connection

from runs.cascade import Step, key, place
from runs.dispatch import Answer, Call
from runs.providers import outcomes

TIMEOUT = httpx2.Timeout(connect=5, read=60, write=10, pool=5)
WHOLE_CALL = 90  # seconds; a body that drips would never time out by itself
TLS = httpx2.create_ssl_context()  # once: reading the certificates costs 50 ms a time
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Wire:
    """A pool of connections for one slice of a run, made in the thread that will run its event loop."""

    def __init__(self, connections: int, own: Mapping[str, str]) -> None:
        """`own`: the credentials of the org's own accounts, by provider."""
        if connection.in_atomic_block:  # seen here only: in a running loop Django shows another connection
            raise RuntimeError("Providers are not called while a transaction is open.")
        self._own = own
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx2.AsyncClient(base_url=settings.PROVIDERS_URL, timeout=TIMEOUT, limits=limits, verify=TLS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, run: UUID, call: Call, step: Step) -> Answer | None:
        """Make one call and read its answer; None where it is unknown what became of it."""
        _, tries = place(call.number)
        headers = {"Idempotency-Key": key(run, call.item, call.number)}
        if step.byok:
            if step.provider not in self._own:
                return Answer(call, outcomes.DISCONNECTED, 0)
            headers["Authorization"] = f"Bearer {self._own[step.provider]}"
        began = time.monotonic()
        try:
            async with asyncio.timeout(WHOLE_CALL):
                answer = await self._client.post(
                    f"/{step.provider}/{step.tool.partition('.')[2]}",
                    headers=headers,
                    json={"tool": step.tool, "input": call.row},
                )
        except NOT_SENT:
            outcome = outcomes.not_sent(tries, f"{step.provider} could not be reached")
        except (httpx2.RequestError, TimeoutError):
            return None
        else:
            read = outcomes.read(answer.status_code, answer.headers, answer.content, step, tries)
            if read is None:
                return None
            outcome = read
        return Answer(call, outcome, int((time.monotonic() - began) * 1000))
