"""Execution planes: holds under a cap, outcomes settled once whoever sends them how often, what was never settled."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Account, Entry, Organization, User
from oxygen_site import clock
from oxygen_site.jobs import line
from oxygen_site.transactions import Refused
from runs import accounts, jobs, lifecycle, planes, standing, worker
from runs.models import Attempt, Item, Provider, Run
from runs.planes import Said, Verdict
from tests.runs.conftest import assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, PROSPEO, OPENAI, HUBSPOT = (
    "hunter.email_finder",
    "prospeo.email_finder",
    "openai.ai_column",
    "hubspot.contact_upsert",
)


def reserve(org: Organization, by: User, *tools: str, items: int = 10, cap: int | str | None = 10, **how: Any) -> Run:
    for provider in Provider.objects.filter(tools__in=tools, category="crm").distinct():
        accounts.connect(org, provider, "an-api-key-of-its-own")
    return lifecycle.create_outside(org, tools, items=items, cap=None if cap is None else str(cap), by=by, **how)


def hold(run: Run, n: int = 1, seconds: int = 600) -> list[int]:
    return planes.hold(run, [""] * n, seconds).items


def said(item: int, outcome: str = "succeeded", cost: int | str = 1, tool: str = HUNTER, **how: Any) -> Said:
    return Said(item, tool, outcome, Decimal(cost), **how)


def verdicts(run: Run, *outcomes: Said) -> list[str]:
    return [each.code or each.verdict for each in planes.settle(run, outcomes)]


def let_leases_run_out(run: Run) -> None:
    planes.renew(run, run.items.filter(status="running").values_list("number", flat=True), 0)


def states(run: Run) -> list[str]:
    return list(run.items.order_by("number").values_list("status", flat=True))


# ------------------------------------------------------------------ open


def test_a_reservation_holds_what_its_items_may_cost_and_no_more_than_its_cap(acme: Organization, alice: User) -> None:
    small, large = reserve(acme, alice, HUNTER, items=4), reserve(acme, alice, OPENAI, items=100, cap=20)
    assert (booked(small).reserved, booked(large).reserved) == (4, 20)
    assert (small.kind, small.table, small.column, small.rows) == ("outside", None, None, 4)
    assert Account.objects.get(org=acme.pk).available == 76
    assert_books_hold(acme)


@pytest.mark.parametrize(
    ("tools", "cap", "code"),
    [
        ([], 10, "invalid_cascade"),
        ([HUNTER, HUNTER], 10, "invalid_cascade"),
        (["nobody.knows"], 10, "unknown_tool"),
        ([HUNTER], None, "cap_required"),
        ([OPENAI], 1, "cap_too_small"),
        ([OPENAI], "x", "invalid_cap"),
        ([HUNTER], 101, "insufficient_credits"),
    ],
)
def test_what_may_not_be_reserved_is_refused_and_holds_nothing(
    acme: Organization, alice: User, tools: list[str], cap: Any, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        reserve(acme, alice, *tools, items=1000, cap=cap)
    assert refused.value.code == code
    assert (Run.objects.count(), Account.objects.get(org=acme.pk).available) == (0, 100)


def test_tools_on_ones_own_account_need_no_cap_and_hold_nothing(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUBSPOT, items=3, cap=None)
    assert hold(run, 5) == [1, 2, 3]
    assert verdicts(run, *[said(n, tool=HUBSPOT, cost=9) for n in (1, 2, 3)]) == ["settled"] * 3
    assert (booked(run).captured, booked(run).absorbed, Entry.objects.filter(byok=True).count()) == (0, 0, 3)


def test_above_the_threshold_it_waits_for_approval_and_holds_nothing(acme: Organization, alice: User) -> None:
    acme.approval_threshold = Decimal(5)
    acme.save()
    run = reserve(acme, alice, HUNTER, items=6)
    assert (run.status, Account.objects.get(org=acme.pk).available) == ("awaiting_approval", 100)
    with pytest.raises(Refused, match="awaiting approval"):
        hold(run)
    assert lifecycle.approve(run, by=alice, plan=run.plan).status == "queued"
    assert (hold(run, 9), booked(run).reserved) == ([1, 2, 3, 4, 5, 6], 6)


def test_whoever_may_approve_opens_it_at_once(acme: Organization, alice: User) -> None:
    acme.approval_threshold = Decimal(5)
    acme.save()
    run = reserve(acme, alice, HUNTER, items=6, approved=True)
    assert (run.status, run.approved_by) == ("queued", alice)


# ------------------------------------------------------------------ hold


def test_a_hold_makes_items_numbered_on_each_with_its_open_attempt(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=10, cap=20)
    assert planes.hold(run, ["Ada", "Grace"], 600).items == [1, 2]
    held = planes.hold(run, ["Joan"], 600)
    assert (held.items, held.room, held.left) == ([3], Decimal("6.5"), 7)
    assert list(run.items.order_by("number").values_list("ref", flat=True)) == ["Ada", "Grace", "Joan"]
    assert Attempt.objects.filter(run=run, outcome=None, tool=HUNTER, number=0).count() == 3
    run.refresh_from_db()
    assert (run.status, booked(run).held) == ("running", Decimal("13.5"))


def test_no_more_items_are_held_than_fit_and_none_is_said_only_while_some_are_out(
    acme: Organization, alice: User
) -> None:
    run = reserve(acme, alice, OPENAI, items=10, cap=8)
    assert (hold(run, 5), hold(run, 5)) == ([1, 2], [])
    planes.settle(run, [said(1, cost="3.5", tool=OPENAI), said(2, cost="3.5", tool=OPENAI)])
    with pytest.raises(Refused, match="room for 1 more, and one item may cost") as refused:
        hold(run)
    assert (refused.value.code, refused.value.status) == ("cap_reached", 409)


def test_what_an_item_did_not_cost_makes_room_for_the_next(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, OPENAI, items=10, cap=8)
    hold(run, 2)
    planes.settle(run, [said(1, cost="0.5", tool=OPENAI), said(2, cost=1, tool=OPENAI)])
    assert hold(run, 5) == [3]


def test_no_more_items_are_taken_than_were_reserved(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, items=3)
    assert hold(run, 5) == [1, 2, 3]
    with pytest.raises(Refused, match="all are taken"):
        hold(run)


def test_a_paused_reservation_takes_no_holds_and_settles_what_is_out(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run, 2)
    lifecycle.pause(run, by=alice)
    with pytest.raises(Refused, match="paused"):
        hold(run)
    assert verdicts(run, said(1)) == ["settled"]
    assert lifecycle.resume(run, by=alice).status == "running"
    assert hold(run) == [3]


def test_it_cannot_be_continued(acme: Organization, alice: User) -> None:
    run = lifecycle.pause(reserve(acme, alice, HUNTER), by=alice)
    with pytest.raises(Refused, match="open another reservation") as refused:
        lifecycle.continue_remaining(run, cap="10", by=alice)
    assert (refused.value.code, refused.value.status) == ("wrong_state", 409)


# ------------------------------------------------------------------ settle


def test_a_settle_captures_what_it_cost_and_frees_the_rest(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=2, cap=9)
    hold(run, 2)
    told = planes.settle(run, [said(1, reference="hun_1", latency_ms=12), said(2, "no_result", 0)])
    assert told == [Verdict("settled", Decimal(1)), Verdict("settled", Decimal(0), 16)]
    first = Attempt.objects.get(run=run, item=1)
    assert (first.outcome, first.cost, first.reference, first.latency_ms) == ("succeeded", 1, "hun_1", 12)
    assert first.reason == "Answered. Charged 1."
    assert states(run) == ["succeeded", "running"]
    assert (booked(run).captured, booked(run).held) == (1, Decimal("3.5"))


def test_a_whole_cascade_may_come_in_one_batch_in_any_order(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, HUBSPOT, OPENAI, items=1, cap=9)
    hold(run)
    told = verdicts(
        run,
        said(1, "succeeded", 2, tool=OPENAI),
        said(1, "failed_before_billing", 0, again=True),
        said(1, "failed_after_billing", 1, tries=1),
        said(1, "no_result", 0, tool=HUBSPOT),
    )
    assert told == ["settled"] * 4
    entries = Entry.objects.filter(source=run.id, item=1).order_by("attempt").values_list("attempt", "amount", "held")
    assert list(entries) == [(0, 0, 0), (1, 1, 1), (16, 0, 0), (32, 2, Decimal("3.5"))]
    assert (states(run), booked(run).held, booked(run).captured) == (["succeeded"], 0, 3)
    assert_books_hold(acme)


def test_the_last_outcome_ends_an_item_whatever_tools_are_left(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=1, cap=9)
    hold(run)
    assert planes.settle(run, [said(1, "no_result", 0, last=True)]) == [Verdict("settled")]
    assert (states(run), booked(run).held) == (["succeeded"], 0)


def test_what_is_billed_above_the_maximum_is_absorbed(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run)
    assert planes.settle(run, [said(1, cost=7)]) == [Verdict("settled", Decimal(1))]
    assert (booked(run).captured, booked(run).absorbed) == (1, 6)
    assert Attempt.objects.get(run=run).reason.endswith("the rest was absorbed.")


def test_a_cost_that_is_not_named_is_the_price_where_that_is_fixed(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run)
    assert planes.settle(run, [Said(1, HUNTER, "succeeded", None)]) == [Verdict("settled", Decimal(1))]


def test_the_same_batch_again_is_replayed_and_moves_nothing(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=2, cap=9)
    hold(run, 2)
    batch = [said(1), said(2, "no_result", 0)]
    first, before = planes.settle(run, batch), booked(run)
    again = planes.settle(run, batch)
    assert again == [each._replace(verdict="replayed") for each in first]
    assert (before.captured, before.held) == (booked(run).captured, booked(run).held)
    assert Entry.objects.filter(source=run.id, item__gt=0).count() == 2


def test_of_a_differing_outcome_the_first_stands_and_it_is_counted(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, items=3)
    hold(run, 2)
    planes.settle(run, [said(1)])
    told = planes.settle(run, [said(1, cost="0.5"), said(2, cost="0.5"), said(2, "no_result", 0)])
    assert told[:2] == [Verdict("conflict", Decimal(1)), Verdict("settled", Decimal("0.5"))]
    assert told[2] == Verdict("conflict", Decimal("0.5"))
    assert (booked(run).captured, booked(run).conflicts) == (Decimal("1.5"), 2)
    assert_books_hold(acme)


def test_an_outcome_that_cannot_be_settled_spoils_no_other(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=3, cap=14)
    hold(run, 3)
    planes.settle(run, [said(3)])
    told = verdicts(
        run,
        said(1),
        said(2, cost=1, tool=OPENAI),
        said(2, tool=PROSPEO),
        said(2, "failed_before_billing", 1),
        said(3, tool=OPENAI),
        said(9),
    )
    assert told == ["settled", "not_next", "unknown_tool", "cost_not_zero", "ended", "unknown_item"]
    assert planes.settle(run, [said(2, tool=OPENAI)]) == [Verdict("refused", next=0, code="not_next")]
    assert states(run) == ["succeeded", "running", "succeeded"]
    assert_books_hold(acme)


def test_a_thousand_outcomes_settle_in_a_handful_of_statements(
    acme: Organization, alice: User, django_assert_max_num_queries: Any
) -> None:
    run = reserve(acme, alice, HUNTER, items=1000, cap=100)
    hold(run, 100)
    with django_assert_max_num_queries(10):
        assert verdicts(run, *[said(n) for n in range(1, 101)]) == ["settled"] * 100


def test_outcomes_of_another_org_find_nothing(
    acme: Organization, alice: User, globex: Organization, mallory: User
) -> None:
    mine = reserve(acme, alice, HUNTER)
    hold(mine)
    other = reserve(globex, mallory, HUNTER)
    assert verdicts(other, said(1)) == ["unknown_item"]


# ------------------------------------------------------------------ what is never settled


def test_a_hold_whose_lease_ran_out_is_given_up_with_an_entry_that_says_so(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, items=3)
    hold(run, 2)
    let_leases_run_out(run)
    jobs.look_after_planes()
    assert (states(run), booked(run).held) == (["failed", "failed"], 0)
    entries = Entry.objects.filter(source=run.id, item__gt=0).values_list("kind", "outcome", "amount", "held")
    assert list(entries) == [("released", "unknown", 0, 1)] * 2
    assert "lease ran out" in Attempt.objects.filter(run=run).first().reason  # type: ignore[union-attr]
    assert_books_hold(acme)


def test_a_lease_that_was_renewed_is_left_alone(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run, 2)
    let_leases_run_out(run)
    assert planes.renew(run, [2, 7], 600)[0] == [2]
    jobs.look_after_planes()
    assert states(run) == ["failed", "running"]
    assert planes.renew(run, [1, 2], 600)[0] == [2]


def test_a_lapsed_item_settles_as_long_as_nobody_gave_it_up(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run)
    let_leases_run_out(run)
    assert verdicts(run, said(1)) == ["settled"]


def test_what_comes_after_giving_up_moves_nothing_and_is_noted_once(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=2, cap=9)
    hold(run, 2)
    let_leases_run_out(run)
    jobs.look_after_planes()
    late = [said(1, "no_result", "0.5"), said(1, cost=2, tool=OPENAI, reference="gpt_1"), said(2, cost=0)]
    assert verdicts(run, *late) == verdicts(run, *late) == ["given_up"] * 3
    run.refresh_from_db()
    assert (booked(run).captured, run.late_settles) == (0, 2)
    assert list(Attempt.objects.filter(run=run).order_by("item").values_list("absorbed", flat=True)) == [
        Decimal("2.5"),
        0,
    ]
    assert_books_hold(acme)


def test_our_own_workers_leave_it_alone(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run)
    let_leases_run_out(run)
    clock.advance(timedelta(hours=2))
    jobs.ensure_driven()
    jobs.give_up_overdue()
    assert worker.drive_slice(run.id, 1) is None
    assert states(run) == ["running"]
    assert line(jobs.drive_run) == []


def test_what_it_can_no_longer_need_comes_back_within_seconds(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, OPENAI, items=4, cap=14)
    hold(run, 2)
    planes.settle(run, [said(1, cost=1, tool=OPENAI)])
    jobs.look_after_planes()
    assert booked(run).reserved == Decimal("11.5")
    assert_books_hold(acme)


# ------------------------------------------------------------------ close and cancel


@pytest.mark.parametrize(
    ("outcomes", "ends"),
    [
        (["succeeded", "no_result"], "succeeded"),
        (["succeeded", "failed_before_billing"], "completed_with_errors"),
        (["failed_before_billing", "failed_before_billing"], "failed"),
    ],
)
def test_it_closes_as_its_items_went(acme: Organization, alice: User, outcomes: list[str], ends: str) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run, 2)
    planes.settle(run, [said(n, outcome, 0) for n, outcome in enumerate(outcomes, 1)])
    assert planes.close(run, by=alice).status == ends
    assert Account.objects.get(org=acme.pk).available == 100
    assert_books_hold(acme)


def test_one_that_was_never_used_is_cancelled(acme: Organization, alice: User) -> None:
    assert planes.close(reserve(acme, alice, HUNTER), by=alice).status == "cancelled"


def test_it_does_not_close_while_items_are_out_unless_they_are_given_up(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER, HUBSPOT)
    hold(run, 3)
    planes.settle(run, [said(1)])
    with pytest.raises(Refused, match="2 items are still out") as refused:
        planes.close(run, by=alice)
    assert refused.value.code == "in_flight"
    assert planes.close(run, by=alice, give_up=True).status == "completed_with_errors"
    assert (booked(run).captured, booked(run).held, Account.objects.get(org=acme.pk).available) == (1, 0, 99)
    assert verdicts(run, said(1), said(2)) == ["replayed", "given_up"]
    with pytest.raises(Refused, match="completed with errors"):
        planes.close(run, by=alice)
    assert_books_hold(acme)


def test_a_cancelled_one_ends_when_what_is_out_has_settled_and_asks_no_further_tool(
    acme: Organization, alice: User
) -> None:
    run = reserve(acme, alice, HUNTER, OPENAI, items=9, cap=20)
    hold(run, 2)
    assert lifecycle.cancel(run, by=alice).status == "cancelling"
    batch = [said(1), said(2, "no_result", 0)]
    assert planes.settle(run, batch) == [Verdict("settled", Decimal(1)), Verdict("settled")]
    run.refresh_from_db()
    assert (run.status, Account.objects.get(org=acme.pk).available) == ("cancelled", 99)
    assert verdicts(run, *batch) == ["replayed"] * 2
    assert booked(run).conflicts == 0


def test_a_cancelled_one_ends_when_what_is_out_has_lapsed(acme: Organization, alice: User) -> None:
    run = reserve(acme, alice, HUNTER)
    hold(run, 2)
    lifecycle.cancel(run, by=alice)
    let_leases_run_out(run)
    jobs.look_after_planes()
    run.refresh_from_db()
    assert (run.status, states(run)) == ("cancelled", ["failed", "failed"])
    assert_books_hold(acme)


def test_its_page_shows_items_by_the_names_the_plane_has_for_them(acme: Organization, alice: User, client: Any) -> None:
    run = reserve(acme, alice, HUNTER, name="Night shift")
    planes.hold(run, ["Ada", ""], 600)
    planes.settle(run, [said(1)])
    client.force_login(alice)
    for path in ("", "cancel/", "continue/"):
        assert client.get(f"/orgs/acme/runs/{run.id}/{path}").status_code == 200
    page = client.get(f"/orgs/acme/runs/{run.id}/").content.decode()
    assert "Worked on by an execution plane" in page
    assert "<strong><bdi>Ada</bdi></strong>" in page
    assert "<strong><bdi>Item 2</bdi></strong>" in page
    assert "Night shift" in client.get("/orgs/acme/billing/").content.decode()


def test_it_stands_beside_runs_of_our_own(acme: Organization, alice: User) -> None:
    ours, outside = start(acme, alice, HUNTER, rows=3, cap=3), reserve(acme, alice, HUNTER)
    standing.give_back(outside)
    assert [item.row is None for item in Item.objects.filter(run=ours)] == [False] * 3
    assert sorted(Run.objects.values_list("kind", flat=True)) == ["column", "outside"]
