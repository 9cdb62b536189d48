"""/admin: operators read what Stripe said, have it applied again, and see where Stripe stands differently."""

from dataclasses import replace

import pytest
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from billing import jobs
from billing.models import Customer, Grant, Organization, StripeCheck, StripeEvent, User
from billing.payments import gateway, inbox
from oxygen_site.jobs import line
from tests.billing.payments.conftest import checked_out
from tests.sandbox.stripe.local import Sandbox

EVENTS, CHECKS = "admin:billing_stripeevent_changelist", "admin:billing_stripecheck_changelist"
OF_AN_ORG = "customer subscription invoice payment paidperiod planchange purchase"
READ_ONLY = f"plan pack price {OF_AN_ORG} autotopup stripeevent stripecheck"


@pytest.fixture
def operator(client: Client, fresh_database: str) -> User:
    olga = User.objects.create_superuser("olga@oxygen.example", "a long enough password", name="Olga")
    client.force_login(olga)
    return olga


@pytest.fixture
def customer(acme: Organization, sold: Sandbox) -> Customer:
    """Acme has bought Growth by the month, and all that Stripe said of it waits."""
    id, _ = checked_out(sold, "oxygen_growth_1_month")
    customer = Customer.objects.create(org=acme, stripe_id=id)
    for event in gateway.events(acme.created_at):
        inbox.receive(event)
    return customer


def page_of(row: Model, verb: str = "change") -> str:
    """The admin's address of a row; Stripe's ids have underscores, which it writes in a manner of its own."""
    return reverse(f"admin:billing_{row._meta.model_name}_{verb}", args=[quote(row.pk)])


def replay(client: Client, *events: StripeEvent) -> str:
    chosen = {"action": "replay", "_selected_action": [event.pk for event in events]}
    return client.post(reverse(EVENTS), chosen, follow=True).content.decode()


# ------------------------------------------------------------------ events


def test_events_are_listed_with_whose_they_are_and_why(client: Client, operator: User, customer: Customer) -> None:
    inbox.apply_waiting(customer.stripe_id)
    text = client.get(reverse(EVENTS)).content.decode()
    for shown in ("invoice.paid", customer.stripe_id, "Acme", "Nothing follows from it."):
        assert shown in text


@pytest.mark.parametrize(("asked", "found"), [("state=received", True), ("state=failed", False)])
def test_events_are_filtered_by_state(
    client: Client, operator: User, customer: Customer, asked: str, found: bool
) -> None:
    text = client.get(f"{reverse(EVENTS)}?state__exact={asked.partition('=')[2]}&type=invoice.paid").content.decode()
    assert (customer.stripe_id in text) == found


@pytest.mark.parametrize("by", ["id", "object", "customer"])
def test_an_event_is_found_by_whole_ids(client: Client, operator: User, customer: Customer, by: str) -> None:
    event = StripeEvent.objects.get(type="invoice.paid")
    found = client.get(reverse(EVENTS), {"q": getattr(event, by)}).context["cl"].queryset
    assert event in found
    assert {getattr(each, by) for each in found} == {getattr(event, by)}


def test_an_events_page_shows_what_came_and_lets_nobody_change_it(
    client: Client, operator: User, customer: Customer
) -> None:
    event = StripeEvent.objects.get(type="invoice.paid")
    page = page_of(event)
    text = client.get(page).content.decode()
    assert "&quot;livemode&quot;: false" in text
    assert 'name="_save"' not in text
    assert client.post(page, {"state": "applied"}).status_code == 403


def test_replay_applies_an_event_again_and_gives_nothing_twice(
    client: Client, operator: User, customer: Customer, acme: Organization
) -> None:
    inbox.apply_waiting(customer.stripe_id)
    paid = StripeEvent.objects.get(type="invoice.paid")
    assert "Will be applied again: 1." in replay(client, paid)
    paid.refresh_from_db()
    assert (paid.state, paid.closed_at) == ("received", None)
    assert line(inbox.apply_waiting)
    inbox.apply_waiting(customer.stripe_id)
    paid.refresh_from_db()
    assert (paid.state, paid.tries) == ("applied", 2)
    assert Grant.objects.filter(org=acme.pk, source="plan_refill").count() == 1


def test_what_is_parked_or_about_nothing_stays_and_it_is_said(
    client: Client, operator: User, customer: Customer
) -> None:
    other = replace(gateway.events(customer.org.created_at)[0], id="evt_live", livemode=True)
    inbox.receive(other)
    stays = [StripeEvent.objects.get(pk="evt_live"), StripeEvent.objects.filter(state="ignored")[0]]
    assert "nothing that is kept here: 2." in replay(client, *stays)
    assert [StripeEvent.objects.get(pk=event.pk).state for event in stays] == ["parked", "ignored"]


# ------------------------------------------------------------------ the rest is read only


def test_nothing_can_be_added_changed_or_deleted(
    client: Client, operator: User, customer: Customer, acme: Organization
) -> None:
    inbox.apply_waiting(customer.stripe_id)
    for model in READ_ONLY.split():
        listed = client.get(reverse(f"admin:billing_{model}_changelist"))
        assert listed.status_code == 200, model
        assert client.get(reverse(f"admin:billing_{model}_add")).status_code == 403, model
        for row in listed.context["cl"].queryset[:1]:
            assert client.get(page_of(row)).status_code == 200, model
            for verb in ("change", "delete"):
                assert client.post(page_of(row, verb)).status_code == 403, model


def test_rows_are_searched_by_org(client: Client, operator: User, customer: Customer) -> None:
    inbox.apply_waiting(customer.stripe_id)
    for model in OF_AN_ORG.split():
        page = reverse(f"admin:billing_{model}_changelist")
        assert client.get(page, {"q": "nobody"}).context["cl"].queryset.count() == 0, model
        rows = client.get(page, {"q": "acme"}).context["cl"].queryset
        assert {row.org.name for row in rows} <= {"Acme"}
        assert rows.exists() == (model not in ("planchange", "purchase")), model


# ------------------------------------------------------------------ drift


def test_drift_is_shown_newest_first(client: Client, operator: User, customer: Customer) -> None:
    StripeEvent.objects.all().delete()  # none of them came
    jobs.compare_with_stripe()
    jobs.compare_with_stripe()
    assert [check.caught_up > 0 for check in client.get(reverse(CHECKS)).context["cl"].result_list] == [False, True]
    page = page_of(StripeCheck.objects.latest())
    assert "here not taken down; at Stripe paid" in client.get(page).content.decode()


def test_an_operator_has_the_comparison_made_now(client: Client, operator: User, sold: Sandbox) -> None:
    assert "Compare now" in client.get(reverse(CHECKS)).content.decode()
    page = reverse("admin:billing_stripecheck_compare")
    for _ in range(2):
        assert "Is being compared" in client.post(page, follow=True).content.decode()
    assert len(line(jobs.compare_now)) == 1
    jobs.compare_now()
    assert StripeCheck.objects.count() == 1
    assert client.get(page).status_code == 405


def test_without_stripe_there_is_nothing_to_compare_with(client: Client, operator: User) -> None:
    answer = client.post(reverse("admin:billing_stripecheck_compare"), follow=True)
    assert "not set up" in answer.content.decode()
    assert line(jobs.compare_now) == []


def test_staff_without_the_permissions_neither_see_nor_press(
    client: Client, operator: User, customer: Customer
) -> None:
    User.objects.filter(pk=operator.pk).update(is_superuser=False)
    paid = StripeEvent.objects.get(type="invoice.paid")
    inbox.apply_waiting(customer.stripe_id)
    assert client.get(reverse(EVENTS)).status_code == 403
    assert client.post(reverse("admin:billing_stripecheck_compare")).status_code == 403
    replay(client, paid)
    assert StripeEvent.objects.get(pk=paid.pk).state == "applied"
