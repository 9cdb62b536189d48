"""Operations of the JSON API about what can be bought: the org's integrations with their modes, and the tools.

What is shown is declared here field by field. Of an own account's credential nothing is ever shown.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

from django.shortcuts import get_object_or_404
from ninja import Query, Router
from pydantic import SecretStr, WithJsonSchema

from billing.access import OrgRequest
from oxygen_site.api import Credits, Cursor, Data, Instant, Limit, Shown, Taken, may, read_cursor, write, write_cursor
from oxygen_site.transactions import one_snapshot
from runs import accounts, calibration, catalog
from runs.api.shapes import Calibrated, calibrated
from runs.cascade import ZERO
from runs.estimates import PLACES
from runs.models import Mode, Provider, Tool

router = Router(tags=["catalog"])

Share = Annotated[
    Decimal, WithJsonSchema({"type": "number", "description": "A share of 1, with at most four decimals."})
]


# ------------------------------------------------------------------ integrations


class IntegrationShown(Shown):
    """A provider as the organization uses it. `mode`: Oxygen pays it (managed), or the organization does (byok).

    `available` is false while it is left alone because it failed so often in a row; from `left_alone_until` on the next
    call asks whether it is back.
    """

    provider: str
    name: str
    category: str
    mode: Mode
    default_mode: Mode
    connected: bool
    connected_at: Instant | None
    available: bool
    left_alone_until: Instant | None


class Integrations(Shown):
    integrations: list[IntegrationShown]
    next_cursor: str | None


class OwnAccount(Taken):
    credential: Annotated[SecretStr, WithJsonSchema({"type": "string", "format": "password", "writeOnly": True})]


@router.get("/integrations", auth=may("read"), response=Data[Integrations], summary="List the integrations")
@one_snapshot()
def list_integrations(request: OrgRequest) -> Data[Integrations]:
    """Every provider by name: who pays it, whether an account of the organization's own is connected, and whether it
    is called now. All on one page: `next_cursor` is null."""
    links = catalog.links(request.org.pk, Provider.objects.all())
    return Data(data=Integrations(integrations=[_link(link) for link in links], next_cursor=None))


@router.get(
    "/integrations/{slug:provider}", auth=may("read"), response=Data[IntegrationShown], summary="Read an integration"
)
@one_snapshot()
def get_integration(request: OrgRequest, provider: str) -> Data[IntegrationShown]:
    """Who pays a provider, whether an account of the organization's own is connected, and whether it is called now."""
    return _integration(request, get_object_or_404(Provider, pk=provider))


@router.put(
    "/integrations/{slug:provider}/account",
    auth=may("settings"),
    response=Data[IntegrationShown],
    summary="Connect an own account",
)
@write()
def connect_account(request: OrgRequest, provider: str, body: OwnAccount) -> Data[IntegrationShown]:
    """Use the organization's own account at a provider from the next run on, at 0 credits a call.

    A new credential takes the old one's place. It is kept encrypted and never shown again.
    """
    chosen = get_object_or_404(Provider, pk=provider)
    accounts.connect(request.org, chosen, body.credential.get_secret_value())
    return _integration(request, chosen)


@router.delete(
    "/integrations/{slug:provider}/account",
    auth=may("settings"),
    response=Data[IntegrationShown],
    summary="Disconnect an own account",
)
@write()
def disconnect_account(request: OrgRequest, provider: str) -> Data[IntegrationShown]:
    """Forget the organization's own account at a provider; Oxygen pays it again where it can be. Again: nothing."""
    chosen = get_object_or_404(Provider, pk=provider)
    accounts.disconnect(request.org, chosen)
    return _integration(request, chosen)


def _integration(request: OrgRequest, provider: Provider) -> Data[IntegrationShown]:
    return Data(data=_link(catalog.links(request.org.pk, [provider])[0]))


def _link(link: catalog.Link) -> IntegrationShown:
    return IntegrationShown(
        provider=link.provider.id,
        name=link.provider.name,
        category=link.provider.category,
        mode=link.mode,
        default_mode=link.provider.default_mode,
        connected=link.connected_at is not None,
        connected_at=link.connected_at,
        available=link.left_alone_until is None,
        left_alone_until=link.left_alone_until,
    )


# ------------------------------------------------------------------ tools


class ToolShown(Shown):
    """A tool on the organization's terms. Credits are null where no price is known, and 0 on an account of its own.

    `success_rate` is what estimates go by: the organization's own from 50 calls on, before that the tool's stated one.
    `calls_observed` are the organization's calls but for those refused before billing.
    """

    id: str
    name: str
    provider: str
    provider_name: str
    category: str
    mode: Mode
    estimated_credits_per_call: Credits | None
    maximum_credits_per_call: Credits | None
    success_rate: Share
    success_rate_observed: Share | None
    calls_observed: int
    calibration: Calibrated | None


class Tools(Shown):
    tools: list[ToolShown]
    next_cursor: str | None


Words = Annotated[
    str, Query(max_length=200, description="Words that all stand in the id, the name, the provider or its category.")
]


@router.get("/tools", auth=may("read"), response=Data[Tools], summary="Search the tools")
@one_snapshot()
def list_tools(
    request: OrgRequest, query: Words = "", provider: str | None = None, limit: Limit = 50, cursor: Cursor = None
) -> Data[Tools]:
    """The tools by id, those with all words of `query` and of one `provider` where these are given."""
    place = read_cursor(request, "tools", cursor)
    found = catalog.matching(query, provider)
    tools = list((found.filter(id__gt=place[0]) if place else found)[: limit + 1])
    more = write_cursor(request, "tools", [tools[limit - 1].id]) if len(tools) > limit else None
    return Data(data=Tools(tools=_offered(request, tools[:limit]), next_cursor=more))


@router.get("/tools/{tool_id}", auth=may("read"), response=Data[ToolShown], summary="Read a tool")
@one_snapshot()
def get_tool(request: OrgRequest, tool_id: str) -> Data[ToolShown]:
    """What a call of a tool costs the organization, how often it finds something, and how well estimates foretold."""
    tool = get_object_or_404(Tool.objects.select_related("provider"), pk=tool_id)
    return Data(data=_offered(request, [tool])[0])


def _offered(request: OrgRequest, tools: list[Tool]) -> list[ToolShown]:
    calibrations = calibration.of_tools(request.org, [tool.id for tool in tools])
    return [_tool(offer, calibrations.get(offer.tool.id)) for offer in catalog.offers(request.org.pk, tools)]


def _tool(offer: catalog.Offer, known: calibration.Calibration | None) -> ToolShown:
    tool, quoted = offer.tool, offer.quoted
    return ToolShown(
        id=tool.id,
        name=tool.name,
        provider=tool.provider_id,
        provider_name=tool.provider.name,
        category=tool.provider.category,
        mode=offer.mode,
        estimated_credits_per_call=ZERO if quoted.byok else tool.price,
        maximum_credits_per_call=ZERO if quoted.byok else tool.maximum,
        success_rate=quoted.rate.quantize(PLACES, ROUND_HALF_UP),
        success_rate_observed=offer.observed,
        calls_observed=offer.calls,
        calibration=calibrated(known),
    )
