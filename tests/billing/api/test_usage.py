"""GET /usage and /usage/aggregates: every settled call, and sums of them that tie out with the ledger."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from billing import usage
from billing.models import Entry, Organization, User
from oxygen_site.clock import advance, clock
from tests.billing.moves import attempt, open_run, settle
from tests.billing.test_api import key
from tests.contract import Json, ask


@pytest.fixture
def secret(acme: Organization, alice: User) -> str:
    """A key of Acme's, with nine calls of two runs over three days: two tools, an own account, some in vain."""
    runs = [open_run(acme.pk, 20, begin=5, unit=2) for _ in range(2)]
    for day in range(3):
        for run in runs[: 2 if day else 1]:
            found = attempt(day + 1, "1.5", 2, number=16)
            settle(acme.pk, run, found, attempt(day + 90, byok=True, tool="openai.ai_column"))
        settle(acme.pk, runs[0], attempt(day + 40, 0, 0, outcome="failed_before_billing", tool="apollo.person"))
        advance(timedelta(days=1))
    return key(acme, alice)


def entries(secret: str, query: str = "") -> list[Json]:
    """Read the list to its end, three entries a page."""
    listed: list[Json] = []
    cursor = ""
    while True:
        shown = ask(f"/usage?limit=3{query}{cursor}", secret).data
        listed += shown["entries"]
        if shown["next_cursor"] is None:
            return listed
        cursor = f"&cursor={shown['next_cursor']}"


def sums(secret: str, by: str, query: str = "") -> Json:
    return ask(f"/usage/aggregates?by={by}{query}", secret).data


def booked(org: Organization, **filters: Any) -> Decimal:
    """What the ledger itself says was captured."""
    return Entry.objects.filter(org=org.pk, kind="captured", **filters).aggregate(sum=Sum("amount", default=0))["sum"]


# ------------------------------------------------------------------ the calls


def test_every_settled_call_is_listed_once(acme: Organization, secret: str) -> None:
    listed = entries(secret)
    assert len({entry["id"] for entry in listed}) == len(listed) == 13
    assert [entry["timestamp"] for entry in listed] == sorted((entry["timestamp"] for entry in listed), reverse=True)
    assert sum(entry["credits"] for entry in listed) == booked(acme) == Decimal("7.5")


def test_a_call_says_what_it_cost_and_who_paid(secret: str) -> None:
    managed = entries(secret, "&tool=hunter.email_finder")[0]
    assert (managed["credits"], managed["cost"], managed["mode"]) == (Decimal("1.5"), Decimal("1.5"), "managed")
    assert (managed["kind"], managed["outcome"], managed["item"], managed["attempt"]) == (
        "captured",
        "succeeded",
        3,
        16,
    )
    assert managed["id"] == f"{managed['run']}:3:16"
    own = entries(secret, "&mode=byok")[0]
    assert (own["credits"], own["provider"], own["kind"]) == (0, "openai", "captured")


def test_filters_leave_what_they_name(secret: str) -> None:
    whole = entries(secret)
    run = whole[-1]["run"]
    for query, left in {
        "&mode=byok": [entry for entry in whole if entry["mode"] == "byok"],
        "&outcome=failed_before_billing": [entry for entry in whole if entry["kind"] == "released"],
        f"&run={run}&provider=hunter": [e for e in whole if (e["run"], e["provider"]) == (run, "hunter")],
        f"&start={whole[4]['timestamp']}": [e for e in whole if e["timestamp"] >= whole[4]["timestamp"]],
        f"&end={whole[4]['timestamp']}": [e for e in whole if e["timestamp"] < whole[4]["timestamp"]],
    }.items():
        assert entries(secret, query) == left
        assert 0 < len(left) < len(whole)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "run=1", "mode=theirs", "provider=A%20b", "outcome=lost"])
def test_what_a_parameter_does_not_take_is_told_by_its_name(acme: Organization, alice: User, query: str) -> None:
    answer = ask(f"/usage?{query}", key(acme, alice))
    assert (answer.status, answer.body["errors"][0]["parameter"]) == (422, query.partition("=")[0])


def test_no_cursor_can_be_made_up(acme: Organization, alice: User, secret: str) -> None:
    foreign = ask("/ledger?limit=1", secret).data["next_cursor"]
    for cursor in ("", "x", foreign):
        assert (ask(f"/usage?cursor={cursor}", secret).status, ask(f"/usage?cursor={cursor}", secret).code) == (
            400,
            "invalid_cursor",
        )


# ------------------------------------------------------------------ sums


@pytest.mark.parametrize("by", ["day", "provider", "tool", "run", "member"])
def test_the_groups_add_up_to_the_total_and_to_the_ledger(acme: Organization, secret: str, by: str) -> None:
    since = (clock() - timedelta(days=9)).date()
    shown = sums(secret, by, f"&first={since}")
    for figure in ("credits", "calls", "results"):
        assert sum(group[figure] for group in shown["groups"]) == shown["total"][figure]
    assert shown["total"] == {"credits": booked(acme), "calls": 13, "results": 10}
    assert abs(sum(group["share"] for group in shown["groups"]) - 1) < Decimal("0.001")


def test_the_days_are_the_orgs_own_and_all_there(acme: Organization, secret: str) -> None:
    today = clock().astimezone(acme.tz).date()
    shown = sums(secret, "day", f"&first={today - timedelta(days=5)}")
    assert [group["key"] for group in shown["groups"]] == [str(today - timedelta(days=n)) for n in range(5, -1, -1)]
    assert [group["credits"] for group in shown["groups"]] == [0, 0, Decimal("1.5"), 3, 3, 0]
    assert (shown["time_zone"], shown["last"]) == ("Europe/Lisbon", str(today))


def test_filters_narrow_a_sum_by_tool(acme: Organization, secret: str) -> None:
    since = f"&first={clock().date() - timedelta(days=9)}"
    assert sums(secret, "tool", f"{since}&mode=byok")["total"] == {"credits": 0, "calls": 5, "results": 5}
    shown = sums(secret, "provider", f"{since}&provider=hunter&outcome=succeeded")
    assert [(group["key"], group["credits"]) for group in shown["groups"]] == [("hunter", booked(acme))]


def test_what_captured_most_comes_first_and_members_have_names(
    acme: Organization, alice: User, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = f"&first={clock().date() - timedelta(days=9)}"
    run = open_run(acme.pk, 9, begin=1, unit=9)
    settle(acme.pk, run, attempt(1, 9, 9))
    shown = sums(secret, "run", since)["groups"]
    assert [group["credits"] for group in shown] == [9, Decimal("4.5"), 3]
    monkeypatch.setattr(usage, "MOST_RUNS", 1)
    named, rest = sums(secret, "run", since)["groups"]
    assert (named["key"], rest["key"], rest["credits"], rest["calls"]) == (str(run), None, Decimal("7.5"), 13)


@pytest.mark.parametrize("query", ["provider=hunter", "tool=hunter.email_finder", "mode=byok", "outcome=unknown"])
@pytest.mark.parametrize("by", ["run", "member"])
def test_filters_that_no_sum_keeps_together_are_refused_naming_the_way_on(secret: str, by: str, query: str) -> None:
    answer = ask(f"/usage/aggregates?by={by}&{query}", secret)
    assert (answer.status, answer.code) == (422, "invalid_filter")
    assert "sum by day, provider or tool" in answer.body["detail"]


def test_a_sum_is_of_this_credit_month_unless_said(acme: Organization, secret: str) -> None:
    shown = sums(secret, "day")
    assert (shown["first"], shown["last"]) == (
        str(acme.created_at.astimezone(acme.tz).date()),
        str(clock().astimezone(acme.tz).date()),
    )


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("first=2026-02-02&last=2026-02-01", "comes after the last"),
        ("first=2020-01-01&last=2021-02-04", "these are 401"),
        ("first=0001-01-01&last=9999-12-31", "At most 400 days"),
    ],
)
def test_a_range_that_cannot_be_is_refused(acme: Organization, alice: User, query: str, why: str) -> None:
    answer = ask(f"/usage/aggregates?by=day&{query}", key(acme, alice))
    assert (answer.status, answer.code) == (422, "invalid_range")
    assert why in answer.body["detail"]


def test_400_days_are_summed_even_at_the_end_of_time(acme: Organization, alice: User) -> None:
    last = date.max
    shown = sums(key(acme, alice), "day", f"&first={last - timedelta(days=399)}&last={last}")
    assert len(shown["groups"]) == 400
    assert shown["total"]["credits"] == 0
