"""How a provider behaves: which way a call goes, what it bills and how long it takes, by dice thrown from a seed.

A script changes that, for one tool or for all: `POST /control` with any fields of `Script` and, to name one, `tool`.
"""

import hashlib
from dataclasses import dataclass, field, fields, replace
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, NamedTuple, Self

from sandbox.providers.tariff import Tariff

FOUR_PLACES = Decimal("0.0001")


class Behaviour(NamedTuple):
    status: int
    code: str = ""
    message: str = ""
    charged: bool = False
    spoils: str = ""  # how a key's first answer fares on the way: "lost", "garbled" or "drips"


BEHAVIOURS: dict[str, Behaviour] = {
    "answered": Behaviour(200),
    "unauthorized": Behaviour(401, "invalid_api_key", "The API key is not valid."),
    "invalid": Behaviour(422, "invalid_input", "The input lacks what this tool needs."),
    "throttled": Behaviour(429, "rate_limited", "Too many requests."),
    "unavailable": Behaviour(503, "unavailable", "The service is not available for the moment."),
    "failed_after": Behaviour(
        500,
        "internal_error",
        "An error occurred after your request was processed.",
        charged=True,
    ),
    "lost_before": Behaviour(503, spoils="lost"),
    "lost_after": Behaviour(200, spoils="lost"),
    "garbled": Behaviour(200, spoils="garbled"),
    "slow": Behaviour(200, spoils="drips"),
}
USUAL = {"invalid": 0.004, "throttled": 0.005, "unavailable": 0.002, "failed_after": 0.003}


@dataclass(frozen=True)
class Script:
    """What a test or the demo wants otherwise. None and empty leave the tool's own way."""

    latency: float | None = None  # seconds, for every call
    rates: dict[str, float] = field(default_factory=lambda: dict(USUAL))  # share of calls by behaviour
    finds: float | None = None  # share of answered calls that find something
    cost_times: Decimal = Decimal(1)
    retry_after: int = 1
    hold: bool = False  # calls are charged and wait unanswered until it is lifted
    keys: bool = True  # whether Idempotency-Keys are honoured; else every call is a purchase
    says: dict[str, Any] = field(default_factory=dict)  # in place of an answer's own fields; None leaves one out

    def changed(self, wishes: dict[str, Any]) -> Self:
        """This script with `wishes` in place of its own; ValueError says what is wrong with them."""
        unknown = wishes.keys() - {each.name for each in fields(self)}
        if unknown:
            raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
        if strange := wishes.get("rates", {}).keys() - BEHAVIOURS.keys():
            raise ValueError(f"no such behaviour: {', '.join(sorted(strange))}")
        if "cost_times" in wishes:
            try:
                wishes = wishes | {"cost_times": Decimal(str(wishes["cost_times"]))}
            except InvalidOperation as error:
                raise ValueError("cost_times is not a number") from error
        return replace(self, **wishes)


class Dice:
    """Throws that are the same for the same seed and facts."""

    def __init__(self, *facts: str) -> None:
        self._facts = "\x1f".join(facts)

    def share(self, what: str) -> float:
        """A number in [0, 1) that belongs to `what`."""
        digest = hashlib.blake2b(f"{what}\x1f{self._facts}".encode(), digest_size=7).digest()
        return int.from_bytes(digest) / (1 << 56)

    def number(self, what: str, lowest: int, highest: int) -> int:
        return lowest + int(self.share(what) * (highest - lowest + 1))

    def one_of[T](self, what: str, choices: list[T] | tuple[T, ...]) -> T:
        return choices[int(self.share(what) * len(choices))]


def behaviour(script: Script, dice: Dice, key: str) -> str:
    """Which way the call goes. Being throttled depends on the key as well: asking again may pass."""
    if Dice(key).share("throttled") < script.rates.get("throttled", 0):
        return "throttled"
    throw = dice.share("behaviour")
    for name, rate in script.rates.items():
        if name in ("throttled", "answered"):
            continue
        if throw < rate:
            return name
        throw -= rate
    return "answered"


def bill(script: Script, tariff: Tariff, dice: Dice, *, found: bool) -> Decimal:
    """What the call is billed, to four places."""
    if not found:
        return (tariff.missed * script.cost_times).quantize(FOUR_PLACES)
    spread = (tariff.highest - tariff.lowest) * Decimal(dice.number("cost", 0, 20)) / 20
    return ((tariff.lowest + spread) * script.cost_times).quantize(FOUR_PLACES, ROUND_HALF_UP)


def delay(script: Script, tariff: Tariff, dice: Dice) -> float:
    if script.latency is not None:
        return script.latency
    return tariff.quickest + (tariff.slowest - tariff.quickest) * dice.share("delay") ** 2
