"""Stripe's published schema, what the SDK's version has beyond it, and a judge that holds JSON against both.

`spec3-pruned.json` is cut from Stripe's OpenAPI description of 2026-08-26.dahlia, MIT, licence beside it. OVERLAY is
what 2026-10-28.endive adds to the objects here, read off the SDK's annotations; `test_schema.py` compares the two.
The judge knows the part of JSON Schema that the spec uses; fields that the spec does not name are violations.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

type Json = dict[str, Any]

SPEC: Json = json.loads(Path(__file__).with_name("spec3-pruned.json").read_text("utf-8"))
SCHEMAS: Json = SPEC["components"]["schemas"]
TEXT: Json = {"type": "string", "nullable": True}
THING: Json = {"type": "object", "nullable": True}
OVERLAY: dict[str, Json] = {
    "product": {"tax_details": THING, "type": {"type": "string", "enum": ["good", "service"]}},
    "payment_method": {"paypay": THING, "sequra": THING},
    "payment_intent": {"payment_record": TEXT, "source": TEXT},
    "charge": {"authorization_code": TEXT, "level3": THING, "source": THING},
    "dispute": {"intended_submission_method": TEXT, "network_reason_code": TEXT},
    "checkout.session": {
        "allowed_payment_method_types": {"type": "array", "items": {"type": "string"}, "nullable": True}
    },
    "billing_portal.session": {"after_expiration": THING},
    "subscription": {"status_details": THING},
    "subscription_item": {"current_trial": THING, "plan": THING},
    "subscription_schedule": {"pause_schedules": {"type": "array", "items": THING}},
    "invoice": {"status_details": THING},
    "invoiceitem": {"invoicing_rules": {"type": "array", "items": THING, "nullable": True}},
}
REQUIRED = {"subscription_schedule": ["pause_schedules"]}
UNDOCUMENTED = {"plan", "total_count"}  # what the real Stripe sends all the same
for _kind, _fields in OVERLAY.items():
    SCHEMAS[_kind]["properties"] |= _fields
    SCHEMAS[_kind].setdefault("required", []).extend(REQUIRED.get(_kind, []))

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


def violations(value: Any, schema: Json, at: str = "") -> Iterator[str]:
    """Say each way in which a value is not what a schema allows."""
    if value is None and schema.get("nullable"):
        return
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        yield from _any_of(value, schema["anyOf"], at)
        return
    if value is None:
        if not schema.get("nullable"):
            yield f"{at} is null"
        return
    kind = schema.get("type", "object" if "properties" in schema else "")
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{at} is no {kind}: {value!r}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is none of {schema['enum']}: {value!r}"
    if isinstance(value, str):
        yield from _text(value, schema, at)
    elif isinstance(value, list):
        for n, each in enumerate(value):
            yield from violations(each, schema.get("items", {}), f"{at}[{n}]")
    elif isinstance(value, dict):
        yield from _object(value, schema, at)


def _object(value: Json, schema: Json, at: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", not schema.get("properties"))
    yield from (f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value)
    for name, each in value.items():
        if name in known:
            yield from violations(each, known[name], f"{at}.{name}")
        elif isinstance(others, dict):
            yield from violations(each, others, f"{at}.{name}")
        elif not others and name not in UNDOCUMENTED:
            yield f"{at}.{name} is unknown"


def _text(value: str, schema: Json, at: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{at} is longer than {schema['maxLength']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at} does not match {schema['pattern']}: {value!r}"
    if schema.get("format") == "decimal":
        try:
            Decimal(value)
        except InvalidOperation:
            yield f"{at} is no decimal: {value!r}"
    if schema.get("format") == "currency" and not re.fullmatch("[a-z]{3}", value):
        yield f"{at} is no currency: {value!r}"


def _any_of(value: Any, choices: list[Json], at: str) -> Iterator[str]:
    """Objects are told apart by their `object`; for the rest one choice must hold."""
    tries = [list(violations(value, choice, at)) for choice in choices if _may_be(value, choice)]
    if not tries:
        yield f"{at} is none of what it may be: {str(value)[:60]}"
    elif all(tries):
        yield from min(tries, key=len)


def _may_be(value: Any, choice: Json) -> bool:
    while "$ref" in choice:
        choice = SCHEMAS[choice["$ref"].rpartition("/")[2]]
    if not isinstance(value, dict) or "object" not in value:
        return True
    if choice.get("type") == "string":
        return False
    enum = choice.get("properties", {}).get("object", {}).get("enum")
    deleted = choice.get("properties", {}).get("deleted", {}).get("enum") == [True]
    return enum is None or (value["object"] in enum and bool(value.get("deleted")) == deleted)


def of_answer(method: str, path: str, status: int) -> Json:
    """The schema of an operation's answer; an operation that the spec lacks is told by its answer's `object`."""
    if status >= 400:
        return SCHEMAS["error"]
    for known, operations in SPEC["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path) and method in operations and "{" not in path:
            if "{" in known and path in SPEC["paths"]:
                continue
            schema: Json = operations[method]["responses"]["200"]["content"]["application/json"]["schema"]
            return schema
    return {}


def judged(method: str, path: str, status: int, answer: Json) -> list[str]:
    """Say what is wrong with an answer of the API."""
    schema = of_answer(method, path, status) or SCHEMAS.get(answer.get("object", ""))
    return list(violations(answer, schema or {"enum": ["an operation or object of the spec"]}, f"{method} {path}: "))


def judged_object(thing: Json) -> list[str]:
    """Say what is wrong with an object, wherever it was found."""
    kind = f"deleted_{thing['object']}" if thing.get("deleted") else thing["object"]
    return list(violations(thing, SCHEMAS[kind], kind))


def judged_event(event: Json) -> list[str]:
    """Say what is wrong with an event, and with the object that it tells of."""
    thing = event["data"]["object"]
    faults = list(violations(event, SCHEMAS["event"], event["type"]))
    return faults + list(violations(thing, SCHEMAS[thing["object"]], f"{event['type']}: {thing['object']}"))
