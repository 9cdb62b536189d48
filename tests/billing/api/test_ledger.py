"""GET /ledger and /grants: the books themselves, as they are written down."""

from decimal import Decimal

import pytest

from billing.models import Grant, Organization, User
from oxygen_site.clock import new_id
from tests.billing.moves import adjust, attempt, close, open_run, owe, settle
from tests.billing.test_api import key
from tests.conftest import give
from tests.contract import Json, ask


@pytest.fixture
def secret(acme: Organization, alice: User) -> str:
    """A key of Acme's: a run of two calls, closed; a grant clawed back in part; and an adjustment."""
    run = open_run(acme.pk, 10, begin=2)
    settle(acme.pk, run, attempt(1), attempt(2, outcome="failed_before_billing"))
    close(acme.pk, run)
    owe(acme.pk, give(acme, 20), 5)
    adjust(acme.pk, "0.5")
    return key(acme, alice)


def listed(secret: str, query: str = "limit=200") -> list[Json]:
    entries: list[Json] = ask(f"/ledger?{query}", secret).data["entries"]
    return entries


def test_every_entry_stands_there_with_the_balances_after_it(secret: str) -> None:
    figures = [(e["kind"], e["amount"], e["available_after"], e["reserved_after"]) for e in listed(secret)]
    assert figures == [
        ("adjusted", Decimal("0.5"), Decimal("113.5"), 0),
        ("clawed_back", 5, 114, 0),
        ("granted", 20, 119, 0),
        ("released", 9, 99, 0),
        ("released", 0, None, None),
        ("captured", 1, None, None),
        ("reserved", 10, 90, 10),
        ("granted", 100, 100, 0),
    ]


def test_an_entry_names_its_run_its_grant_and_its_actor(secret: str) -> None:
    adjusted, clawed, granted, released, _, captured, reserved, _ = listed(secret)
    assert (adjusted["run"], adjusted["grant"], adjusted["reason"]) == (None, None, "given by mistake")
    assert clawed["grant"] == granted["grant"] is not None
    assert (clawed["actor"], granted["run"]) == ("stripe:re_1", None)
    assert reserved["run"] == released["run"] == captured["run"] is not None
    assert (captured["actor"], captured["item"], captured["held"]) == (f"run:{captured['run']}", 1, 1)
    assert (reserved["item"], reserved["attempt"], reserved["account_seq"]) == (None, None, 2)


def test_its_pages_and_its_kinds_come_to_the_whole(secret: str) -> None:
    whole, page, paged = listed(secret), ask("/ledger?limit=3", secret).data, []
    while True:
        paged += page["entries"]
        if not page["next_cursor"]:
            break
        page = ask(f"/ledger?limit=3&cursor={page['next_cursor']}", secret).data
    assert paged == whole
    kinds = {entry["kind"] for entry in whole}
    by_kind = [entry for kind in kinds for entry in listed(secret, f"kind={kind}")]
    assert {entry["id"] for entry in by_kind} == {entry["id"] for entry in whole}
    assert all(entry["reserved_after"] is None for entry in by_kind)


def test_a_span_takes_its_start_and_leaves_its_end(secret: str) -> None:
    whole = listed(secret)
    between = listed(secret, f"start={whole[3]['timestamp']}&end={whole[1]['timestamp']}")
    assert between == whole[2:4]


def test_grants_show_what_became_of_them(acme: Organization, secret: str) -> None:
    newest, first = ask("/grants", secret).data["grants"]
    assert (newest["amount"], newest["owed"], newest["clawed_back"], newest["remaining"]) == (20, 5, 5, 15)
    assert (first["burned"], first["adjusted"], first["remaining"]) == (1, Decimal("0.5"), Decimal("98.5"))
    assert (first["source"], first["paid"], first["currency"]) == ("promo", None, None)
    assert first["id"] == str(Grant.objects.get(org=acme.pk, key=first["key"]).id)


def test_grants_are_paged_and_told_apart_by_what_is_left(secret: str) -> None:
    page = ask("/grants?limit=1", secret).data
    rest = ask(f"/grants?limit=1&cursor={page['next_cursor']}", secret).data
    assert [page["grants"][0]["amount"], rest["grants"][0]["amount"], rest["next_cursor"]] == [20, 100, None]
    assert len(ask("/grants?open=true", secret).data["grants"]) == 2
    assert ask("/grants?open=false", secret).data["grants"] == []
    assert ask("/grants?open=maybe", secret).status == 422


def test_nobody_reads_anothers_books(globex: Organization, mallory: User, acme: Organization, secret: str) -> None:
    hers = key(globex, mallory)
    run = next(entry["run"] for entry in listed(secret) if entry["run"])
    assert [entry["amount"] for entry in listed(hers)] == [100]
    assert ask(f"/usage?run={run}", hers).data["entries"] == []
    assert ask(f"/usage?run={new_id()}", hers).data["entries"] == []
