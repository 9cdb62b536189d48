"""What a person says to a run, and what the books say afterwards."""

from decimal import Decimal
from uuid import uuid4

import pytest

from billing.models import Account, Entry, Organization, Reservation, User
from oxygen_site.transactions import Refused
from runs import accounts, dispatch, lifecycle, standing
from runs.models import Integration, Mode, Provider, Run
from runs.providers.outcomes import Outcome
from tests.runs.conftest import assert_books_hold, booked, column_of, start, table_of

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER = "hunter.email_finder"


def refusal(code: str) -> pytest.RaisesExc[Refused]:
    return pytest.RaisesExc(Refused, check=lambda refused: refused.code == code)


def statuses(run: Run) -> list[str]:
    return list(run.items.order_by("number").values_list("status", flat=True))


def answer_one(run: Run, cost: str = "1", outcome: str = "succeeded") -> None:
    """Claim one item and settle it."""
    owner = uuid4()
    calls = dispatch.claim(run, owner, 1)
    found = Outcome(outcome, Decimal(cost), "", {"email": "a@b.example"} if outcome == "succeeded" else None)
    dispatch.settle(run, owner, [dispatch.Answer(call, found, 5) for call in calls])


# ------------------------------------------------------------------ create


def test_a_run_starts_queued_and_holds_what_it_may_spend(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=10, cap="12.5")
    assert (run.status, run.cap, run.unit, run.estimated_max) == ("queued", Decimal("12.5"), 1, 10)
    assert statuses(run) == ["pending"] * 10
    assert booked(run).reserved == 10
    assert Account.objects.get(org=acme.id).available == 90
    assert_books_hold(acme)


def test_it_holds_its_cap_where_that_is_less_than_all_rows_at_their_maximum(acme: Organization, alice: User) -> None:
    assert booked(start(acme, alice, HUNTER, rows=10, cap=4)).reserved == 4


def test_prices_and_modes_are_frozen_on_it(acme: Organization, alice: User) -> None:
    run = start(acme, alice, "icypeas.email_finder", "prospeo.email_finder", rows=2, cap=10)
    Integration.objects.create(org=acme, provider_id="icypeas", mode=Mode.BYOK)
    assert [(step.tool, step.byok, step.maximum) for step in Run.objects.get(id=run.id).cascade] == [
        ("icypeas.email_finder", False, Decimal("0.5")),
        ("prospeo.email_finder", False, Decimal(1)),
    ]


def test_without_a_cap_a_paid_run_is_refused(acme: Organization, alice: User) -> None:
    with refusal("cap_required") as refused:
        start(acme, alice, HUNTER, rows=10, cap=None)
    assert (refused.value.status, refused.value.field) == (422, "cap")
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "cap",
    ["0", "-5", "-0", "NaN", "sNaN", "Infinity", "ten", "1,000", "1.00001", "1e-9", "1e30", "1e999999", "1000000001"],
)
def test_a_cap_that_is_none_is_refused_by_its_field(acme: Organization, alice: User, cap: str) -> None:
    with refusal("invalid_cap") as refused:
        start(acme, alice, HUNTER, rows=10, cap=cap)
    assert (refused.value.status, refused.value.field) == (422, "cap")
    assert refused.value.message.startswith("The cap ")


def test_a_cap_below_one_rows_maximum_is_refused_naming_it(acme: Organization, alice: User) -> None:
    with refusal("cap_too_small") as refused:
        start(acme, alice, HUNTER, "openai.ai_column", rows=10, cap="4.4999")
    assert refused.value.facts == {"unit": Decimal("4.5")}
    assert "4.5" in refused.value.message


def test_a_tool_without_a_price_is_refused_by_name(acme: Organization, alice: User) -> None:
    with refusal("price_unknown") as refused:
        start(acme, alice, HUNTER, "apollo.job_changes", rows=10, cap=50)
    assert "apollo.job_changes" in refused.value.message


def test_too_few_credits_are_refused_with_what_is_missing_and_nothing_is_held(acme: Organization, alice: User) -> None:
    with refusal("insufficient_credits") as refused:
        start(acme, alice, HUNTER, rows=130, cap=125)
    assert (refused.value.status, refused.value.facts["missing"]) == (402, 25)
    assert not Reservation.objects.exists()
    assert not Run.objects.exists()
    assert Account.objects.get(org=acme.id).available == 100


def test_own_accounts_need_no_cap_and_no_credits(globex: Organization, mallory: User) -> None:
    run = start(globex, mallory, "hubspot.contact_upsert", rows=3, cap=None)
    assert (run.cap, run.unit, booked(run).reserved) == (None, 0, 0)
    answer_one(run, cost="0")
    assert Entry.objects.get(source=run.id, item=1).kind == "captured"
    assert_books_hold(globex)


def test_an_own_account_for_one_step_leaves_the_others_paid(acme: Organization, alice: User) -> None:
    accounts.connect(acme, Provider.objects.get(id="hunter"), "hunter-key-1")
    assert start(acme, alice, HUNTER, "prospeo.email_finder", rows=3, cap=5).unit == 1


def test_a_crm_is_on_the_own_account_whatever_its_integration_says(acme: Organization, alice: User) -> None:
    run = start(acme, alice, "hubspot.contact_upsert", rows=3, cap=None)
    Integration.objects.update(mode=Mode.MANAGED)
    assert lifecycle.continue_remaining(lifecycle.pause(run, by=alice), cap=None, by=alice).cascade[0].byok


def test_a_second_run_of_a_column_takes_the_rows_that_are_left(acme: Organization, alice: User) -> None:
    column = column_of(table_of(acme, 5), HUNTER)
    first = lifecycle.create(column.table, column, cap="5", by=alice, limit=2)
    answer_one(first)
    second = lifecycle.create(column.table, column, cap="5", by=alice)
    assert list(second.items.order_by("number").values_list("row__number", flat=True)) == [3, 4, 5]
    with refusal("nothing_to_run"):
        lifecycle.create(column.table, column, cap="5", by=alice)


def test_what_failed_or_was_cancelled_is_run_again(acme: Organization, alice: User) -> None:
    column = column_of(table_of(acme, 3), HUNTER)
    first = lifecycle.create(column.table, column, cap="3", by=alice)
    answer_one(first)
    answer_one(first, "0", "failed_before_billing")
    lifecycle.cancel(first, by=alice)
    second = lifecycle.create(column.table, column, cap="5", by=alice)
    assert list(second.items.order_by("number").values_list("row__number", flat=True)) == [2, 3]


def test_a_limit_below_one_is_refused(acme: Organization, alice: User) -> None:
    column = column_of(table_of(acme, 3), HUNTER)
    with refusal("invalid_limit"):
        lifecycle.create(column.table, column, cap="5", by=alice, limit=0)


def test_a_column_of_another_table_is_not_found(acme: Organization, alice: User) -> None:
    column = column_of(table_of(acme, 3), HUNTER)
    with pytest.raises(type(column).DoesNotExist):
        lifecycle.create(table_of(acme, 3, "Others"), column, cap="5", by=alice)


# ------------------------------------------------------------------ pause and resume


def test_a_persons_pause_stops_dispatch_and_keeps_the_hold(acme: Organization, alice: User) -> None:
    run = lifecycle.pause(start(acme, alice, HUNTER, rows=10, cap=10), by=alice)
    assert (run.status, run.pause_reason) == ("paused", "by_user")
    assert dispatch.claim(run, uuid4(), 5) == []
    assert booked(run).reserved == 10


def test_resuming_lets_it_go_on(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=10, cap=10)
    lifecycle.pause(run, by=alice)
    assert lifecycle.resume(run, by=alice).pause_reason is None
    assert len(dispatch.claim(run, uuid4(), 5)) == 5


def test_resuming_twice_moves_once(acme: Organization, alice: User) -> None:
    run = lifecycle.pause(start(acme, alice, HUNTER, rows=10, cap=10), by=alice)
    lifecycle.resume(run, by=alice)
    with refusal("wrong_state") as refused:
        lifecycle.resume(run, by=alice)
    assert (refused.value.status, refused.value.facts["state"]) == (409, "queued")


def test_a_pause_while_items_finish_ends_the_run_when_none_remain(acme: Organization, alice: User) -> None:
    run, owner = start(acme, alice, HUNTER, rows=1, cap=1), uuid4()
    (call,) = dispatch.claim(run, owner, 1)
    lifecycle.pause(run, by=alice)
    assert standing.rest(run)
    dispatch.settle(run, owner, [dispatch.Answer(call, Outcome("succeeded", Decimal(1), "", {"a": 1}), 1)])
    assert standing.rest(run) is None
    assert Run.objects.get(id=run.id).status == "succeeded"


def at_the_cap(org: Organization, by: User) -> Run:
    """A run of five rows, paused at its cap of two after two of them."""
    run = start(org, by, HUNTER, rows=5, cap=2)
    standing.begin(run)
    answer_one(run)
    answer_one(run)
    assert standing.rest(run) is None
    run.refresh_from_db()
    return run


def test_at_the_cap_it_pauses_and_says_so(acme: Organization, alice: User) -> None:
    run = at_the_cap(acme, alice)
    assert (run.status, run.pause_reason) == ("paused", "cap_reached")
    assert statuses(run) == ["succeeded"] * 2 + ["pending"] * 3
    assert (booked(run).reserved, booked(run).captured) == (2, 2)


def test_resuming_at_a_spent_cap_is_refused_naming_continue(acme: Organization, alice: User) -> None:
    run = at_the_cap(acme, alice)
    with refusal("cap_reached") as refused:
        lifecycle.resume(run, by=alice)
    assert refused.value.status == 409
    assert "Continue" in refused.value.message
    assert dispatch.claim(run, uuid4(), 5) == []


# ------------------------------------------------------------------ cancel


def test_cancelling_releases_exactly_what_was_not_spent(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=10, cap=10)
    answer_one(run)
    cancelled = lifecycle.cancel(run, by=alice)
    assert (cancelled.status, statuses(run)) == ("cancelled", ["succeeded"] + ["cancelled"] * 9)
    closed = Entry.objects.get(source=run.id, item=-1)
    assert (closed.amount, closed.actor, closed.available_after) == (9, f"user:{alice.id}", 99)
    assert_books_hold(acme)


def test_cancelling_with_calls_in_flight_settles_them_first(acme: Organization, alice: User) -> None:
    run, owner = start(acme, alice, HUNTER, "prospeo.email_finder", rows=3, cap=6), uuid4()
    (call,) = dispatch.claim(run, owner, 1)
    assert lifecycle.cancel(run, by=alice).status == "cancelling"
    following = dispatch.settle(run, owner, [dispatch.Answer(call, Outcome("no_result", Decimal(1), ""), 1)])
    assert following == []
    assert standing.rest(run) is None
    run.refresh_from_db()
    assert (run.status, statuses(run)) == ("cancelled", ["succeeded", "cancelled", "cancelled"])
    assert booked(run).captured == 1
    assert_books_hold(acme)


def test_cancelling_a_cancelled_run_is_refused_with_its_state(acme: Organization, alice: User) -> None:
    run = lifecycle.cancel(start(acme, alice, HUNTER, rows=3, cap=3), by=alice)
    for verb in (lifecycle.cancel, lifecycle.pause, lifecycle.resume):
        with refusal("wrong_state") as refused:
            verb(run, by=alice)
        assert refused.value.facts["state"] == "cancelled"


def test_cancelling_a_run_on_the_own_account_waits_for_what_is_in_flight(acme: Organization, alice: User) -> None:
    run = start(acme, alice, "hubspot.contact_upsert", rows=3, cap=None)
    dispatch.claim(run, uuid4(), 1)
    assert lifecycle.cancel(run, by=alice).status == "cancelling"


# ------------------------------------------------------------------ continue


def test_continuing_runs_the_rest_anew_and_cancels_the_old(acme: Organization, alice: User) -> None:
    old = at_the_cap(acme, alice)
    new = lifecycle.continue_remaining(old, cap="3", by=alice)
    old.refresh_from_db()
    assert (old.status, statuses(old)) == ("cancelled", ["succeeded"] * 2 + ["cancelled"] * 3)
    assert (new.continues_id, new.status, new.cap, new.rows) == (old.id, "queued", 3, 3)
    assert list(new.items.order_by("number").values_list("row__number", flat=True)) == [3, 4, 5]
    assert booked(old).closed_at
    assert Account.objects.get(org=acme.id).available == 95
    assert_books_hold(acme)


def test_continuing_takes_todays_prices(acme: Organization, alice: User) -> None:
    old = at_the_cap(acme, alice)
    accounts.connect(acme, Provider.objects.get(id="hunter"), "hunter-key-1")
    assert lifecycle.continue_remaining(old, cap=None, by=alice).unit == 0


def test_continuing_beyond_what_is_available_leaves_everything_as_it_was(acme: Organization, alice: User) -> None:
    old = start(acme, alice, HUNTER, rows=99, cap=2)
    answer_one(old)
    answer_one(old)
    standing.rest(old)
    other = start(acme, alice, HUNTER, rows=90, cap=90)
    with refusal("insufficient_credits") as refused:
        lifecycle.continue_remaining(old, cap="50", by=alice)
    assert refused.value.facts["missing"] == 42
    old.refresh_from_db()
    assert (old.status, old.items.filter(status="pending").count()) == ("paused", 97)
    assert set(Run.objects.all()) == {old, other}
    assert_books_hold(acme)


def test_continuing_while_items_are_in_flight_is_refused(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    dispatch.claim(run, uuid4(), 1)
    lifecycle.pause(run, by=alice)
    with refusal("in_flight"):
        lifecycle.continue_remaining(run, cap="5", by=alice)
    run.refresh_from_db()
    assert run.status == "paused"
    assert statuses(run) == ["running"] + ["pending"] * 4


def test_only_a_paused_run_is_continued(acme: Organization, alice: User) -> None:
    with refusal("wrong_state"):
        lifecycle.continue_remaining(start(acme, alice, HUNTER, rows=5, cap=5), cap="5", by=alice)


def test_continuing_needs_a_cap_of_its_own(acme: Organization, alice: User) -> None:
    old = at_the_cap(acme, alice)
    with refusal("cap_required"):
        lifecycle.continue_remaining(old, cap="", by=alice)
    assert Run.objects.get(id=old.id).status == "paused"
