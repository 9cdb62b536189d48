"""The providers' own books: what was charged under which key, how often it was asked, and the answer first given."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple


class Answer(NamedTuple):
    fingerprint: str
    status: int
    body: bytes
    headers: dict[str, str]
    spoils: str = ""  # how it fares on the way, the first time


class Charge(NamedTuple):
    tool: str
    cost: Decimal


@dataclass
class Books:
    answers: dict[str, Answer] = field(default_factory=dict)
    charges: dict[str, list[Charge]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def charge(self, key: str, tool: str, cost: Decimal) -> None:
        self.charges.setdefault(key, []).append(Charge(tool, cost))

    def statement(self, prefix: str = "") -> dict[str, Any]:
        """Every charge under keys that begin with `prefix`: how many, what they add up to, and each key's."""
        mine = {key: charges for key, charges in self.charges.items() if key.startswith(prefix)}
        return {
            "calls": sum(count for key, count in self.calls.items() if key.startswith(prefix)),
            "charges": sum(map(len, mine.values())),
            "total": str(
                sum(
                    (charge.cost for charges in mine.values() for charge in charges),
                    Decimal(0),
                )
            ),
            "by_key": {
                key: {
                    "tool": charges[0].tool,
                    "charges": len(charges),
                    "cost": str(sum((charge.cost for charge in charges), Decimal(0))),
                    "calls": self.calls[key],
                }
                for key, charges in mine.items()
            },
        }
