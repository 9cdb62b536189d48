"""How the log reads, and what never stands in it. JSON in production, lines for people in the demo and tests.

Log with `logging`; what a line is about is bound once with structlog's context variables: the request here, org, run,
item and attempt in the worker. The law: ids and facts of ours only. A path may carry a key, so its route is told; the
database quotes rows in the details of its errors, so those are cut off; of a record's extras, the named ones pass.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.typing import EventDict, WrappedLogger

log = logging.getLogger("oxygen.requests")

TOLD = ("method", "route", "status", "ms", "org")
PROBES = ("healthz", "readyz", "metrics")  # asked every few seconds, for ever
AN_ID = re.compile(r"[\w-]{8,64}", re.ASCII)
# To the next exception of the chain or of the group (whose lines are indented by bars), or to the end.
DETAILS = re.compile(
    r"^[ |]*(?:DETAIL|CONTEXT):.*?(?=^[ |]*\n[ |]*(?:The above|During) |^ *\+-|\Z)", re.MULTILINE | re.DOTALL
)


def config(*, as_json: bool) -> dict[str, Any]:
    """Make what `settings.LOGGING` is."""
    if as_json:
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.contextvars.merge_contextvars,
                    structlog.stdlib.add_logger_name,
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.ExtraAdder(allow=TOLD),
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    _tell_the_route,
                ],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    _cut_off_details,
                    renderer,
                ],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {
            "django": {"handlers": []},  # its own would tell the same a second time
            "django.template": {"propagate": False},  # it tells of names that are missing, with all that was there
            "gunicorn.error": {"handlers": ["console"], "propagate": False},
            "oxygen": {"level": "INFO"},
            "oxygen.requests": {"level": "INFO" if as_json else "WARNING"},
        },
    }


def request_line(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Bind an id to all that is logged during a request, answer it, and log one line at the request's end."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        clear_contextvars()  # a server's thread lives through many requests
        bind_contextvars(request=(number := _number(request)))
        began = time.monotonic()
        response = get_response(request)
        response["X-Request-ID"] = number
        route = _route(request)
        log.log(
            logging.DEBUG if route in PROBES else logging.INFO,
            "answered",
            extra={
                "method": request.method,
                "route": route,
                "status": response.status_code,
                "ms": round((time.monotonic() - began) * 1000),
                **({"org": str(request.org.pk)} if hasattr(request, "org") else {}),
            },
        )
        return response

    return middleware


def _number(request: HttpRequest) -> str:
    """Only a proxy of ours may choose it: anybody else could pass for another's request."""
    told = request.headers.get("X-Request-ID", "") if settings.BEHIND_PROXY else ""
    return told if AN_ID.fullmatch(told) else uuid4().hex


def _route(request: HttpRequest) -> str | None:
    return request.resolver_match.route if request.resolver_match else None


def _tell_the_route(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    request = getattr(event["_record"], "request", None)
    if isinstance(request, HttpRequest):
        route = _route(request)
        for path in (request.path, request.path.encode("unicode_escape").decode()):
            event["event"] = event["event"].replace(path, "/…" if route is None else f"/{route}")
    return event


def _cut_off_details(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["exception"] = DETAILS.sub("", event["exception"]).rstrip()
    return event
