"""Upper floor: what can be bought, on which rows, and the runs that buy it."""

from .catalog import Column, Integration, Mode, Provider, Row, Table, Tool
from .limits import Limit
from .runs import Attempt, Item, Run

__all__ = ["Attempt", "Column", "Integration", "Item", "Limit", "Mode", "Provider", "Row", "Run", "Table", "Tool"]
