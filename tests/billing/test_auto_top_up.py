"""/orgs/<slug>/subscribe/automatic/: when credits are bought by themselves, and what became of it."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing import top_ups
from billing.models import AutoTopUp, Organization, Subscription, User
from billing.payments import inbox
from tests.billing.payments.conftest import another_card, growth
from tests.billing.test_overview import words
from tests.sandbox.stripe.local import Sandbox

__all__ = ["growth"]
WISH = {"on": "on", "threshold": "31000", "pack": "pack-1000-1", "maximum": "25.00"}


class Page:
    """Alice's browser on Acme's page."""

    def __init__(self, client: Client, org: Organization) -> None:
        self.client, self.url = client, reverse("billing:auto_top_up", args=[org.slug])

    def read(self) -> str:
        return words(self.client.get(self.url).content.decode())

    def send(self, **changes: Any) -> tuple[int, str]:
        answer = self.client.post(self.url, WISH | changes)
        return answer.status_code, words(answer.content.decode())


@pytest.fixture
def visit(client: Client, alice: User, acme: Organization, sold: Sandbox) -> Page:
    client.force_login(alice)
    return Page(client, acme)


@pytest.fixture
def paying(growth: Subscription) -> Subscription:
    """Acme has a card on file."""
    inbox.look("customer", growth.customer.stripe_id)
    return growth


def test_it_is_off_until_somebody_wishes_it(visit: Page) -> None:
    said = visit.read()
    assert "Off: nothing is bought by itself." in said
    assert "1,000 credits for $12.00" in said
    assert "Nothing was bought by itself." in said


def test_what_is_saved_is_shown_in_one_sentence(visit: Page, paying: Subscription) -> None:
    assert visit.send()[0] == 302
    said = visit.read()
    assert (
        "On: when fewer than 31,000 credits are available, 1,000 more are bought for $12.00,"
        " for at most $25.00 a credit month." in said
    )
    wish = AutoTopUp.objects.get()
    assert (wish.on, wish.threshold, wish.monthly_max) == (True, 31000, 2500)
    assert visit.send(on="")[0] == 302
    assert "Off: nothing is bought by itself." in visit.read()


def test_without_a_card_it_says_how_to_get_one(visit: Page) -> None:
    status, said = visit.send()
    assert status == 409
    assert "There is no card on file yet" in said
    assert not AutoTopUp.objects.exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"threshold": "0"}, "a number of credits above 0"),
        ({"threshold": "many"}, "Enter a number."),
        ({"threshold": "NaN"}, "Enter a number."),
        ({"maximum": "11.99"}, "less than one pack costs"),
        ({"maximum": "25.001"}, "no coin as small as that"),
        ({"maximum": "1e9"}, "less than or equal to 1000000"),
        ({"pack": "pack-of-cards"}, "Select a valid choice"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_was_typed(
    changes: dict[str, str], why: str, visit: Page, paying: Subscription
) -> None:
    status, said = visit.send(**changes)
    assert (status, why in said) == (422, True)
    assert not AutoTopUp.objects.exists()


def test_what_it_did_this_month_is_listed(visit: Page, paying: Subscription, acme: Organization) -> None:
    visit.send()
    top_ups.top_up_due()
    said = visit.read()
    assert "$12.00 of $25.00, before tax" in said
    assert "1,000 credits Paid" in said.replace("creditsPaid", "credits Paid")


def test_a_confirmation_that_is_waited_for_has_its_link(
    visit: Page, paying: Subscription, acme: Organization, sold: Sandbox
) -> None:
    visit.send()
    another_card(sold, acme, "pm_card_authenticationRequired")
    top_ups.top_up_due()
    waiting = top_ups.asked(acme)
    assert waiting
    assert f'href="{waiting.url}"' in visit.client.get(visit.url).content.decode()


def test_why_it_was_switched_off_is_said_here_and_on_the_overview(
    visit: Page, paying: Subscription, acme: Organization
) -> None:
    visit.send()
    AutoTopUp.objects.update(on=False, why="It failed 3 times in a row: Your card was declined.")
    assert "It was switched off. It failed 3 times in a row" in visit.read()
    overview = visit.client.get(reverse("billing:overview", args=[acme.slug])).content.decode()
    assert f'href="{visit.url}"' in overview
    visit.send()
    assert "It was switched off" not in visit.read()


def test_without_a_key_there_is_nothing_to_save(visit: Page, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    said = visit.read()
    assert "Payment is not set up on this server" in said
    assert "Save" not in said
