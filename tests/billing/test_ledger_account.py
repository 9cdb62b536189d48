"""The verbs that give and take credits: grant, expire, claw back and restore, adjust."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, IntegrityError, transaction

from billing import books, ledger
from billing.models import Entry, Grant, Organization
from oxygen_site.clock import advance, clock, new_id
from tests.billing import moves

# ------------------------------------------------------------------ grant


def test_what_is_granted_is_available_at_once(acme: Organization) -> None:
    moves.grant(acme.pk, "25.5")
    assert moves.balance(acme.pk) == (Decimal("125.5"), 0, 0)


def test_a_grants_entry_says_who_gave_what_and_why(acme: Organization) -> None:
    grant = ledger.grant(
        acme.pk,
        key="thanks:1",
        source="promo",
        amount=Decimal(5),
        expires_at=clock() + timedelta(days=1),
        actor="user:operator",
        reason="a bug found",
    )
    entry = Entry.objects.get(org=acme.pk, source=grant)
    assert (entry.kind, entry.amount, entry.actor, entry.reason) == (
        "granted",
        5,
        "user:operator",
        "a bug found",
    )
    assert (entry.account_seq, entry.available_after, entry.drawn_after) == (2, 105, 0)


def facts(**changed: Any) -> dict[str, Any]:
    return {
        "key": "invoice:line_1",
        "source": "top_up",
        "amount": Decimal(50),
        "expires_at": clock() + timedelta(days=365),
        "actor": "stripe:evt_1",
        "paid": Decimal("49.00"),
        "currency": "eur",
        "stripe_line": "il_1",
        "stripe_payment": "pi_1",
    } | changed


def test_the_same_key_twice_gives_once(acme: Organization) -> None:
    given = facts()
    first = ledger.grant(acme.pk, **given)
    assert ledger.grant(acme.pk, **given) == first
    assert ledger.grant(acme.pk, **given | {"actor": "stripe:evt_2"}) == first
    assert moves.balance(acme.pk) == (150, 0, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"source": "promo"},
        {"amount": Decimal("50.0001")},
        {"expires_at": clock},
        {"effective_at": clock},
        {"paid": None},
        {"currency": "usd"},
        {"stripe_line": "il_2"},
        {"stripe_payment": "pi_2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_same_key_with_other_content_is_refused(acme: Organization, other: dict[str, Any]) -> None:
    given = facts()
    ledger.grant(acme.pk, **given)
    changed = {name: value() if callable(value) else value for name, value in other.items()}
    with pytest.raises(ledger.Conflict), transaction.atomic():
        ledger.grant(acme.pk, **given | changed)
    assert moves.balance(acme.pk) == (150, 0, 0)


def test_the_same_key_in_another_org_is_another_grant(acme: Organization, globex: Organization) -> None:
    given = facts()
    assert ledger.grant(acme.pk, **given) != ledger.grant(globex.pk, **given)
    assert moves.balance(globex.pk) == (150, 0, 0)


def test_a_grant_is_effective_now_unless_said(acme: Organization) -> None:
    month = clock().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    dated = ledger.grant(acme.pk, **facts(effective_at=month))
    undated = moves.grant(acme.pk, 1)
    assert Grant.objects.get(id=dated).effective_at == month
    assert Grant.objects.get(id=undated).effective_at == Entry.objects.get(source=undated).at


def test_an_org_without_an_account_has_no_ledger(ground: None) -> None:
    with pytest.raises(ledger.Closed), transaction.atomic():
        moves.grant(uuid4(), 1)


def test_opening_an_account_again_changes_nothing(acme: Organization) -> None:
    ledger.open_account(acme.pk, "UTC")
    assert moves.balance(acme.pk) == (100, 0, 0)


def test_an_unknown_time_zone_opens_no_account(ground: None) -> None:
    with pytest.raises(DataError), transaction.atomic():
        ledger.open_account(uuid4(), "Mars/Olympus")


@pytest.mark.parametrize("inexact", ["0.00001", "NaN", "Infinity"])
def test_only_exact_credits_come_through_the_door(acme: Organization, inexact: str) -> None:
    with pytest.raises(ValueError, match="four places"):
        ledger.grant(acme.pk, **facts(amount=Decimal(inexact)))


# ------------------------------------------------------------------ burn order


def assert_burned_in_order(acme: Organization, **grants: tuple[float, float, str]) -> None:
    """Give three grants in the order written, each (days to expiry, days since effective, key), and draw on half."""
    now = clock() + timedelta(days=40)
    ids = {}
    for name, (days, since, key) in grants.items():
        ids[name] = ledger.grant(
            acme.pk,
            key=key,
            source="top_up",
            amount=Decimal(10),
            expires_at=now + timedelta(days=days),
            effective_at=now - timedelta(days=since),
            actor="system:test",
        )
    moves.open_run(acme.pk, 115)  # acme's own hundred expires before any of them
    assert [moves.left(acme.pk, ids[name]) for name in ("one", "two", "three")] == [0, 5, 10]


def test_the_soonest_to_expire_burns_first_whenever_it_came(acme: Organization) -> None:
    assert_burned_in_order(acme, three=(3, 0, "a"), one=(1, 0, "c"), two=(2, 0, "b"))


def test_of_one_expiry_the_earliest_effective_burns_first(acme: Organization) -> None:
    assert_burned_in_order(acme, two=(1, 2, "b"), three=(1, 1, "a"), one=(1, 3, "c"))


def test_of_one_expiry_and_effective_time_the_key_decides(acme: Organization) -> None:
    assert_burned_in_order(acme, three=(1, 1, "c"), two=(1, 1, "b"), one=(1, 1, "a"))


# ------------------------------------------------------------------ expire


def test_what_is_left_of_a_lapsed_grant_expires(acme: Organization) -> None:
    long = moves.grant(acme.pk, 7, days=90)
    advance(timedelta(days=31))
    ledger.expire(acme.pk)
    assert moves.balance(acme.pk) == (7, 0, 0)
    assert moves.left(acme.pk, long) == 7
    assert moves.entries(acme.pk)[-1] == ("expired", 100)


def test_expiring_again_moves_nothing(acme: Organization) -> None:
    advance(timedelta(days=31))
    ledger.expire(acme.pk)
    ledger.expire(acme.pk)
    assert moves.entries(acme.pk) == [("granted", 100), ("expired", 100)]


def test_a_grant_lives_to_its_last_day(acme: Organization) -> None:
    advance(timedelta(days=29))
    ledger.expire(acme.pk)
    assert moves.balance(acme.pk) == (100, 0, 0)


def test_expiry_is_booked_before_anything_is_reserved(acme: Organization) -> None:
    moves.grant(acme.pk, 5, days=90)
    advance(timedelta(days=31))
    assert moves.reserve(acme.pk, new_id(), 20) == 15
    assert moves.entries(acme.pk)[-1] == ("expired", 100)
    assert moves.balance(acme.pk) == (5, 0, 0)


def test_expiry_never_takes_reserved_credits(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 60, begin=60)
    advance(timedelta(days=31))
    ledger.expire(acme.pk)
    assert moves.balance(acme.pk) == (0, 60, 0)
    assert moves.settle(acme.pk, run, *(moves.attempt(n) for n in range(1, 61))) == 60


def test_what_comes_back_to_a_lapsed_grant_expires(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 60, begin=1)
    advance(timedelta(days=31))
    moves.settle(acme.pk, run, moves.attempt(1))
    assert moves.close(acme.pk, run) == 59
    assert moves.entries(acme.pk)[-3:] == [("expired", 40), ("released", 59), ("expired", 59)]
    assert moves.balance(acme.pk) == (0, 0, 1)


# ------------------------------------------------------------------ claw back, restore


def test_what_is_owed_and_undrawn_is_taken_at_once(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50)
    moves.owe(acme.pk, grant, 20)
    assert moves.left(acme.pk, grant) == 30
    assert moves.balance(acme.pk) == (130, 0, 0)
    assert Entry.objects.get(source=grant, kind="clawed_back").actor == "stripe:re_1"


def test_the_same_owed_again_moves_nothing(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50)
    moves.owe(acme.pk, grant, 20)
    moves.owe(acme.pk, grant, 20)
    assert moves.entries(acme.pk, grant) == [("granted", 50), ("clawed_back", 20)]


def test_owed_that_rises_takes_only_the_difference(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50)
    moves.owe(acme.pk, grant, 20)
    moves.owe(acme.pk, grant, 50)
    assert moves.entries(acme.pk, grant)[1:] == [("clawed_back", 20), ("clawed_back", 30)]


def test_where_owed_falls_the_difference_is_restored(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50)
    moves.owe(acme.pk, grant, 50)
    moves.owe(acme.pk, grant, "12.5")
    assert moves.entries(acme.pk, grant)[2:] == [("restored", Decimal("37.5"))]
    assert moves.left(acme.pk, grant) == Decimal("37.5")


def test_what_is_restored_to_a_lapsed_grant_expires(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50)
    moves.owe(acme.pk, grant, 50)
    advance(timedelta(days=31))
    moves.owe(acme.pk, grant, 0)
    assert moves.entries(acme.pk, grant)[2:] == [("restored", 50), ("expired", 50)]


def test_what_runs_hold_of_an_owed_grant_is_taken_when_they_give_it_back(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50, days=1)
    run = moves.open_run(acme.pk, 40, begin=10)
    moves.owe(acme.pk, grant, 50)
    assert moves.balance(acme.pk) == (100, 40, 0)
    moves.settle(acme.pk, run, *(moves.attempt(n) for n in range(1, 11)))
    assert moves.close(acme.pk, run) == 30
    assert moves.entries(acme.pk)[-3:] == [("clawed_back", 10), ("released", 30), ("clawed_back", 30)]
    assert moves.balance(acme.pk) == (100, 0, 10)


def test_captured_credits_are_never_taken_from_other_grants(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 10, days=1)
    run = moves.open_run(acme.pk, 10, begin=10)
    moves.settle(acme.pk, run, *(moves.attempt(n) for n in range(1, 11)))
    moves.close(acme.pk, run)
    moves.owe(acme.pk, grant, 10)
    assert moves.balance(acme.pk) == (100, 0, 10)
    assert moves.entries(acme.pk, grant) == [("granted", 10)]


def test_what_comes_back_is_clawed_back_first_then_expires(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50, days=1)
    run = moves.open_run(acme.pk, 50)
    moves.owe(acme.pk, grant, 20)
    advance(timedelta(days=2))
    moves.close(acme.pk, run)
    assert moves.entries(acme.pk)[-3:] == [("released", 50), ("clawed_back", 20), ("expired", 30)]


def test_what_lapsed_before_it_was_owed_stays_expired(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50, days=1)
    advance(timedelta(days=2))
    moves.owe(acme.pk, grant, 50)
    assert moves.entries(acme.pk, grant) == [("granted", 50), ("expired", 50)]


def test_never_more_is_owed_than_was_granted(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50)
    with pytest.raises(IntegrityError, match="grant_owed"), transaction.atomic():
        moves.owe(acme.pk, grant, "50.0001")


# ------------------------------------------------------------------ adjust


def test_an_operator_takes_credits_away_in_burn_order_for_a_reason(acme: Organization) -> None:
    soon = moves.grant(acme.pk, 10, days=1)
    assert moves.adjust(acme.pk, 30) == 0
    assert moves.left(acme.pk, soon) == 0
    assert moves.balance(acme.pk) == (80, 0, 0)
    entry = Entry.objects.get(org=acme.pk, kind="adjusted")
    assert (entry.amount, entry.actor, entry.reason) == (30, "user:operator", "given by mistake")


def test_more_than_is_available_is_not_taken_and_says_what_is_missing(acme: Organization) -> None:
    moves.open_run(acme.pk, 70)
    assert moves.adjust(acme.pk, 31) == 1
    assert moves.balance(acme.pk) == (30, 70, 0)


def test_the_same_form_sent_twice_takes_once(acme: Organization) -> None:
    form = new_id()
    moves.adjust(acme.pk, 30, form)
    assert moves.adjust(acme.pk, 30, form) == 0
    assert moves.balance(acme.pk) == (70, 0, 0)


@pytest.mark.parametrize("other", [{"amount": 31}, {"amount": 30, "reason": "another"}])
def test_the_same_form_with_other_content_is_refused(acme: Organization, other: dict[str, Any]) -> None:
    form = new_id()
    moves.adjust(acme.pk, 30, form)
    with pytest.raises(ledger.Conflict), transaction.atomic():
        moves.adjust(acme.pk, id=form, **other)


# ------------------------------------------------------------------ tie-out


def test_a_tie_out_says_where_every_credit_is(acme: Organization) -> None:
    grant = moves.grant(acme.pk, 50, days=1)
    run = moves.open_run(acme.pk, 20, begin=5)
    moves.settle(acme.pk, run, *(moves.attempt(n) for n in range(1, 6)))
    moves.owe(acme.pk, grant, 10)
    moves.owe(acme.pk, grant, 4)
    moves.adjust(acme.pk, 6)
    advance(timedelta(days=2))
    ledger.expire(acme.pk)
    tie = books.tie_out(acme.pk)
    assert (tie.granted, tie.available, tie.reserved, tie.captured) == (150, 100, 15, 5)
    assert (tie.expired, tie.clawed_back, tie.restored, tie.adjusted) == (20, 10, 6, 6)
    assert tie.ties
    assert books.drifts(acme.pk) == []
