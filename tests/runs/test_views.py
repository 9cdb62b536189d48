"""The runs' pages and what a person may say to a run, with htmx and without."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from billing import books
from billing.models import Organization, Role, User
from billing.orgs import add_member
from oxygen_site import clock
from runs import dispatch, lifecycle
from runs.dispatch import Answer
from runs.models import Column, Run
from runs.providers.outcomes import ABSORBED, Outcome
from tests.conftest import person
from tests.runs.conftest import booked, column_of, start, table_of

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER = "hunter.email_finder"
ACTIONS = ("pause", "resume", "cancel", "continue_run")


@pytest.fixture
def run(acme: Organization, alice: User) -> Run:
    """Five rows under a cap of five credits; nobody works on it."""
    return start(acme, alice, HUNTER, rows=5, cap=5)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def at(action: str, run: Run) -> str:
    return reverse(f"runs:{action}", args=[run.org.slug, run.id])


def say(user: User, action: str, run: Run, *, target: str = "", **facts: str) -> Any:
    headers = {"HX-Request": "true", "HX-Target": target} if target else {}
    return signed_in(user).post(at(action, run), facts, headers=headers)


def status_of(run: Run) -> str:
    return Run.objects.get(id=run.id).status


def words(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


# ------------------------------------------------------------------ each action works


def test_pause_stops_it_and_the_card_offers_to_resume(run: Run, alice: User) -> None:
    answer = say(alice, "pause", run, target="run")
    assert (answer.status_code, status_of(run)) == (200, "paused")
    assert "Paused by a person" in words(answer)
    assert "Resume" in words(answer)


def test_resume_lets_it_go_on(run: Run, alice: User) -> None:
    lifecycle.pause(run, by=alice)
    assert say(alice, "resume", run, target="run").status_code == 200
    assert status_of(run) == "queued"


def test_cancel_gives_back_what_it_held(run: Run, alice: User, acme: Organization) -> None:
    assert say(alice, "cancel", run, target="run").status_code == 200
    assert status_of(run) == "cancelled"
    assert booked(run).reserved == 0
    assert books.tie_out(acme.pk).available == 100
    assert books.drifts(acme.pk) == []


def test_continue_starts_a_new_run_and_leads_to_it(run: Run, alice: User, acme: Organization) -> None:
    lifecycle.pause(run, by=alice)
    answer = say(alice, "continue_run", run, target="run", cap="20")
    continued = Run.objects.get(continues=run)
    assert answer["HX-Redirect"] == at("detail", continued)
    assert (status_of(run), continued.cap) == ("cancelled", 20)
    assert books.drifts(acme.pk) == []


@pytest.mark.parametrize("action", ACTIONS)
def test_without_htmx_it_leads_back_to_where_it_was_said(run: Run, alice: User, action: str) -> None:
    if action in ("resume", "continue_run"):
        lifecycle.pause(run, by=alice)
    back = reverse("billing:overview", args=[run.org.slug])
    answer = say(alice, action, run, cap="20", back=back)
    assert (answer.status_code, answer["Location"]) == (302, back)


def test_it_leads_nowhere_else(run: Run, alice: User) -> None:
    assert say(alice, "pause", run, back="https://evil.example/")["Location"] == at("detail", run)


def test_said_on_the_billing_page_it_answers_runs_balance_and_tie_out(run: Run, alice: User) -> None:
    html = say(
        alice, "cancel", run, target="runs", back=reverse("billing:overview", args=[run.org.slug])
    ).content.decode()
    assert '<section id="runs"' in html
    assert re.search(r'<section id="balance"[^>]*hx-swap-oob="true"', html)
    assert re.search(r'<section id="tie-out"[^>]*hx-swap-oob="true"', html)


# ------------------------------------------------------------------ and is refused


@pytest.mark.parametrize(("action", "state"), [("resume", "queued"), ("pause", "paused"), ("cancel", "cancelled")])
@pytest.mark.parametrize("target", ["run", "runs", ""])
def test_the_wrong_state_is_409_in_place(run: Run, alice: User, action: str, state: str, target: str) -> None:
    if state != "queued":
        {"paused": lifecycle.pause, "cancelled": lifecycle.cancel}[state](run, by=alice)
    back = reverse("runs:index", args=[run.org.slug]) if target == "runs" else ""
    answer = say(alice, action, run, target=target, back=back)
    assert answer.status_code == 409
    assert f"This run is {state}; it cannot be" in words(answer)
    assert 'role="alert"' in answer.content.decode()


@pytest.mark.parametrize(
    ("cap", "status", "said"),
    [
        ("", 422, "Name a cap"),
        ("many", 422, "not a number"),
        ("0", 422, "above 0"),
        ("0.00001", 422, "four decimals"),
        ("NaN", 422, "not a number"),
        ("0.5", 422, "must be at least 1"),
        ("1000000000000", 422, "too large"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_beside_its_field(
    run: Run, alice: User, cap: str, status: int, said: str
) -> None:
    lifecycle.pause(run, by=alice)
    answer = say(alice, "continue_run", run, target="run", cap=cap)
    assert answer.status_code == status
    assert answer["HX-Retarget"] == "#dialog-body"
    assert said in words(answer)
    assert f'value="{cap}"' in answer.content.decode() or not cap
    assert status_of(run) == "paused"


def test_continuing_beyond_the_balance_is_402_and_nothing_moved(acme: Organization, alice: User, catalog: None) -> None:
    run = lifecycle.pause(start(acme, alice, HUNTER, rows=100, cap=40), by=alice)
    start(acme, alice, HUNTER, rows=50, cap=50)
    answer = say(alice, "continue_run", run, cap="100")
    assert answer.status_code == 402
    assert "50 more than are available" in words(answer)
    assert status_of(run) == "paused"


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_get_does_nothing(run: Run, alice: User, action: str) -> None:
    assert signed_in(alice).get(at(action, run)).status_code == 405
    assert status_of(run) == "queued"


@pytest.mark.parametrize("action", ["cancel", "continue_run"])
def test_get_asks_first_and_does_nothing(run: Run, alice: User, action: str) -> None:
    lifecycle.pause(run, by=alice)
    answer = signed_in(alice).get(at(action, run))
    assert answer.status_code == 200
    assert "5 reserved credits return to your balance" in words(answer)
    assert status_of(run) == "paused"


@pytest.mark.parametrize("action", ACTIONS)
def test_who_is_not_in_the_org_finds_nothing(run: Run, mallory: User, action: str) -> None:
    assert say(mallory, action, run, cap="20").status_code == 404
    assert status_of(run) == "queued"


@pytest.mark.parametrize("action", ACTIONS)
def test_another_orgs_run_is_not_found_under_ones_own(
    run: Run, globex: Organization, mallory: User, action: str
) -> None:
    answer = signed_in(mallory).post(reverse(f"runs:{action}", args=[globex.slug, run.id]), {"cap": "20"})
    assert answer.status_code == 404


@pytest.mark.parametrize("action", ACTIONS)
def test_a_member_steers_their_own_runs_only(run: Run, acme: Organization, action: str) -> None:
    bob = person("Bob")
    add_member(acme, bob, Role.MEMBER)
    assert say(bob, action, run, cap="20").status_code == 403
    own = start(acme, bob, HUNTER, rows=2, cap=2)
    assert say(bob, "pause", own).status_code == 302


# ------------------------------------------------------------------ the pages


def page(user: User, name: str, *args: Any, **query: str) -> Any:
    return signed_in(user).get(reverse(f"runs:{name}", args=args), query)


def test_the_receipt_adds_up(run: Run, alice: User, acme: Organization) -> None:
    assert "5 reserved at the start = 0 captured + 5 still reserved + 0 released" in words(
        page(alice, "detail", acme.slug, run.id)
    )


def settle(run: Run, *outcomes: Outcome) -> None:
    """Let items settle so, one each; whatever follows stays under way."""
    owner = uuid4()
    calls = dispatch.claim(run, owner, len(outcomes))
    dispatch.settle(run, owner, [Answer(call, each, 1234) for call, each in zip(calls, outcomes, strict=True)])


FOUND = Outcome("succeeded", Decimal(1), "Answered. Charged 1.", {"email": "a@b.example"}, "hun_77")
IN_VAIN = Outcome("failed_after_billing", Decimal(1), "Failed after the charge: on fire. Charged 1.")


def test_the_receipt_tells_calls_by_outcome_and_each_leads_to_its_rows(
    run: Run, alice: User, acme: Organization
) -> None:
    settle(run, FOUND, FOUND, IN_VAIN)
    answer = page(alice, "detail", acme.slug, run.id)
    said = words(answer)
    assert "Found 2 2 Charged, then failed 1 1 All 3 3" in said
    assert "1 of it for 1 failed call" in said
    assert "5 reserved at the start = 3 captured + 2 still reserved + 0 released" in said
    for calls, row, others in (("succeeded", "Given0", "Given2"), ("failed_after_billing", "Given2", "Given0")):
        assert f'href="{at("detail", run)}?calls={calls}#items"' in answer.content.decode()
        rows = words(page(alice, "detail", acme.slug, run.id, calls=calls))
        assert row in rows
        assert others not in rows


def test_a_receipt_of_what_went_well_says_nothing_of_what_may_go_wrong(
    run: Run, alice: User, acme: Organization
) -> None:
    settle(run, FOUND, FOUND)
    said = words(page(alice, "detail", acme.slug, run.id))
    for odd in ("failed call", "Charged, then failed", "unknown", "usable answer", "absorbed", "given up"):
        assert odd not in said


def test_a_row_tells_its_calls_with_cost_reason_latency_and_reference(
    run: Run, alice: User, acme: Organization
) -> None:
    settle(run, FOUND)
    said = words(page(alice, "detail", acme.slug, run.id, row="1"))
    assert "hunter.email_finder Answered. Charged 1. 1,234 ms, reference hun_77" in said


def test_unknown_calls_say_until_when_and_that_nothing_is_charged(run: Run, alice: User, acme: Organization) -> None:
    calls = dispatch.claim(run, owner := uuid4(), 1)
    dispatch.unanswered(run, owner, calls[0])
    answer = page(alice, "detail", acme.slug, run.id, calls="unknown")
    assert "1 row waits for a usable answer" in words(answer)
    assert re.search(r"Without one it is given up \d+ \w+, \d\d:\d\d , and nothing is charged", words(answer))
    assert "unknown 1" in words(answer)
    lifecycle.cancel(run, by=alice)
    dispatch.settle(run, owner, [Answer(calls[0], FOUND, 9)])
    said = words(page(alice, "detail", acme.slug, run.id, calls="unknown"))
    assert "1 answer came after its call was given up, for 1 credit that Oxygen absorbed. Nothing was charged." in said
    assert "An answer came later and named 1 credit: absorbed by Oxygen, not charged." in said


def test_what_was_billed_above_the_maximum_is_told_as_absorbed(run: Run, alice: User, acme: Organization) -> None:
    settle(run, FOUND._replace(cost=Decimal(3), reason=f"Billed 3; charged the tool's maximum of 1, {ABSORBED}"), FOUND)
    assert "Providers billed 2 credits more than was charged. Oxygen absorbed them." in words(
        page(alice, "detail", acme.slug, run.id)
    )
    rows = words(page(alice, "detail", acme.slug, run.id, calls="absorbed"))
    assert "Partly absorbed" in rows
    assert "Given0" in rows
    assert "Given1" not in rows


def test_the_rows_alone_answer_htmx_and_no_other_kind_of_call_is_known(
    run: Run, alice: User, acme: Organization
) -> None:
    url = at("detail", run)
    html = signed_in(alice).get(url, {"calls": "unknown"}, headers={"HX-Request": "true", "HX-Target": "items"})
    assert html.content.decode().strip().startswith('<section id="items"')
    assert page(alice, "detail", acme.slug, run.id, calls="odd").status_code == 404


def test_a_poll_that_brings_the_whole_run_keeps_the_rows_that_are_shown(
    run: Run, alice: User, acme: Organization
) -> None:
    settle(run, FOUND, IN_VAIN)
    shown = f"http://testserver{at('detail', run)}?calls=failed_after_billing"
    headers = {"HX-Request": "true", "HX-Target": "receipt", "HX-Current-URL": shown}
    answer = signed_in(alice).get(at("detail", run), {"seen": "running"}, headers=headers)
    assert answer["HX-Retarget"] == "#run"
    assert "Given1" in words(answer)
    assert "Given0" not in words(answer)


def test_a_viewer_sees_no_buttons(run: Run, acme: Organization) -> None:
    vera = person("Vera")
    add_member(acme, vera, Role.VIEWER)
    html = page(vera, "detail", acme.slug, run.id).content.decode()
    assert "Cancel run" not in html


def test_rows_are_filtered_by_status_and_number(run: Run, alice: User, acme: Organization) -> None:
    assert "Row 3" in words(page(alice, "detail", acme.slug, run.id, row="3"))
    assert "No row of this run is like that" in words(page(alice, "detail", acme.slug, run.id, status="failed"))
    assert page(alice, "detail", acme.slug, run.id, status="odd").status_code == 404


def test_runs_are_listed_fifty_a_page_and_by_status(acme: Organization, alice: User, run: Run) -> None:
    column = column_of(table_of(acme, 55, "Many"), HUNTER)
    for _ in range(55):
        lifecycle.cancel(lifecycle.create(column.table, column, cap="1", limit=1, by=alice), by=alice)
    first = page(alice, "index", acme.slug, status="cancelled")
    html = first.content.decode()
    older = re.search(r"before=([0-9a-f-]+)", html)
    assert older
    assert html.count('<td class="what">') == 50
    second = page(alice, "index", acme.slug, status="cancelled", before=older[1])
    assert second.content.decode().count('<td class="what">') == 5
    assert page(alice, "index", acme.slug, status="open").content.decode().count('<td class="what">') == 1


def test_a_poll_brings_figures_while_the_same_runs_are_at_work(run: Run, alice: User, acme: Organization) -> None:
    seen = re.search(r"seen=([^&]+)&", page(alice, "index", acme.slug).content.decode())
    assert seen
    answer = page(alice, "attention", acme.slug, seen=seen[1])
    assert "HX-Retarget" not in answer
    assert f'id="run-{run.id.hex}" hx-swap-oob="true"' in answer.content.decode()
    lifecycle.pause(run, by=alice)
    answer = page(alice, "attention", acme.slug, seen=seen[1])
    assert answer["HX-Retarget"] == "#runs"
    assert "hx-trigger" not in answer.content.decode()  # nothing is live, so nothing polls


def test_a_receipt_leads_to_its_charges_however_long_ago_they_were(run: Run, alice: User, acme: Organization) -> None:
    settle(run, FOUND)
    lifecycle.cancel(run, by=alice)
    clock.advance(timedelta(days=120))
    charges = re.search(
        r'id="receipt-captured" href="([^"]+)"', page(alice, "detail", acme.slug, run.id).content.decode()
    )
    assert charges
    assert "Row 1, " in words(signed_in(alice).get(unescape(charges[1].partition("#")[0])))


# ------------------------------------------------------------------ a new run


def plan(user: User, org: Organization, column: Column, **facts: str) -> Any:
    asked = {"table": str(column.table_id), "fill": f"column:{column.pk}"} | facts
    return signed_in(user).post(reverse("runs:new", args=[org.slug]), asked)


def test_the_estimate_comes_before_anything_starts(acme: Organization, alice: User, catalog: None) -> None:
    column = column_of(table_of(acme, 10), HUNTER)
    answer = plan(alice, acme, column, do="preview")
    assert "Suggested cap 11.5" in words(answer)
    assert "Available after it starts 90" in words(answer)
    assert 'value="11.5"' in answer.content.decode()
    assert not Run.objects.exists()


def test_a_run_starts_under_its_cap(acme: Organization, alice: User, catalog: None) -> None:
    column = column_of(table_of(acme, 10), HUNTER)
    answer = plan(alice, acme, column, limit="4", cap="3", do="start")
    run = Run.objects.get()
    assert answer["Location"] == reverse("runs:detail", args=[acme.slug, run.id])
    assert (run.rows, run.cap, booked(run).reserved) == (4, 3, 3)


@pytest.mark.parametrize(
    ("facts", "status", "said"),
    [
        ({"cap": ""}, 422, "Name a cap"),
        ({"cap": "-1"}, 422, "above 0"),
        ({"cap": "1e99"}, 422, "too large"),
        ({"cap": "500"}, 402, "100 more than are available"),
        ({"cap": "5", "limit": "0"}, 422, "greater than or equal to 1"),
        ({"cap": "5", "fill": "column:0"}, 422, "not one of the available choices"),
    ],
)
def test_a_run_that_may_not_start_says_why_and_keeps_what_was_typed(
    acme: Organization, alice: User, catalog: None, facts: dict[str, str], status: int, said: str
) -> None:
    column = column_of(table_of(acme, 200), HUNTER)
    answer = plan(alice, acme, column, **{"do": "start"} | facts)
    assert answer.status_code == status
    assert said in words(answer)
    assert f'value="{facts["cap"]}"' in answer.content.decode() or not facts["cap"]
    assert not Run.objects.exists()


def test_a_tool_without_a_price_is_unknown_and_never_free(acme: Organization, alice: User, catalog: None) -> None:
    column = column_of(table_of(acme, 3), "apollo.job_changes")
    answer = plan(alice, acme, column, do="preview")
    assert "Cost unknown" in words(answer)
    assert "Start the run" not in words(answer)


def test_another_orgs_column_is_no_choice(acme: Organization, alice: User, globex: Organization, catalog: None) -> None:
    column = column_of(table_of(globex, 3), HUNTER)
    assert plan(alice, acme, column, do="preview").status_code == 422


def test_a_run_that_is_not_there_is_404(acme: Organization, alice: User) -> None:
    assert page(alice, "detail", acme.slug, uuid4()).status_code == 404
