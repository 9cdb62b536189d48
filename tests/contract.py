"""The JSON API as its callers see it: ask, and every answer is held against the schema that the API itself serves.

`ask` is how the tests call an operation. The judge knows the part of JSON Schema that our schema uses, and meets a word
it does not know with an error; numbers are read as they are written, so that a float's digits cannot pass for credits.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from django.http.response import HttpResponseBase
from django.test import Client

type Json = dict[str, Any]

ROOT = "/api/v1"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
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


def served() -> Json:
    """Read the API's description of itself."""
    return json.loads(Client().get(f"{ROOT}/openapi.json").content)


def ask(path: str, secret: str = "", method: str = "GET", **headers: str) -> Answer:
    """Call an address of the API; what it answers is what its description promised."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if secret:
        told["Authorization"] = f"Bearer {secret}"
    response = Client().generic(method, f"{ROOT}{path}", headers=told)
    text = response.content.decode()
    body = json.loads(text, parse_float=Decimal)
    says = f"{method} {path}: {response.status_code} {text}"
    spec = served()
    known = {}
    if described := spec["paths"].get(f"{ROOT}{path}".partition("?")[0], {}).get(method.lower()):
        assert str(response.status_code) in described["responses"], says
        known = described["responses"][str(response.status_code)]["content"]
    kind = response["Content-Type"].partition(";")[0]
    content = known or {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert kind in content, says
    assert list(violations(body, content[kind]["schema"], spec)) == [], says
    if response.status_code >= 400:
        assert (body["status"], body["request_id"]) == (response.status_code, response["X-Request-ID"]), says
    return Answer(response.status_code, body, response, text)


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
                if means != "date-time" or not INSTANT.fullmatch(value):
                    yield f"{at} is no {means}: {value!r}"
            case "items":
                for n, each in enumerate(value):
                    yield from violations(each, means, spec, f"{at}[{n}]")
            case "properties":
                for name in means.keys() & value.keys():
                    yield from violations(value[name], means[name], spec, f"{at}.{name}")
            case "required":
                yield from (f"{at}.{name} is missing" for name in means if name not in value)
            case "additionalProperties":
                yield from (f"{at}.{name} is unknown" for name in value if name not in schema["properties"])
            case _:
                assert word in READ_FIRST | ONLY_TELLING, f"the judge does not know {word}"
