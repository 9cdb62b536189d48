"""Runs that wait for approval: what they wait for, who may give it, and that it is given to exactly what was shown."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing import orgs
from billing.models import Account, Agency, Entry, Organization, Reservation, Role, User
from runs import accounts, jobs, lifecycle, today, worker
from runs.models import Capability, Fill, Provider, Run, Table, Tool, WorkflowTemplate
from tests.conftest import give, person
from tests.runs.conftest import assert_books_hold, booked, column_of, table_of
from tests.runs.test_jobs import waiting
from tests.runs.test_lifecycle import HUNTER, at_the_cap, refusal, statuses

pytestmark = pytest.mark.usefixtures("catalog")

AI = "openai.ai_column"  # the one tool of the test catalog's template: 1.5 credits a call, 3.5 at most


@pytest.fixture
def bob(acme: Organization) -> User:
    """A member of Acme: starts runs, approves none."""
    bob = person("Bob")
    orgs.add_member(acme, bob, Role.MEMBER)
    return bob


@pytest.fixture
def template(catalog: None) -> WorkflowTemplate:
    return WorkflowTemplate.objects.get(id="opening_line")


@pytest.fixture
def people(acme: Organization) -> Table:
    """A table of ten rows."""
    return table_of(acme, 10)


@pytest.fixture
def asked(people: Table, template: WorkflowTemplate, bob: User) -> Run:
    """Bob has asked for a run of the template over the ten rows, under a cap of 40: it would hold 35."""
    return lifecycle.create(people, template, cap="40", by=bob)


def pay(tool: str, price: str, maximum: str) -> None:
    """Let a tool cost something else from now on."""
    Tool.objects.filter(id=tool).update(price=price, maximum=maximum)


def fresh(run: Run) -> Run:
    return Run.objects.get(id=run.id)


# ------------------------------------------------------------------ a capability, a template


def test_a_run_of_a_capability_fills_the_column_of_its_name(acme: Organization, people: Table, bob: User) -> None:
    run = lifecycle.create(people, Capability.objects.get(key="work_email"), cap="25", by=bob, limit=4)
    assert (run.kind, run.status, run.rows) == ("enrichment", "queued", 4)
    assert run.column == people.columns.get(key="work_email")
    assert [step.tool for step in run.cascade] == ["icypeas.email_finder", HUNTER, "prospeo.email_finder"]
    assert booked(run).run_kind == "enrichment"
    again = lifecycle.create(people, Capability.objects.get(key="work_email"), cap="25", by=bob)
    assert (again.column, again.rows) == (run.column, 6)
    assert_books_hold(acme)


def test_it_fills_a_column_that_is_there_with_that_columns_own_tools(people: Table, bob: User) -> None:
    column = column_of(people, HUNTER, key="work_email")
    run = lifecycle.create(people, Capability.objects.get(key="work_email"), cap="25", by=bob)
    assert (run.column, [step.tool for step in run.cascade]) == (column, [HUNTER])


def test_a_run_that_may_not_start_leaves_no_column_behind(people: Table, bob: User) -> None:
    with refusal("cap_too_small"):
        lifecycle.create(people, Capability.objects.get(key="work_email"), cap="1", by=bob)
    assert not people.columns.exists()


def test_its_estimate_makes_no_column(people: Table) -> None:
    column = today.column_of(people, Capability.objects.get(key="work_email"))
    assert (today.estimated(column).rows, today.estimated(column, 4).max) == (10, 10)
    assert not people.columns.exists()


@pytest.mark.usefixtures("fresh_database")
def test_what_a_capability_finds_is_charged_as_any_run_is(
    acme: Organization, people: Table, bob: User, providers: Any
) -> None:
    run = worker.drive_to_rest(lifecycle.create(people, Capability.objects.get(key="work_email"), cap="25", by=bob))
    assert (run.status, booked(run).captured) == ("succeeded", 5)  # the first of its tools, which takes half a credit
    assert_books_hold(acme)


# ------------------------------------------------------------------ what waits


def test_a_run_of_a_template_waits_and_holds_nothing(acme: Organization, asked: Run, people: Table) -> None:
    assert (asked.kind, asked.status, asked.rows, asked.to_hold) == ("workflow", "awaiting_approval", 10, 35)
    assert not Reservation.objects.exists()
    assert not asked.items.exists()
    assert Account.objects.get(org=acme.id).available == 100
    assert today.rows_to_fill(people.columns.get()).count() == 10
    assert_books_hold(acme)


def test_who_may_approve_and_does_not_say_so_waits_as_well(
    people: Table, template: WorkflowTemplate, alice: User
) -> None:
    assert lifecycle.create(people, template, cap="40", by=alice).status == "awaiting_approval"


def test_approved_by_who_may_it_starts_at_once(
    acme: Organization, people: Table, template: WorkflowTemplate, alice: User
) -> None:
    run = lifecycle.create(people, template, cap="40", by=alice, approved=True)
    assert (run.status, run.approved_by, booked(run).reserved) == ("queued", alice, 35)
    assert statuses(run) == ["pending"] * 10
    assert_books_hold(acme)


@pytest.mark.parametrize("cap", ["40", "10"])
def test_approved_by_anyone_else_is_refused_naming_who_may(
    people: Table, template: WorkflowTemplate, bob: User, cap: str
) -> None:
    fills: tuple[Fill, ...] = (template, column_of(people, HUNTER))
    for fill in fills:
        with refusal("not_allowed") as refused:
            lifecycle.create(people, fill, cap=cap, by=bob, approved=True)
        assert refused.value.status == 403
        assert "an admin or an owner" in refused.value.message
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("threshold", "cap", "status"),
    [
        (None, "10", "queued"),
        ("10", "10", "queued"),
        ("9.9999", "10", "awaiting_approval"),
        ("9.9999", "9.9999", "queued"),
        ("10", "500", "queued"),  # ten rows of one credit hold ten, whatever the cap
        ("0", "1", "awaiting_approval"),
    ],
)
def test_a_run_waits_where_it_would_hold_more_than_the_threshold(
    acme: Organization, people: Table, bob: User, threshold: str | None, cap: str, status: str
) -> None:
    orgs.change_approval_threshold(acme, None if threshold is None else Decimal(threshold))
    assert lifecycle.create(people, column_of(people, HUNTER), cap=cap, by=bob).status == status


def test_a_run_on_own_accounts_holds_nothing_and_waits_for_nobody(acme: Organization, people: Table, bob: User) -> None:
    orgs.change_approval_threshold(acme, Decimal(0))
    accounts.connect(acme, Provider.objects.get(id="hubspot"), "an-api-key-of-its-own")
    assert lifecycle.create(people, column_of(people, "hubspot.contact_upsert"), cap=None, by=bob).status == "queued"


def test_nobody_drives_a_run_that_waits(asked: Run) -> None:
    jobs.ensure_driven()
    assert waiting(asked) == []
    assert worker.drive_slice(asked.id, 1) is None
    assert fresh(asked).status == "awaiting_approval"


def test_another_run_takes_the_rows_meanwhile(asked: Run, alice: User, people: Table) -> None:
    assert lifecycle.create(people, people.columns.get(), cap="7", by=alice, limit=2).rows == 2


# ------------------------------------------------------------------ approve


def test_approving_takes_the_rows_and_the_credits(acme: Organization, asked: Run, alice: User, bob: User) -> None:
    run = lifecycle.approve(asked, by=alice)
    assert (run.status, run.approved_by, run.member) == ("queued", alice, bob)
    assert statuses(run) == ["pending"] * 10
    assert (booked(run).reserved, booked(run).member) == (35, bob.id)
    assert Entry.objects.get(source=run.id, item=0).actor == f"user:{alice.id}"
    assert Account.objects.get(org=acme.id).available == 65
    assert waiting(run) == [0]
    assert_books_hold(acme)


def test_the_agencys_staff_approve_their_clients_runs(
    harbor: Agency, harriet: User, template: WorkflowTemplate
) -> None:
    client = harbor.clients.get()
    give(client, 100)
    run = lifecycle.create(table_of(client, 3), template, cap="40", by=harriet)
    assert lifecycle.approve(run, by=harriet).status == "queued"


def test_a_member_or_a_stranger_approves_nothing(asked: Run, bob: User, mallory: User) -> None:
    for nobody in (bob, mallory):
        with refusal("not_allowed") as refused:
            lifecycle.approve(asked, by=nobody)
        assert refused.value.status == 403
    assert fresh(asked).status == "awaiting_approval"


def test_too_few_credits_are_402_and_it_still_waits(acme: Organization, asked: Run, alice: User) -> None:
    busy = table_of(acme, 70, "Busy")
    lifecycle.create(busy, column_of(busy, HUNTER), cap="70", by=alice)
    with refusal("insufficient_credits") as refused:
        lifecycle.approve(asked, by=alice)
    assert (refused.value.status, refused.value.facts["missing"]) == (402, 5)
    assert fresh(asked).status == "awaiting_approval"
    assert not asked.items.exists()
    give(acme, 5)
    assert lifecycle.approve(asked, by=alice).status == "queued"
    assert_books_hold(acme)


def test_only_a_run_that_waits_is_approved(asked: Run, alice: User) -> None:
    lifecycle.approve(asked, by=alice)
    with refusal("wrong_state") as refused:
        lifecycle.approve(asked, by=alice)
    assert (refused.value.status, refused.value.facts["state"]) == (409, "queued")


@pytest.mark.parametrize("verb", [lifecycle.pause, lifecycle.resume])
def test_a_run_that_waits_is_neither_paused_nor_resumed(asked: Run, alice: User, verb: Any) -> None:
    with refusal("wrong_state"):
        verb(asked, by=alice)


# ------------------------------------------------------------------ exactly that plan


def test_another_price_must_be_approved_anew(asked: Run, alice: User) -> None:
    pay(AI, "2", "3.9")
    with refusal("plan_changed") as refused:
        lifecycle.approve(asked, by=alice, plan=asked.plan)
    now = fresh(asked)
    assert (refused.value.status, refused.value.facts["plan"]) == (409, now.plan)
    assert (now.status, now.estimated_min, now.estimated_max, now.unit) == ("awaiting_approval", 20, 39, Decimal("3.9"))
    assert not Reservation.objects.exists()
    assert booked(lifecycle.approve(asked, by=alice, plan=now.plan)).reserved == 39


def test_a_price_within_the_same_maximum_is_another_price(asked: Run, alice: User) -> None:
    pay(AI, "1.6", "3.5")
    with refusal("plan_changed"):
        lifecycle.approve(asked, by=alice)


def test_another_mode_must_be_approved_anew(acme: Organization, asked: Run, alice: User) -> None:
    accounts.connect(acme, Provider.objects.get(id="openai"), "an-api-key-of-its-own")
    with refusal("plan_changed"):
        lifecycle.approve(asked, by=alice)
    assert fresh(asked).unit == 0


def test_other_rows_must_be_approved_anew(asked: Run, alice: User, people: Table) -> None:
    lifecycle.create(people, people.columns.get(), cap="10", by=alice, limit=2)
    with refusal("plan_changed") as refused:
        lifecycle.approve(asked, by=alice)
    assert "8 rows now, for 12 to 28 credits" in refused.value.message
    run = lifecycle.approve(asked, by=alice)
    assert (run.rows, booked(run).reserved) == (8, 28)
    assert list(run.items.order_by("number").values_list("row__number", flat=True)) == list(range(3, 11))


def test_as_many_other_rows_are_the_same_plan(people: Table, template: WorkflowTemplate, alice: User) -> None:
    run = lifecycle.create(people, template, cap="40", by=alice, limit=3)
    lifecycle.create(people, people.columns.get(), cap="10", by=alice, limit=2)
    run = lifecycle.approve(run, by=alice)
    assert list(run.items.order_by("number").values_list("row__number", flat=True)) == [3, 4, 5]


def test_a_plan_that_was_renewed_under_somebodys_eyes_is_not_approved_by_them(asked: Run, alice: User) -> None:
    looked_at = asked.plan
    pay(AI, "2", "3.9")
    with refusal("plan_changed"):
        lifecycle.approve(asked, by=alice)
    with refusal("plan_changed"):
        lifecycle.approve(asked, by=alice, plan=looked_at)
    assert fresh(asked).status == "awaiting_approval"


@pytest.mark.parametrize(("price", "maximum", "code"), [(None, None, "price_unknown"), ("1.5", "41", "cap_too_small")])
def test_a_plan_that_cannot_start_today_says_why_and_waits(
    asked: Run, alice: User, price: Any, maximum: Any, code: str
) -> None:
    pay(AI, price, maximum)
    with refusal(code):
        lifecycle.approve(asked, by=alice)
    assert fresh(asked).status == "awaiting_approval"


def test_a_plan_without_rows_left_says_so(asked: Run, alice: User, people: Table) -> None:
    lifecycle.create(people, people.columns.get(), cap="35", by=alice)
    with refusal("nothing_to_run"):
        lifecycle.approve(asked, by=alice)


# ------------------------------------------------------------------ cancel and continue


def test_a_run_that_waits_is_cancelled_and_the_ledger_never_hears_of_it(
    acme: Organization, asked: Run, bob: User
) -> None:
    run = lifecycle.cancel(asked, by=bob)
    assert (run.status, run.approved_by) == ("cancelled", None)
    assert run.ended_at
    assert not Entry.objects.filter(source=run.id).exists()
    assert not run.items.exists()
    assert worker.drive_slice(run.id, 1) is None
    for verb in (lifecycle.cancel, lifecycle.approve):
        with refusal("wrong_state") if verb == lifecycle.cancel else refusal("not_allowed"):
            verb(run, by=bob)
    assert_books_hold(acme)


def test_continuing_as_who_may_approve_approves(acme: Organization, alice: User, asked: Run) -> None:
    old = lifecycle.pause(lifecycle.approve(asked, by=alice), by=alice)
    new = lifecycle.continue_remaining(old, cap="20", by=alice)
    assert (new.kind, new.status, new.approved_by, booked(new).reserved) == ("workflow", "queued", alice, 20)
    assert_books_hold(acme)


def test_continuing_as_anyone_else_is_403_and_the_old_run_stays(
    acme: Organization, alice: User, bob: User, asked: Run
) -> None:
    old = lifecycle.pause(lifecycle.approve(asked, by=alice), by=alice)
    with refusal("not_allowed") as refused:
        lifecycle.continue_remaining(old, cap="20", by=bob)
    assert (refused.value.status, fresh(old).status) == (403, "paused")
    assert statuses(old) == ["pending"] * 10
    assert Run.objects.count() == 1
    assert_books_hold(acme)


def test_continuing_above_the_threshold_needs_approval_and_below_it_does_not(acme: Organization, bob: User) -> None:
    old = at_the_cap(acme, bob)  # three rows wait
    orgs.change_approval_threshold(acme, Decimal(2))
    with refusal("not_allowed") as refused:
        lifecycle.continue_remaining(old, cap="3", by=bob)
    assert "It would hold 3 credits, and here more than 2 need approval. " in refused.value.message
    assert lifecycle.continue_remaining(old, cap="2", by=bob).approved_by is None


# ------------------------------------------------------------------ the pages


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def words(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


def detail(user: User, run: Run) -> Any:
    return signed_in(user).get(reverse("runs:detail", args=[run.org.slug, run.id]))


def approve(user: User, run: Run, *, plan: str | None = None, target: str = "", back: str = "") -> Any:
    headers = {"HX-Request": "true", "HX-Target": target} if target else {}
    facts = {"plan": run.plan if plan is None else plan, "back": back}
    return signed_in(user).post(reverse("runs:approve", args=[run.org.slug, run.id]), facts, headers=headers)


def test_the_card_shows_estimate_cap_providers_and_the_balance_after_it(asked: Run, alice: User) -> None:
    for said in (
        words(detail(alice, asked)),
        words(signed_in(alice).get(reverse("runs:index", args=["acme"]))),
        words(signed_in(alice).get(reverse("billing:overview", args=["acme"]))),
    ):
        for figure in (
            "Estimate 15 15 to 35",
            "Cap 40",
            "OpenAI",
            "Reserves when approved 35",
            "Available after it 65",
        ):
            assert figure in said
        assert "Approve Opening line" in said
        assert "Cancel run" in said


def test_who_asked_may_cancel_and_reads_who_approves(asked: Run, bob: User) -> None:
    said = words(detail(bob, asked))
    assert "An admin or owner of the organization can approve it" in said
    assert "Cancel run" in said
    assert "Approve Opening line" not in said


def test_a_viewer_reads_the_plan_and_steers_nothing(acme: Organization, asked: Run) -> None:
    orgs.add_member(acme, vera := person("Vera"), Role.VIEWER)
    said = words(detail(vera, asked))
    assert "Available after it 65" in said
    assert "Cancel run" not in said
    assert "Approve Opening line" not in said


def test_where_credits_are_short_approve_is_shown_disabled_with_the_reason(
    acme: Organization, asked: Run, alice: User
) -> None:
    busy = table_of(acme, 70, "Busy")
    lifecycle.create(busy, column_of(busy, HUNTER), cap="70", by=alice)
    answer = detail(alice, asked)
    assert re.search(r'id="approve-[0-9a-f]+" disabled', answer.content.decode())
    assert "30 credits are available, and it would hold 35" in words(answer)
    assert approve(alice, asked, target="run").status_code == 402


@pytest.mark.parametrize("target", ["run", "runs", ""])
def test_approve_starts_it_where_it_was_said(acme: Organization, asked: Run, alice: User, target: str) -> None:
    back = reverse("billing:overview", args=["acme"]) if target == "runs" else ""
    answer = approve(alice, asked, target=target, back=back)
    assert answer.status_code == (200 if target else 302)
    assert (fresh(asked).status, booked(asked).reserved) == ("queued", 35)
    if target == "runs":
        assert re.search(r'<section id="balance"[^>]*hx-swap-oob="true"', answer.content.decode())
    assert "approved by Alice" in words(detail(alice, asked))
    assert_books_hold(acme)


@pytest.mark.parametrize("target", ["run", ""])
@pytest.mark.parametrize("plan", ["of-yesterday", ""])
def test_a_plan_that_is_no_longer_is_409_with_the_one_that_is(asked: Run, alice: User, target: str, plan: str) -> None:
    answer = approve(alice, asked, plan=plan, target=target)
    assert answer.status_code == 409
    assert "Prices or rows have changed" in words(answer)
    assert f'name="plan" value="{asked.plan}"' in answer.content.decode()
    assert fresh(asked).status == "awaiting_approval"


def test_the_wrong_state_is_409(asked: Run, alice: User) -> None:
    lifecycle.cancel(asked, by=alice)
    answer = approve(alice, asked, target="run")
    assert answer.status_code == 409
    assert "This run is cancelled; it cannot be approved" in words(answer)


def test_get_approves_nothing(asked: Run, alice: User) -> None:
    assert signed_in(alice).get(reverse("runs:approve", args=["acme", asked.id])).status_code == 405


def test_a_member_is_403_and_who_is_not_in_the_org_finds_nothing(asked: Run, bob: User, mallory: User) -> None:
    assert approve(bob, asked).status_code == 403
    assert approve(mallory, asked).status_code == 404
    assert fresh(asked).status == "awaiting_approval"


def test_cancelling_it_asks_first_and_says_that_nothing_is_reserved(asked: Run, bob: User) -> None:
    url = reverse("runs:cancel", args=["acme", asked.id])
    assert "nothing was called, and nothing is reserved" in words(signed_in(bob).get(url))
    assert signed_in(bob).post(url).status_code == 302
    assert "this one has none" in words(detail(bob, asked))


def test_continuing_says_beforehand_that_it_needs_approval(asked: Run, alice: User, bob: User) -> None:
    lifecycle.pause(lifecycle.approve(asked, by=alice), by=alice)
    url = reverse("runs:continue_run", args=["acme", asked.id])
    assert "Approve and continue" in words(signed_in(alice).get(url))
    answer = signed_in(bob).get(url)
    assert "An admin or owner of the organization can give it" in words(answer)
    assert "disabled>Continue" in answer.content.decode()
    assert signed_in(bob).post(url, {"cap": "20"}).status_code == 403
    assert fresh(asked).status == "paused"


# ------------------------------------------------------------------ a new run


def plan(user: User, of: Table, fill: str, **facts: str) -> Any:
    asked = {"table": str(of.pk), "fill": fill} | facts
    return signed_in(user).post(reverse("runs:new", args=[of.org.slug]), asked)


def test_who_may_approve_approves_and_starts(people: Table, alice: User) -> None:
    preview = words(plan(alice, people, "workflowtemplate:opening_line", do="preview"))
    assert "Approve and start" in preview
    assert "Runs of a workflow template need approval" in preview
    assert not people.columns.exists()
    plan(alice, people, "workflowtemplate:opening_line", cap="40", do="approve")
    assert (Run.objects.get().status, Run.objects.get().approved_by) == ("queued", alice)


def test_a_member_asks_for_approval(people: Table, bob: User) -> None:
    assert "Ask for approval" in words(plan(bob, people, "workflowtemplate:opening_line", do="preview"))
    answer = plan(bob, people, "workflowtemplate:opening_line", cap="40", do="start")
    run = Run.objects.get()
    assert answer["Location"] == reverse("runs:detail", args=["acme", run.id])
    assert run.status == "awaiting_approval"
    assert plan(bob, people, "workflowtemplate:opening_line", cap="40", do="approve").status_code == 403
    assert Run.objects.count() == 1


def test_above_the_threshold_the_button_says_so(acme: Organization, people: Table, bob: User) -> None:
    orgs.change_approval_threshold(acme, Decimal(5))
    fill = f"column:{column_of(people, HUNTER).pk}"
    assert "It would hold 10 credits, and here more than 5 need approval" in words(plan(bob, people, fill, do="x"))
    assert "Start the run" in words(plan(bob, people, fill, do="preview", limit="5"))


def test_a_capability_starts_as_any_run_does(people: Table, bob: User) -> None:
    preview = words(plan(bob, people, "capability:work_email", do="preview"))
    assert "icypeas.email_finder, hunter.email_finder, prospeo.email_finder" in preview
    assert "Start the run" in preview
    plan(bob, people, "capability:work_email", cap="25", do="start")
    assert (Run.objects.get().kind, Run.objects.get().status) == ("enrichment", "queued")


def test_each_key_is_offered_once_and_only_the_tables_own_columns(acme: Organization, people: Table, bob: User) -> None:
    column_of(people, HUNTER, key="work_email")
    column_of(people, AI, key="opening_line")
    column_of(people, AI, key="opener")
    column_of(table_of(acme, 3, "Other"), HUNTER, key="elsewhere")
    html = plan(bob, people, "", do="choose").content.decode()
    groups = {
        label: re.findall(r'value="([a-z]+:\w+)"', options)
        for label, options in re.findall(r'<optgroup label="([^"]+)">(.*?)</optgroup>', html, re.DOTALL)
    }
    opener = people.columns.get(key="opener")
    assert sorted(groups["Columns of this table"]) == ["capability:work_email", f"column:{opener.pk}"]
    assert groups["Workflow templates"] == ["workflowtemplate:opening_line"]


def test_choosing_another_table_judges_nothing_and_keeps_the_table(people: Table, bob: User) -> None:
    answer = plan(bob, people, "", do="choose", limit="x")
    assert answer.status_code == 200
    assert 'role="alert"' not in answer.content.decode()
    assert f'value="{people.pk}" selected' in answer.content.decode()
    assert plan(bob, people, "", do="choose", table="no-table").status_code == 200
