"""Rows as a CSV file that is sent while it is read. For views.

The law: a row is what the page shows, numbers plain and exact, times in ISO 8601; and no cell is a formula, whoever
named what stands in it: one that begins like one gets an apostrophe before it.
"""

import csv
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import batched, chain
from typing import Any

from django.http import StreamingHttpResponse

TOGETHER = 200  # rows a piece
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """What csv.writer writes to: it gives the line back."""

    def write(self, line: str) -> str:
        return line


def download(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """Answer with a file of rows under their heads. `rows` is read as the file goes out."""
    writer: Any = csv.writer(_Line())
    lines = (writer.writerow([cell(value) for value in row]) for row in chain([head], rows))
    pieces = ("".join(some) for some in batched(lines, TOGETHER, strict=False))
    answer = StreamingHttpResponse(pieces, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def cell(value: object) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            return f"{value.normalize() + 0:f}"
        case date():
            return value.isoformat()
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULAS) else text
