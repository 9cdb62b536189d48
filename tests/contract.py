"""The JSON API as its callers see it: ask, and every answer is held against the schema that the API itself serves.

`ask` is how the tests call an operation; a write comes with a new Idempotency-Key unless one is named. The judge knows
the part of JSON Schema that our schema uses, and meets a word it does not know with an error; numbers are read as they
are written, so that a float's digits cannot pass for credits.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple
from uuid import uuid4

from django.http.response import HttpResponseBase
from django.test import Client

from oxygen_site.api import written

type Json = dict[str, Any]

ROOT = "/api/v1"
FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}
READ_FIRST, ONLY_TELLING = {"type"}, {"title", "description", "examples", "default"}
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, Decimal),
    "array": list,
    "object": dict,
    "null": type(None),
}


class Answer(NamedTuple):
    status: int
    body: Json
    response: HttpResponseBase
    text: str

    @property
    def data(self) -> Json:
        return self.body["data"]

    @property
    def code(self) -> str:
        return self.body["code"]


@cache
def served() -> Json:
    """Read the API's description of itself."""
    return json.loads(Client().get(f"{ROOT}/openapi.json").content)


def ask(
    path: str, secret: str = "", method: str = "GET", body: Any = None, *, content: str = "", **headers: str
) -> Answer:
    """Call an address of the API; what it answers is what its description promised.

    `body` goes as JSON; bytes go as they are, as what `content` names. A header is named with _ for -.
    """
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if secret:
        told["Authorization"] = f"Bearer {secret}"
    if method != "GET" and "idempotency_key" not in headers:
        told["Idempotency-Key"] = uuid4().hex
    sent = body if isinstance(body, bytes) else b"" if body is None else written(body).encode()
    response = Client().generic(
        method, f"{ROOT}{path}", sent, content or "application/json", headers={k: v for k, v in told.items() if v}
    )
    return judged(method, path, response)


def judged(method: str, path: str, response: HttpResponseBase) -> Answer:
    text = b"".join(response.streaming_content).decode() if response.streaming else response.content.decode()  # type: ignore[attr-defined]
    kind = response["Content-Type"].partition(";")[0] if response.headers.get("Content-Type") else ""
    says = f"{method} {path}: {response.status_code} {text}"
    if response.status_code == 304:
        assert text == "", says
        return Answer(304, {}, response, text)
    described = _described(path.partition("?")[0], method)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if described:
        assert str(response.status_code) in described["responses"], says
        content = described["responses"][str(response.status_code)]["content"]
    assert kind in content, says
    if "json" not in kind:
        return Answer(response.status_code, {}, response, text)
    body = json.loads(text, parse_float=Decimal)
    assert list(violations(body, content[kind]["schema"], served())) == [], says
    if response.status_code >= 400:
        assert (body["status"], body["request_id"]) == (response.status_code, response["X-Request-ID"]), says
    return Answer(response.status_code, body, response, text)


def _described(path: str, method: str) -> Json:
    """Find the operation at an address; parts in braces stand for whatever stands there."""
    for template, methods in served()["paths"].items():
        shape = re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(shape, f"{ROOT}{path}"):
            found = methods.get(method.lower())
            if found:
                return found
    return {}


def violations(value: Any, schema: Json, spec: Json, at: str = "") -> Iterator[str]:
    """Say each way in which a value is not what a schema allows."""
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{at} is no {kind}: {value!r}"
        return
    for word, means in schema.items():
        match word:
            case "anyOf":
                if all(list(violations(value, each, spec, at)) for each in means):
                    yield f"{at} is none of {means}: {value!r}"
            case "enum" | "const":
                if value not in (means if word == "enum" else [means]):
                    yield f"{at} is not {means}: {value!r}"
            case "format":
                if not FORMATS[means].fullmatch(value):
                    yield f"{at} is no {means}: {value!r}"
            case "minimum" | "exclusiveMinimum" | "maximum" | "minLength" | "maxLength" | "pattern":
                pass  # what is taken has bounds; of what is shown they say nothing
            case "items":
                for n, each in enumerate(value):
                    yield from violations(each, means, spec, f"{at}[{n}]")
            case "properties":
                for name in means.keys() & value.keys():
                    yield from violations(value[name], means[name], spec, f"{at}.{name}")
            case "required":
                yield from (f"{at}.{name} is missing" for name in means if name not in value)
            case "additionalProperties" if means is False:
                yield from (f"{at}.{name} is unknown" for name in value if name not in schema["properties"])
            case "additionalProperties":
                for name, each in value.items():
                    if name not in schema.get("properties", {}):
                        yield from violations(each, {} if means is True else means, spec, f"{at}.{name}")
            case _:
                assert word in READ_FIRST | ONLY_TELLING, f"the judge does not know {word}"
