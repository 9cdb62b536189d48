"""GET /balance and GET /subscription, as a script with a key sees them."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from billing import books, keys, ledger, orgs, plans, usage
from billing.models import (
    Agency,
    ApiKey,
    Customer,
    Membership,
    Organization,
    Plan,
    PlanChange,
    Price,
    Role,
    Subscription,
    User,
)
from oxygen_site.clock import advance, clock
from oxygen_site.transactions import intention
from tests.conftest import give
from tests.contract import ask
from tests.runs.conftest import start

FREE = {"id": "free-1", "key": "free", "name": "Free", "rank": 0, "credits": 100}
GROWTH = {"id": "growth-2", "key": "growth", "version": 2, "name": "Growth", "rank": 2, "credits": Decimal("2500.5")}
SCALE = {"id": "scale-1", "key": "scale", "name": "Scale", "rank": 3, "credits": 9000}


def key(of: Organization | Agency, by: User, *scopes: str) -> str:
    return keys.make(of, by, "A script", scopes or ["read"])[1]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def plan(**facts: Any) -> Plan:
    return Plan.objects.create(**{"version": 1, "line": "For anybody.", "on_sale": True} | facts)


def price(of: Plan, amount: int, interval: str = "month") -> Price:
    named = f"{of.key}_{interval}"
    return Price.objects.create(lookup_key=named, plan=of, interval=interval, amount=amount, currency="usd")


def subscribed(org: Organization, to: Price, days: int = 30, **facts: Any) -> Subscription:
    """A subscription as the inbox takes it down, begun a day ago."""
    customer = Customer.objects.create(org=org, stripe_id=f"cus_{org.slug}")
    start = clock() - timedelta(days=1)
    stands = {
        "status": "active",
        "period_start": start,
        "period_end": start + timedelta(days=days),
        "started_at": start,
        "item": "si_1",
        "reading": 1,
    }
    return Subscription.objects.create(
        **{"stripe_id": f"sub_{org.slug}", "customer": customer, "org": org, "price": to} | stands | facts
    )


# ------------------------------------------------------------------ balance


def test_the_balance_is_what_the_page_shows(acme: Organization, alice: User) -> None:
    give(acme, "0.0001", days=60)
    shown = ask("/balance", key(acme, alice)).data
    assert shown["organization"] == {"slug": "acme", "name": "Acme"}
    assert (shown["available"], shown["reserved"], shown["captured"]) == (Decimal("100.0001"), 0, 0)
    tie_out = books.tie_out(acme.pk)
    assert shown["tie_out"]["granted"] == tie_out.granted
    assert (shown["tie_out"]["ties"], shown["tie_out"]["proven_at"]) == (True, None)
    assert timedelta(0) <= clock() - instant(shown["as_of"]) < timedelta(minutes=1)


def test_what_a_run_holds_is_reserved_and_not_captured(acme: Organization, alice: User) -> None:
    call_command("sync_catalog", stdout=StringIO())
    start(acme, alice, "hunter.email_finder", rows=9, cap=6)
    shown = ask("/balance", key(acme, alice)).data
    assert (shown["available"], shown["reserved"], shown["captured"]) == (94, 6, 0)
    assert shown["tie_out"]["granted"] == shown["available"] + shown["reserved"]


def test_the_numbers_stand_there_digit_by_digit(acme: Organization, alice: User) -> None:
    give(acme, Decimal("99999899.9999"))
    text = ask("/balance", key(acme, alice)).text
    assert '"available":99999999.9999,' in text
    assert '"reserved":0,' in text


def test_the_next_expiry_names_all_that_expires_with_it(acme: Organization, alice: User) -> None:
    at = clock() + timedelta(days=3)
    for name, credits in (("one", 7), ("other", "0.5")):
        given = partial(ledger.grant, acme.pk, key=name, source="promo", amount=Decimal(credits), expires_at=at)
        intention(partial(given, actor="system:test"))
    shown = ask("/balance", key(acme, alice)).data["next_expiry"]
    assert (instant(shown["at"]), shown["credits"]) == (at, Decimal("7.5"))


def test_where_nothing_is_left_nothing_expires(alice: User) -> None:
    shown = ask("/balance", key(orgs.create("Empty", "UTC", owner=alice), alice)).data
    assert (shown["available"], shown["next_expiry"], shown["next_refill_at"]) == (0, None, None)


def test_the_free_plan_refills_with_the_next_credit_month(acme: Organization, alice: User) -> None:
    plan(**FREE)
    shown = ask("/balance", key(acme, alice)).data
    assert shown["next_refill_at"] == shown["credit_month"]["end"]
    assert instant(shown["credit_month"]["start"]) == acme.created_at


def test_a_paid_month_refills_unless_it_is_the_last_or_unpaid(acme: Organization, alice: User) -> None:
    secret, live = key(acme, alice), subscribed(acme, price(plan(**GROWTH), 4900))
    assert instant(ask("/balance", secret).data["next_refill_at"]) == live.period_end
    for facts in ({"cancel_at_period_end": True}, {"status": "past_due"}, {"status": "unpaid"}):
        Subscription.objects.update(**{"cancel_at_period_end": False, "status": "active"} | facts)
        assert ask("/balance", secret).data["next_refill_at"] is None, facts


def test_a_renewal_that_is_not_told_yet_promises_no_refill_in_the_past(acme: Organization, alice: User) -> None:
    subscribed(acme, price(plan(**GROWTH), 4900))
    advance(timedelta(days=30))
    assert ask("/balance", key(acme, alice)).data["next_refill_at"] is None


def test_a_yearly_plan_that_ends_still_refills_until_then(acme: Organization, alice: User) -> None:
    yearly = price(plan(**GROWTH), 49000, "year")
    live = subscribed(acme, yearly, days=365, cancel_at_period_end=True)
    shown = ask("/balance", key(acme, alice)).data
    assert instant(shown["next_refill_at"]) == plans.month(acme, live, clock())[1] < live.period_end


def test_captured_is_counted_as_on_the_page_since_the_credit_months_day(acme: Organization, alice: User) -> None:
    advance(timedelta(days=45))
    shown = ask("/balance", key(acme, alice)).data
    since = instant(shown["credit_month"]["start"]).astimezone(acme.tz).date()
    assert shown["captured"] == usage.captured_since(acme, since)


def test_reading_costs_the_same_however_much_there_is(
    acme: Organization, alice: User, django_assert_max_num_queries: Any
) -> None:
    secret = key(acme, alice)
    ask("/balance", secret)
    for n in range(20):
        give(acme, n + 1, days=n + 1)
    with django_assert_max_num_queries(5 + 8):  # the gate's and the operation's
        Client().get("/api/v1/balance", headers={"Authorization": f"Bearer {secret}"})
    with django_assert_max_num_queries(4 + 6):
        Client().get("/api/v1/subscription", headers={"Authorization": f"Bearer {secret}"})


# ------------------------------------------------------------------ subscription


def test_who_subscribed_to_nothing_is_free(acme: Organization, alice: User) -> None:
    secret = key(acme, alice)
    assert ask("/subscription", secret).data["plan"] is None
    plan(**FREE)
    shown = ask("/subscription", secret).data
    assert shown["plan"] == {"key": "free", "name": "Free", "version": 1, "credits_per_month": 100}
    assert (shown["status"], shown["interval"], shown["amount"], shown["period"]) == ("free", None, None, None)
    assert (shown["past_due"], shown["cancel_at_period_end"], shown["pending_change"]) == (False, False, None)


def test_a_subscription_shows_what_is_paid_for_it_and_for_how_long(acme: Organization, alice: User) -> None:
    live = subscribed(acme, price(plan(**GROWTH), 4900))
    shown = ask("/subscription", key(acme, alice)).data
    assert shown["plan"] == {
        "key": "growth",
        "name": "Growth",
        "version": 2,
        "credits_per_month": Decimal("2500.5"),
    }
    assert (shown["status"], shown["interval"], shown["amount"], shown["currency"]) == ("active", "month", 4900, "usd")
    assert instant(shown["period"]["end"]) == live.period_end
    assert shown["period"] == shown["credit_month"]


def test_a_payment_that_failed_is_shown(acme: Organization, alice: User) -> None:
    subscribed(acme, price(plan(**GROWTH), 4900), status="past_due", cancel_at_period_end=True)
    shown = ask("/subscription", key(acme, alice)).data
    assert (shown["status"], shown["past_due"], shown["cancel_at_period_end"]) == ("past_due", True, True)
    assert shown["plan"]["key"] == "growth"


def test_a_subscription_that_has_ended_leaves_the_free_plan(acme: Organization, alice: User) -> None:
    plan(**FREE)
    subscribed(acme, price(plan(**GROWTH), 4900), status="canceled", ended_at=clock())
    shown = ask("/subscription", key(acme, alice)).data
    assert (shown["status"], shown["plan"]["key"]) == ("free", "free")


@pytest.mark.parametrize("to", ["scale", "free"])
def test_a_change_that_is_to_come_is_shown(acme: Organization, alice: User, to: str) -> None:
    plan(**FREE)
    old, new = price(plan(**GROWTH), 4900), price(plan(**SCALE), 19900)
    live = subscribed(acme, old)
    PlanChange.objects.create(
        org=acme,
        subscription=live,
        by=alice,
        old=old,
        new=new if to == "scale" else None,
        when="renewal",
        state="scheduled",
        at=live.period_end,
        quoted_at=clock(),
        until=clock(),
        currency="usd",
    )
    change = ask("/subscription", key(acme, alice)).data["pending_change"]
    assert (change["plan"]["key"], change["when"], change["state"]) == (to, "renewal", "scheduled")
    assert change["interval"] == ("month" if to == "scale" else None)
    assert instant(change["at"]) == live.period_end


# ------------------------------------------------------------------ who may ask


@pytest.mark.parametrize("path", ["/balance", "/subscription"])
def test_a_key_is_needed_and_a_signed_in_browser_is_none(acme: Organization, alice: User, path: str) -> None:
    answer = ask(path)
    assert (answer.status, answer.code) == (401, "not_signed_in")
    assert answer.response["WWW-Authenticate"] == 'Bearer realm="Oxygen"'
    browser = Client()
    browser.force_login(alice)
    assert browser.get(f"/api/v1{path}").status_code == 401


def test_a_key_that_opens_nothing_says_why(acme: Organization, alice: User) -> None:
    secret = key(acme, alice)
    assert ask("/balance", "garbage").code == "mistyped_key"
    assert ask("/balance", f"{secret[:-1]}!").code == "mistyped_key"
    keys.revoke(ApiKey.objects.get(), by=alice)
    assert ask("/balance", secret).code == "revoked_key"


def test_an_orgs_key_opens_that_org_and_no_other(acme: Organization, globex: Organization, alice: User) -> None:
    orgs.add_member(globex, alice, Role.OWNER)
    secret = key(acme, alice)
    assert ask("/balance", secret, oxygen_organization="acme").data["organization"]["slug"] == "acme"
    for other in ("globex", "nowhere", "a b", "\xe9", "ACME"):
        assert ask("/balance", secret, oxygen_organization=other).status == 404, other


def test_an_agencys_key_names_one_of_its_clients(
    harbor: Agency, harriet: User, acme: Organization, alice: User
) -> None:
    secret = key(harbor, harriet)
    shown = ask("/balance", secret, oxygen_organization="bluefin")
    assert shown.data["organization"] == {"slug": "bluefin", "name": "Bluefin"}
    assert (missing := ask("/balance", secret)).status == 400
    assert missing.code == "organization_required"
    orgs.add_member(acme, harriet, Role.OWNER)  # hers, but no client of the agency
    for foreign in ("acme", "nowhere", "a b", "x" * 200):
        assert ask("/balance", secret, oxygen_organization=foreign).status == 404, foreign


def test_an_agencys_key_ends_with_its_makers_work_there(harbor: Agency, harriet: User) -> None:
    secret = key(harbor, harriet)
    orgs.add_member(harbor.clients.get(), harriet, Role.OWNER)  # does not keep the agency's key alive
    harbor.staff.remove(harriet)
    assert ask("/balance", secret, oxygen_organization="bluefin").status == 404


def test_a_key_reaches_no_further_than_its_maker_does_today(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    secret = key(acme, mallory, "read", "admin")
    assert ask("/balance", secret).status == 200
    Membership.objects.filter(user=mallory).delete()
    answer = ask("/balance", secret)
    assert (answer.status, answer.code) == (404, "not_found")
    assert "not in it any more" in answer.body["detail"]


def test_a_key_of_who_may_not_sign_in_opens_nothing(acme: Organization, alice: User) -> None:
    secret = key(acme, alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert ask("/balance", secret).status == 404


def test_answers_are_nobody_elses(acme: Organization, alice: User) -> None:
    assert ask("/balance", key(acme, alice)).response["Cache-Control"] == "private, no-cache"
    assert ask("/balance").response["Cache-Control"] == "no-store"


def test_the_log_and_the_answers_hold_no_key(acme: Organization, alice: User, written: Any) -> None:
    secret = key(acme, alice)
    answers = [ask("/balance", secret), ask("/balance", secret[:-1] + "_"), ask(f"/{secret}")]
    hidden = secret[18:]
    assert hidden not in written.getvalue()
    assert all(hidden not in answer.text for answer in answers)
