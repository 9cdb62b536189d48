"""The HTTP face of the sandbox providers: one URL a tool, and the control endpoints."""

import asyncio
import hashlib
import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox.providers import temper
from sandbox.providers.answers import ANSWERS
from sandbox.providers.books import Answer, Books
from sandbox.providers.tariff import TARIFFS, Tariff
from sandbox.providers.temper import BEHAVIOURS, Dice, Script


class Desk:
    """Where calls arrive: their books, and the script they are answered by."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.books = Books()
        self.script = Script()
        self.scripts: dict[str, Script] = {}
        self._lifted = asyncio.Event()

    async def call(self, request: Request) -> Response:
        """Answer one call. It is charged, and its answer kept, before the delay begins."""
        tool = f"{request.path_params['provider']}.{request.path_params['tool']}"
        tariff, key = TARIFFS.get(tool), request.headers.get("idempotency-key", "")
        try:
            asked = _asked(await request.body())
        except ClientDisconnect:
            return Response(status_code=400)  # its caller died in the middle of asking: nothing was bought
        if tariff is None or asked is None or asked["tool"] != tool:
            return _refusal(
                404,
                "unknown_tool",
                f"There is no {tool} here, or the body asks for another tool.",
            )
        if not key:
            return _refusal(400, "missing_key", "Send an Idempotency-Key.")
        self.books.calls[key] += 1
        row = json.dumps(asked["input"], sort_keys=True, ensure_ascii=False)
        fingerprint = hashlib.blake2b(f"{tool}\x1f{row}".encode(), digest_size=16).hexdigest()
        script, dice = self.scripts.get(tool, self.script), Dice(self.seed, tool, row)
        answer, replayed = self.books.answers.get(key) if script.keys else None, True
        if answer is None:
            answer, replayed = (
                self._first_answer(tool, tariff, script, dice, key, fingerprint, asked["input"]),
                False,
            )
        elif answer.fingerprint != fingerprint:
            return _refusal(
                409,
                "key_reused",
                "This Idempotency-Key came with another request before.",
            )
        await self._wait(tool, 0 if replayed else temper.delay(script, tariff, dice))
        headers = answer.headers | ({"Idempotent-Replayed": "true"} if replayed else {})
        response = SPOILT.get("" if replayed else answer.spoils, Response)
        return response(answer.body, answer.status, headers, "application/json")

    def _first_answer(
        self,
        tool: str,
        tariff: Tariff,
        script: Script,
        dice: Dice,
        key: str,
        fingerprint: str,
        row: dict[str, Any],
    ) -> Answer:
        way = BEHAVIOURS[temper.behaviour(script, dice, key)]
        if way.spoils and self.books.calls[key] > 1:
            way = BEHAVIOURS["answered"]
        cost, result = Decimal(0), None
        if way.charged or way.status == 200:
            finds = tariff.finds if script.finds is None else script.finds
            if way.charged or dice.share("finds") < finds:
                result = ANSWERS[tariff.answers](row, Dice(self.seed, json.dumps(row, sort_keys=True)))
            cost = temper.bill(script, tariff, dice, found=result is not None)
        if cost:
            self.books.charge(key, tool, cost)
        if way.status == 200:
            body: dict[str, Any] = {
                "id": _reference(tool, key),
                "result": result,
                "cost": str(cost),
            }
        else:
            body = {
                "error": {"code": way.code, "message": way.message},
                "charged": str(cost),
            }
        headers = {"Retry-After": str(script.retry_after)} if way.status == 429 else {}
        status = way.status
        match tool.partition(".")[0]:  # what these two publish of their answers
            case "leadmagic" if status == 200:
                body["credits_consumed"] = float(body.pop("cost"))
            case "peopledatalabs" if status == 200:
                headers["X-Call-Credits-Spent"] = body.pop("cost")
                if result is None:
                    status, body = 404, {"error": {"code": "not_found", "message": "No records were found."}}
        body = {name: said for name, said in (body | script.says).items() if said is not None or name == "result"}
        answer = Answer(
            fingerprint,
            status,
            json.dumps(body, ensure_ascii=False).encode(),
            headers,
            way.spoils,
        )
        if way not in (BEHAVIOURS["throttled"], BEHAVIOURS["lost_before"]):
            self.books.answers[key] = answer
        return answer

    async def _wait(self, tool: str, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        while self.scripts.get(tool, self.script).hold:
            await self._lifted.wait()

    async def look_up(self, request: Request) -> Response:
        """Tell the answer that a key's call was given, whether or not keys are honoured."""
        answer = self.books.answers.get(request.path_params["key"])
        if answer is None:
            return _refusal(404, "unknown_key", "No call came with this key.")
        return JSONResponse({"status": answer.status, "answer": json.loads(answer.body)})

    async def charges(self, request: Request) -> Response:
        return JSONResponse(self.books.statement(request.query_params.get("prefix", "")))

    async def control(self, request: Request) -> Response:
        """Read the script, change it, or go back to the usual one (the books stay)."""
        if request.method == "DELETE":
            self.script, self.scripts = Script(), {}
        elif request.method == "POST":
            try:
                self._follow(json.loads(await request.body()))
            except (TypeError, ValueError, AttributeError) as error:
                return _refusal(422, "invalid_script", str(error))
        self._lifted.set()
        self._lifted.clear()
        return JSONResponse(
            {
                "all": _shown(self.script),
                "tools": {tool: _shown(s) for tool, s in self.scripts.items()},
            }
        )

    def _follow(self, wishes: dict[str, Any]) -> None:
        tool = wishes.pop("tool", None)
        if tool is None:
            changed = {name: script.changed(wishes) for name, script in self.scripts.items()}
            self.script, self.scripts = self.script.changed(wishes), changed
        elif tool in TARIFFS:
            self.scripts[tool] = self.scripts.get(tool, self.script).changed(wishes)
        else:
            raise ValueError(f"there is no {tool} here")


class Lost(Response):
    """The connection breaks before the answer is whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[:1], "more_body": True})


class Garbled(Response):
    """All of the answer's bytes arrive, and mean nothing."""

    def render(self, content: bytes) -> bytes:
        return content[::-1]


class Dripping(Response):
    """The answer arrives in drops."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for n in range(0, len(self.body), 40):
            await send({"type": "http.response.body", "body": self.body[n : n + 40], "more_body": True})
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b""})


SPOILT: dict[str, type[Response]] = {"lost": Lost, "garbled": Garbled, "drips": Dripping}


def _asked(body: bytes) -> dict[str, Any] | None:
    try:
        asked = json.loads(body)
    except ValueError:
        return None
    fits = isinstance(asked, dict) and isinstance(asked.get("input"), dict) and "tool" in asked
    return asked if fits else None


def _reference(tool: str, key: str) -> str:
    return f"{tool.partition('.')[0][:3]}_{hashlib.blake2b(key.encode(), digest_size=10).hexdigest()}"


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}, "charged": "0"}, status)


def _shown(script: Script) -> dict[str, Any]:
    return asdict(script) | {"cost_times": str(script.cost_times)}


def providers(seed: str) -> Starlette:
    """All providers in one application, with empty books and their usual temper."""
    desk = Desk(seed)
    return Starlette(
        routes=[
            Route("/control", desk.control, methods=["GET", "POST", "DELETE"]),
            Route("/control/charges", desk.charges),
            Route("/{provider}/calls/{key}", desk.look_up),
            Route("/{provider}/{tool}", desk.call, methods=["POST"]),
        ]
    )
