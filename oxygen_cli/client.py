"""HTTP to one server: the only module that imports httpx2.

Each invocation has one Idempotency-Key, which all its tries of a write carry: what was asked happens once, however
often the answer is lost. Tried again is what may pass: no connection, 429, 502, 503, 504, and a first try that the
server is still at.
"""

import os
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx2

from oxygen_cli import VERSION, exact, problems
from oxygen_cli.problems import Problem
from oxygen_cli.settings import Settings

TRIES = 4
PASSING = (429, 502, 503, 504)
AT_IT = ("in_progress", "idempotency_in_progress", "request_in_progress")
LONGEST = 60  # seconds of waiting that somebody at a terminal may be asked for
JSON = "application/json"

type Params = dict[str, Any]


class Client:
    """The API of one server, with one key. `say` takes what is worth telling while one waits."""

    def __init__(
        self, settings: Settings, idempotency_key: str | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.settings = settings
        self.idempotency_key = idempotency_key or os.urandom(16).hex()
        self.say = say
        headers = {"Authorization": f"Bearer {settings.key}", "User-Agent": f"oxygen/{VERSION}", "Accept": JSON}
        if settings.org:
            headers["Oxygen-Organization"] = settings.org
        for what, value in (
            ("API key", settings.key),
            ("organization", settings.org),
            ("Idempotency-Key", self.idempotency_key),
        ):
            if not all("!" <= sign <= "~" for sign in value):
                detail = f"The {what} holds a space or another sign that no request can carry."
                raise problems.ours("invalid_settings", "Unusable settings", detail, problems.USAGE)
        self.http = httpx2.Client(
            base_url=f"{settings.url}/api/v1",
            headers=headers,
            timeout=httpx2.Timeout(60, connect=10),
            verify=not settings.url.startswith("http:"),  # reading the authorities takes its time
        )

    def get(self, path: str, **params: Any) -> Any:
        """Read; None among the parameters is left out."""
        return self._data(self._ask("GET", path, params=params))

    def get_if_changed(self, path: str, tag: str | None) -> tuple[Any, str | None]:
        """Read what may be as it was: then None comes back with the same tag."""
        answer = self._ask("GET", path, headers={"If-None-Match": tag} if tag else {})
        if answer.status_code == 304:
            return None, tag
        return self._data(answer), answer.headers.get("ETag")

    def post(self, path: str, body: Params | None = None) -> Any:
        """Ask a question that has a body, and changes nothing."""
        return self._data(self._ask("POST", path, content=_body(body or {}), headers={"Content-Type": JSON}))

    def write(self, method: str, path: str, body: Params | None = None) -> Any:
        """Change something, once; None in the body is left out."""
        content = _body(body or {}) if method != "DELETE" else None
        return self.send(method, path, content, JSON)

    def send(self, method: str, path: str, content: bytes | None, kind: str, **params: Any) -> Any:
        """Change something by a body of another kind than JSON."""
        headers = {"Idempotency-Key": self.idempotency_key} | ({"Content-Type": kind} if content is not None else {})
        return self._data(self._ask(method, path, params=params, headers=headers, content=content))

    def stream(self, path: str) -> Iterator[bytes]:
        """Read a file piece by piece."""
        request = self.http.build_request("GET", path, headers={"Accept": "*/*"})
        answer = self._try_until_answered(request, stream=True)
        try:
            yield from answer.iter_bytes()
        except httpx2.TransportError as wrong:
            raise self._unreached(wrong, request) from None
        finally:
            answer.close()

    # ------------------------------------------------------------------ one request

    def _ask(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx2.Response:
        given = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        request = self.http.build_request(method, path, params=given or None, headers=headers, content=content)
        return self._try_until_answered(request)

    def _try_until_answered(self, request: httpx2.Request, stream: bool = False) -> httpx2.Response:
        for number in range(TRIES):
            asked_for = None
            try:
                answer = self.http.send(request, stream=stream)
                if stream and answer.status_code >= 300:
                    answer.read()
            except httpx2.TransportError as wrong:
                problem = self._unreached(wrong, request)
            except KeyboardInterrupt:
                if not (lost := _may_be_done(request)):
                    raise
                raise problems.ours("interrupted", "Interrupted", f"Stopped. {lost}", problems.INTERRUPTED) from None
            else:
                if answer.status_code < 300 or answer.status_code == 304:
                    return answer
                if answer.is_redirect:
                    raise self._moved(answer)
                problem = problems.told(answer.status_code, answer.content)
                if answer.status_code not in PASSING and problem.code not in AT_IT:
                    raise problem
                asked_for = _seconds(answer.headers.get("Retry-After"))
            if number == TRIES - 1 or (asked_for or 0) > LONGEST:
                break
            self._pause(number, asked_for)
        raise problem

    def _pause(self, number: int, asked_for: int | None) -> None:
        if asked_for is not None and asked_for > 2:
            self.say(f"The server asks to wait {asked_for} seconds.")
        seconds = asked_for if asked_for is not None else 0.25 * 2**number
        time.sleep(seconds + os.urandom(1)[0] / 2550)  # so that many do not come back at once

    def _unreached(self, wrong: httpx2.TransportError, request: httpx2.Request) -> Problem:
        url, why = self.settings.url, str(wrong) or type(wrong).__name__
        if isinstance(wrong, httpx2.TimeoutException) and not isinstance(wrong, httpx2.ConnectTimeout):
            detail = f"{url} took too long to answer."
        else:
            detail = f"{url} cannot be reached ({why}). Is the address right, and the network there?"
        return problems.ours("no_connection", "No connection", detail, problems.UNREACHED, _may_be_done(request))

    def _moved(self, answer: httpx2.Response) -> Problem:
        detail = (
            f"{self.settings.url} sends its callers to {answer.headers.get('Location')}: set OXYGEN_API_URL to that."
        )
        return problems.ours("moved", "Moved", detail, problems.ELSE)

    def _data(self, answer: httpx2.Response) -> Any:
        try:
            return exact.read(answer.content)["data"]
        except (ValueError, KeyError, TypeError):
            raise problems.told(answer.status_code, b"") from None


def _may_be_done(request: httpx2.Request) -> str:
    """Say how to find out whether a write happened whose answer was lost."""
    if not (key := request.headers.get("Idempotency-Key")):
        return ""
    again = f"The same command with --idempotency-key {key} finds out, and does nothing twice."
    return f"It may have happened all the same. {again}"


def _body(body: Params) -> bytes:
    return exact.write({name: value for name, value in body.items() if value is not None}).encode()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _seconds(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
