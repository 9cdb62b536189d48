"""Upper floor: what can be bought, on which rows, and the runs that buy it."""

from .catalog import (
    Capability,
    Column,
    Fill,
    Integration,
    Mode,
    Provider,
    Row,
    Table,
    Tool,
    WorkflowTemplate,
)
from .limits import Limit
from .runs import Attempt, Item, Run

__all__ = [
    "Attempt",
    "Capability",
    "Column",
    "Fill",
    "Integration",
    "Item",
    "Limit",
    "Mode",
    "Provider",
    "Row",
    "Run",
    "Table",
    "Tool",
    "WorkflowTemplate",
]
