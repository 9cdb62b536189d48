"""How the API says no: whatever fails under /api/ is a problem of RFC 9457 with a stable `code`."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import get_contextvars

from oxygen_site.api import rates
from oxygen_site.api.answers import Shown, written

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
    413: "The body is larger than this operation takes. Send it in parts.",
    500: "Something went wrong here. Nothing is half done; say the request_id to whoever runs this server.",
}


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
    """Turn what Django itself says no with under /api/ (404, 405, 500, …) into a problem; its headers stay.

    Each answer to a key says how often it may still call.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(ROOT):
            return get_response(request)
        if "\0" in request.path:
            return problem(404)
        if "%00" in request.META.get("QUERY_STRING", ""):
            return problem(400, detail="A parameter holds a NUL character, which no text has.")
        response = get_response(request)
        if rate := getattr(request, "rate", None):
            for name, value in rates.headers(rate).items():
                response[name] = value
        if response.status_code < 400 or response["Content-Type"] == PROBLEM:
            return response
        if settings.DEBUG and response.status_code == 500:
            return response
        told = problem(response.status_code)
        for name, value in response.items():
            if name not in ("Content-Type", "Content-Length"):
                told[name] = value
        return told

    return middleware
