"""What answers of the API consist of, and how they are written.

Laws: nothing but declared fields gets out; credits are exact JSON numbers, so a binary float is refused.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja.renderers import BaseRenderer
from pydantic import BaseModel, ConfigDict, WithJsonSchema

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


class Renderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> str:
        return written(data)


def written(value: Any) -> str:
    """Write a value as JSON: a Decimal digit by digit, an instant in UTC. A binary float is a bug, and is raised."""
    match value:
        case str():
            return _text(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:d}"
        case Decimal():
            return _number(value)
        case dict():
            return "{" + ",".join([f"{_text(str(key))}:{written(each)}" for key, each in value.items()]) + "}"
        case list() | tuple():
            return "[" + ",".join(map(written, value)) + "]"
        case datetime():
            return _text(_instant(value))
        case UUID():
            return _text(str(value))
    raise TypeError(f"The API does not write a {type(value).__name__}.")


_text: Callable[[str], str] = json.encoder.encode_basestring


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is no number of credits.")
    text = f"{value or Decimal(0):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("An instant without a time zone is none.")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
