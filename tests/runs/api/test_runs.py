"""Runs through the API: foreseen, started under a cap, looked at, steered, and refused."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import orgs
from billing.models import Account, Entry, Organization, Role, User
from runs import dispatch, lifecycle, standing, worker
from runs.models import Run, Table, Tool
from runs.providers.outcomes import Outcome
from tests.conftest import give
from tests.contract import ask
from tests.runs.api.conftest import HUNTER, Say, found, saying, secret, target
from tests.runs.conftest import ME, Providers, assert_books_hold, column_of, settle, table_of
from tests.runs.test_lifecycle import answer_one


def run_of(answer: dict[str, str]) -> Run:
    return Run.objects.get(id=answer["id"])


def answered(run: Run, rows: int, cost: str = "1") -> None:
    """Let a worker claim and settle so many rows."""
    hit = Outcome("succeeded", Decimal(cost), "Answered.", {"email": "a@b.example"})
    calls = dispatch.claim(run, ME, rows)
    settle(run, calls, [hit] * len(calls))


# ------------------------------------------------------------------ before


def test_an_estimate_says_what_a_run_would_cost_and_hold(say: Say, people: Table) -> None:
    read = say("POST", "/runs/estimate", table=people.id, column="line", limit=4, max_credits=10).data
    assert (read["rows"], read["limit"], read["mode"], read["max_credits"]) == (4, 4, "live", 10)
    credits = read["credits"]
    assert (credits["estimated_min"], credits["estimated"], credits["estimated_max"]) == (6, 6, 14)
    assert (credits["suggested_cap"], credits["per_item_max"]) == (Decimal("16.1"), Decimal("3.5"))
    assert (credits["would_hold"], credits["available"], credits["available_after"]) == (10, 100, 90)
    (tool,) = read["tools"]
    assert (tool["tool"], tool["mode"], tool["maximum_credits_per_call"]) == (
        "openai.ai_column",
        "managed",
        Decimal("3.5"),
    )
    assert (read["approval"], read["blockers"]) == ({"needed": False, "reason": None}, [])


def test_an_estimate_without_a_cap_names_one_and_makes_nothing(say: Say, people: Table) -> None:
    read = say("POST", "/runs/estimate", table=people.id, capability="work_email", limit=1).data
    assert [each["code"] for each in read["blockers"]] == ["cap_required"]
    assert read["credits"]["would_hold"] == read["credits"]["estimated_max"] == Decimal("2.5")
    assert not Run.objects.exists()
    assert not people.columns.filter(key="work_email").exists()


def test_an_estimate_names_all_that_is_in_the_way(acme: Organization, say: Say, people: Table) -> None:
    column_of(people, "apollo.job_changes", key="jobs")
    read = say("POST", "/runs/estimate", table=people.id, column="jobs").data
    assert (read["credits"]["estimated_max"], read["credits"]["unpriced"]) == (None, ["apollo.job_changes"])
    assert [each["code"] for each in read["blockers"]] == ["price_unknown"]
    crm = say("POST", "/runs/estimate", table=people.id, column="crm").data
    assert [each["code"] for each in crm["blockers"]] == ["integration_required"]
    big = say("POST", "/runs/estimate", table=table_and_column(acme, 200).id, column="found", max_credits=150).data
    assert [each["code"] for each in big["blockers"]] == ["insufficient_credits"]
    assert big["credits"]["available_after"] == -50


def table_and_column(org: Organization, rows: int) -> Table:
    table = table_of(org, rows, "Leads")
    column_of(table, HUNTER)
    return table


def test_what_an_estimate_says_is_in_the_way_is_what_the_start_is_refused_with(say: Say, people: Table) -> None:
    for facts in ({}, {"max_credits": Decimal("0.5")}, {"limit": 3}):
        read = say("POST", "/runs/estimate", **target(people, **facts)).data
        refused = say("POST", "/runs", **target(people, **facts))
        assert [read["blockers"][0]["code"], read["blockers"][0]["detail"]] == [refused.code, refused.body["detail"]]


def test_a_dry_run_is_an_estimate_and_makes_nothing(say: Say, people: Table) -> None:
    answer = say("POST", "/runs", **target(people, mode="dry_run"))
    assert (answer.status, answer.data["mode"], answer.data["rows"]) == (200, "dry_run", 10)
    assert not Run.objects.exists()


# ------------------------------------------------------------------ the start


def test_a_run_starts_under_its_cap_and_is_shown_as_it_is(
    acme: Organization, alice: User, say: Say, people: Table
) -> None:
    answer = say("POST", "/runs", **target(people, limit=4, max_credits=Decimal("2.5"), name="Leads of May"))
    shown = answer.data
    assert (answer.status, shown["name"], shown["status"], shown["mode"]) == (201, "Leads of May", "queued", "live")
    assert (shown["max_credits"], shown["reserved"], shown["captured"], shown["held"]) == (Decimal("2.5"), 2.5, 0, 0)
    assert shown["items"] == {"total": 4, "pending": 4} | dict.fromkeys(
        ("running", "succeeded", "failed", "cancelled", "unknown"), 0
    )
    assert shown["started_by"] == {"id": str(alice.pk), "name": "Alice"}
    assert (shown["next"], shown["why"], shown["plan"]) == (["pause", "cancel"], None, None)
    assert str(Entry.objects.get(source=shown["id"], item=0).actor).startswith("key:")
    assert say("GET", f"/runs/{shown['id']}").data == shown


def test_the_same_start_sent_twice_starts_one_run(acme: Organization, alice: User, say: Say, people: Table) -> None:
    key, body = secret(acme, alice), target(people, max_credits=5)
    first, again = (ask("/runs", key, "POST", body, idempotency_key="one") for _ in range(2))
    assert (first.status, first.body) == (again.status, again.body)
    assert again.response["Idempotent-Replayed"] == "true"
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("facts", "status", "code", "pointer"),
    [
        ({}, 422, "cap_required", "#/max_credits"),
        ({"max_credits": Decimal("0.5")}, 422, "cap_too_small", "#/max_credits"),
        ({"max_credits": "50"}, 422, "invalid", "#/max_credits"),
        ({"max_credits": 5, "limit": 0}, 422, "invalid", "#/limit"),
        ({"max_credits": 5, "capability": "work_email"}, 422, "invalid_target", None),
        ({"max_credits": 5, "column": None}, 422, "invalid_target", None),
        ({"max_credits": 5, "column": "nowhere"}, 404, "not_found", None),
        ({"max_credits": 5, "table": str(uuid4())}, 404, "not_found", None),
        ({"mode": "smoke_test", "limit": 4}, 409, "smoke_test_limit", "#/limit"),
        ({"mode": "tomorrow"}, 422, "invalid", "#/mode"),
    ],
)
def test_a_start_is_refused_by_its_code_and_nothing_is_there_then(
    say: Say, people: Table, facts: dict[str, object], status: int, code: str, pointer: str | None
) -> None:
    answer = say("POST", "/runs", **target(people) | facts)
    assert (answer.status, answer.code) == (status, code)
    assert [wrong.get("pointer") for wrong in answer.body["errors"]] == ([pointer] if pointer else [])
    assert not Run.objects.exists()


@pytest.mark.usefixtures("catalog")
def test_too_few_credits_are_a_402_that_says_how_much_is_missing(acme: Organization, say: Say) -> None:
    answer = say("POST", "/runs", **target(table_and_column(acme, 200), max_credits=150))
    assert (answer.status, answer.code) == (402, "insufficient_credits")
    assert "50 more than are available" in answer.body["detail"]
    assert Account.objects.get(org=acme.pk).available == 100


def test_a_smoke_test_is_free_and_shown_as_one(acme: Organization, say: Say, people: Table) -> None:
    shown = say("POST", "/runs", **target(people, mode="smoke_test")).data
    run = run_of(shown)
    answered(run, 3)
    standing.rest(run)
    shown = say("GET", f"/runs/{run.id}").data
    assert (shown["mode"], shown["status"], shown["max_credits"]) == ("smoke_test", "succeeded", None)
    assert (shown["captured"], shown["reserved"], shown["absorbed"], shown["calibration"]) == (0, 0, 3, None)
    assert_books_hold(acme)


# ------------------------------------------------------------------ approval


def test_a_run_above_the_threshold_waits_and_its_approval_is_bound_to_the_plan(
    acme: Organization, say: Say, people: Table
) -> None:
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=5)
    shown = say("POST", "/runs", **target(people, max_credits=10)).data
    assert (shown["status"], shown["reserved"], shown["next"]) == ("awaiting_approval", 0, ["approve", "cancel"])
    assert shown["approval"]["needed"]
    assert "more than 5 need approval" in shown["approval"]["reason"]
    Tool.objects.filter(id=HUNTER).update(price="0.5", maximum="0.75")
    path = f"/runs/{shown['id']}"
    assert say("POST", f"{path}/approve", plan=shown["plan"]).code == "plan_changed"
    new = say("GET", path).data
    assert new["plan"] != shown["plan"]
    approved = say("POST", f"{path}/approve", plan=new["plan"])
    assert (approved.status, approved.data["status"], approved.data["reserved"]) == (200, "queued", Decimal("7.5"))
    assert approved.data["approval"]["approved_by"]["name"] == "Alice"


def test_approving_needs_no_body(acme: Organization, alice: User, say: Say, people: Table) -> None:
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=5)
    run = say("POST", "/runs", **target(people, max_credits=10)).data["id"]
    assert ask(f"/runs/{run}/approve", secret(acme, alice), "POST").data["status"] == "queued"


def test_approved_from_somebody_who_may_not_is_a_403(acme: Organization, bob: User, alice: User, people: Table) -> None:
    for key in (secret(acme, bob), secret(acme, alice, "run")):
        answer = saying(key)("POST", "/runs", **target(people, max_credits=5, approved=True))
        assert (answer.status, answer.code) == (403, "not_allowed")
    assert not Run.objects.exists()


def test_a_key_without_the_scope_does_not_approve_by_continuing(
    acme: Organization, alice: User, say: Say, people: Table
) -> None:
    run = lifecycle.pause(lifecycle.create(people, found(people), cap="10", by=alice), by=alice)
    Organization.objects.filter(pk=acme.pk).update(approval_threshold=5)
    path = f"/runs/{run.id}/continue"
    assert saying(secret(acme, alice, "run", "steer"))("POST", path, max_credits=10).status == 403
    assert Run.objects.get(id=run.id).status == "paused"
    continued = saying(secret(acme, alice, "run", "approve"))("POST", path, max_credits=10)
    assert (continued.status, continued.data["approval"]["approved_by"]["name"]) == (201, "Alice")


# ------------------------------------------------------------------ steering


def test_a_member_steers_their_own_runs_and_an_admin_any(
    acme: Organization, alice: User, bob: User, say: Say, people: Table
) -> None:
    alices = lifecycle.create(people, found(people), cap="5", by=alice, limit=5)
    bobs = lifecycle.create(people, found(people), cap="5", by=bob)
    as_bob = saying(secret(acme, bob, "run"))
    for verb in ("pause", "resume", "cancel"):
        assert as_bob("POST", f"/runs/{alices.id}/{verb}").status == 403
    assert as_bob("POST", f"/runs/{alices.id}/continue", max_credits=5).status == 403
    assert as_bob("POST", f"/runs/{bobs.id}/pause").data["status"] == "paused"
    assert say("POST", f"/runs/{bobs.id}/cancel").data["status"] == "cancelled"
    assert saying(secret(acme, alice, "run"))("POST", f"/runs/{bobs.id}/cancel").status == 403


def test_another_orgs_run_is_not_there(globex: Organization, mallory: User, alice: User, people: Table) -> None:
    run = lifecycle.create(people, found(people), cap="5", by=alice)
    theirs = saying(secret(globex, mallory))
    assert theirs("GET", f"/runs/{run.id}").status == 404
    assert theirs("GET", f"/runs/{run.id}/items").status == 404
    for verb in ("approve", "pause", "resume", "cancel"):
        assert theirs("POST", f"/runs/{run.id}/{verb}").status == 404
    assert theirs("POST", "/runs", **target(people, max_credits=5)).status == 404
    assert theirs("GET", "/runs").data["runs"] == []


def test_what_a_state_does_not_allow_is_a_409_that_names_it(say: Say, people: Table) -> None:
    path = f"/runs/{say('POST', '/runs', **target(people, max_credits=5)).data['id']}"
    assert say("POST", f"{path}/resume").code == "wrong_state"
    assert say("POST", f"{path}/pause").data["next"] == ["resume", "cancel", "continue"]
    assert say("POST", f"{path}/pause").code == "wrong_state"
    assert say("POST", f"{path}/cancel").data["next"] == []
    assert say("POST", f"{path}/cancel").status == 409


@pytest.mark.usefixtures("fresh_database")
def test_five_hundred_rows_under_a_cap_of_fifty_from_the_start_to_the_end(
    acme: Organization, providers: Providers, catalog: None, say: Say
) -> None:
    table = table_and_column(acme, 500)
    started = say("POST", "/runs", **target(table, max_credits=50)).data
    worker.drive_to_rest(run_of(started))
    path = f"/runs/{started['id']}"
    paused = say("GET", path).data
    assert (paused["status"], paused["pause_reason"], paused["captured"]) == ("paused", "cap_reached", 50)
    assert (paused["items"]["succeeded"], paused["items"]["pending"], paused["reserved"]) == (50, 450, 0)
    assert paused["next"] == ["cancel", "continue"]
    assert "Continue with a new cap" in paused["why"]
    assert (paused["success_rate"], paused["calibration"]["ratio"]) == (1, 1)
    assert say("POST", f"{path}/resume").code == "cap_reached"
    assert say("POST", f"{path}/continue").code == "cap_required"
    rest = say("POST", f"{path}/continue", max_credits=30)
    assert (rest.status, rest.data["continues"], rest.data["reserved"]) == (201, started["id"], 30)
    old = say("GET", path).data
    assert (old["status"], old["continued_by"], old["captured"]) == ("cancelled", rest.data["id"], 50)
    answered(run_of(rest.data), 20)
    path = f"/runs/{rest.data['id']}"
    assert say("POST", f"{path}/pause").data["pause_reason"] == "by_user"
    ended = say("POST", f"{path}/cancel").data
    assert (ended["status"], ended["captured"], ended["released"], ended["reserved"]) == ("cancelled", 20, 10, 0)
    assert Account.objects.get(org=acme.pk).available == 30
    assert_books_hold(acme)


# ------------------------------------------------------------------ looking


def test_runs_are_listed_newest_first_a_page_at_a_time(alice: User, say: Say, people: Table) -> None:
    ids = [str(lifecycle.create(people, found(people), cap="5", by=alice, limit=1).id) for _ in range(5)]
    first = say("GET", "/runs?limit=3").data
    assert [run["id"] for run in first["runs"]] == ids[:1:-1]
    last = say("GET", f"/runs?limit=3&cursor={first['next_cursor']}").data
    assert ([run["id"] for run in last["runs"]], last["next_cursor"]) == (ids[1::-1], None)
    assert say("GET", "/runs?cursor=nonsense").code == "invalid_cursor"


def test_runs_are_found_by_status_and_table(acme: Organization, alice: User, say: Say, people: Table) -> None:
    one = lifecycle.create(people, found(people), cap="5", by=alice, limit=1)
    lifecycle.cancel(lifecycle.create(people, found(people), cap="5", by=alice, limit=1), by=alice)
    assert [run["id"] for run in say("GET", "/runs?status=queued").data["runs"]] == [str(one.id)]
    assert [run["id"] for run in say("GET", "/runs?status=open").data["runs"]] == [str(one.id)]
    assert len(say("GET", f"/runs?table={people.id}").data["runs"]) == 2
    assert say("GET", f"/runs?table={table_of(acme, 1).id}").data["runs"] == []
    assert say("GET", "/runs?status=sleeping").code == "invalid"


def test_items_are_shown_with_every_call_made_for_them(say: Say, mixed: Run) -> None:
    path = f"/runs/{mixed.id}/items"
    items = say("GET", path).data["items"]
    assert [item["item"] for item in items] == list(range(1, 9))
    found, dear = items[0], items[1]
    assert (found["status"], found["value"], found["row_number"]) == ("succeeded", {"a": 1}, 1)
    (call,) = found["attempts"]
    assert (call["number"], call["step"], call["try"], call["mode"]) == (0, 0, 0, "managed")
    assert (call["outcome"], call["credits"], call["cost"], call["absorbed"]) == ("succeeded", 2, 2, 0)
    (call,) = dear["attempts"]
    assert (call["credits"], call["cost"], call["absorbed"]) == (Decimal("3.5"), 5, Decimal("1.5"))
    running = items[6]["attempts"][0]
    assert (running["outcome"], running["credits"], running["settled_at"]) == (None, None, None)


def test_items_are_found_by_status_and_by_what_came_of_their_calls(say: Say, mixed: Run) -> None:
    path = f"/runs/{mixed.id}/items"
    assert [item["item"] for item in say("GET", f"{path}?status=pending").data["items"]] == [8]
    assert [item["item"] for item in say("GET", f"{path}?calls=failed_after_billing").data["items"]] == [5]
    assert [item["item"] for item in say("GET", f"{path}?calls=absorbed").data["items"]] == [2, 6]
    first = say("GET", f"{path}?limit=5").data
    rest = say("GET", f"{path}?limit=5&cursor={first['next_cursor']}").data
    assert ([item["item"] for item in rest["items"]], rest["next_cursor"]) == ([6, 7, 8], None)


def test_listing_costs_the_same_however_many_runs_there_are(
    acme: Organization, alice: User, say: Say, people: Table
) -> None:
    say("GET", "/runs")
    counts = []
    for _ in range(3):
        answer_one(lifecycle.create(people, found(people), cap="5", by=alice, limit=1))
        with CaptureQueriesContext(connection) as asked:
            say("GET", "/runs")
        counts.append(len(asked))
    assert counts[0] == counts[-1] <= 8 + 5  # the gate's, which counts the call, and the operation's


def test_a_viewer_looks_and_starts_nothing(acme: Organization, mallory: User, people: Table) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    looks = saying(secret(acme, mallory))
    assert looks("GET", "/runs").status == 200
    assert looks("POST", "/runs/estimate", **target(people)).status == 200
    assert looks("POST", "/runs", **target(people, max_credits=5)).status == 403


@pytest.mark.usefixtures("catalog")
def test_credits_that_come_let_a_waiting_start_through(acme: Organization, say: Say) -> None:
    body = target(table_and_column(acme, 150), max_credits=150)
    assert say("POST", "/runs", **body).status == 402
    give(acme, 50)
    assert say("POST", "/runs", **body).status == 201
