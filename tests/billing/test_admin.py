"""/admin: operators give and take credits for a reason, through the verbs."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from billing import books, orgs
from billing.models import Entry, Grant, Organization, User
from oxygen_site.clock import new_id
from oxygen_site.transactions import intention
from tests.billing import moves


@pytest.fixture
def operator(client: Client, fresh_database: str) -> User:
    olga = User.objects.create_superuser("olga@oxygen.example", "a long enough password", name="Olga")
    client.force_login(olga)
    return olga


def page(org: Organization) -> str:
    return reverse("admin:organization_credits", args=[org.pk])


def giving(**changes: object) -> dict[str, object]:
    form = {"id": new_id(), "amount": "25.5", "source": "promo", "days": "30", "reason": "a sorry for Monday"}
    return {"verb": "give", **{f"give-{name}": value for name, value in (form | changes).items()}}


def taking(**changes: object) -> dict[str, object]:
    form = {"id": new_id(), "amount": "40", "reason": "granted by mistake"}
    return {"verb": "take", **{f"take-{name}": value for name, value in (form | changes).items()}}


def test_an_operator_gives_credits_and_the_ledger_says_who_and_why(
    client: Client, operator: User, acme: Organization
) -> None:
    assert client.post(page(acme), giving()).status_code == 302
    entry = Entry.objects.filter(org=acme.pk).latest("account_seq")
    assert (entry.kind, entry.amount, entry.available_after) == ("granted", Decimal("25.5"), Decimal("125.5"))
    assert (entry.actor, entry.reason) == (f"user:{operator.pk}", "a sorry for Monday")


def test_the_same_form_twice_gives_once(client: Client, operator: User, acme: Organization) -> None:
    form = giving()
    client.post(page(acme), form)
    assert client.post(page(acme), form).status_code == 302
    assert books.tie_out(acme.pk).available == Decimal("125.5")


def test_the_same_form_with_another_amount_is_refused(client: Client, operator: User, acme: Organization) -> None:
    form = giving()
    client.post(page(acme), form)
    answer = client.post(page(acme), form | {"give-amount": "99"})
    assert answer.status_code == 422
    assert "used already" in answer.text
    assert books.tie_out(acme.pk).available == Decimal("125.5")


def test_an_operator_takes_credits(client: Client, operator: User, acme: Organization) -> None:
    form = taking()
    client.post(page(acme), form)
    client.post(page(acme), form)
    assert books.tie_out(acme.pk).available == Decimal(60)
    assert books.drifts(acme.pk) == []


def test_more_than_is_available_is_not_taken(client: Client, operator: User, acme: Organization) -> None:
    answer = client.post(page(acme), taking(amount="100.0001"))
    assert answer.status_code == 422
    assert "Only 100 credits are available" in answer.text
    assert books.tie_out(acme.pk).available == Decimal(100)


@pytest.mark.parametrize("amount", ["0", "-1", "many", "1.00001", "NaN", "1e30"])
def test_a_bad_amount_is_refused_by_name(client: Client, operator: User, acme: Organization, amount: str) -> None:
    answer = client.post(page(acme), giving(amount=amount))
    assert answer.status_code == 422
    assert answer.context["give"].errors.keys() == {"amount"}
    assert books.tie_out(acme.pk).available == Decimal(100)


def test_a_reason_is_required(client: Client, operator: User, acme: Organization) -> None:
    assert client.post(page(acme), taking(reason="")).context["take"].errors.keys() == {"reason"}


def test_nobody_else_gets_in(client: Client, acme: Organization, alice: User, fresh_database: str) -> None:
    client.force_login(alice)
    assert client.get(page(acme)).status_code == 302
    assert client.post(page(acme), giving()).status_code == 302
    assert books.tie_out(acme.pk).available == Decimal(100)


def test_the_organizations_page_shows_its_balance(client: Client, operator: User, acme: Organization) -> None:
    answer = client.get(reverse("admin:billing_organization_change", args=[acme.pk]))
    assert "100 available, 0 reserved" in answer.text


@pytest.mark.parametrize(("typed", "status", "kept"), [("50", 302, 50), ("", 302, None), ("-1", 200, 7)])
def test_an_operator_sees_and_sets_the_approval_threshold(
    client: Client, operator: User, acme: Organization, typed: str, status: int, kept: int | None
) -> None:
    orgs.change_approval_threshold(acme, Decimal(7))
    url = reverse("admin:billing_organization_change", args=[acme.pk])
    assert 'name="approval_threshold" value="7.0000"' in client.get(url).content.decode()
    no_members = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    answer = client.post(url, {"name": "Acme", "agency": "", "approval_threshold": typed} | no_members)
    assert answer.status_code == status
    assert Organization.objects.get(pk=acme.pk).approval_threshold == kept


# ------------------------------------------------------------------ shortfalls


def spend(org: Organization, credits: int) -> None:
    """Let a run capture so many credits, and close."""

    def verb() -> None:
        run = moves.open_run(org.pk, credits, begin=1, unit=credits)
        moves.settle(org.pk, run, moves.attempt(1, credits, credits))
        moves.close(org.pk, run)

    intention(verb)


def shortfalls(client: Client) -> list[tuple[Organization, Decimal]]:
    answer = client.get(reverse("admin:organization_shortfalls"))
    return [(line.org, line.short) for line in answer.context["shortfalls"]]


def test_money_that_went_back_after_its_credits_were_captured_is_a_shortfall(
    client: Client, operator: User, acme: Organization, globex: Organization
) -> None:
    grant = Grant.objects.get(org=acme.pk).id
    spend(acme, 70)
    intention(lambda: moves.owe(acme.pk, grant, 30))
    intention(lambda: moves.owe(globex.pk, Grant.objects.get(org=globex.pk).id, 100))
    assert shortfalls(client) == []
    intention(lambda: moves.owe(acme.pk, grant, 100))
    assert shortfalls(client) == [(acme, Decimal(70))]
    assert (
        reverse("admin:billing_organization_change", args=[acme.pk])
        in client.get(reverse("admin:organization_shortfalls")).text
    )
    assert books.drifts() == []


def test_credits_held_by_an_open_run_are_no_shortfall_yet(client: Client, operator: User, acme: Organization) -> None:
    intention(lambda: moves.open_run(acme.pk, 70))
    intention(lambda: moves.owe(acme.pk, Grant.objects.get(org=acme.pk).id, 100))
    assert shortfalls(client) == []


def test_staff_without_the_permission_see_no_shortfalls(client: Client, operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(is_superuser=False)
    assert client.get(reverse("admin:organization_shortfalls")).status_code == 403
