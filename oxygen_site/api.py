"""The JSON API, version 1: how its operations are gated, how its answers are written, and how it says no.

The floors write routers and take from here `may`, the gate, and the types `Data`, `Credits` and `Instant`; `urls.py`
mounts the routers. Laws: every operation stands behind a gate of `billing/access.py`; credits are exact JSON numbers,
so a binary float is refused; whatever fails under /api/ is a problem of RFC 9457 with a stable `code`.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.renderers import BaseRenderer
from ninja.security import HttpBearer
from pydantic import BaseModel, ConfigDict, WithJsonSchema
from structlog.contextvars import get_contextvars

from billing import access
from oxygen_site.transactions import Refused

ROOT = "/api/"
PROBLEM = "application/problem+json"
# Of what Django and the router refuse by themselves; what a rule refuses has a code of its own.
CODES = {
    400: "bad_request",
    401: "not_signed_in",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    429: "too_many_requests",
}
SENTENCES = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    500: "Something went wrong here. Nothing is half done; say the request_id to whoever runs this server.",
}
# What any operation may answer.
REFUSALS = (400, 401, 403, 404)

Credits = Annotated[
    Decimal,
    WithJsonSchema(
        {"type": "number", "description": "Credits: exact, with at most four decimals.", "examples": [12.5]}
    ),
]
Instant = Annotated[
    datetime,
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339, UTC."}),
]


class Shown(BaseModel):
    """What an answer consists of. Nothing but the declared fields gets out."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data[T](Shown):
    """The envelope of every answer."""

    data: T


class Wrong(Shown):
    """One thing that is wrong with a request: where it stands in the body, or which parameter it is."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Shown):
    """Why not (RFC 9457). Branch on `code`, which is stable; show `detail` to people."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[Wrong]


# ------------------------------------------------------------------ writing answers


class Renderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> str:
        return written(data)


def written(value: Any) -> str:
    """Write a value as JSON: a Decimal digit by digit, an instant in UTC. A binary float is a bug, and is raised."""
    match value:
        case dict():
            return "{" + ",".join(f"{_plain(str(key))}:{written(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(written, value)) + "]"
        case Decimal():
            return _number(value)
        case datetime():
            return _plain(_instant(value))
        case UUID():
            return _plain(str(value))
        case None | bool() | int() | str():
            return _plain(value)
    raise TypeError(f"The API does not write a {type(value).__name__}.")


_plain: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False).encode


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is no number of credits.")
    text = f"{value or Decimal(0):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("An instant without a time zone is none.")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


# ------------------------------------------------------------------ saying no


def problem(
    status: int, code: str | None = None, detail: str | None = None, errors: Iterator[Wrong] | None = None
) -> HttpResponse:
    phrase = HTTPStatus(status).phrase
    body = Problem(
        type="about:blank",
        title=phrase,
        status=status,
        code=code or CODES.get(status, "bad_request" if status < 500 else "server_error"),
        detail=detail or SENTENCES.get(status, f"{phrase}."),
        request_id=get_contextvars().get("request", ""),
        errors=list(errors or ()),
    )
    response = HttpResponse(written(body.model_dump(exclude_none=True)), status=status, content_type=PROBLEM)
    response["Cache-Control"] = "no-store"  # a 404 of yesterday may be another answer today
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="Oxygen"'
    return response


def problems(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Turn what Django itself says no with under /api/ (404, 405, 500, …) into a problem; its headers stay."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not request.path.startswith(ROOT) or response.status_code < 400 or response["Content-Type"] == PROBLEM:
            return response
        if settings.DEBUG and response.status_code == 500:
            return response
        told = problem(response.status_code)
        for name, value in response.items():
            if name not in ("Content-Type", "Content-Length"):
                told[name] = value
        return told

    return middleware


# ------------------------------------------------------------------ the API


class ApiKey(HttpBearer):
    """The gate of one operation: whoever calls it needs a key with this right in the org it is about."""

    def __init__(self, right: str) -> None:
        super().__init__()
        self.right = right

    def __call__(self, request: HttpRequest) -> bool:
        access.enter_by_key(request, self.right)
        return True

    def authenticate(self, request: HttpRequest, token: str) -> bool:
        raise AssertionError("unreachable: __call__ hands the request to the gate")


def may(right: str) -> ApiKey:
    """Gate an operation: `@router.get("/balance", auth=may("read"), …)`."""
    return ApiKey(right)


class Version1(NinjaAPI):
    def get_openapi_operation_id(self, operation: Any) -> str:
        return str(operation.view_func.__name__)

    def get_openapi_schema(self, **where: Any) -> OpenAPISchema:
        """Describe every operation with what any of them may say no with, and the header that names the org."""
        schema = super().get_openapi_schema(**where)
        schema["components"]["schemas"] |= {each.__name__: _schema(each) for each in (Problem, Wrong)}
        for operation in [operation for path in schema["paths"].values() for operation in path.values()]:
            takes_anything = operation["parameters"] or "requestBody" in operation
            for status in (*REFUSALS, 422) if takes_anything else REFUSALS:
                operation["responses"].setdefault(status, {"description": HTTPStatus(status).phrase})
            for status, answer in operation["responses"].items():
                if status >= 400:
                    answer["content"] = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            operation["parameters"].append(NAMES_THE_ORG)
        return schema


NAMES_THE_ORG = {
    "name": "Oxygen-Organization",
    "in": "header",
    "required": False,
    "description": "The slug of the organization. An agency's key must name one of its client organizations.",
    "schema": {"type": "string"},
}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schema.pop("$defs", None)
    return schema


api = Version1(
    title="Oxygen Billing",
    version="1",
    description="What an organization has, what it spends, and what fills it. Every call needs an API key.",
    docs_url=None,
    urls_namespace="api",
    renderer=Renderer(),
    auth=may("read"),
)


@api.exception_handler(Refused)
def refused(request: HttpRequest, refusal: Refused) -> HttpResponse:
    wrong = [Wrong(detail=refusal.message, pointer=f"#/{refusal.field}")] if refusal.field else []
    return problem(refusal.status, refusal.code, refusal.message, iter(wrong))


@api.exception_handler(PermissionDenied)
def not_allowed(request: HttpRequest, denied: PermissionDenied) -> HttpResponse:
    return problem(403, detail=str(denied) or None)


@api.exception_handler(Http404)
def not_found(request: HttpRequest, missing: Http404) -> HttpResponse:
    return problem(404, detail=str(missing) or None)


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, invalid: ValidationError) -> HttpResponse:
    return problem(422, "invalid", "The request is not what this operation takes; see errors.", _wrongs(invalid))


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(error.status_code)


def _wrongs(invalid: ValidationError) -> Iterator[Wrong]:
    """Of a body, the path as a JSON pointer; the router puts the parameter's own name before it."""
    for error in invalid.errors:
        source, *path = error["loc"]
        if source == "body":
            steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path[1:]]
            yield Wrong(detail=error["msg"], pointer="#" + "".join(f"/{step}" for step in steps))
        else:
            yield Wrong(detail=error["msg"], parameter=str(path[0]))
