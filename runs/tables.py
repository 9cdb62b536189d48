"""Tables: import rows from CSV or JSON, rename, add a column that tools fill, or the one of a capability or template.

For the pages, the API, the commands and seeding. The law: what is imported goes in whole or not at all, and who sent a
broken file is told the line and the reason, or the row. Cells stay the text they were.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import batched
from typing import IO, Any, NamedTuple

from django.utils.text import slugify

from billing.models import Organization
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention
from runs.models import Capability, Column, Row, Table, Tool, WorkflowTemplate

MOST_ROWS = 250_000
MOST_COLUMNS = 200
MOST_BYTES = 100 * 2**20
LONGEST_CELL = csv.field_size_limit()
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what no database keeps as text


class Sheet(NamedTuple):
    """What a table will hold, found whole: its fields in order, and its rows, which are read anew for each use."""

    fields: list[str]
    row_count: int
    rows: Callable[[], Iterator[dict[str, str]]]


def import_csv(org: Organization, name: str, file: IO[bytes]) -> Table:
    """Make a table of a CSV file in UTF-8 with a header line. Refused whole: broken_csv with `line`, name."""
    return import_sheet(org, name, read_csv(file))


def import_sheet(org: Organization, name: str, sheet: Sheet) -> Table:
    """Make a table of what was read and found whole. Refused: name."""
    name = _name(name, "table")

    def verb() -> Table:
        facts = {"fields": sheet.fields, "row_count": sheet.row_count, "created_at": clock()}
        table = Table.objects.create(org=org, name=name, **facts)
        for batch in batched(enumerate(sheet.rows(), start=1), 2000):
            Row.objects.bulk_create(Row(table=table, number=number, data=data) for number, data in batch)
        return table

    return intention(verb, certain=True)


def read_csv(file: IO[bytes]) -> Sheet:
    """Read a CSV file in UTF-8 with a header line. Takes no more memory than the file. Refused: broken_csv."""
    content = _content(file)
    row_count, row = 0, dict[str, str]()
    for row_count, row in enumerate(_rows(content), start=1):  # noqa: B007
        pass
    if not row_count:
        raise _broken(1, "there is a header, and no row under it")
    return Sheet(list(row), row_count, lambda: _rows(content))


def read_rows(rows: Sequence[Any]) -> Sheet:
    """Read rows as JSON has them: objects of text by field. Null, or no such name in a row, is an empty cell.

    The fields are all names of all rows, in the order in which they come first. Refused: broken_rows, with `row`.
    """
    if not rows:
        raise _broken_rows("There is no row.")
    if len(rows) > MOST_ROWS:
        raise _broken_rows(f"A table holds at most {MOST_ROWS:,} rows; send the others as another.")
    for number, row in enumerate(rows, start=1):
        if why := _why_no_row(row):
            raise _broken_rows(f"Row {number}: {why}.", number)
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields = [name.strip() for name in names]
    if not any(fields):
        raise _broken_rows("No row names a column.")
    if why := _why_no_header(fields):
        raise _broken_rows(f"{why[0].upper()}{why[1:]}.")
    by_name = dict(zip(names, fields, strict=True))
    return Sheet(
        fields, len(rows), lambda: ({field: row.get(name) or "" for name, field in by_name.items()} for row in rows)
    )


def rename(table: Table, name: str) -> Table:
    """Give a table another name; runs that were started keep theirs. Refused: name."""
    name = _name(name, "table")

    def verb() -> Table:
        table.name = name
        table.save(update_fields=["name"])
        return table

    return intention(verb)


def add_column(table: Table, key: str, name: str, cascade: Sequence[str]) -> Column:
    """Add a column that these tools fill, in this order. Refused: key, name, cascade, column_exists."""
    name = _name(name, "column")
    if not key or len(key) > 60 or slugify(key) != key:
        raise Refused("invalid_key", "A column's key has lower-case letters, digits, - and _, at most 60.", 422, "key")
    check_cascade(cascade)

    def verb() -> Column:
        column, made = Column.objects.get_or_create(
            table=table, key=key, defaults={"name": name, "cascade": list(cascade)}
        )
        if not made:
            raise Refused("column_exists", f"This table has a column {key} already.", 409, "key")
        return column

    return intention(verb, certain=True)


def check_cascade(cascade: Sequence[str]) -> None:
    """Refuse a list of tools of which nothing can be made: invalid_cascade, unknown_tool. One query."""
    if not cascade or len(set(cascade)) < len(cascade):
        raise Refused("invalid_cascade", "Name at least one tool, and each tool once.", 422, "tools")
    if unknown := set(cascade) - set(Tool.objects.filter(pk__in=cascade).values_list("pk", flat=True)):
        raise Refused("unknown_tool", f"There is no tool {', '.join(sorted(unknown))}.", 422, "tools")


def column_for(table: Table, named: Capability | WorkflowTemplate) -> Column:
    """Find the column named after a capability or template, made if missing; one that is there keeps its own cascade.

    May be a step of somebody's transaction.
    """
    asked = {"name": named.name, "cascade": named.cascade}
    return Column.objects.get_or_create(table=table, key=named.pk, defaults=asked)[0]


def _name(name: str, what: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 120 or NO_TEXT.search(name):
        raise Refused("invalid_name", f"Give the {what} a name of at most 120 characters.", 422, "name")
    return name


# ------------------------------------------------------------------ a CSV file


def _broken(line: int, reason: str) -> Refused:
    message = f"Line {line}: {reason}. Nothing was imported."
    return Refused("broken_csv", message, 422, "file", line=line, reason=reason)


def _content(file: IO[bytes]) -> bytes:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _broken(1, f"the file is larger than {MOST_BYTES // 2**20} MB; split it")
    if (nul := content.find(b"\0")) >= 0:
        raise _broken(
            content.count(b"\n", 0, nul) + 1, "it holds a NUL byte, which no text has; save the file as UTF-8"
        )
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _broken(line, "it is not UTF-8; save the file as UTF-8") from error
    return content


def _rows(content: bytes) -> Iterator[dict[str, str]]:
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""), strict=True)
    line, number = 1, 0
    try:
        header = [cell.strip() for cell in next(lines, [])]
        if why := _why_no_header(header):
            raise _broken(1, why)
        line = lines.line_num + 1
        for cells in lines:
            if cells and len(cells) != len(header):
                raise _broken(line, f"it has {len(cells)} cells where the header has {len(header)}")
            if cells:
                number += 1
                yield dict(zip(header, cells, strict=True))
            if number > MOST_ROWS:
                raise _broken(line, f"a table holds at most {MOST_ROWS:,} rows; split the file")
            line = lines.line_num + 1
    except csv.Error as error:
        raise _broken(line, f"it cannot be read as CSV ({error})") from error


def _why_no_header(names: list[str]) -> str:
    if not any(names):
        return "there is no header; the first line names the columns"
    if "" in names:
        return f"column {names.index('') + 1} of the header has no name"
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        return f"the header names the column “{twice}” twice"
    if len(names) > MOST_COLUMNS:
        return f"a table has at most {MOST_COLUMNS} columns"
    return ""


# ------------------------------------------------------------------ rows as JSON


def _broken_rows(reason: str, row: int | None = None) -> Refused:
    field = "rows" if row is None else f"rows/{row - 1}"
    return Refused("broken_rows", f"{reason} Nothing was imported.", 422, field, row=row)


def _why_no_row(row: Any) -> str:
    if not isinstance(row, dict):
        return "it is no object of cells by their columns' names"
    for name, cell in row.items():
        if NO_TEXT.search(name) or (isinstance(cell, str) and NO_TEXT.search(cell)):
            return "it holds NUL or half a character, which no text has"
        if cell is not None and not isinstance(cell, str):
            return f"“{name[:60]}” is no text; a cell is a JSON string, or null where it is empty"
        if cell and len(cell) > LONGEST_CELL:
            return f"“{name[:60]}” is longer than {LONGEST_CELL:,} characters"
    return ""
