"""What can be bought, on one org's terms: how it uses each provider; what each tool costs it, and how often it finds.

For `today.py`, which quotes a column's tools, and for the API. Reads only. Laws: a price that nobody knows is None and
never 0; calls on the org's own account cost 0; the rate of success is what the org saw itself, once it saw enough.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from django.db.models import FETCH_RAISE, Q, QuerySet, Sum

from billing.models import UsageByTool
from runs.estimates import PLACES, Quoted, success_rate
from runs.models import Integration, Limit, Mode, Provider, Tool
from runs.models.limits import OXYGENS


@dataclass(frozen=True)
class Link:
    """A provider as an org uses it. Its credential is nowhere to be read."""

    provider: Provider
    mode: Mode
    connected_at: datetime | None  # the org's own account at it
    left_alone_until: datetime | None  # it failed too often in a row; from then on one call asks whether it is back


@dataclass(frozen=True)
class Offer:
    """A tool on an org's terms, with what came of the org's calls: those that could have been billed."""

    tool: Tool
    mode: Mode
    results: int
    calls: int

    @property
    def quoted(self) -> Quoted:
        byok = self.mode == Mode.BYOK
        rate = success_rate(self.results, self.calls, self.tool.success_rate)
        return Quoted(self.tool.id, self.tool.provider_id, byok, self.tool.price, self.tool.maximum, rate)

    @property
    def observed(self) -> Decimal | None:
        """The share of the calls that found something; None before the first."""
        return (Decimal(self.results) / self.calls).quantize(PLACES, ROUND_HALF_UP) if self.calls else None


def links(org: UUID, providers: Iterable[Provider]) -> list[Link]:
    """Say how an org uses these providers. Two queries."""
    chosen = {link.provider_id: link for link in Integration.objects.filter(org=org).defer("credential")}
    failing = Limit.objects.filter(account__in=(OXYGENS, org), open_until__isnull=False)
    until = {
        (limit.provider_id, limit.account): max(filter(None, (limit.open_until, limit.probing_until)))
        for limit in failing.fetch_mode(FETCH_RAISE)
    }
    listed = []
    for provider in providers:
        link = chosen.get(provider.id)
        mode = _mode(provider, link.mode if link else None)
        account = org if mode == Mode.BYOK else OXYGENS
        connected_at = link.connected_at if link else None
        listed.append(Link(provider, mode, connected_at, until.get((provider.id, account))))
    return listed


def matching(words: str = "", provider: str | None = None) -> QuerySet[Tool]:
    """Find the tools that have each word in their id or name, or their provider's name or category; by id."""
    found = Tool.objects.select_related("provider").order_by("id").fetch_mode(FETCH_RAISE)
    if provider is not None:
        found = found.filter(provider=provider)
    for word in words.split():
        found = found.filter(
            Q(id__icontains=word)
            | Q(name__icontains=word)
            | Q(provider__name__icontains=word)
            | Q(provider__category__icontains=word)
        )
    return found


def offers(org: UUID, tools: Sequence[Tool]) -> list[Offer]:
    """Put tools, read with their providers, on an org's terms. Two queries."""
    chosen = dict(Integration.objects.filter(org=org).values_list("provider", "mode"))
    observed = _observed(org, [tool.id for tool in tools])
    return [
        Offer(tool, _mode(tool.provider, chosen.get(tool.provider_id)), *observed.get(tool.id, (0, 0)))
        for tool in tools
    ]


def _mode(provider: Provider, chosen: str | None) -> Mode:
    """What cannot be managed is the org's own, whatever was chosen."""
    return Mode(chosen) if chosen and provider.may_be_managed else provider.default_mode


def _observed(org: UUID, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    settled = ~Q(outcome="failed_before_billing")
    sums = (
        UsageByTool.objects.filter(settled, org=org, tool__in=names)
        .values_list("tool")
        .annotate(results=Sum("calls", filter=Q(outcome="succeeded"), default=0), calls_made=Sum("calls"))
    )
    return {tool: (int(results), int(calls)) for tool, results, calls in sums}
