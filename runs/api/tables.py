"""Operations of the JSON API about tables: import, list, describe, rename, and add columns that tools fill.

What is shown is declared here field by field. A table comes as JSON rows or as a CSV file, which may be larger than any
other body; either is read before its write begins, so that no transaction waits for that.
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from io import BytesIO
from typing import Annotated, Any
from uuid import UUID

import pydantic
from django.db.models import Q
from django.shortcuts import get_object_or_404
from ninja import Query, Router
from ninja.errors import HttpError, ValidationError
from pydantic import Field, WithJsonSchema

from billing.access import OrgRequest
from oxygen_site.api import Cursor, Data, Instant, Limit, Shown, Taken, may, read_cursor, write, write_cursor
from oxygen_site.transactions import one_snapshot
from runs import cells, tables
from runs.models import Column, Table

router = Router(tags=["tables"])


class TableLine(Shown):
    id: UUID
    name: str
    row_count: int
    created_at: Instant


class Tables(Shown):
    tables: list[TableLine]
    next_cursor: str | None


class ColumnShown(Shown):
    """A column that tools fill, in this order. `filled`: rows that live runs have answered, also with nothing found."""

    key: str
    name: str
    tools: list[str]
    filled: int


class TableShown(Shown):
    """A table: the `fields` that were imported, in their order, and the columns that tools fill."""

    id: UUID
    name: str
    row_count: int
    created_at: Instant
    fields: list[str]
    columns: list[ColumnShown]


# ------------------------------------------------------------------ what is sent

Name = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 120})]
Rows = Annotated[
    list[Any],  # judged by `tables.read_rows`, which says what is wrong with which row
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": tables.MOST_ROWS,
            "items": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        }
    ),
]


class NewTable(Taken):
    """Cells are text; null, or a name that a row has not, is an empty cell. The fields are all names of all rows."""

    name: Name
    rows: Rows


class NewName(Taken):
    name: Name


class NewColumn(Taken):
    """`tools` are asked in this order, each once a row at most. Without a name it is called by its key."""

    key: str
    name: Name | None = None
    tools: list[str] = Field(max_length=100)


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": NewTable.model_json_schema()},
            "text/csv": {"schema": {"type": "string", "description": "UTF-8 with a header line, at most 100 MB."}},
        },
    }
}


def _reads_it_first[R](operation: Callable[..., R]) -> Callable[..., R]:
    @wraps(operation)
    def read(request: OrgRequest, **parameters: Any) -> R:
        request.brought = _brought(request)  # type: ignore[attr-defined]
        return operation(request, **parameters)

    return read


def _brought(request: OrgRequest) -> tuple[str, tables.Sheet]:
    if request.content_type == "text/csv":
        request._body = request.read(tables.MOST_BYTES + 1)
        return request.GET.get("name", ""), tables.read_csv(BytesIO(request.body))
    try:
        body = NewTable.model_validate(json.loads(request.body))
    except pydantic.ValidationError as invalid:
        wrong = invalid.errors(include_url=False, include_context=False, include_input=False)
        raise ValidationError([{**each, "loc": ("body", "body", *each["loc"])} for each in wrong]) from invalid
    except (ValueError, RecursionError) as unreadable:
        raise HttpError(400, "no JSON") from unreadable
    return body.name, tables.read_rows(body.rows)


# ------------------------------------------------------------------ tables


@router.get("/tables", auth=may("read"), response=Data[Tables], summary="List the tables")
@one_snapshot()
def list_tables(request: OrgRequest, limit: Limit = 50, cursor: Cursor = None) -> Data[Tables]:
    """The organization's tables, the newest first."""
    found = Table.objects.filter(org=request.org).order_by("-created_at", "-id")
    if place := read_cursor(request, "tables", cursor):
        at = datetime.fromisoformat(place[0])
        found = found.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=UUID(place[1])))
    listed = list(found[: limit + 1])
    shown = [TableLine.model_validate(each, from_attributes=True) for each in listed[:limit]]
    last = shown[-1] if len(listed) > limit else None
    more = write_cursor(request, "tables", [last.created_at, last.id]) if last else None
    return Data(data=Tables(tables=shown, next_cursor=more))


@router.post(
    "/tables",
    auth=may("start_runs"),
    response={201: Data[TableShown]},
    summary="Import a table",
    openapi_extra=BODY,
)
@_reads_it_first
@write(201)
def import_table(
    request: OrgRequest,
    name: Annotated[str | None, Query(description="What to call the table; of a text/csv body only.")] = None,
) -> Data[TableShown]:
    """Make a table of JSON rows, or of a CSV file in UTF-8 with a header line and `name` beside it.

    It goes in whole or not at all: what is broken is refused with its line or row and the reason. At most 250,000 rows,
    200 fields, 100 MB of CSV; JSON within the size of any body.
    """
    called, sheet = request.brought  # type: ignore[attr-defined]
    return _described(tables.import_sheet(request.org, called, sheet))


@router.get("/tables/{uuid:table_id}", auth=may("read"), response=Data[TableShown], summary="Describe a table")
@one_snapshot()
def get_table(request: OrgRequest, table_id: UUID) -> Data[TableShown]:
    """What was imported, the columns that tools fill, and how many rows each has filled."""
    return _described(_table(request, table_id))


@router.patch("/tables/{uuid:table_id}", auth=may("start_runs"), response=Data[TableShown], summary="Rename a table")
@write()
def rename_table(request: OrgRequest, table_id: UUID, body: NewName) -> Data[TableShown]:
    """Give a table another name. Its rows and columns stay; runs that were started keep the names they have."""
    return _described(tables.rename(_table(request, table_id), body.name))


@router.post(
    "/tables/{uuid:table_id}/columns",
    auth=may("start_runs"),
    response={201: Data[ColumnShown]},
    summary="Add a column that tools fill",
)
@write(201)
def add_column(request: OrgRequest, table_id: UUID, body: NewColumn) -> Data[ColumnShown]:
    """Add an empty column. Nothing is called or charged: a run fills it."""
    named = body.key if body.name is None else body.name
    return Data(data=_column(tables.add_column(_table(request, table_id), body.key, named, body.tools), 0))


def _table(request: OrgRequest, table_id: UUID) -> Table:
    return get_object_or_404(Table, id=table_id, org=request.org)


def _described(table: Table) -> Data[TableShown]:
    filled = cells.filled(table)
    return Data(
        data=TableShown(
            id=table.id,
            name=table.name,
            row_count=table.row_count,
            created_at=table.created_at,
            fields=table.fields,
            columns=[_column(column, filled.get(column.id, 0)) for column in table.columns.order_by("id")],
        )
    )


def _column(column: Column, filled: int) -> ColumnShown:
    return ColumnShown(key=column.key, name=column.name, tools=column.cascade, filled=filled)
