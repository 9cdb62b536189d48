"""Operators keep the catalog; of runs they see everything and change nothing."""

import re
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.urls import reverse

from billing.models import Organization, User
from runs import dispatch, doubts, lifecycle
from runs.dispatch import Answer
from runs.models import Attempt, Capability, Run, Tool
from runs.models.runs import NOT_CHARGED, NOT_READ
from runs.providers.outcomes import ABSORBED, UNREADABLE, Outcome
from tests.runs.conftest import start

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
def operator(alice: User, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ops@oxygen.example", "a long enough password"))
    return client


@pytest.mark.parametrize("what", ["provider", "tool", "capability", "workflowtemplate", "integration", "table", "run"])
def test_each_list_opens(operator: Client, acme: Organization, alice: User, what: str) -> None:
    start(acme, alice, "hunter.email_finder", rows=2, cap=2)
    assert operator.get(reverse(f"admin:runs_{what}_changelist")).status_code == 200


def test_what_is_in_doubt_is_listed_with_what_it_may_have_cost(
    operator: Client, acme: Organization, alice: User
) -> None:
    run = start(acme, alice, "hunter.email_finder", rows=2, cap=2)
    calls = dispatch.claim(run, owner := uuid4(), 2)
    dispatch.unanswered(run, owner, calls[0])
    dispatch.unanswered(run, owner, calls[1])
    page = operator.get(reverse("admin:runs_run_doubts")).content.decode()
    assert page.count("hunter.email_finder") == 2
    assert [each.attempt.item for each in listed(operator, "waiting")] == [2, 1]
    lifecycle.cancel(run, by=alice)
    page = operator.get(reverse("admin:runs_run_doubts")).content.decode()
    assert "every call was answered" in page
    assert page.count("hunter.email_finder") == 2


def listed(operator: Client, name: str) -> list[Any]:
    (one,) = [each for each in operator.get(reverse("admin:runs_run_doubts")).context["lists"] if each["name"] == name]
    return list(one["rows"])


def settled(run: Run, outcome: Outcome, n: int = 1) -> None:
    calls = dispatch.claim(run, owner := uuid4(), n)
    dispatch.settle(run, owner, [Answer(call, outcome, 12) for call in calls])


DEAR = Outcome("succeeded", Decimal(3), f"Billed 3; charged the tool's maximum of 1, {ABSORBED}", {"a": 1}, "hun_7")
GARBAGE = Outcome("succeeded", Decimal(0), f"Answered. {UNREADABLE}", {"a": 1}, "hun_8")


def test_what_was_absorbed_is_listed_call_by_call(operator: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, "hunter.email_finder", rows=3, cap=3)
    settled(run, DEAR)
    calls = dispatch.claim(run, owner := uuid4(), 1)
    dispatch.unanswered(run, owner, calls[0])
    lifecycle.cancel(run, by=alice)
    dispatch.settle(run, owner, [Answer(calls[0], DEAR, 12)])
    assert [(each.attempt.item, each.absorbed) for each in listed(operator, "absorbed")] == [(2, 3), (1, 2)]
    assert [(each.attempt.item, each.absorbed) for each in listed(operator, "unknown")] == [(2, 3)]
    assert [(each.run, each.absorbed) for each in listed(operator, "odd")] == [(run, 2)]
    html = operator.get(reverse("admin:runs_run_doubts")).text
    assert "hun_7" in html
    assert reverse("admin:runs_run_change", args=[run.pk]) in html
    assert reverse("admin:billing_organization_change", args=[acme.pk]) in html


def test_a_cost_that_could_not_be_read_is_listed(operator: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, "hunter.email_finder", rows=3, cap=3)
    settled(run, GARBAGE)
    settled(run, Outcome("succeeded", Decimal(1), "Answered. Charged 1.", {"a": 1}))
    assert [each.attempt.item for each in listed(operator, "unreadable")] == [1]
    assert listed(operator, "absorbed") == []


def test_a_long_list_shows_its_newest_and_says_that_there_are_more(
    operator: Client, acme: Organization, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "SHOWN", 2)
    settled(start(acme, alice, "hunter.email_finder", rows=3, cap=3), DEAR, 3)
    assert [each.attempt.item for each in listed(operator, "absorbed")] == [3, 2]
    assert "the newest 2; there are more" in operator.get(reverse("admin:runs_run_doubts")).text


def test_staff_without_the_permission_see_no_doubts(operator: Client) -> None:
    User.objects.filter(email="ops@oxygen.example").update(is_superuser=False)
    assert operator.get(reverse("admin:runs_run_doubts")).status_code == 403


@pytest.mark.parametrize("such", [NOT_READ, NOT_CHARGED, Q(outcome="unknown")])
def test_doubts_are_read_by_an_index(operator: Client, such: Q) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert re.search("attempt_(odd_cost|given_up|in_vain)", Attempt.objects.filter(such).explain())


def test_a_run_is_shown_and_not_changed(operator: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, "hunter.email_finder", rows=2, cap=2)
    url = reverse("admin:runs_run_change", args=[run.id])
    assert operator.get(url).status_code == 200
    assert operator.post(url, {"status": "succeeded"}).status_code == 403
    assert operator.post(reverse("admin:runs_run_delete", args=[run.id]), {"post": "yes"}).status_code == 403


def test_a_price_changed_today_leaves_runs_as_they_were(operator: Client, acme: Organization, alice: User) -> None:
    run = start(acme, alice, "hunter.email_finder", rows=2, cap=2)
    tool = Tool.objects.get(id="hunter.email_finder")
    facts = {
        "id": tool.id,
        "provider": "hunter",
        "name": tool.name,
        "price": "2",
        "maximum": "2",
        "success_rate": "0.5",
    }
    assert operator.post(reverse("admin:runs_tool_change", args=[tool.id]), facts).status_code == 302
    assert Tool.objects.get(id=tool.id).price == 2
    run.refresh_from_db()
    assert run.cascade[0].price == 1


def test_a_tool_cannot_be_deleted(operator: Client) -> None:
    url = reverse("admin:runs_tool_delete", args=["hunter.email_finder"])
    assert operator.post(url, {"post": "yes"}).status_code == 403


def test_an_operator_changes_a_capabilitys_tools_and_no_others_are_taken(operator: Client) -> None:
    url = reverse("admin:runs_capability_change", args=["work_email"])
    assert "hunter.email_finder" in operator.get(url).content.decode()
    refused = operator.post(url, {"name": "Work e-mail", "cascade": "hunter.email_finder,hunter.mind_reader"})
    assert "there is no tool hunter.mind_reader" in refused.content.decode()
    assert operator.post(url, {"name": "Work e-mail", "cascade": "hunter.email_finder"}).status_code == 302
    assert Capability.objects.get(key="work_email").cascade == ["hunter.email_finder"]
