"""The operation of the JSON API that tries a tool on one input, without a table of the organization's own."""

from typing import Annotated

from django.shortcuts import get_object_or_404
from ninja import Router
from pydantic import Field

from billing.access import OrgRequest
from oxygen_site.api import CreditsIn, Data, Taken, may, write
from runs import trials
from runs.api.pointing import pointing
from runs.api.shapes import AskedMode, PreflightShown, RunShown, preflight_shown, run_shown
from runs.models import Tool

router = Router(tags=["tools"])


class Trial(Taken):
    """`input`: the cells of one row, by name."""

    input: Annotated[dict[str, str], Field(min_length=1, max_length=200)]
    mode: AskedMode
    max_credits: CreditsIn | None = None


@router.post(
    "/tools/{tool_id}/test",
    auth=may("start_runs"),
    response={201: Data[RunShown], 200: Data[PreflightShown], 402: None},
    summary="Test a tool",
)
@write(201)
@pointing(cap="max_credits")
def test_tool(request: OrgRequest, tool_id: str, body: Trial) -> Data[RunShown] | tuple[int, Data[PreflightShown]]:
    """Run one tool on one input and answer that run, or answer with 200 what it would be (`dry_run`).

    The input becomes a row of the organization's table “Tool tests”. A smoke test is called and never charged; a live
    one is charged as any call is, and needs a cap on a managed provider.
    """
    tool = get_object_or_404(Tool, id=tool_id)
    if body.mode == "dry_run":
        return 200, Data(data=preflight_shown(trials.foresee(request.org, tool, cap=body.max_credits), body.mode, 1))
    run = trials.start(
        request.org, tool, body.input, mode=body.mode, cap=body.max_credits, by=request.user, key=request.key
    )
    return Data(data=run_shown(request.org, run.id))
