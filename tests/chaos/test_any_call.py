"""Whatever is sent to the API, it answers as it says it does, and a call that it rejects moves nothing.

Calls are made up from the API's own description of itself: fitting ones, unfitting ones, each in its own right and in
chains that pass ids on. Every answer is judged by all of the tool's checks but two, which ours are stricter than: a
fitting call is not told that it is invalid, and who is rejected leaves the ledger as it was.
"""

import re
from collections import Counter
from itertools import count, product
from typing import Any

import pytest
import schemathesis
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CHECKS

from billing import books, keys, orgs
from billing.models import Scope, User
from oxygen_site.wsgi import application
from runs import lifecycle
from runs.models import WorkflowTemplate
from tests.conftest import give
from tests.contract import ROOT
from tests.effort import effort
from tests.runs.conftest import column_of, table_of
from tests.tally import Tally

HUNTER = "hunter.email_finder"
NUMBERS = count()
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CASES = 5_000
CHAINS = 60
OURS = {"positive_data_acceptance", "ignored_auth"}
MOVED = "SELECT count(*), coalesce(max(account_seq), 0) FROM ledger.entry"
FITS_NOT = {"invalid", "bad_request"}  # NUL, which no text has, is told so in a test of its own
CHECKED: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in OURS]
HOW_MADE = {"allow-x00": False, "codec": "utf-8", "with-security-parameters": False}
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


class Caller:
    """An org of its own, with a table, a column and a run in it, and a key that may do all that keys may."""

    def __init__(self, by: User) -> None:
        name = f"Caller {next(NUMBERS)}"
        org = orgs.create(name, "Europe/Lisbon", owner=by)
        give(org, 100)
        key = keys.make(org, by, "Any call", Scope.values)[1]
        self.headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}  # read as it comes
        column = column_of(table_of(org, rows=30), HUNTER)
        run = lifecycle.create(column.table, column, cap="3", limit=3, by=by)
        row = column.table.rows.first()
        assert row
        self.named: set[str] = set()
        self.things = {
            "run_id": str(run.pk),
            "table_id": str(column.table_id),
            "row_id": str(row.pk),
            "key": column.key,
            "tool_id": HUNTER,
            "provider": "hunter",
            "template_id": WorkflowTemplate.objects.values_list("pk", flat=True)[0],
        }

    def about(self, case: Case[Any]) -> None:
        """Let a fitting call be about what is there: what an answer has named, else what was there before.

        It names no other org, one thing to fill, and no more than four decimals, for which JSON Schema has no words.
        """
        case.headers.pop("Oxygen-Organization", None)
        for name in case.path_parameters or {}:
            if str(case.path_parameters[name]) not in self.named:
                case.path_parameters[name] = self.things.get(name, case.path_parameters[name])
        body: Any = case.body if isinstance(case.body, dict) else {}
        if isinstance(body.get("max_credits"), float):
            body["max_credits"] = max(round(body["max_credits"], 4), 0.0001)
        if body.get("table", "") not in self.named and "table" in body:
            body |= {"table": self.things["table_id"], "column": self.things["key"]}
            body.pop("capability", None)

    def call(self, case: Case[Any]) -> Response:
        if fits(case):
            self.about(case)
        response = case.call(headers=self.headers)
        self.named |= set(UUIDS.findall(response.text))
        return response


@pytest.fixture
def api(fresh_database: str, catalog: None, settings: Any) -> Any:
    settings.API_CALLS_PER_MINUTE = 10**6
    texts = schemathesis.Config.from_dict({"generation": HOW_MADE})
    return schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", application, config=texts)


def judged(case: Case[Any], caller: Caller) -> int:
    before = moved()
    response = caller.call(case)
    checked(case, response, before)
    return response.status_code


def fits(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def checked(case: Case[Any], response: Response, before: Any) -> None:
    case.validate_response(response, checks=CHECKED)
    if response.status_code < 400:
        return
    assert moved() == before, f"{case.as_curl_command()} was rejected, and moved something"
    said = response.json()
    assert not (fits(case) and said["code"] in FITS_NOT), f"{case.as_curl_command()}: {said}"


def tried(operation: Any, mode: GenerationMode, times: int, caller: Caller) -> list[int]:
    """Make up so many calls of an operation, and answer the statuses."""
    statuses: list[int] = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=times, **HOW)
    def try_it(case: Case[Any]) -> None:
        statuses.append(judged(case, caller))

    try:
        try_it()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # it takes nothing, so nothing can be wrong
    return statuses


def test_any_call_is_answered_as_described_and_rejected_without_a_trace(api: Any, alice: User, tally: Tally) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    each = -(-effort(CASES) // (2 * len(operations)))
    caller = Caller(alice)
    statuses = {
        f"{operation.label} {mode.value}": tried(operation, mode, each, caller)
        for operation, mode in product(operations, GenerationMode)
    }
    tally("calls made up", sum(map(len, statuses.values())))
    answered = Counter(status // 100 for each in statuses.values() for status in each)
    assert answered[2] > answered.total() / 10, answered
    assert books.prove() == []


def test_any_chain_of_calls_is_answered_as_described(api: Any, alice: User, tally: Tally) -> None:
    made: list[int] = []

    class Chain(api.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.caller = Caller(alice)  # anew, so that no chain depends on what another has left

        def call(self, case: Case[Any], **how: Any) -> Response:
            self.before = moved()
            return self.caller.call(case)

        def validate_response(self, response: Response, case: Case[Any], **how: Any) -> None:
            made.append(response.status_code)
            checked(case, response, self.before)

    Chain.run(settings=settings(max_examples=effort(CHAINS), stateful_step_count=8, **HOW))
    tally("calls made up", len(made))
    assert sum(status < 300 for status in made) > len(made) / 10
    assert books.prove() == []
