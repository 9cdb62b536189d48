"""A tool tried on one input, through the API."""

from typing import Any

import pytest

from billing.models import Account, Organization, User
from runs.models import Item, Row, Run, Table
from tests.runs.api.conftest import HUBSPOT, HUNTER, Say, saying, secret
from tests.runs.conftest import assert_books_hold, column_of
from tests.runs.test_lifecycle import answer_one

pytestmark = pytest.mark.usefixtures("catalog")

PATH = f"/tools/{HUNTER}/test"
ADA = {"first_name": "Ada", "domain": "example.com"}


def test_a_smoke_test_runs_the_tool_on_exactly_that_input(acme: Organization, say: Say) -> None:
    shown = say("POST", PATH, input=ADA, mode="smoke_test").data
    assert (shown["mode"], shown["table_name"], shown["column"]) == ("smoke_test", "Tool tests", "hunter-email_finder")
    assert (shown["name"], shown["items"]["total"], shown["reserved"]) == (f"Test of {HUNTER}", 1, 0)
    answer_one(run := Run.objects.get(id=shown["id"]))
    (item,) = say("GET", f"/runs/{run.id}/items").data["items"]
    assert Row.objects.get(id=item["row"]).data == ADA
    assert (item["value"], item["credits"]) == ({"email": "a@b.example"}, 0)
    assert Account.objects.get(org=acme.pk).available == 100
    assert_books_hold(acme)


def test_each_test_is_a_row_of_its_own_in_the_same_table(say: Say) -> None:
    runs = [say("POST", PATH, input=ADA | {"n": str(n)}, mode="smoke_test").data for n in range(3)]
    table = Table.objects.get()
    assert (table.name, table.row_count, len({run["id"] for run in runs})) == ("Tool tests", 3, 3)
    assert [Item.objects.get(run=run["id"], row__number=n).number for n, run in enumerate(runs, 1)] == [1, 1, 1]


def test_a_live_test_is_charged_and_needs_a_cap(acme: Organization, say: Say) -> None:
    refused = say("POST", PATH, input=ADA, mode="live")
    assert (refused.status, refused.code, Table.objects.count()) == (422, "cap_required", 0)
    shown = say("POST", PATH, input=ADA, mode="live", max_credits=1).data
    assert (shown["mode"], shown["reserved"]) == ("live", 1)


def test_a_dry_run_says_what_a_live_one_would_cost_and_leaves_no_table(say: Say) -> None:
    read = say("POST", PATH, input=ADA, mode="dry_run", max_credits=2)
    assert (read.status, read.data["rows"], read.data["credits"]["estimated_max"]) == (200, 1, 1)
    assert (read.data["blockers"], Table.objects.count()) == ([], 0)


def test_where_it_needs_approval_whoever_may_gives_it_by_testing(acme: Organization, bob: User, say: Say) -> None:
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=0)
    asked: dict[str, Any] = {"input": ADA, "mode": "live", "max_credits": 1}
    assert saying(secret(acme, bob))("POST", PATH, **asked).status == 403
    assert say("POST", PATH, **asked).data["approval"]["approved_by"]["name"] == "Alice"


def test_what_cannot_be_tested_is_refused(acme: Organization, say: Say) -> None:
    assert say("POST", "/tools/no.tool/test", input=ADA, mode="live").status == 404
    assert say("POST", f"/tools/{HUBSPOT}/test", input=ADA, mode="smoke_test").code == "integration_required"
    for wrong in ({}, {"n": 1}, {"n": {"a": "b"}}):
        assert say("POST", PATH, input=wrong, mode="smoke_test").code == "invalid", wrong
    say("POST", PATH, input=ADA, mode="smoke_test")
    column_of(Table.objects.get(), HUNTER, key="openai-ai_column")
    assert say("POST", "/tools/openai.ai_column/test", input=ADA, mode="smoke_test").code == "column_exists"


def test_another_org_has_a_table_of_its_own(globex: Organization, mallory: User, say: Say) -> None:
    say("POST", PATH, input=ADA, mode="smoke_test")
    assert saying(secret(globex, mallory))("POST", PATH, input=ADA, mode="smoke_test").status == 201
    assert Table.objects.count() == 2
