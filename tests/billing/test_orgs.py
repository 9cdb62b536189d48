"""Organizations are made with their balance, under an address of their own, and live in one time zone."""

from decimal import Decimal

import pytest

from billing import books, orgs
from billing.models import Account, Membership, Organization, Role, User
from oxygen_site.transactions import Refused
from tests.billing import moves
from tests.billing.moves import attempt


def test_an_org_is_born_with_an_empty_balance_and_its_owner(alice: User) -> None:
    org = orgs.create("Acme", "Europe/Lisbon", owner=alice)
    assert moves.balance(org.pk) == (0, 0, 0)
    assert Account.objects.get(org=org.pk).zone == "Europe/Lisbon"
    assert Membership.objects.get(org=org).role == Role.OWNER


@pytest.mark.parametrize(
    ("names", "slugs"),
    [
        (["Acme", "acme!", "ACME"], ["acme", "acme-2", "acme-3"]),
        (["Acme 2", "Acme", "Acme"], ["acme-2", "acme", "acme-3"]),
        (["Ørsund Marine", "Ελλάς", "株式会社"], ["orsund-marine", "ellas", "zhushihuishe"]),
        (["!", "?"], ["org", "org-2"]),
        (["a" * 120], ["a" * 50]),
    ],
)
def test_each_org_has_an_address_of_its_own(ground: None, names: list[str], slugs: list[str]) -> None:
    assert [orgs.create(name, "UTC").slug for name in names] == slugs


@pytest.mark.parametrize("name", ["", "   ", "x" * 121])
def test_an_org_needs_a_name(ground: None, name: str) -> None:
    with pytest.raises(Refused) as refused:
        orgs.create(name, "UTC")
    assert (refused.value.status, refused.value.field) == (422, "name")
    assert not Organization.objects.exists()


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "utc; DROP", "Europe", "localtime"])
def test_an_org_needs_a_known_zone(acme: Organization, zone: str) -> None:
    for verb in (lambda: orgs.create("New", zone), lambda: orgs.change_zone(acme, zone)):
        with pytest.raises(Refused) as refused:
            verb()
        assert (refused.value.status, refused.value.field) == (422, "zone")
    assert acme.zone == "Europe/Lisbon"


def test_a_zone_changes_in_the_org_and_in_its_books(acme: Organization) -> None:
    run = moves.open_run(acme.pk, 1, begin=1)
    moves.settle(acme.pk, run, attempt(1))
    orgs.change_zone(acme, "Pacific/Kiritimati")
    acme.refresh_from_db()
    assert acme.zone == Account.objects.get(org=acme.pk).zone == "Pacific/Kiritimati"
    assert books.drifts(acme.pk) == []


def test_a_person_has_one_role_in_an_org(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    orgs.add_member(acme, mallory, Role.ADMIN)
    assert Membership.objects.get(org=acme, user=mallory).role == Role.ADMIN


def test_an_approval_threshold_is_set_and_taken_away(acme: Organization) -> None:
    for credits in (Decimal(0), Decimal("12.5"), None):
        orgs.change_approval_threshold(acme, credits)
        acme.refresh_from_db()
        assert acme.approval_threshold == credits


@pytest.mark.parametrize("credits", ["-0.0001", "1.00001", "NaN", "Infinity", "1000000001"])
def test_a_threshold_that_is_none_is_refused(acme: Organization, credits: str) -> None:
    with pytest.raises(Refused) as refused:
        orgs.change_approval_threshold(acme, Decimal(credits))
    assert (refused.value.status, refused.value.field) == (422, "approval_threshold")
    acme.refresh_from_db()
    assert acme.approval_threshold is None
