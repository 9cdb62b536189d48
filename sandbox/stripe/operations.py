"""The table of what this Stripe can do: method, path, what is accepted, and the function that does it."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sandbox.stripe.answers import expanded, rendered
from sandbox.stripe.forms import Field, accepted, fitted
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

type Doing = Callable[..., Json]


class Operation(NamedTuple):
    method: str
    path: str
    pattern: re.Pattern[str]
    fields: dict[str, Field]
    do: Doing


OPERATIONS: list[Operation] = []


def operation(method: str, path: str, accepts: str = "") -> Callable[[Doing], Doing]:
    """Enter a function in the table. It is called with the world, what was asked, and the ids in the path."""

    def enter(do: Doing) -> Doing:
        pattern = re.compile(re.sub(r"\{\w+\}", r"([^/]+)", path) + r"\Z")
        always = "" if method == "DELETE" else "expand:list"
        OPERATIONS.append(Operation(method, path, pattern, accepted(f"{accepts} {always}"), do))
        return do

    return enter


def retrieval(kind: str, path: str) -> None:
    """Enter the operation that shows one object."""
    operation("GET", path)(lambda world, asked, id: world.get(kind, id))


def found(method: str, path: str) -> tuple[Operation, tuple[str, ...]]:
    """Find the operation for a request; a literal path goes before one with an id."""
    known = [(each, match) for each in OPERATIONS if each.method == method and (match := each.pattern.match(path))]
    if not known:
        raise Refusal(
            f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing"
            " slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in"
            " your code."
            " (This is the Stripe sandbox, which knows only a part of Stripe.)",
            status=404,
            keeps=False,
        )
    each, match = min(known, key=lambda pair: len(pair[1].groups()))
    return each, match.groups()


def done(world: World, each: Operation, ids: tuple[str, ...], sent: dict[str, Any]) -> Json:
    """Hold what was sent against what is accepted, do it, and show the outcome."""
    asked = fitted(sent, each.fields)
    expand = asked.pop("expand", [])
    outcome = each.do(world, asked, *ids)
    if outcome.get("object") == "list":
        outcome = outcome | {"data": [rendered(row) for row in outcome["data"]]}
    else:
        outcome = rendered(outcome) if "id" in outcome else outcome
    return expanded(world, outcome, expand)


def merged(thing: Json, asked: Json, *names: str) -> None:
    """Take over the named fields that were sent; metadata is merged, an empty value takes a key away."""
    for name in names:
        if name in asked:
            thing[name] = None if asked[name] == "" else asked[name]
    if "metadata" in asked:
        kept = thing["metadata"] | asked["metadata"] if asked["metadata"] else {}
        thing["metadata"] = {key: value for key, value in kept.items() if value != ""}
