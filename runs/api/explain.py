"""The operation of the JSON API that says why something does not go on, and what makes it."""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from ninja import Query, Router
from pydantic import WithJsonSchema

from billing.access import OrgRequest
from oxygen_site.api import Credits, Data, Instant, Shown, may
from oxygen_site.transactions import one_snapshot
from runs import explain, preflight, queries
from runs.api.runs import filled

router = Router(tags=["runs"])


class LimitShown(Shown):
    """`used` of `limit`, in `unit`; what does not apply is null. `resets_at`: when it gives way by itself."""

    code: str
    name: str
    used: Credits | None
    limit: Credits | None
    unit: str
    resets_at: Instant | None
    binds: bool


class ActionShown(Shown):
    """What unblocks: a line of the `oxygen` command, or the path of a page, or both."""

    label: str
    command: str | None
    url: str | None


class ExplanationShown(Shown):
    """`can`: nothing is in the way. `binding`: the code of what has to give way first; one of `limits`, or a state."""

    can: bool
    sentence: str
    binding: str | None
    limits: list[LimitShown]
    action: ActionShown | None


AtMost = Annotated[
    Decimal | None,
    Query(gt=0, le=10**9, description="The cap that the run would have."),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 10**9}, {"type": "null"}]}),
]
Rows = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="How many rows at most.")]


@router.get("/explain", auth=may("read"), response=Data[ExplanationShown], summary="Explain what blocks")
@one_snapshot()
def explain_limits(
    request: OrgRequest,
    run: UUID | None = None,
    table: UUID | None = None,
    column: str | None = None,
    capability: str | None = None,
    limit: Rows = None,
    max_credits: AtMost = None,
) -> Data[ExplanationShown]:
    """Why am I blocked: every limit that applies, which one binds, and the one action that unblocks.

    Of a `run`; of a run that nobody has started (`table` with `column` or `capability`, `limit`, `max_credits`); or,
    with neither, of new runs at all.
    """
    if run is not None:
        told = explain.of_run(queries.run_of(request.org, run))
    elif table is not None:
        where, fill = filled(request, table, column, capability)
        told = explain.of_start(preflight.read(where, fill, limit=limit, cap=max_credits), fill, limit)
    else:
        told = explain.of_org(request.org)
    return Data(data=ExplanationShown.model_validate(asdict(told)))
