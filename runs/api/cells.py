"""Operations of the JSON API about what stands in tables: rows and their results, exports, where a value came from.

What is shown is declared here field by field; credits are what the ledger captured.
"""

from typing import Any, Literal
from uuid import UUID

from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.text import slugify
from ninja import Router

from billing.access import OrgRequest
from oxygen_site.api import Credits, Cursor, Data, Instant, Limit, Shown, may, read_cursor, write_cursor
from oxygen_site.transactions import one_snapshot
from runs import cells, queries
from runs.api.shapes import AttemptShown, ItemStatus, attempt_shown
from runs.models import Column, Row, Table

router = Router(tags=["tables"], by_alias=True)

type RunMode = Literal["live", "smoke_test"]


# ------------------------------------------------------------------ rows


class CellShown(Shown):
    """What stands in a cell, of the run that found it or else came by last. A smoke test's result fills nothing."""

    status: ItemStatus
    value: Any
    run: UUID
    mode: RunMode
    credits: Credits


class RowShown(Shown):
    """A row as imported (`data`), and by each column's key what it found; null where no run has come by."""

    id: UUID
    number: int
    data: dict[str, str]
    results: dict[str, CellShown | None]


class TableRows(Shown):
    rows: list[RowShown]
    next_cursor: str | None


@router.get("/tables/{uuid:table_id}/rows", auth=may("read"), response=Data[TableRows], summary="List a table's rows")
@one_snapshot()
def list_rows(request: OrgRequest, table_id: UUID, limit: Limit = 50, cursor: Cursor = None) -> Data[TableRows]:
    """A table's rows by number, each with its results and what the ledger captured for them."""
    table = get_object_or_404(Table, id=table_id, org=request.org)
    listed = f"rows:{table_id}"
    place = read_cursor(request, listed, cursor)
    lines = cells.rows_page(table, after=int(place[0]) if place else 0, limit=limit + 1)
    more = write_cursor(request, listed, [lines[limit - 1].row.number]) if len(lines) > limit else None
    return Data(data=TableRows(rows=[_row_shown(line) for line in lines[:limit]], next_cursor=more))


@router.get(
    "/tables/{uuid:table_id}/export",
    auth=may("read"),
    response={200: None},
    summary="Export a table",
    openapi_extra={"responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}},
)
def export_table(request: OrgRequest, table_id: UUID) -> StreamingHttpResponse:
    """The whole table as CSV: the fields as imported, then for each column what it found, under its key.

    A result of one fact is written as that, one of several as JSON. A cell that a spreadsheet would take for a formula
    (it begins with =, +, -, @, a tab or a carriage return) gets an apostrophe before it.
    """
    table = get_object_or_404(Table, id=table_id, org=request.org)
    answer = StreamingHttpResponse(cells.as_csv(table), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{slugify(table.name) or "table"}.csv"'
    return answer


def _row_shown(line: cells.RowLine) -> RowShown:
    results = {key: _cell(found) if found else None for key, found in line.cells.items()}
    return RowShown(id=line.row.id, number=line.row.number, data=line.row.data, results=results)


def _cell(found: cells.Cell) -> CellShown:
    item = found.item
    return CellShown.model_validate(
        {
            "status": item.status,
            "value": item.result,
            "run": item.run_id,
            "mode": item.run.mode,
            "credits": found.credits,
        }
    )


# ------------------------------------------------------------------ where a value came from


class RowEvent(Shown):
    """What one run did for a row: `at` its end, or while it has none, when the run was made. `actor` started it."""

    run: UUID
    run_name: str
    mode: RunMode
    column: str
    item: int
    status: ItemStatus
    credits: Credits
    attempts: int
    at: Instant
    actor: str


class RowHistory(Shown):
    events: list[RowEvent]
    next_cursor: str | None


class CellInspected(Shown):
    """What stands in a cell and what made it; `status`, `run`, `mode` and `item` are null where no run has come by."""

    table: UUID
    row: UUID
    row_number: int
    column: str
    value: Any
    status: ItemStatus | None
    run: UUID | None
    mode: RunMode | None
    item: int | None
    credits: Credits
    attempts: list[AttemptShown]


@router.get(
    "/tables/{uuid:table_id}/rows/{uuid:row_id}/history",
    auth=may("read"),
    response=Data[RowHistory],
    summary="Read a row's history",
)
@one_snapshot()
def row_history(
    request: OrgRequest, table_id: UUID, row_id: UUID, limit: Limit = 50, cursor: Cursor = None
) -> Data[RowHistory]:
    """Each run that took the row, the newest first: what became of it, and what it captured."""
    row, listed = _row(request, table_id, row_id), f"history:{row_id}"
    place = read_cursor(request, listed, cursor)
    events = cells.history(row, before=UUID(place[0]) if place else None, limit=limit + 1)
    more = write_cursor(request, listed, [events[limit - 1].item.run_id]) if len(events) > limit else None
    return Data(data=RowHistory(events=[_event(event) for event in events[:limit]], next_cursor=more))


@router.get(
    "/tables/{uuid:table_id}/rows/{uuid:row_id}/cells/{slug:key}",
    auth=may("read"),
    response=Data[CellInspected],
    summary="Inspect a cell",
)
@one_snapshot()
def inspect_cell(request: OrgRequest, table_id: UUID, row_id: UUID, key: str) -> Data[CellInspected]:
    """Which run made the value of a cell, with which calls, and what the ledger captured for each."""
    row = _row(request, table_id, row_id)
    column = get_object_or_404(Column, table=table_id, key=key)
    found = cells.cell(row, column)
    item = found and found.item
    attempts = queries.items_page(item.run, number=item.number).lines[0].attempts if item else []
    return Data(
        data=CellInspected.model_validate(
            {
                "table": table_id,
                "row": row.id,
                "row_number": row.number,
                "column": key,
                "value": item and item.result,
                "status": item and item.status,
                "run": item and item.run_id,
                "mode": item and item.run.mode,
                "item": item and item.number,
                "credits": found.credits if found else 0,
                "attempts": [attempt_shown(line) for line in attempts],
            }
        )
    )


def _row(request: OrgRequest, table_id: UUID, row_id: UUID) -> Row:
    return get_object_or_404(Row, id=row_id, table=table_id, table__org=request.org)


def _event(event: cells.Event) -> RowEvent:
    item, run = event.item, event.item.run
    assert run.column is not None  # it is about a row
    return RowEvent.model_validate(
        {
            "run": run.id,
            "run_name": run.name,
            "mode": run.mode,
            "column": run.column.key,
            "item": item.number,
            "status": item.status,
            "credits": event.credits,
            "attempts": event.calls,
            "at": item.ended_at or run.created_at,
            "actor": event.actor,
        }
    )
