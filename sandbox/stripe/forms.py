"""Bracketed forms in: from bytes to nested values, held against what an operation accepts.

What is accepted stands once for each operation, as words: `customer! items[price quantity:count] metadata:map`. A word
is a name, `!` when it must be there, and a type: text by default, `:int`, `:count` (not below 0), `:bool`, `:decimal`,
`:map` (text by name), `:list` (of text), `:range` (a number, or gt gte lt lte of one), `:(a|b)` one of these. `{…}`
holds fields, `[…]` a list of such.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.refusals import Refusal

type Tree = dict[str, Any]

WORD = re.compile(r"\s*(?P<name>\w+)(?P<must>!?)(?::(?P<type>\w+|\([^)]*\)))?(?P<open>[{\[]?)|\s*(?P<close>[}\]])")
NUMBER = re.compile(r"-?\d+\Z")


@dataclass
class Field:
    type: str = "text"
    must: bool = False
    many: bool = False
    fields: dict[str, "Field"] = field(default_factory=dict)


def accepted(words: str) -> dict[str, Field]:
    """Read the words that say what an operation accepts."""
    tree: dict[str, Field] = {}
    stack, at = [tree], 0
    while found := WORD.match(words, at):
        at = found.end()
        if found["close"]:
            stack.pop()
            continue
        made = Field(found["type"] or "text", bool(found["must"]), found["open"] == "[")
        stack[-1][found["name"]] = made
        if found["open"]:
            made.type = "fields"
            stack.append(made.fields)
    if words[at:].strip() or len(stack) != 1:
        raise ValueError(f"cannot be read from {words[at:]!r} on")
    return tree


def nested(encoded: str) -> Tree:
    """Turn `items[0][price]=x` into {"items": {"0": {"price": "x"}}}; lists are told apart by `fitted`."""
    tree: Tree = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        head, *rest = name.replace("]", "").split("[")
        into = tree
        for part in (head, *rest)[:-1]:
            below = into.setdefault(part, {})
            if not isinstance(below, dict):
                raise _invalid(f"Invalid form: {name} is given twice.", name)
            into = below
        last = (head, *rest)[-1]
        into[last or str(len(into))] = value
    return tree


def fitted(tree: Tree, fields: dict[str, Field], inside: str = "") -> Tree:
    """Hold what was sent against what is accepted, and turn it into values; refuse what does not fit."""
    for name in tree:
        if name not in fields:
            told = f"{inside}[{name}]" if inside else name
            raise Refusal(f"Received unknown parameter: {told}", code="parameter_unknown", param=told, keeps=False)
    values: Tree = {}
    for name, wanted in fields.items():
        told = f"{inside}[{name}]" if inside else name
        if name in tree:
            values[name] = _value(tree[name], wanted, told)
        elif wanted.must:
            raise Refusal(f"Missing required param: {told}.", code="parameter_missing", param=told, keeps=False)
        if wanted.must and values[name] == "":
            raise _invalid(f"You passed an empty string for '{told}'.", told, "parameter_invalid_empty")
    return values


def _value(sent: Any, wanted: Field, told: str) -> Any:
    if wanted.type == "fields":
        if wanted.many:
            return [
                fitted(_object(each, told), wanted.fields, f"{told}[{n}]") for n, each in enumerate(_list(sent, told))
            ]
        return None if sent == "" else fitted(_object(sent, told), wanted.fields, told)
    if wanted.type == "list":
        return [_text(each, told) for each in _list(sent, told)]
    if wanted.type == "map":
        return {} if sent == "" else {name: _text(value, told) for name, value in _object(sent, told).items()}
    if wanted.type == "range":
        bounds = sent if isinstance(sent, dict) else {"gte": sent, "lte": sent}
        return fitted(bounds, {name: Field("int") for name in ("gt", "gte", "lt", "lte")}, told)
    return _plain(_text(sent, told), wanted.type, told)


def _plain(text: str, kind: str, told: str) -> Any:
    if kind == "text":
        return text
    if kind in ("int", "count"):
        if not NUMBER.match(text) or (kind == "count" and int(text) < 0):
            raise _invalid(f"Invalid integer: {text}", told, "parameter_invalid_integer")
        return int(text)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise _invalid(f"Invalid boolean: {text}", told)
        return text.lower() == "true"
    if kind == "decimal":
        try:
            return Decimal(text)
        except InvalidOperation:
            raise _invalid(f"Invalid decimal: {text}", told, "parameter_invalid_decimal") from None
    choices = kind.strip("()").split("|")
    if text not in choices:
        raise _invalid(f"Invalid {told}: must be one of {', '.join(choices)}", told)
    return text


def _text(sent: Any, told: str) -> str:
    if not isinstance(sent, str):
        raise _invalid(f"Invalid string: {told}", told)
    return sent


def _object(sent: Any, told: str) -> Tree:
    if not isinstance(sent, dict):
        raise _invalid(f"Invalid object: {told}", told)
    return sent


def _list(sent: Any, told: str) -> list[Any]:
    if sent == "":
        return []
    if not isinstance(sent, dict) or not all(key.isdigit() for key in sent):
        raise _invalid(f"Invalid array: {told}", told)
    return [sent[key] for key in sorted(sent, key=int)]


def _invalid(message: str, param: str, code: str = "") -> Refusal:
    return Refusal(message, code=code, param=param, keeps=False)
