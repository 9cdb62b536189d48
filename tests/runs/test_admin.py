"""Operators keep the catalog; of runs they see everything and change nothing."""

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Organization, User
from runs import dispatch, lifecycle
from runs.models import Capability, Tool
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
    lifecycle.cancel(run, by=alice)
    page = operator.get(reverse("admin:runs_run_doubts")).content.decode()
    assert "every call was answered" in page
    assert page.count("hunter.email_finder") == 2


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
