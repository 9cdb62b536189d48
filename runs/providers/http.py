"""The wire to providers: one POST a call, under the attempt's own key. The only importer of the HTTP client.

For `worker.py`. Laws: never while a transaction is open; never sends an attempt under another key; a call of which it
is not known whether it arrived answers None, and is asked again or looked up later, not bought again; no answer,
however odd, is another call's trouble.
"""

import asyncio
import logging
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

log = logging.getLogger("oxygen.runs")

TIMEOUT = httpx2.Timeout(connect=5, read=60, write=10, pool=5)
ONE = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
WHOLE_CALL = 90  # seconds; a body that drips would never time out by itself
TLS = httpx2.create_ssl_context()  # once: reading the certificates costs 50 ms a time
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Wire:
    """The connections of one slice of a run, as many as it has calls in flight; made in its event loop's thread."""

    def __init__(self, own: Mapping[str, str]) -> None:
        """`own`: the credentials of the org's own accounts, by provider."""
        if connection.in_atomic_block:  # seen here only: in a running loop Django shows another connection
            raise RuntimeError("Providers are not called while a transaction is open.")
        self._own = own
        # A client for each connection: a common pool looks at every connection, idle ones with two system calls, twice
        # a call. The one used last is used next.
        self._idle: list[httpx2.AsyncClient] = []
        self._all: list[httpx2.AsyncClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._all:
            await client.aclose()

    def _client(self) -> httpx2.AsyncClient:
        if self._idle:
            return self._idle.pop()
        client = httpx2.AsyncClient(base_url=settings.PROVIDERS_URL, timeout=TIMEOUT, limits=ONE, verify=TLS)
        self._all.append(client)
        return client

    async def ask(self, run: UUID, call: Call, step: Step) -> Answer | None:
        """Make one call and read its answer; None where it is unknown what became of it."""
        _, tries = place(call.number)
        headers = {"Idempotency-Key": key(run, call.item, call.number)}
        own = self._own.get(step.provider, "") if step.byok else ""
        if own:
            headers["Authorization"] = f"Bearer {own}"
        elif step.byok:
            return Answer(call, outcomes.DISCONNECTED, 0)
        client, began = self._client(), time.monotonic()
        try:
            async with asyncio.timeout(WHOLE_CALL):
                if call.look_up:
                    answer = await client.get(f"/{step.provider}/calls/{headers['Idempotency-Key']}", headers=headers)
                    outcome = outcomes.look_up(answer.status_code, answer.content, step, tries, own=own)
                else:
                    answer = await client.post(
                        f"/{step.provider}/{step.tool.partition('.')[2]}",
                        headers=headers,
                        json={"tool": step.tool, "input": call.row},
                    )
                    told = (answer.status_code, answer.headers, answer.content)
                    outcome = outcomes.read(*told, step, tries, again=call.again, own=own)
        except NOT_SENT:  # this time; where it was sent before, that says nothing of then
            outcome = None if call.again else outcomes.not_sent(tries, f"{step.provider} could not be reached")
        except (httpx2.RequestError, TimeoutError):
            outcome = None
        except Exception:  # an answer nobody foresaw, here or in the client, which fails at a Location of "//:80"
            log.exception("run %s, item %s: the answer to attempt %s cannot be read", run, call.item, call.number)
            outcome = None
        finally:
            self._idle.append(client)
        return outcome and Answer(call, outcome, int((time.monotonic() - began) * 1000))
