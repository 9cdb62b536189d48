"""JSON without a binary float: a number with decimals is read as a Decimal and written with the same digits."""

import json
from decimal import Decimal
from typing import Any, NoReturn


def read(text: str | bytes) -> Any:
    """Read JSON. ValueError where it is none, or holds NaN or Infinity."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_number)


def write(value: Any, indent: str = "") -> str:
    """Write JSON for people and programs, two spaces a level."""
    deeper = indent + "  "
    match value:
        case Decimal():
            return format(value, "f")
        case dict() if value:
            inner = (
                f"{deeper}{json.dumps(str(key), ensure_ascii=False)}: {write(value[key], deeper)}" for key in value
            )
            return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
        case list() if value:
            return "[\n" + ",\n".join(deeper + write(each, deeper) for each in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
