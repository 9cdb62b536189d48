"""Trials: one tool over one input of a person's own, without a table of theirs.

For the API. A trial is a run like any other: over one row, which it adds to the org's table of trials, in that table's
column of the tool. So it is charged, kept, shown and proved as all runs are.
"""

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID, uuid5

from billing.models import ApiKey, Organization, User
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention
from runs import lifecycle, preflight
from runs.models import Column, Row, Run, Table, Tool
from runs.preflight import Preflight

NAME = "Tool tests"


def foresee(org: Organization, tool: Tool, *, cap: Decimal | None) -> Preflight:
    """Read what a live trial of a tool would be. Makes nothing, not even its table."""
    table = Table.objects.filter(id=_table_of(org)).first() or Table(id=_table_of(org), org=org, name=NAME)
    return preflight.read(table, _column(table, tool), rows=1, cap=cap)


def start(
    org: Organization,
    tool: Tool,
    data: Mapping[str, str],
    *,
    mode: str,
    cap: Decimal | None,
    by: User,
    key: ApiKey | None = None,
) -> Run:
    """Start a run of one tool over one new row. One that needs approval does not wait: whoever may, gives it by this.

    Refused: as `lifecycle.create`, and column_exists (409).
    """

    def verb() -> Run:
        facts = {"org": org, "name": NAME, "created_at": clock()}
        Table.objects.get_or_create(id=_table_of(org), defaults=facts)
        table = Table.objects.select_for_update(no_key=True).get(id=_table_of(org))
        table.row_count += 1
        table.fields += [field for field in data if field not in table.fields]
        table.save(update_fields=["row_count", "fields"])
        row = Row.objects.create(table=table, number=table.row_count, data=dict(data))
        column = _column(table, tool)
        if column.pk is None:
            column.save()
        named = f"Test of {tool.id}"
        return lifecycle.create(table, column, rows=[row.id], mode=mode, cap=cap, name=named, by=by, key=key)

    return intention(verb, of_others=True)


def _table_of(org: Organization) -> UUID:
    return uuid5(org.pk, NAME.lower())


def _column(table: Table, tool: Tool) -> Column:
    """The column of a tool, not saved where missing. Refused: column_exists, where it asks other tools."""
    key = tool.id.replace(".", "-")[:60]
    missing = Column(table=table, key=key, name=tool.name, cascade=[tool.id])
    column = Column.objects.filter(table=table, key=key).select_related("table__org").first() or missing
    if column.cascade != missing.cascade:
        raise Refused("column_exists", f"The table {table} has a column {key} that asks other tools than {tool}.")
    return column
