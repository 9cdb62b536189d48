"""What a provider's answer means for billing: its outcome, its cost, and why, in words for a person. Pure.

For `http.py`, which gets the answers, and `dispatch.py`, which settles them. Laws: what is not known to be uncharged
is never bought again, so an answer nobody can use is None, and the same attempt is asked again with the same key.
A cost is exact, rounded down to four places and never below 0; one that cannot be read costs nothing. The credential of
an org's own account is in nothing that is read of an answer.
"""

import json
from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple

from runs.cascade import ZERO, Step, plain

PLACES = Decimal("0.0001")
LARGEST = Decimal(10) ** 14  # numeric(18, 4)
FIRST_WAIT = 1  # seconds of our own, twice as many with each try, where a provider names none
LONGEST_WAIT = 300
DEEPEST = 100  # an answer nested deeper is not usable: whoever reads it later stops at some hundred levels
BLANKED = "***"
# Refused at the door, before anything was done, where the provider names no charge.
REFUSED = {
    400: "invalid request",
    401: "not signed in",
    402: "not paid for",
    403: "not allowed",
    404: "not found",
    405: "not allowed",
    413: "too large",
    415: "invalid request",
    422: "invalid input",
    429: "too many requests",
}
# Turned away before the provider looked at the key, so that it tells nothing of the same call sent before.
AT_THE_DOOR = {401, 402, 403, 429}


UNCHARGED = ("failed_before_billing", "unknown")
# What a call came to, where nobody has said it better.
SAID = {
    "succeeded": "Answered",
    "no_result": "Nothing found",
    "failed_before_billing": "Refused",
    "failed_after_billing": "Failed after the charge",
    "unknown": "No usable answer came",
}


class Health(StrEnum):
    """What an answer says of its provider: there, failing, or asking for patience; nothing, where nobody was asked."""

    WELL = "well"
    ILL = "ill"
    BUSY = "busy"
    UNASKED = "unasked"


class Outcome(NamedTuple):
    """How an attempt ended. `wait`: seconds until the same tool may be tried again, where it refused only for now.

    `pause`: seconds for which the provider asked not to be called by anybody.
    """

    outcome: str
    cost: Decimal
    reason: str
    result: dict[str, Any] | None = None
    reference: str = ""
    wait: int | None = None
    health: Health = Health.WELL
    pause: int | None = None


class Manner(NamedTuple):
    """How a provider says what it did, where it differs from most: by status, body or header."""

    cost: str = "cost"  # the field of an answer that names its cost
    cost_header: str = ""  # or the header that does
    nothing: frozenset[int] = frozenset()  # a status that means: looked and found nothing, for nothing


MOST = Manner()
MANNERS = {
    "leadmagic": Manner(cost="credits_consumed"),  # leadmagic.io/docs/making-api-calls
    # docs.peopledatalabs.com/support/billing/how-credits-work: one credit a match, a 404 is none and not billed
    "peopledatalabs": Manner(cost_header="x-call-credits-spent", nothing=frozenset({404})),
}


# What an attempt's reason ends with where operators look at its cost. An index and their lists go by these very words.
ABSORBED = "the rest was absorbed."
UNREADABLE = "The cost could not be read; nothing was charged."

GIVEN_UP = Outcome(
    "unknown", Decimal(0), "No usable answer came. It was given up, and nothing was charged.", health=Health.UNASKED
)
DISCONNECTED = Outcome(
    "failed_before_billing", Decimal(0), "Not sent: the organization's account is not connected.", health=Health.UNASKED
)
LAPSED = GIVEN_UP._replace(reason="Its lease ran out before it was settled. It was given up, and nothing was charged.")
LEFT = GIVEN_UP._replace(reason="The reservation was closed before it was settled, and nothing was charged.")
CALLED_OFF = Outcome(
    "failed_before_billing", Decimal(0), "Not sent: the run was cancelled. Nothing was charged.", health=Health.UNASKED
)


def read(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    step: Step,
    tries: int,
    *,
    again: bool = False,
    own: str = "",
) -> Outcome | None:
    """Read a provider's answer to the `tries`-th try of a step; None where it says nothing that can be used.

    `again`: the same try was sent before, so it is only over where the answer speaks of that, too.
    `own`: the credential it was asked with, where that is the org's; some repeat it to say what is wrong with it.
    """
    said = _read(body, own)
    if again and status in AT_THE_DOOR and said.get("charged") is None:
        return None
    return _meant(status, headers, said, step, tries)


def look_up(status: int, body: bytes, step: Step, tries: int, *, own: str = "") -> Outcome | None:
    """Read what a provider tells of an earlier call: the answer it gave then; None where it knows of none.

    Then nobody knows: what it has not seen yet may still arrive. `own`: as above.
    """
    said = _read(body, own)
    first, answer = said.get("status"), said.get("answer")
    if status != 200 or not isinstance(first, int) or not isinstance(answer, dict):
        return None
    return _meant(first, {}, answer, step, tries)


def not_sent(tries: int, why: str) -> Outcome:
    """Say what a call that never left is: refused uncharged, for now."""
    reason = f"Not sent: {why}. Nothing was charged."
    return Outcome("failed_before_billing", Decimal(0), reason, wait=_pause(tries), health=Health.ILL)


def told(outcome: str, cost: Decimal | None, why: str, step: Step, *, again: bool = False) -> Outcome:
    """Read what an execution plane says of a call that it made. `again`: it will ask the same tool once more."""
    free = outcome in UNCHARGED
    cost, charge = (ZERO, "Nothing was charged.") if free else _billed(cost, step)
    words = why.strip().rstrip(".")[:80] or SAID[outcome]
    wait = 0 if again and outcome == "failed_before_billing" else None
    return Outcome(outcome, cost, f"{words}. {charge}", wait=wait)


def _read(body: bytes, own: str) -> dict[str, Any]:
    try:
        said = _storable(json.loads(body, parse_float=Decimal, parse_constant=_no_number), own)
    except (ValueError, RecursionError, InvalidOperation):  # the last for an exponent that no number has
        return {}
    return said if isinstance(said, dict) else {}


def _meant(status: int, headers: Mapping[str, str], said: dict[str, Any], step: Step, tries: int) -> Outcome | None:
    manner = MANNERS.get(step.provider, MOST)
    if status in manner.nothing and _credits(said.get("charged", 0)) == 0:
        return Outcome("no_result", Decimal(0), "Nothing found. Free of charge.", None, _reference(said))
    if status != 200:
        return _refused(status, headers, said, step, tries)
    named = headers.get(manner.cost_header) if manner.cost_header else None
    return _answered(said, said.get(manner.cost) if named is None else named, step)


def _answered(said: dict[str, Any], named: object, step: Step) -> Outcome | None:
    if "result" not in said or not isinstance(said["result"], dict | None):
        return None
    found = bool(said["result"])
    cost, why = _billed(named, step)
    outcome = "succeeded" if found else "no_result"
    reason = f"{'Answered' if found else 'Nothing found'}. {why}"
    return Outcome(outcome, cost, reason, said["result"] if found else None, _reference(said))


def _refused(status: int, headers: Mapping[str, str], said: dict[str, Any], step: Step, tries: int) -> Outcome | None:
    charged = said.get("charged")
    if charged is None and status not in REFUSED:
        return None
    error = said.get("error")
    words = error.get("message") if isinstance(error, dict) else None
    what = str(words or REFUSED.get(status, f"error {status}")).rstrip(".")[:80]  # a whole reason fits
    reference, health, asked = _reference(said), _health(status), _asked_to_wait(status, headers)
    if charged is not None and _credits(charged) != 0:
        cost, why = _billed(charged, step)
        reason = f"Failed after the charge: {what}. {why}"
        return Outcome("failed_after_billing", cost, reason, None, reference, None, health, asked)
    reason = f"Refused: {what}. Nothing was charged."
    wait = (_pause(tries) if asked is None else asked) if status == 429 else None
    pause = FIRST_WAIT if status == 429 and asked is None else asked
    return Outcome("failed_before_billing", Decimal(0), reason, None, reference, wait, health, pause)


def _billed(named: object, step: Step) -> tuple[Decimal, str]:
    if step.byok:
        return Decimal(0), "Paid on the organization's own account."
    unnamed = named is None and (step.flat or not step.maximum)
    cost = step.price if unnamed else _credits(named)
    if cost is None:
        return Decimal(0), UNREADABLE
    if cost > step.maximum:
        charged = f"charged the tool's maximum of {plain(step.maximum)}" if step.maximum else "charged nothing"
        return cost, f"Billed {plain(cost)}; {charged}, {ABSORBED}"
    if unnamed:
        return cost, f"No cost was named; the price is {plain(cost)}."
    return cost, f"Charged {plain(cost)}." if cost else "Free of charge."


def _credits(said: object) -> Decimal | None:
    if isinstance(said, bool) or not isinstance(said, int | Decimal | str):
        return None
    try:
        credits = Decimal(said)
    except InvalidOperation:
        return None
    if not credits.is_finite() or not 0 <= credits < LARGEST:
        return None
    return credits.quantize(PLACES, ROUND_DOWN) + 0


def _health(status: int) -> Health:
    """An account that is not let in, or a server that fails, fails for every row; other refusals are about the row."""
    if status == 429:
        return Health.BUSY
    return Health.ILL if status >= 500 or status in (401, 402, 403) else Health.WELL


def _asked_to_wait(status: int, headers: Mapping[str, str]) -> int | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date, which is told by the provider's own clock.

    None where it asks for no time at all: whoever has just refused is not asked again at once.
    """
    asked = headers.get("retry-after", "") if status in (429, 503) else ""
    try:
        if asked.isascii() and asked.isdecimal():
            seconds = int(asked.lstrip("0")[:9] or 0)  # nine digits are more than the longest wait, and easily read
        else:
            until, now = parsedate_to_datetime(asked), parsedate_to_datetime(headers.get("date", ""))
            seconds = int((until - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, one of the two without a zone, or after the last year
        return None
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None


def _pause(tries: int) -> int:
    return min(FIRST_WAIT * 2**tries, 30)


def _reference(said: dict[str, Any]) -> str:
    return str(said.get("id") or "")[:120]


def _storable(value: Any, own: str, room: int = DEEPEST) -> Any:
    """What PostgreSQL can keep as JSON and people may see: no NUL, no half of a pair, and no credential of theirs.

    Decimals stay exact as strings.
    """
    if not room:
        raise ValueError("nested too deep")
    match value:
        case str():
            return _clean(value, own)
        case dict():
            return {_clean(name, own): _storable(each, own, room - 1) for name, each in value.items()}
        case list():
            return [_storable(each, own, room - 1) for each in value]
        case Decimal():
            return str(value)
    return value


def _clean(text: str, own: str) -> str:
    clean = text.replace("\0", "").encode(errors="replace").decode()
    return clean.replace(own, BLANKED) if own else clean


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
