"""Whatever is sent to the API, it answers as it says it does, and a call that it rejects moves nothing.

Calls are made up from the API's own description of itself: fitting ones, unfitting ones, each in its own right and in
chains that pass ids on. Every answer is judged by all of the tool's checks but two, which ours are stricter than: a
fitting call is not told that it is invalid, and who is rejected leaves the ledger as it was.
"""

from itertools import product
from typing import Any

import pytest
import schemathesis
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CHECKS

from billing import keys
from billing.models import Organization, Scope, User
from oxygen_site.wsgi import application
from tests.contract import ROOT
from tests.effort import effort
from tests.tally import Tally

CASES = 5_000
CHAINS = 60
OURS = {"positive_data_acceptance", "ignored_auth"}
MOVED = "SELECT count(*), coalesce(max(account_seq), 0) FROM ledger.entry"
FITS_NOT = {"invalid", "bad_request"}
CHECKED: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in OURS]
HOW: Any = {
    "deadline": None,
    "database": None,
    "derandomize": False,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def moved() -> Any:
    with connection.cursor() as cursor:
        cursor.execute(MOVED)
        return cursor.fetchone()


@pytest.fixture
def headers(fresh_database: str, acme: Organization, alice: User, settings: Any) -> dict[str, str]:
    """What each call comes with: a key of an owner's that may do all that keys may, as often as it likes."""
    settings.API_CALLS_PER_MINUTE = 10**6
    return {"Authorization": f"Bearer {keys.make(acme, alice, 'Any call', Scope.values)[1]}"}


@pytest.fixture
def api(headers: dict[str, str]) -> Any:
    return schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", application)


def judged(case: Case[Any], headers: dict[str, str]) -> int:
    before = moved()
    response = case.call(headers=headers)
    checked(case, response, before)
    return response.status_code


def checked(case: Case[Any], response: Response, before: Any) -> None:
    case.validate_response(response, checks=CHECKED)
    if response.status_code < 400:
        return
    assert moved() == before, f"{case.as_curl_command()} was rejected, and moved something"
    fits = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    said = response.json()
    assert not (fits and said["code"] in FITS_NOT), f"{case.as_curl_command()}: {said}"


def tried(operation: Any, mode: GenerationMode, times: int, headers: dict[str, str]) -> list[int]:
    """Make up so many calls of an operation, and answer the statuses."""
    statuses: list[int] = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=times, **HOW)
    def try_it(case: Case[Any]) -> None:
        statuses.append(judged(case, headers))

    try_it()
    return statuses


def test_any_call_is_answered_as_described_and_rejected_without_a_trace(
    api: Any, headers: dict[str, str], tally: Tally
) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    each = -(-effort(CASES) // (2 * len(operations)))
    statuses = {
        f"{operation.label} {mode.value}": tried(operation, mode, each, headers)
        for operation, mode in product(operations, GenerationMode)
    }
    tally("calls made up", sum(map(len, statuses.values())))


def test_any_chain_of_calls_is_answered_as_described(api: Any, headers: dict[str, str], tally: Tally) -> None:
    made: list[int] = []

    class Chain(api.as_state_machine()):  # type: ignore[misc]
        def call(self, case: Case[Any], **how: Any) -> Response:
            self.before = moved()
            return case.call(headers=headers)

        def validate_response(self, response: Response, case: Case[Any], **how: Any) -> None:
            made.append(response.status_code)
            checked(case, response, self.before)

    Chain.run(settings=settings(max_examples=effort(CHAINS), stateful_step_count=8, **HOW))
    tally("calls made up", len(made))
    assert any(status < 300 for status in made)
