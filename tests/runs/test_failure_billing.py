"""What each way a provider may behave costs: at each place of a cascade, with and without keys and look-ups, over HTTP.

The table is PRODUCT.md's failure billing. The tools before the one that behaves so find nothing, those after it answer.
What is captured is compared with the provider's own books: nothing is bought twice, whichever way it went.
`make test` leaves out what keys change nothing about, without keys, and waits for a lost answer in the middle only.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from billing.models import Organization, User
from oxygen_site import clock
from runs import jobs, worker
from runs.models import Provider, Run
from runs.providers import outcomes
from tests.effort import SOAK
from tests.runs.conftest import Providers, assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("fresh_database", "catalog")

CASCADE = ("hunter.email_finder", "prospeo.email_finder", "icypeas.email_finder")
PRICE = {"hunter.email_finder": Decimal(1), "prospeo.email_finder": Decimal(1), "icypeas.email_finder": Decimal("0.5")}
FREE = dict.fromkeys(CASCADE, Decimal(0))
A_MISS = FREE | {"icypeas.email_finder": Decimal("0.1")}
THE_REST = {tool: 2 * price for tool, price in PRICE.items()}


class Way(NamedTuple):
    """How a tool behaves, and what its attempt then is: what is captured and absorbed, and its provider's charges."""

    script: dict[str, Any]
    outcome: str
    captured: dict[str, Decimal]
    absorbed: dict[str, Decimal] = FREE
    tries: int = 1
    charges: int = 0
    asked: int = 1


def always(behaviour: str) -> dict[str, Any]:
    return {"rates": {behaviour: 1}, "retry_after": 0}


WAYS = {
    "answers": Way({}, "succeeded", PRICE, charges=1),
    "answers slowly": Way(always("slow"), "succeeded", PRICE, charges=1),
    "finds nothing": Way({"finds": 0}, "no_result", A_MISS),
    "knows no such account": Way(always("unauthorized"), "failed_before_billing", FREE),
    "refuses the input": Way(always("invalid"), "failed_before_billing", FREE),
    "is throttled": Way(always("throttled"), "failed_before_billing", FREE, tries=16),
    "is not available": Way(always("unavailable"), "failed_before_billing", FREE),
    "charges, then errs": Way(always("failed_after"), "failed_after_billing", PRICE, charges=1),
    "bills thrice its maximum": Way({"cost_times": "3"}, "succeeded", PRICE, THE_REST, charges=1),
    "names a cost below 0": Way({"says": {"cost": "-1"}}, "succeeded", FREE, charges=1),
    "names a cost that is no number": Way({"says": {"cost": "gratis"}}, "succeeded", FREE, charges=1),
    "names no cost": Way({"says": {"cost": None}}, "succeeded", PRICE, charges=1),
    "breaks off before the charge": Way(always("lost_before"), "succeeded", PRICE, charges=1, asked=2),
    "breaks off after the charge": Way(always("lost_after"), "succeeded", PRICE, charges=1, asked=2),
    "answers garbage": Way(always("garbled"), "succeeded", PRICE, charges=1, asked=2),
}
# Where asking again might buy again, nobody asks: what has no usable answer is given up after an hour.
WITHOUT_KEYS = (WAYS if SOAK else {}) | {
    "breaks off before the charge": Way(always("lost_before"), "unknown", FREE),
    "breaks off after the charge": Way(always("lost_after"), "unknown", FREE, charges=1),
    "answers garbage": Way(always("garbled"), "unknown", FREE, charges=1),
}
# Where it tells what became of a key, it is asked that instead; of a call that it never saw, nobody knows.
LOOKED_UP = {
    "breaks off before the charge": Way(always("lost_before"), "unknown", FREE),
    "breaks off after the charge": Way(always("lost_after"), "succeeded", PRICE, charges=1),
    "answers garbage": Way(always("garbled"), "succeeded", PRICE, charges=1),
}
TABLES = {"with keys": WAYS, "without keys": WITHOUT_KEYS, "without keys, looked up": LOOKED_UP}
LOST = WITHOUT_KEYS.keys() if not SOAK else set()  # each waits for a lease of a second to run out


@pytest.mark.parametrize(
    ("keys", "behaviour"), [(keys, behaviour) for keys, table in TABLES.items() for behaviour in table]
)
def test_a_way_of_behaving_costs_the_same_at_every_place(
    behaviour: str,
    keys: str,
    acme: Organization,
    alice: User,
    providers: Providers,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.LEASE_SECONDS = 1
    monkeypatch.setattr(outcomes, "FIRST_WAIT", 0)  # between the sixteen tries of who is throttled
    Provider.objects.update(takes_keys=keys == "with keys", looks_up="looked up" in keys)
    way = TABLES[keys][behaviour]
    for place, tool in [(1, CASCADE[1])] if behaviour in LOST else enumerate(CASCADE):
        providers.reset()
        providers.script(keys=keys == "with keys")
        for before in CASCADE[:place]:
            providers.script(tool=before, finds=0)
        providers.script(tool=tool, **way.script)
        run = drive(start(acme, alice, *CASCADE, rows=1, cap="2.5"))
        assert_it_went(way, run, place, providers)
    assert_books_hold(acme)


def drive(run: Run) -> Run:
    """Drive a run until it ends; the hour of what stays unanswered passes as soon as that is all there is."""
    while worker.drive_slice(run.id, 3) is not None:
        clock.advance(timedelta(hours=1))
        jobs.give_up_overdue()
    run.refresh_from_db()
    return run


def assert_it_went(way: Way, run: Run, place: int, providers: Providers) -> None:
    tool, goes_on = CASCADE[place], way.outcome not in ("succeeded", "unknown")
    after = [(CASCADE[place + 1], "succeeded")] if goes_on and place + 1 < len(CASCADE) else []
    attempts = list(run.attempts.order_by("number"))
    assert [(attempt.tool, attempt.outcome) for attempt in attempts] == [
        *((before, "no_result") for before in CASCADE[:place]),
        *[(tool, way.outcome)] * way.tries,
        *after,
    ]
    assert all(attempt.reason for attempt in attempts)
    reservation = booked(run)
    captured = way.captured[tool] + sum(PRICE[next_tool] for next_tool, _ in after)
    assert (reservation.captured, reservation.absorbed, reservation.held) == (captured, way.absorbed[tool], 0)
    failed = way.outcome == "unknown" or (not after and place == 0 and way.outcome.startswith("failed"))
    assert run.status == ("failed" if failed else "succeeded")
    mine = [facts for facts in providers.charges(run)["by_key"].values() if facts["tool"] == tool]
    assert [facts["charges"] for facts in mine] == [1] * (way.charges or bool(way.captured[tool]))
    assert [facts["calls"] for facts in mine] == [way.asked] * len(mine)
