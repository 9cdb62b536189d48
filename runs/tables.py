"""Tables: import rows from a CSV file, add a column that tools fill, or the one a capability or template fills.

For the pages, the commands and seeding. The law: a file goes in whole or not at all, and who sent a broken one is told
the line and the reason. Cells stay the text they were.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import IO

from django.utils.text import slugify

from billing.models import Organization
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention
from runs.models import Capability, Column, Row, Table, Tool, WorkflowTemplate

MOST_ROWS = 250_000
MOST_COLUMNS = 200
MOST_BYTES = 100 * 2**20


def import_csv(org: Organization, name: str, file: IO[bytes]) -> Table:
    """Make a table of a CSV file in UTF-8 with a header line. Refused whole: broken_csv with `line`, name."""
    name = _name(name, "table")
    rows = list(_rows(_text(file)))
    if not rows:
        raise _broken(1, "there is a header, and no row under it")

    def verb() -> Table:
        table = Table.objects.create(org=org, name=name, row_count=len(rows), created_at=clock())
        made = (Row(table=table, number=number, data=data) for number, data in enumerate(rows, start=1))
        Row.objects.bulk_create(made, batch_size=2000)
        return table

    return intention(verb, certain=True)


def add_column(table: Table, key: str, name: str, cascade: Sequence[str]) -> Column:
    """Add a column that these tools fill, in this order. Refused: key, name, cascade, column_exists."""
    name = _name(name, "column")
    if not key or len(key) > 60 or slugify(key) != key:
        raise Refused("invalid_key", "A column's key has lower-case letters, digits, - and _, at most 60.", 422, "key")
    check_cascade(cascade, "cascade")

    def verb() -> Column:
        column, made = Column.objects.get_or_create(
            table=table, key=key, defaults={"name": name, "cascade": list(cascade)}
        )
        if not made:
            raise Refused("column_exists", f"This table has a column {key} already.", 409, "key")
        return column

    return intention(verb, certain=True)


def check_cascade(cascade: Sequence[str], field: str) -> None:
    """Refuse a list of tools of which nothing can be made: invalid_cascade, unknown_tool. One query."""
    if not cascade or len(set(cascade)) < len(cascade):
        raise Refused("invalid_cascade", "Name at least one tool, and each tool once.", 422, field)
    if unknown := set(cascade) - set(Tool.objects.filter(pk__in=cascade).values_list("pk", flat=True)):
        raise Refused("unknown_tool", f"There is no tool {', '.join(sorted(unknown))}.", 422, field)


def column_for(table: Table, named: Capability | WorkflowTemplate) -> Column:
    """Find the column named after a capability or template, made if missing; one that is there keeps its own cascade.

    May be a step of somebody's transaction.
    """
    asked = {"name": named.name, "cascade": named.cascade}
    return Column.objects.get_or_create(table=table, key=named.pk, defaults=asked)[0]


def _name(name: str, what: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 120:
        raise Refused("invalid_name", f"Give the {what} a name of at most 120 characters.", 422, "name")
    return name


def _broken(line: int, reason: str) -> Refused:
    message = f"Line {line}: {reason}. Nothing was imported."
    return Refused("broken_csv", message, 422, "file", line=line, reason=reason)


def _text(file: IO[bytes]) -> str:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _broken(1, f"the file is larger than {MOST_BYTES // 2**20} MB; split it")
    if (nul := content.find(b"\0")) >= 0:
        raise _broken(
            content.count(b"\n", 0, nul) + 1, "it holds a NUL byte, which no text has; save the file as UTF-8"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _broken(line, "it is not UTF-8; save the file as UTF-8") from error


def _rows(text: str) -> Iterator[dict[str, str]]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, number = 1, 0
    try:
        header = _header(next(lines, []))
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


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if not any(names):
        raise _broken(1, "there is no header; the first line names the columns")
    if "" in names:
        raise _broken(1, f"column {names.index('') + 1} of the header has no name")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _broken(1, f"the header names the column “{twice}” twice")
    if len(names) > MOST_COLUMNS:
        raise _broken(1, f"a table has at most {MOST_COLUMNS} columns")
    return names
