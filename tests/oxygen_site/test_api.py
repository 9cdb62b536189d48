"""The API's own manners: numbers digit by digit, instants in UTC, and whatever fails is a problem with a code."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from ninja import Router
from ninja.errors import HttpError
from pydantic import BaseModel

from billing.models import Organization, User
from oxygen_site import api
from oxygen_site.api import answers, version1
from oxygen_site.transactions import Refused
from tests.billing.test_api import key
from tests.contract import ask, served, violations


@pytest.mark.parametrize(
    ("credits", "text"),
    [
        ("0", "0"),
        ("0.0000", "0"),
        ("-0.0000", "0"),
        ("0.0001", "0.0001"),
        ("12.5000", "12.5"),
        ("1200.0000", "1200"),
        ("1.2E+3", "1200"),
        ("-3.1400", "-3.14"),
        ("99999999.9999", "99999999.9999"),
        ("99999999999999.9999", "99999999999999.9999"),
    ],
)
def test_credits_are_written_digit_by_digit(credits: str, text: str) -> None:
    assert api.written({"credits": Decimal(credits)}) == f'{{"credits":{text}}}'


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=4))
def test_credits_come_back_as_they_were(credits: Decimal) -> None:
    assert json.loads(api.written([credits]), parse_float=Decimal, parse_int=Decimal) == [credits]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_everything_else_is_written_as_pythons_own_json(value: Any) -> None:
    assert json.loads(api.written(value)) == value


@pytest.mark.parametrize("value", [0.5, Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1), object()])  # noqa: DTZ001
def test_what_is_not_exact_is_never_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        api.written({"value": value})


def test_an_instant_is_written_in_utc() -> None:
    lisbon = timezone(timedelta(hours=1))
    assert api.written(datetime(2026, 7, 1, 0, 30, tzinfo=lisbon)) == '"2026-06-30T23:30:00Z"'
    assert api.written(datetime(2026, 7, 1, 0, 0, 0, 120, tzinfo=UTC)) == '"2026-07-01T00:00:00.000120Z"'
    assert api.written(UUID(int=1)) == '"00000000-0000-0000-0000-000000000001"'


# ------------------------------------------------------------------ an API of the test's own, with every way to fail

INNER = Router()


class Asked(BaseModel):
    name: str
    caps: list[int]


FAILS: dict[str, Exception] = {
    "rule": Refused("cap_required", "A live run needs a cap.", 422, "max_credits"),
    "conflict": Refused("cap_reached", "The cap is spent.", 409),
    "role": PermissionDenied("Ask an owner."),
    "missing": Http404("There is no such run."),
    "plainly missing": Http404(),
    "unreadable": HttpError(400, "Cannot parse request body"),
}


@INNER.get("/fail/{way}", auth=None)
def fail(request: Any, way: str, limit: int = 50) -> None:
    raise FAILS[way]


@INNER.post("/body", auth=None)
def body(request: Any, body: Asked) -> None:
    return None


@pytest.fixture(scope="module")
def other() -> Any:
    """The same API over other operations."""
    made = version1.Version1(docs_url=None, openapi_url=None, urls_namespace="other", renderer=answers.Renderer())
    made._exception_handlers = api.api._exception_handlers
    made.add_router("", INNER)
    return {str(pattern.pattern): pattern.callback for pattern in made.urls[0]}


def failed(response: Any) -> dict[str, Any]:
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    assert problem["status"] == response.status_code
    assert list(violations(problem, {"$ref": "#/components/schemas/Problem"}, served())) == []
    return problem


@pytest.mark.parametrize(
    ("way", "status", "code", "detail"),
    [
        ("rule", 422, "cap_required", "A live run needs a cap."),
        ("conflict", 409, "cap_reached", "The cap is spent."),
        ("role", 403, "not_allowed", "Ask an owner."),
        ("missing", 404, "not_found", "There is no such run."),
        ("plainly missing", 404, "not_found", "There is nothing at this address."),
        ("unreadable", 400, "bad_request", "The request could not be read."),
    ],
)
def test_each_refusal_is_a_problem_with_its_code(other: Any, way: str, status: int, code: str, detail: str) -> None:
    problem = failed(other["fail/<way>"](RequestFactory().get("/"), way=way))
    assert (problem["status"], problem["code"], problem["detail"]) == (status, code, detail)


def test_a_rule_points_at_the_field_it_is_about(other: Any) -> None:
    problem = failed(other["fail/<way>"](RequestFactory().get("/"), way="rule"))
    assert problem["errors"] == [{"detail": "A live run needs a cap.", "pointer": "#/max_credits"}]


def test_what_is_wrong_with_a_body_is_pointed_at(other: Any) -> None:
    asked = {"caps": [1, "many"]}
    problem = failed(other["body"](RequestFactory().post("/", asked, content_type="application/json")))
    assert (problem["status"], problem["code"]) == (422, "invalid")
    assert sorted(wrong["pointer"] for wrong in problem["errors"]) == ["#/caps/1", "#/name"]


def test_what_is_wrong_with_a_parameter_is_named(other: Any) -> None:
    problem = failed(other["fail/<way>"](RequestFactory().get("/", {"limit": "all"}), way="rule"))
    assert [wrong["parameter"] for wrong in problem["errors"]] == ["limit"]


def test_a_body_that_is_no_json_is_a_problem(other: Any) -> None:
    problem = failed(other["body"](RequestFactory().post("/", "{", content_type="application/json")))
    assert (problem["status"], problem["code"]) == (400, "bad_request")


# ------------------------------------------------------------------ what Django itself says no with


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/balance/", "/balance/x", "/../v1", "/%00", "/docs"])
def test_an_address_that_is_not_there_is_a_problem(db: None, path: str) -> None:
    if path:  # without its slash the root leads to itself with one
        assert ask(path).body["code"] == "not_found"
    for elsewhere in ("/api/", "/api/v2/balance", "/api/x"):
        assert failed(Client().get(elsewhere))["code"] == "not_found"


def test_a_method_that_is_not_taken_is_a_problem_that_names_those_that_are(db: None) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer = ask("/balance", method=method)
        assert (answer.status, answer.code, answer.response["Allow"]) == (405, "method_not_allowed", "GET")


def test_a_bug_is_a_problem_that_says_nothing_about_it() -> None:
    page = HttpResponse("<h1>secret inner matters</h1>", status=500, headers={"Retry-After": "1"})
    response = api.problems(lambda request: page)(RequestFactory().get("/api/v1/balance"))
    assert (failed(response)["code"], response["Retry-After"]) == ("server_error", "1")
    assert "secret" not in str(failed(response))


def test_pages_go_on_failing_as_pages(db: None) -> None:
    assert Client().get("/orgs/nowhere-/x").headers["Content-Type"].startswith("text/html")
    assert Client().get("/apinothing").headers["Content-Type"].startswith("text/html")


def test_an_answer_that_went_out_compressed_is_known_again_by_its_tag(acme: Organization, alice: User) -> None:
    told = {"authorization": f"Bearer {key(acme, alice)}", "accept_encoding": "gzip"}
    first = Client().get("/api/v1/balance", headers=told)
    again = Client().get("/api/v1/balance", headers=told | {"if_none_match": first["ETag"]})
    assert (first["Content-Encoding"], again.status_code, again.content) == ("gzip", 304, b"")


# ------------------------------------------------------------------ how it describes itself


def test_the_description_is_openapi_3_1_and_open_to_all(db: None) -> None:
    response = Client().get("/api/v1/openapi.json")
    spec = json.loads(response.content)
    assert (response.status_code, spec["openapi"]) == (200, "3.1.0")


def test_each_operation_tells_how_it_says_no_and_what_it_needs(db: None) -> None:
    spec = served()
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            assert operation["security"] == [{"ApiKey": []}], path
            assert {"400", "401", "403", "404"} <= operation["responses"].keys(), path
            for status, answer in operation["responses"].items():
                kind = "text/csv" if path.endswith("/export") else "application/json"
                kind = "application/problem+json" if int(status) >= 400 else kind
                assert answer["content"].keys() == {kind}, path
            assert "Oxygen-Organization" in [parameter["name"] for parameter in operation["parameters"]], path
