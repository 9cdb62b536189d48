"""Why am I blocked: each limit, the one that binds, and the action that unblocks."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from billing import orgs
from billing.models import Organization, User
from oxygen_site.clock import clock
from runs import lifecycle, standing
from runs.models import Run, Table
from tests.runs.api.conftest import Say, found, saying, secret
from tests.runs.conftest import column_of, table_of
from tests.runs.providers.test_limits import break_hunter
from tests.runs.test_lifecycle import HUNTER, at_the_cap

pytestmark = pytest.mark.usefixtures("catalog")


def binding(told: dict[str, Any]) -> list[str]:
    return [limit["code"] for limit in told["limits"] if limit["binds"]]


def limit(told: dict[str, Any], code: str) -> dict[str, Any]:
    (one,) = [each for each in told["limits"] if each["code"] == code]
    return one


# ------------------------------------------------------------------ new runs at all


def test_with_credits_nothing_blocks(say: Say) -> None:
    told = say("GET", "/explain").data
    assert (told["can"], told["binding"], told["action"]) == (True, None, None)
    assert limit(told, "insufficient_credits")["limit"] == 100
    tests = limit(told, "smoke_test_limit")
    assert (tests["used"], tests["limit"], tests["unit"]) == (0, 20, "calls")
    assert datetime.fromisoformat(tests["resets_at"]) > clock()


def test_without_credits_it_leads_to_where_they_are_bought(alice: User) -> None:
    told = saying(secret(orgs.create("Empty", "UTC", owner=alice), alice))("GET", "/explain").data
    assert (told["can"], told["binding"], binding(told)) == (False, "insufficient_credits", ["insufficient_credits"])
    assert told["action"] == {"label": "Add credits", "command": None, "url": "/orgs/empty/subscribe/"}


# ------------------------------------------------------------------ a run that nobody has started


def test_a_run_that_may_start_says_what_it_would_hold(say: Say, people: Table) -> None:
    told = say("GET", f"/explain?table={people.id}&column=found&max_credits=7.5").data
    assert (told["can"], told["sentence"]) == (True, "It may start, and would hold 7.5 credits.")
    assert limit(told, "insufficient_credits")["used"] == Decimal("7.5")


def test_without_a_cap_it_names_the_line_with_one(say: Say, people: Table) -> None:
    told = say("GET", f"/explain?table={people.id}&capability=work_email&limit=4").data
    assert (told["binding"], binding(told)) == ("cap_required", ["cap_required"])
    assert told["action"]["command"] == (
        f"oxygen enrich-column run {people.id} --capability work_email --limit 4 --max-credits 11.5"
    )


def test_each_refusal_has_its_way_out(acme: Organization, say: Say, people: Table) -> None:
    told = say("GET", f"/explain?table={people.id}&column=crm").data
    assert (binding(told), told["action"]["url"]) == (["integration_required"], "/orgs/acme/runs/accounts/")
    told = say("GET", f"/explain?table={people.id}&column=found&max_credits=0.5").data
    assert binding(told) == ["cap_too_small"]
    assert told["action"]["command"].endswith(f"columns run {people.id} found --max-credits 1")
    big = table_of(acme, 200, "Leads")
    told = say("GET", f"/explain?table={big.id}&capability=work_email&max_credits=150").data
    assert (binding(told), told["action"]["label"]) == (["insufficient_credits"], "Add credits")


def test_one_that_needs_approval_says_how_to_start_it_approved(acme: Organization, say: Say, people: Table) -> None:
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=5)
    told = say("GET", f"/explain?table={people.id}&column=found&max_credits=10").data
    assert (told["can"], binding(told)) == (False, ["approval_required"])
    assert limit(told, "approval_required")["limit"] == 5
    assert told["action"]["command"].endswith("--max-credits 10 --approved")


# ------------------------------------------------------------------ a run that is there


def test_at_its_cap_it_is_continued(acme: Organization, alice: User, say: Say) -> None:
    run = at_the_cap(acme, alice)
    told = say("GET", f"/explain?run={run.id}").data
    cap = limit(told, "cap_reached")
    assert (told["can"], told["binding"], cap["used"], cap["limit"], cap["binds"]) == (False, "cap_reached", 2, 2, True)
    assert told["action"]["command"] == f"oxygen table-runs continue {run.id} --max-credits 3.45"
    assert told["action"]["url"] == f"/orgs/acme/runs/{run.id}/"


def test_paused_by_a_person_it_is_resumed(alice: User, say: Say, people: Table) -> None:
    run = lifecycle.pause(lifecycle.create(people, found(people), cap="5", by=alice), by=alice)
    told = say("GET", f"/explain?run={run.id}").data
    assert (told["can"], told["binding"]) == (False, "paused")
    assert told["action"]["command"] == f"oxygen table-runs resume {run.id}"


def test_waiting_for_approval_it_is_approved_or_needs_credits_first(
    acme: Organization, alice: User, say: Say, people: Table
) -> None:
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=5)
    run = lifecycle.create(people, found(people), cap="10", by=alice)
    told = say("GET", f"/explain?run={run.id}").data
    assert (told["binding"], told["action"]["command"]) == ("approval_required", f"oxygen runs approve {run.id}")
    busy = table_of(acme, 95, "Busy")
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=None)
    lifecycle.create(busy, column_of(busy, HUNTER), cap="95", by=alice)
    told = say("GET", f"/explain?run={run.id}").data
    assert (told["binding"], told["action"]["label"]) == ("insufficient_credits", "Add credits")


def test_at_work_or_ended_nothing_binds(alice: User, say: Say, people: Table) -> None:
    run = lifecycle.create(people, found(people), cap="5", by=alice)
    told = say("GET", f"/explain?run={run.id}").data
    assert (told["can"], told["binding"], told["sentence"]) == (True, None, "It waits for a worker.")
    lifecycle.cancel(run, by=alice)
    told = say("GET", f"/explain?run={run.id}").data
    assert (told["can"], told["binding"], told["action"], told["sentence"]) == (
        False,
        None,
        None,
        "It has ended: cancelled.",
    )


# ------------------------------------------------------------------ providers


@pytest.fixture
def fails(settings: Any, alice: User, people: Table) -> Run:
    """A run that Hunter failed three times in a row, so that it is left alone."""
    settings.BREAKER_FAILURES = 3
    run = lifecycle.create(people, found(people), cap="9", by=alice, limit=9)
    standing.begin(run)
    break_hunter(run)
    standing.rest(run)
    return run


def test_a_provider_that_is_left_alone_is_named_with_when_it_is_asked_again(say: Say, fails: Run) -> None:
    told = say("GET", f"/explain?run={fails.id}").data
    hunter = limit(told, "provider_unavailable")
    assert (told["can"], told["binding"], hunter["binds"]) == (False, "provider_unavailable", True)
    assert (hunter["name"], hunter["used"], hunter["limit"]) == ("Hunter does not answer", 3, 3)
    assert datetime.fromisoformat(hunter["resets_at"]) > clock()
    assert told["sentence"].startswith("Hunter did not answer several times in a row.")
    assert told["action"]["command"] == f"oxygen table-runs resume {fails.id}"


def test_a_new_run_would_wait_for_it_and_one_of_others_would_not(say: Say, people: Table, fails: Run) -> None:
    told = say("GET", f"/explain?table={people.id}&column=found&max_credits=1").data
    assert (told["can"], binding(told), told["action"]) == (False, ["provider_unavailable"], None)
    assert say("GET", f"/explain?table={people.id}&column=line&max_credits=35").data["can"]
    assert limit(say("GET", "/explain").data, "provider_unavailable")["name"] == "Hunter does not answer"


def test_another_orgs_run_is_not_explained(globex: Organization, mallory: User, fails: Run, people: Table) -> None:
    theirs = saying(secret(globex, mallory))
    assert theirs("GET", f"/explain?run={fails.id}").status == 404
    assert theirs("GET", f"/explain?table={people.id}&column=found").status == 404
    assert theirs("GET", f"/explain?table={people.id}").code == "invalid_target"
