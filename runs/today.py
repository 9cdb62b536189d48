"""What a run over a column would be if it started now: the rows left to fill, and its tools at today's terms.

For `lifecycle.py`, which freezes both on a run, and for the pages that show an estimate. Reads only, five queries.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from billing.models import UsageByTool
from runs.estimates import Estimate, Quoted, estimate, success_rate
from runs.models import Column, Integration, Item, Mode, Row, Tool


def rows_to_fill(column: Column) -> QuerySet[Row]:
    """Rows of the column's table, in order, that it has not filled and that no open run of it has before it."""
    taken = Item.objects.filter(
        row=OuterRef("pk"),
        run__column=column,
        status__in=(Item.Status.PENDING, Item.Status.RUNNING, Item.Status.SUCCEEDED),
    )
    return Row.objects.filter(~Exists(taken), table=column.table_id).order_by("number")


def tools(column: Column) -> list[Quoted]:
    """The column's cascade with each tool's mode, price and success rate in its org."""
    org = column.table.org_id
    catalog = Tool.objects.select_related("provider").in_bulk(column.cascade)
    chosen = dict(Integration.objects.filter(org=org).values_list("provider", "mode"))
    observed = _observed(org, column.cascade)
    quoted = []
    for tool in (catalog[name] for name in column.cascade):
        mode = chosen.get(tool.provider_id, tool.provider.default_mode)
        byok = mode == Mode.BYOK or not tool.provider.may_be_managed
        rate = success_rate(*observed.get(tool.id, (0, 0)), tool.success_rate)
        quoted.append(Quoted(tool.id, tool.provider_id, byok, tool.price, tool.maximum, rate))
    return quoted


def estimated(column: Column, limit: int | None = None) -> Estimate:
    """Estimate a run over the rows left to fill, the first `limit` of them where one is given."""
    return estimate(rows_to_fill(column)[:limit].count(), tools(column))


def _observed(org: UUID, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    settled = ~Q(outcome="failed_before_billing")
    sums = (
        UsageByTool.objects.filter(settled, org=org, tool__in=list(names))
        .values_list("tool")
        .annotate(results=Sum("calls", filter=Q(outcome="succeeded"), default=0), calls_made=Sum("calls"))
    )
    return {tool: (int(results), int(calls)) for tool, results, calls in sums}
