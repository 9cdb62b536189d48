"""`/api/docs`: the API's description of itself, as pages for people: all operations on one, each on a page of its own.

They need no script, and have nothing that is not served. What they say is read off the same description that scripts
read, so they cannot say anything else.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from oxygen_site.api.version1 import api
from oxygen_site.htmx import page

type Json = dict[str, Any]

DEEPEST = 4
EVERYWHERE = {"Oxygen-Organization", "Idempotency-Key"}  # said once, on the page of all operations
NAMED: dict[Any, str] = {"date-time": "instant", "uuid": "id"}
CODE = re.compile(r"(`[^`]+`)")


class Field(NamedTuple):
    """One field of a body or an answer, how deep it lies, or one parameter."""

    name: str
    depth: int
    kind: str
    required: bool
    about: list[tuple[bool, str]]  # pieces of text, and whether each is code


class Described(NamedTuple):
    id: str
    method: str
    path: str
    summary: str
    about: list[list[tuple[bool, str]]]
    scopes: str
    once: bool
    parameters: list[Field]
    body: list[Field]
    answers: list[tuple[str, list[Field]]]
    refusals: list[tuple[str, str]]  # statuses, and what they are called


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    return page(request, "api/docs.html", {"groups": _groups(), "about": api.description})


@require_safe
def operation(request: HttpRequest, name: str) -> HttpResponse:
    for tag, operations in _groups().items():
        for each in operations:
            if each.id == name:
                base = request.build_absolute_uri("/").rstrip("/")
                context = {"tag": tag, "beside": operations, "operation": each, "example": _example(base, each)}
                return page(request, "api/operation.html", context)
    raise Http404("The API has no such operation.")


@cache
def _groups() -> dict[str, list[Described]]:
    """Describe every operation, by tag. They are the same as long as the process lives."""
    spec = api.get_openapi_schema()
    groups: dict[str, list[Described]] = {}
    for path, methods in spec["paths"].items():
        for method, described in methods.items():
            groups.setdefault(described["tags"][0], []).append(_described(spec, method.upper(), path, described))
    return groups


def _described(spec: Json, method: str, path: str, operation: Json) -> Described:
    taken = operation["parameters"]
    names = {each["name"] for each in taken}
    contents = operation.get("requestBody", {}).get("content", {})
    body = next((kind["schema"] for kind in contents.values()), None)
    answers = [
        (str(status), list(_fields(spec, next(iter(answer["content"].values()))["schema"])))
        for status, answer in operation["responses"].items()
        if status < 400 and answer.get("content")
    ]
    return Described(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        about=[_pieces(part) for part in operation.get("description", "").split("\n\n") if part.strip()],
        scopes=", ".join(operation["x-scopes"]),
        once="Idempotency-Key" in names,
        parameters=[
            Field(each["name"], 0, _kind(spec, each["schema"]), each["required"], _pieces(_about(each)))
            for each in taken
            if each["name"] not in EVERYWHERE
        ],
        body=list(_fields(spec, body)) if body else [],
        answers=answers,
        refusals=[
            (str(status), answer["description"])
            for status, answer in sorted(operation["responses"].items())
            if status >= 400
        ],
    )


def _example(base: str, of: Described) -> str:
    lines = [f"curl{'' if of.method == 'GET' else f' -X {of.method}'} {base}{of.path}"]
    lines.append('  -H "Authorization: Bearer $OXYGEN_API_KEY"')
    if of.once:
        lines.append('  -H "Idempotency-Key: $(uuidgen)"')
    if of.body:
        lines.append("  -H 'Content-Type: application/json' -d '{…}'")
    return " \\\n".join(lines)


def _about(of: Json) -> str:
    return of.get("description") or of.get("schema", {}).get("description", "")


def _pieces(text: str) -> list[tuple[bool, str]]:
    pieces = CODE.split(" ".join(text.split()))
    return [(piece.startswith("`"), piece.strip("`")) for piece in pieces if piece]


def _resolved(spec: Json, schema: Json) -> Json:
    while "$ref" in schema or "allOf" in schema:
        ref = schema.get("$ref") or schema["allOf"][0]["$ref"]
        schema = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")} | (
            spec["components"]["schemas"][ref.rpartition("/")[2]]
        )
    return schema


def _choices(spec: Json, schema: Json) -> list[Json]:
    schema = _resolved(spec, schema)
    return [_resolved(spec, each) for each in schema.get("anyOf") or schema.get("oneOf") or [schema]]


def _kind(spec: Json, schema: Json) -> str:
    kinds = []
    for each in _choices(spec, schema):
        match each:
            case {"enum": values}:
                kinds.append(" | ".join(map(str, values)))
            case {"const": value}:
                kinds.append(str(value))
            case {"type": "array", "items": items}:
                kinds.append(f"list of {_kind(spec, items)}")
            case {"format": kind}:
                kinds.append(str(NAMED.get(kind, kind)))
            case {"type": kind}:
                kinds.append(kind)
            case _:
                kinds.append("anything")
    return " | ".join(dict.fromkeys(kinds))


def _fields(spec: Json, schema: Json, depth: int = 0) -> Iterator[Field]:
    for each in _choices(spec, schema):
        inner = _resolved(spec, each["items"]) if each.get("type") == "array" else each
        required = inner.get("required", [])
        for name, field in inner.get("properties", {}).items():
            if depth == 0 and name == "data":  # the envelope of every answer
                yield from _fields(spec, field, depth)
                continue
            said = field.get("description") or ""
            yield Field(name, depth, _kind(spec, field), name in required, _pieces(said))
            if depth < DEEPEST:
                yield from _fields(spec, field, depth + 1)
