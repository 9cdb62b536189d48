"""What tables hold: their rows with what columns found for them, where each value came from, and a table as a CSV file.

For the API. Reads only, each at a cost in queries that does not grow. Laws: in a cell stands what its column found
last, live or in a smoke test, which fills nothing; else what became of it last. Credits are what the ledger captured.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import FETCH_RAISE, Case, Count, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from billing.models import Entry
from billing.models.credits import CreditsField
from runs.cascade import ZERO
from runs.models import Attempt, Column, Item, Row, Run, Table

FOUND = Q(status=Item.Status.SUCCEEDED)
LIVE = Q(run__mode=Run.Mode.LIVE)
EXPORTED = 1000  # rows read at once
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: the item of the run that put it there, and what that captured."""

    item: Item
    credits: Decimal


@dataclass(frozen=True)
class RowLine:
    row: Row
    cells: dict[str, Cell | None]  # of every column, by its key


@dataclass(frozen=True)
class Event:
    """What one run did for a row."""

    item: Item
    credits: Decimal
    calls: int
    actor: str  # who started it, as the ledger wrote it down


def filled(table: Table) -> dict[int, int]:
    """Count by column the rows that live runs have filled, also with the answer that there is nothing. One query."""
    items = Item.objects.filter(FOUND, LIVE, run__table=table).values_list("run__column")
    return dict(items.annotate(rows=Count("row", distinct=True)))


def rows_page(table: Table, *, after: int, limit: int) -> list[RowLine]:
    """A table's rows by number with what stands in their cells. Three queries."""
    return _lines(table, list(table.columns.order_by("id")), after, limit)


def cell(row: Row, column: Column) -> Cell | None:
    """What stands in a cell; None where no run has come by it. One query."""
    return next(_standing(Item.objects.filter(row=row, run__column=column)), None)


def history(row: Row, *, before: UUID | None, limit: int) -> list[Event]:
    """What runs did for a row, the last one first. One query."""
    items = Item.objects.filter(row=row).select_related("run__column").order_by("-run_id")
    if before:
        items = items.filter(run__lt=before)
    begun = Entry.objects.filter(org=OuterRef("run__org"), source=OuterRef("run_id"), item=0).values("actor")
    calls = Attempt.objects.filter(run=OuterRef("run_id"), item=OuterRef("number")).order_by().values("item")
    events = items.annotate(
        captured=_captured(),
        calls=Coalesce(Subquery(calls.annotate(n=Count("number")).values("n")), 0),
        actor=Subquery(begun),
    )
    return [
        Event(item, item.captured, item.calls, item.actor)  # type: ignore[attr-defined]
        for item in events.fetch_mode(FETCH_RAISE)[:limit]
    ]


def as_csv(table: Table) -> Iterator[str]:
    """Write a table as CSV (RFC 4180), some rows at a time: its fields, then what its columns found, by key.

    A cell that a spreadsheet would take for a formula begins with an apostrophe. Two queries a thousand rows.
    """
    columns = list(table.columns.order_by("id"))
    yield _csv([[*table.fields, *_headings(table, columns)]])
    lines = _lines(table, columns, 0, EXPORTED)
    while lines:
        yield _csv(
            [
                *(line.row.data.get(field, "") for field in table.fields),
                *(as_text(found.item.result) if found else "" for found in line.cells.values()),
            ]
            for line in lines
        )
        lines = _lines(table, columns, lines[-1].row.number, EXPORTED)


def as_text(result: Any) -> str:
    """Write a result into one cell: of a single fact, that; of several, JSON; of none, nothing."""
    if isinstance(result, dict) and len(result) == 1:
        (result,) = result.values()
    if result is None or isinstance(result, str):
        return result or ""
    return json.dumps(result, ensure_ascii=False)


def _lines(table: Table, columns: Sequence[Column], after: int, limit: int) -> list[RowLine]:
    rows = list(table.rows.filter(number__gt=after).order_by("number").fetch_mode(FETCH_RAISE)[:limit])
    keys: dict[int | None, str] = {column.id: column.key for column in columns}
    standing: dict[UUID | None, dict[str, Cell]] = defaultdict(dict)
    if rows and columns:
        for found in _standing(Item.objects.filter(row__in=[row.id for row in rows], run__column__in=keys)):
            standing[found.item.row_id][keys[found.item.run.column_id]] = found
    return [RowLine(row, {key: standing[row.id].get(key) for key in keys.values()}) for row in rows]


def _standing(items: QuerySet[Item]) -> Iterator[Cell]:
    """Of each cell that these items are of, the one that stands in it. One query."""
    found_first = Case(When(FOUND, then=Value(0)), default=Value(1))
    first = items.order_by("row_id", "run__column_id", found_first, "-run_id").distinct("row_id", "run__column_id")
    for item in first.select_related("run").annotate(captured=_captured()).fetch_mode(FETCH_RAISE):
        yield Cell(item, item.captured)


def _captured() -> Coalesce:
    """What the ledger captured for an item's calls."""
    entries = Entry.objects.filter(org=OuterRef("run__org"), source=OuterRef("run_id"), item=OuterRef("number"))
    captured = entries.order_by().values("item").annotate(captured=Sum("amount")).values("captured")
    return Coalesce(Subquery(captured), Value(ZERO), output_field=CreditsField())


def _headings(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    """The columns' keys, told apart from what was imported under the same name."""
    taken = set(table.fields)
    for column in columns:
        heading = column.key
        while heading in taken:
            heading += " (filled)"
        taken.add(heading)
        yield heading


def _csv(lines: Iterable[Iterable[str]]) -> str:
    sheet = io.StringIO(newline="")
    csv.writer(sheet).writerows([_no_formula(cell) for cell in line] for line in lines)
    return sheet.getvalue()


def _no_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell
