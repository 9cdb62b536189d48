"""Capabilities and workflow templates through the API, and runs of a template."""

from decimal import Decimal

import pytest

from billing.models import Organization, User
from runs.models import Run, Table
from tests.runs.api.conftest import Say, saying, secret

PATH = "/templates/opening_line"


@pytest.fixture
def given(people: Table) -> dict[str, object]:
    """What the template is given: the table of ten rows."""
    return {"table_id": people.id}


def test_capabilities_name_their_tools(say: Say, people: Table) -> None:
    listed = {each["key"]: each for each in say("GET", "/capabilities").data["capabilities"]}
    assert listed["work_email"]["tools"] == ["icypeas.email_finder", "hunter.email_finder", "prospeo.email_finder"]


def test_a_template_says_which_input_it_takes(say: Say, people: Table) -> None:
    template = say("GET", PATH).data
    assert template in say("GET", "/templates").data["templates"]
    assert template["tools"] == ["openai.ai_column"]
    assert template["input"]["required"] == ["table_id"]
    assert template["input"]["properties"].keys() == {"table_id", "limit"}
    assert say("GET", "/templates/nowhere").status == 404


def test_a_preflight_says_what_it_would_cost_and_that_it_needs_approval(say: Say, given: dict[str, object]) -> None:
    read = say("POST", f"{PATH}/preflight", input=given | {"limit": 4}, mode="dry_run", max_credits=20).data
    assert (read["mode"], read["rows"], read["column"]) == ("dry_run", 4, "opening_line")
    assert (read["credits"]["estimated_max"], read["credits"]["would_hold"]) == (14, 14)
    assert read["approval"] == {"needed": True, "reason": "Runs of a workflow template need approval."}
    assert (read["blockers"], Run.objects.count()) == ([], 0)


def test_a_preflight_of_a_smoke_test_is_free_and_names_its_limit(say: Say, given: dict[str, object]) -> None:
    read = say("POST", f"{PATH}/preflight", input=given, mode="smoke_test").data
    assert (read["rows"], read["credits"]["estimated_max"], read["credits"]["would_hold"]) == (3, 0, 0)
    assert (read["approval"]["needed"], read["blockers"]) == (False, [])
    read = say("POST", f"{PATH}/preflight", input=given | {"limit": 5}, mode="smoke_test").data
    assert [each["code"] for each in read["blockers"]] == ["smoke_test_limit"]


def test_an_approved_run_starts_and_one_that_is_not_waits(
    acme: Organization, bob: User, say: Say, given: dict[str, object]
) -> None:
    run = say("POST", f"{PATH}/run", input=given | {"limit": 2}, mode="live", max_credits=7, approved=True)
    assert (run.status, run.data["kind"], run.data["status"], run.data["reserved"]) == (201, "workflow", "queued", 7)
    as_bob = saying(secret(acme, bob, "run"))
    waits = as_bob("POST", f"{PATH}/run", input=given, max_credits=40).data
    assert (waits["status"], waits["reserved"], waits["approval"]["needed"]) == ("awaiting_approval", 0, True)
    assert as_bob("POST", f"{PATH}/run", input=given, max_credits=40, approved=True).status == 403
    assert as_bob("POST", f"/runs/{waits['id']}/approve").status == 403


def test_a_dry_run_answers_what_it_would_be_and_a_smoke_test_needs_no_approval(
    say: Say, given: dict[str, object]
) -> None:
    dry = say("POST", f"{PATH}/run", input=given, mode="dry_run")
    assert (dry.status, dry.data["credits"]["estimated_max"], Run.objects.count()) == (200, 35, 0)
    smoke = say("POST", f"{PATH}/run", input=given, mode="smoke_test")
    assert (smoke.status, smoke.data["status"], smoke.data["items"]["total"]) == (201, "queued", 3)


def test_what_is_wrong_with_an_input_is_said_where_it_stands(say: Say, given: dict[str, object]) -> None:
    for wrong, pointer in (({}, "#/input/table_id"), (given | {"rows": 1}, "#/input/rows")):
        answer = say("POST", f"{PATH}/run", input=wrong, max_credits=5)
        assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, pointer)
    many = say("POST", f"{PATH}/run", input=given | {"limit": 4}, mode="smoke_test")
    assert (many.code, many.body["errors"][0]["pointer"]) == ("smoke_test_limit", "#/input/limit")
    assert say("POST", f"{PATH}/run", input=given).code == "cap_required"
    assert say("POST", f"{PATH}/run", input=given, max_credits=Decimal("3.4")).code == "cap_too_small"


def test_another_orgs_table_is_not_there(globex: Organization, mallory: User, given: dict[str, object]) -> None:
    theirs = saying(secret(globex, mallory))
    assert theirs("POST", f"{PATH}/preflight", input=given).status == 404
    assert theirs("POST", f"{PATH}/run", input=given, max_credits=5).status == 404
