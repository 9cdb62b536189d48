"""A run's cascade as frozen at its start, and what follows each answer. Pure.

For `dispatch.py`, `lifecycle.py` and whoever shows a run. Laws: an item's hold is the maximum of its whole cascade.
Each settled attempt frees its part once: a try followed by another frees nothing, a tool's last try its maximum, the
item's last attempt also what was not reached. So the freed parts add up to the hold, whichever way a cascade went.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Self
from uuid import UUID

TRIES = 16  # of one tool: the first and at most 15 after refusals that cost nothing and may pass

ZERO = Decimal(0)


class Step(NamedTuple):
    """One tool of a cascade. Credits per call, 0 where the org pays the provider itself."""

    tool: str
    provider: str
    byok: bool
    price: Decimal
    maximum: Decimal

    @property
    def flat(self) -> bool:
        return self.price == self.maximum

    def freeze(self) -> dict[str, Any]:
        return self._asdict() | {"price": str(self.price), "maximum": str(self.maximum)}

    @classmethod
    def frozen(cls, facts: dict[str, Any]) -> Self:
        return cls(**facts | {"price": Decimal(facts["price"]), "maximum": Decimal(facts["maximum"])})


class Move(NamedTuple):
    """What follows an attempt: the next one's number, or None at the item's end, and the part of the hold it frees."""

    next: int | None
    freed: Decimal


def unit(steps: Sequence[Step]) -> Decimal:
    """Add up one item's maximum: what is held for it before its first call."""
    return sum((step.maximum for step in steps), ZERO)


def place(number: int) -> tuple[int, int]:
    """Read an attempt's number: which step, and which try of it, both from 0."""
    return divmod(number, TRIES)


def key(run: UUID, item: int, number: int) -> str:
    """Make the provider's idempotency key of an attempt, from facts alone: asked again, it is the same purchase."""
    step, tries = place(number)
    return f"{run}:{item}:{step}:{tries}"


def plain(credits: Decimal) -> str:
    """Write credits into a sentence: every decimal they have and no more."""
    return f"{credits.normalize():f}"


def follow(steps: Sequence[Step], number: int, outcome: str, *, passing: bool = False, stopped: bool = False) -> Move:
    """Say what follows an attempt. `passing`: the same tool may answer later; `stopped`: nothing further may start."""
    step, tries = place(number)
    if outcome in ("succeeded", "unknown") or stopped:
        return Move(None, unit(steps[step:]))
    if passing and outcome == "failed_before_billing" and tries + 1 < TRIES:
        return Move(number + 1, ZERO)
    if step + 1 < len(steps):
        return Move((step + 1) * TRIES, steps[step].maximum)
    return Move(None, unit(steps[step:]))
