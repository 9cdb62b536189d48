"""Operations of the JSON API about what can be filled by name: capabilities, and workflow templates with their runs."""

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from ninja import Router

from billing import access
from billing.access import OrgRequest
from oxygen_site.api import Count, CreditsIn, Data, Shown, Taken, may, write
from oxygen_site.transactions import one_snapshot
from runs import lifecycle, preflight
from runs.api.pointing import pointing
from runs.api.shapes import AskedMode, PreflightShown, RunShown, preflight_shown, run_shown
from runs.models import Capability, Run, Table, WorkflowTemplate
from runs.preflight import Preflight

router = Router(tags=["templates"])


class CapabilityShown(Shown):
    key: str
    name: str
    tools: list[str]


class Capabilities(Shown):
    capabilities: list[CapabilityShown]


class TemplateShown(Shown):
    """`input`: the JSON schema of the input that a run of it takes."""

    id: str
    name: str
    description: str
    tools: list[str]
    input: dict[str, Any]


class Templates(Shown):
    templates: list[TemplateShown]


class TemplateInput(Taken):
    """A table of the organization; the first `limit` rows that are not filled yet, or all of them."""

    table_id: UUID
    limit: Count | None = None


class ToForesee(Taken):
    input: TemplateInput
    mode: AskedMode = "dry_run"
    max_credits: CreditsIn | None = None


class ToRun(Taken):
    input: TemplateInput
    mode: AskedMode = "live"
    max_credits: CreditsIn | None = None
    approved: bool = False


@router.get("/capabilities", auth=may("read"), response=Data[Capabilities], summary="List capabilities")
def list_capabilities(request: OrgRequest) -> Data[Capabilities]:
    """What can be asked for by its name alone. A run of one fills the column named after it, made if missing."""
    listed = [CapabilityShown(key=each.key, name=each.name, tools=each.cascade) for each in Capability.objects.all()]
    return Data(data=Capabilities(capabilities=listed))


@router.get("/templates", auth=may("read"), response=Data[Templates], summary="List workflow templates")
def list_templates(request: OrgRequest) -> Data[Templates]:
    """Cascades made for a purpose, by name."""
    return Data(data=Templates(templates=[_shown(template) for template in WorkflowTemplate.objects.all()]))


@router.get("/templates/{template_id}", auth=may("read"), response=Data[TemplateShown], summary="Read a template")
def get_template(request: OrgRequest, template_id: str) -> Data[TemplateShown]:
    """A workflow template with the tools it asks, in order, and the input it takes."""
    return Data(data=_shown(get_object_or_404(WorkflowTemplate, id=template_id)))


@router.post(
    "/templates/{template_id}/preflight",
    auth=may("start_runs"),
    response=Data[PreflightShown],
    summary="Foresee a run of a template",
)
@one_snapshot()
def preflight_template(request: OrgRequest, template_id: str, body: ToForesee) -> Data[PreflightShown]:
    """What a run of it would cost, hold and need, and what would refuse it. It makes nothing and takes no key."""
    template = get_object_or_404(WorkflowTemplate, id=template_id)
    return Data(data=preflight_shown(_foreseen(request, template, body), body.mode, body.input.limit))


@router.post(
    "/templates/{template_id}/run",
    auth=may("start_runs"),
    response={201: Data[RunShown], 200: Data[PreflightShown], 402: None},
    summary="Run a template",
)
@write(201)
@pointing(cap="max_credits", limit="input/limit")
def run_template(
    request: OrgRequest, template_id: str, body: ToRun
) -> Data[RunShown] | tuple[int, Data[PreflightShown]]:
    """Start a run of a template and answer it, or answer with 200 what it would be (`dry_run`).

    A live one needs approval: `approved`, from whoever may approve; without it the run waits.
    """
    template = get_object_or_404(WorkflowTemplate, id=template_id)
    if body.mode == "dry_run":
        return 200, Data(data=preflight_shown(_foreseen(request, template, body), body.mode, body.input.limit))
    if body.approved:
        access.require(request, "approve")
    run = lifecycle.create(
        _table(request, body.input),
        template,
        cap=body.max_credits,
        limit=body.input.limit,
        mode=body.mode,
        approved=body.approved,
        by=request.user,
        key=request.key,
    )
    return Data(data=run_shown(request.org, run.id))


def _foreseen(request: OrgRequest, template: WorkflowTemplate, body: ToForesee | ToRun) -> Preflight:
    mode = Run.Mode.SMOKE_TEST if body.mode == "smoke_test" else Run.Mode.LIVE
    table, limit = _table(request, body.input), body.input.limit
    return preflight.read(table, template, limit=limit, cap=body.max_credits, mode=mode)


def _table(request: OrgRequest, given: TemplateInput) -> Table:
    return get_object_or_404(Table.objects.select_related("org"), org=request.org, id=given.table_id)


def _shown(template: WorkflowTemplate) -> TemplateShown:
    return TemplateShown(
        id=template.id,
        name=template.name,
        description=template.description,
        tools=template.cascade,
        input=TemplateInput.model_json_schema(),
    )
