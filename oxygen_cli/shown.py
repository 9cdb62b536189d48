"""How answers look to people. Rich, which draws them, is imported once there is something to draw.

Text from outside is shown as it is and does nothing else: no markup, no control characters, and where it runs from
right to left it keeps to its own place. A list is a table where that fits, else one block for each row.
"""

import sys
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

type Part = RenderableType | str  # a str is a remark for standard error, everything else is data

WIDE = 10_000  # in a pipe or a file each row is one line
ISOLATE, END = "\u2068", "\u2069"
TURNS = {"\u200e", "\u200f", "\u061c", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
COLOURS = {
    "succeeded": "green",
    "live": "",
    "paused": "yellow",
    "awaiting_approval": "yellow",
    "completed_with_errors": "yellow",
    "failed": "red",
    "unknown": "yellow",
}


class Column(NamedTuple):
    """A column of a list. `value`: the field's name, or what makes its text of a row."""

    title: str
    value: str | Callable[[dict[str, Any]], Any]
    number: bool = False

    def of(self, row: dict[str, Any]) -> "Text":
        value = row.get(self.value) if isinstance(self.value, str) else self.value(row)
        return text(value)


# ------------------------------------------------------------------ values


def text(value: Any) -> "Text":
    """Write any value as people read it."""
    from rich.text import Text

    match value:
        case Text():
            return value
        case None | "":
            return Text("–")
        case bool():
            return Text("yes" if value else "no")
        case int() | Decimal():
            return Text(credits(value))
        case list():
            return Text(", ".join(text(each).plain for each in value) or "–")
        case dict():
            return Text(", ".join(f"{plain(key)} {text(each).plain}" for key, each in value.items()) or "–")
    return Text(plain(str(value)))


def credits(value: int | Decimal | None) -> str:
    """Write a number with its thousands grouped and no more decimals than it has."""
    if value is None:
        return "–"
    written = format(Decimal(value), ",f")
    return written.rstrip("0").rstrip(".") if "." in written else written


def percent(value: int | Decimal | None) -> str:
    return "–" if value is None else f"{credits(round(Decimal(value) * 100, 1))} %"


def when(value: str | None) -> str:
    """Write an instant to the minute, in UTC as the API tells it."""
    if not value or "T" not in value:
        return value or "–"
    day, _, clock = value.partition("T")
    return f"{day} {clock[:5]} UTC" if value.endswith("Z") else value


def plain(words: str) -> str:
    """Keep text from outside from moving the cursor or its neighbours."""
    kept = "".join(" " if unicodedata.category(sign) == "Cc" else sign for sign in words if sign not in TURNS)
    turns = any(unicodedata.bidirectional(sign) in ("R", "AL", "AN") for sign in kept)
    return f"{ISOLATE}{kept}{END}" if turns else kept


def state(value: str | None, more: str | None = None) -> "Text":
    """Write a status in words, with its colour: paused (cap reached)."""
    from rich.text import Text

    words = (value or "–").replace("_", " ")
    if more:
        words += f" ({more.replace('_', ' ')})"
    return Text(words, style=COLOURS.get(value or "", ""))


# ------------------------------------------------------------------ parts


def table(rows: Sequence[dict[str, Any]], columns: Sequence[Column], none: str) -> Part:
    """Draw a list: as a table, or where the terminal is too narrow for it, as a block for each row."""
    if not rows:
        return none
    from rich.measure import Measurement
    from rich.table import Table

    cells = [[column.of(row) for column in columns] for row in rows]
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(column.title, justify="right" if column.number else "left", no_wrap=True)
    for row in cells:
        drawn.add_row(*row)
    if Measurement.get(console(), console().options.update(max_width=WIDE), drawn).maximum <= console().width:
        return drawn
    blocks = Table.grid(padding=(0, 2, 0, 0))
    blocks.add_column(style="dim", no_wrap=True)
    blocks.add_column(overflow="fold")
    for number, row in enumerate(cells):
        if number:
            blocks.add_row()
        for column, cell in zip(columns, row, strict=True):
            blocks.add_row(column.title, cell)
    return blocks


def facts(*pairs: tuple[str, Any]) -> Part:
    """Draw one thing: what each of its figures is called, and the figure."""
    from rich.table import Table

    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(name, text(value))
    return drawn


def heading(words: str) -> Part:
    from rich.text import Text

    return Text(f"\n{plain(words)}", style="bold")


def lines(words: str) -> Part:
    """Draw words from outside that are data, not a remark."""
    from rich.text import Text

    return Text("\n".join(plain(line) for line in words.splitlines()))


# ------------------------------------------------------------------ where it goes


def put(part: "RenderableType") -> None:
    """Draw on standard output; in a pipe no line ends in spaces."""
    if console().is_terminal:
        console().print(part)
        return
    with console().capture() as drawn:
        console().print(part)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))


@cache
def console(error: bool = False) -> "Console":
    """Make the console of standard output, or of standard error. NO_COLOR and what is no terminal get no colour."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(stderr=error, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)
