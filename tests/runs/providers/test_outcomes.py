"""What each answer of a provider means for billing, as one table."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.cascade import Step
from runs.providers.outcomes import not_sent, read

FLAT = Step("hunter.email_finder", "hunter", False, Decimal(1), Decimal(1))
SPREAD = Step("openai.ai_column", "openai", False, Decimal("1.5"), Decimal("3.5"))
OWN = Step("hubspot.lookup", "hubspot", True, Decimal(0), Decimal(0))
FOUND = {"email": "ada@hanse.example"}


def said(status: int, body: Any, step: Step = FLAT, headers: dict[str, str] | None = None, tries: int = 0) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(status, headers or {}, text, step, tries)


ERROR = {"code": "x", "message": "It did not work."}
TABLE = [
    (200, {"result": FOUND, "cost": "0.5"}, "succeeded", "0.5"),
    (200, {"result": FOUND, "cost": 1}, "succeeded", "1"),
    (200, b'{"result": {"a": 1}, "cost": 0.1234599}', "succeeded", "0.1234"),
    (200, {"result": FOUND, "cost": "3"}, "succeeded", "3"),
    (200, {"result": FOUND}, "succeeded", "1"),
    (200, {"result": None, "cost": "0"}, "no_result", "0"),
    (200, {"result": None, "cost": "1"}, "no_result", "1"),
    (200, {"result": {}, "cost": "1"}, "no_result", "1"),
    (200, {"result": FOUND, "cost": "-1"}, "succeeded", "0"),
    (200, {"result": FOUND, "cost": "NaN"}, "succeeded", "0"),
    (200, {"result": FOUND, "cost": "Infinity"}, "succeeded", "0"),
    (200, {"result": FOUND, "cost": "free"}, "succeeded", "0"),
    (200, {"result": FOUND, "cost": True}, "succeeded", "0"),
    (200, {"result": FOUND, "cost": {"credits": 1}}, "succeeded", "0"),
    (200, {"result": FOUND, "cost": "1e20"}, "succeeded", "0"),
    (401, {"error": ERROR, "charged": "0"}, "failed_before_billing", "0"),
    (422, {"error": ERROR}, "failed_before_billing", "0"),
    (404, b"<html>", "failed_before_billing", "0"),
    (429, {"error": ERROR, "charged": "0"}, "failed_before_billing", "0"),
    (503, {"error": ERROR, "charged": "0"}, "failed_before_billing", "0"),
    (500, {"error": ERROR, "charged": "1.0000"}, "failed_after_billing", "1"),
    (422, {"error": ERROR, "charged": "0.5"}, "failed_after_billing", "0.5"),
    (500, {"error": ERROR, "charged": "much"}, "failed_after_billing", "0"),
]
# How some providers say it: whose, status, body, headers; what it means.
PDL = Step("peopledatalabs.person_enrich", "peopledatalabs", False, Decimal("2.2"), Decimal("2.2"))
LEADMAGIC = Step("leadmagic.mobile_finder", "leadmagic", False, Decimal(5), Decimal(5))
IN_THEIR_MANNER = [
    (PDL, 200, {"result": FOUND}, {"x-call-credits-spent": "1.1"}, "succeeded", "1.1"),
    (PDL, 200, {"result": FOUND, "cost": "9"}, {"x-call-credits-spent": "1.1"}, "succeeded", "1.1"),
    (PDL, 200, {"result": FOUND, "cost": "1.5"}, {}, "succeeded", "1.5"),
    (PDL, 200, {"result": FOUND}, {"x-call-credits-spent": "some"}, "succeeded", "0"),
    (PDL, 200, {"result": FOUND}, {}, "succeeded", "2.2"),
    (PDL, 404, {"error": ERROR}, {}, "no_result", "0"),
    (PDL, 404, b"", {}, "no_result", "0"),
    (PDL, 404, {"error": ERROR, "charged": "1"}, {}, "failed_after_billing", "1"),
    (PDL, 402, {"error": ERROR}, {}, "failed_before_billing", "0"),
    (LEADMAGIC, 200, {"result": FOUND, "credits_consumed": 5}, {}, "succeeded", "5"),
    (LEADMAGIC, 200, {"result": None, "credits_consumed": 0}, {}, "no_result", "0"),
    (LEADMAGIC, 200, {"result": FOUND, "cost": "1"}, {}, "succeeded", "5"),
    (LEADMAGIC, 404, {"error": ERROR}, {}, "failed_before_billing", "0"),
    (FLAT, 200, {"result": FOUND, "credits_consumed": 3}, {"x-call-credits-spent": "3"}, "succeeded", "1"),
]


@pytest.mark.parametrize(("step", "status", "body", "headers", "outcome", "cost"), IN_THEIR_MANNER)
def test_an_answer_in_its_providers_manner_means(
    step: Step, status: int, body: Any, headers: dict[str, str], outcome: str, cost: str
) -> None:
    found = said(status, body, step, headers)
    assert (found.outcome, found.cost) == (outcome, Decimal(cost))


def nested(levels: int) -> bytes:
    """A result of so many levels, the answer around it included."""
    return b'{"cost": 1, "result": ' + b'{"a":' * (levels - 2) + b"[1]" + b"}" * (levels - 1)


@pytest.mark.parametrize(("status", "body", "outcome", "cost"), TABLE)
def test_an_answer_means(status: int, body: Any, outcome: str, cost: str) -> None:
    found = said(status, body)
    assert (found.outcome, found.cost) == (outcome, Decimal(cost))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"not JSON"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"result": "a word"}'),
        (200, b'{"result": {"x": NaN}, "cost": 1}'),
        (200, b"[" * 100_000),
        (200, nested(101)),
        (200, nested(2_000)),
        (200, b'{"result": {"x": 1e99999999999999999999}, "cost": 1}'),
        (204, b""),
        (302, b""),
        (409, b"{}"),
        (500, b"{}"),
        (502, b"<html>Bad gateway</html>"),
        (504, b'{"charged": null}'),
    ],
)
def test_what_cannot_be_used_is_unknown_and_never_a_failure(status: int, body: bytes) -> None:
    assert said(status, body) is None


def test_what_nests_no_deeper_than_others_can_read_is_kept() -> None:
    assert said(200, nested(99)).outcome == "succeeded"


def test_without_a_cost_only_a_flat_price_is_charged() -> None:
    assert said(200, {"result": FOUND}, FLAT).cost == 1
    assert said(200, {"result": FOUND}, SPREAD).cost == 0


def test_what_is_billed_above_the_maximum_is_said_to_be_absorbed() -> None:
    assert said(200, {"result": FOUND, "cost": "3"}).reason == (
        "Answered. Billed 3; charged the tool's maximum of 1, the rest was absorbed."
    )


def test_an_own_account_costs_no_credits() -> None:
    found = said(200, {"result": FOUND, "cost": "7"}, OWN)
    assert (found.cost, found.reason) == (0, "Answered. Paid on the organization's own account.")


@pytest.mark.parametrize(
    ("asked", "tries", "wait"),
    [("7", 0, 7), ("100000", 0, 300), ("soon", 0, 1), ("-3", 3, 8), ("", 9, 30), ("Wed, 21 Oct 2026", 0, 1)],
)
def test_too_many_requests_may_pass_after_a_while(asked: str, tries: int, wait: int) -> None:
    assert said(429, {"charged": "0"}, headers={"retry-after": asked}, tries=tries).wait == wait


@pytest.mark.parametrize(
    ("asked", "wait"),
    [("0", 8), ("000", 8), ("0000000000007", 7), ("9" * 10, 300), ("9" * 5_000, 300), ("٣", 8)],
)
def test_no_time_to_wait_is_a_while_of_our_own_and_however_long_a_time_the_longest(asked: str, wait: int) -> None:
    assert said(429, {"charged": "0"}, headers={"retry-after": asked}, tries=3).wait == wait


@pytest.mark.parametrize(
    ("asked", "wait"), [("10:00:07", 7), ("10:00:00", 8), ("09:59:00", 8), ("11:00:00", 300), ("99999999999:00:00", 8)]
)
def test_a_date_to_wait_for_is_told_by_the_providers_own_clock(asked: str, wait: int) -> None:
    headers = {"retry-after": f"Wed, 21 Oct 2026 {asked} GMT", "date": "Wed, 21 Oct 2026 10:00:00 GMT"}
    found = said(429, {"charged": "0"}, headers=headers, tries=3)
    assert (found.wait, found.pause) == (wait, wait if wait != 8 else 1)


def test_a_date_beyond_the_last_year_is_none() -> None:
    never = {"retry-after": "Fri, 31 Dec 99999999999 23:59:59 GMT", "date": "Wed, 21 Oct 2026 10:00:00 GMT"}
    assert said(429, {"charged": "0"}, headers=never, tries=3).wait == 8


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_who_is_turned_away_at_the_door_learns_nothing_of_the_same_call_sent_before(status: int) -> None:
    assert read(status, {}, b"{}", FLAT, 0, again=True) is None
    told = read(status, {}, b'{"charged": 0}', FLAT, 0, again=True)
    assert told is not None
    assert told.outcome == "failed_before_billing"


def test_other_refusals_do_not_pass() -> None:
    assert said(401, {"charged": "0"}).wait is None


def test_a_throttled_call_that_was_charged_is_not_bought_again() -> None:
    found = said(429, {"charged": "1"})
    assert (found.outcome, found.wait) == ("failed_after_billing", None)


def test_a_call_that_never_left_may_pass() -> None:
    found = not_sent(2, "hunter could not be reached")
    assert (found.outcome, found.cost, found.wait) == ("failed_before_billing", 0, 4)


def test_a_result_is_kept_as_postgresql_can_store_it() -> None:
    body = b'{"id": "a\\u0000b", "cost": 1, "result": {"n\\u0000": ["\\ud800", 0.1, 12, null, true]}}'
    found = said(200, body)
    assert found.result == {"n": ["?", "0.1", 12, None, True]}
    assert found.reference == "ab"


WORDS = st.text(max_size=6)
SIMPLE = st.none() | st.booleans() | st.integers() | st.decimals().map(str) | WORDS
JSON = SIMPLE | st.lists(SIMPLE, max_size=2) | st.dictionaries(WORDS, SIMPLE, max_size=2)
BODIES = st.fixed_dictionaries({}, optional={"result": JSON, "cost": JSON, "charged": JSON, "error": JSON, "id": JSON})


@settings(deadline=None)
@given(st.sampled_from([200, 400, 401, 422, 429, 500, 503]), BODIES)
def test_no_answer_makes_a_cost_that_cannot_be_booked(status: int, body: dict[str, Any]) -> None:
    found = said(status, body, SPREAD)
    if found is not None:
        assert 0 <= found.cost < 10**14
        assert found.cost == found.cost.quantize(Decimal("0.0001"))
        assert "\0" not in found.reason + found.reference
