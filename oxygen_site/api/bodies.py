"""What callers send: bodies, read exactly, and the parameters that lists take.

Law: a number is the number that was written; a text is never taken for one, nor one for the other.
"""

import json
import re
from decimal import Decimal
from typing import Annotated, Any, NoReturn

from django.http import HttpRequest
from ninja import Query
from ninja.parser import Parser
from ninja.types import DictStrAny
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

LARGEST = 2**31 - 1
# JSON can spell what no database keeps as text; spelled out, it is always with these signs.
MAY_BE_NO_TEXT = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
SURROGATE = re.compile("[\ud800-\udfff]")


class Taken(BaseModel):
    """What a body consists of. A field that is not declared is refused, so that no misspelling passes in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _exact(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("Credits are a JSON number, as 250 or 12.5.")
    return Decimal(value)


def _whole(value: Any) -> Any:
    # 50.0 is a whole number, "50" and true are none. What has a million digits is not written out to see.
    if isinstance(value, Decimal) and abs(value) <= LARGEST and value == int(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"This is a whole number up to {LARGEST}, as 50.")
    return value


WHOLE = BeforeValidator(_whole)  # stands after the bounds, or these are not told


CreditsIn = Annotated[
    Decimal,
    BeforeValidator(_exact),
    Field(gt=0, le=10**9, decimal_places=4),
    WithJsonSchema(
        {
            "type": "number",
            "description": "Credits: exact, with at most four decimals.",
            "exclusiveMinimum": 0,
            "maximum": 10**9,
            "examples": [12.5],
        }
    ),
]
# What a call cost, which may be nothing.
CostIn = Annotated[
    Decimal,
    BeforeValidator(_exact),
    Field(ge=0, le=10**9),
    WithJsonSchema(
        {
            "type": "number",
            "description": "Credits, rounded down to four decimals.",
            "minimum": 0,
            "maximum": 10**9,
            "examples": [1.5],
        }
    ),
]
Count = Annotated[int, Field(ge=1, le=LARGEST), WHOLE]
# A whole number that may be 0.
Whole = Annotated[int, Field(ge=0, le=LARGEST), WHOLE]
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most on one page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before; without one, the first page.")]


class ExactParser(Parser):
    """Reads a body's numbers as they are written. What is no JSON, or no text, is the router's 400."""

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        body = json.loads(request.body, parse_float=Decimal, parse_constant=_no_number)
        if MAY_BE_NO_TEXT.search(request.body) and not _all_text(body):
            raise ValueError("a text holds NUL, or half a character")
        return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _all_text(value: Any) -> bool:
    match value:
        case str():
            return "\0" not in value and not SURROGATE.search(value)
        case dict():
            return all(_all_text(name) and _all_text(each) for name, each in value.items())
        case list():
            return all(map(_all_text, value))
    return True
