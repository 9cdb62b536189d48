"""The page that moves time: for whoever may change the plan there and for operators, and only beside a local Stripe."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from billing import orgs
from billing.models import Organization, Role, User
from oxygen_site import clock
from oxygen_site.demo import moving
from tests.conftest import person
from tests.sandbox.stripe.local import Sandbox

URL = "/orgs/acme/move-time/"
pytestmark = pytest.mark.usefixtures("there", "fresh_database")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def asked_for() -> timedelta:
    move = moving.under_way()
    assert move is not None
    return move.to - move.begun


def test_an_owner_sees_what_time_it_is_and_how_far_it_can_move(local: Sandbox, acme: Organization, alice: User) -> None:
    text = signed_in(alice).get(URL).content.decode()
    assert "Move time" in text
    assert all(f'name="by" value="{by}"' in text for by in ("day", "week", "month"))
    assert 'value="renewal"' not in text


@pytest.mark.parametrize(("by", "days"), [("day", 1), ("week", 7), ("month", 30)])
def test_a_button_asks_for_a_move_and_leads_back(
    local: Sandbox, acme: Organization, alice: User, by: str, days: int
) -> None:
    answer = signed_in(alice).post(URL, {"by": by})
    assert (answer.status_code, answer["Location"]) == (302, URL)
    assert timedelta(days=days) - timedelta(seconds=5) <= asked_for() < timedelta(days=days + 2)


def test_while_time_moves_its_page_shows_how_far_and_asks_again(
    local: Sandbox, acme: Organization, alice: User
) -> None:
    owner = signed_in(alice)
    owner.post(URL, {"by": "week"})
    text = owner.get(URL, headers={"HX-Request": "true", "HX-Target": "time"}).content.decode()
    assert "On the way to" in text
    assert 'hx-trigger="every 1s"' in text
    assert "<html" not in text
    assert "button" not in text


def test_while_time_moves_it_is_not_moved_again(local: Sandbox, acme: Organization, alice: User) -> None:
    owner = signed_in(alice)
    owner.post(URL, {"by": "week"})
    answer = owner.post(URL, {"by": "day"})
    assert answer.status_code == 409
    assert "Time is moving already" in answer.content.decode()
    assert asked_for() >= timedelta(days=7) - timedelta(seconds=5)


def test_it_cannot_be_moved_in_another_way(local: Sandbox, acme: Organization, alice: User) -> None:
    assert signed_in(alice).post(URL, {"by": "renewal"}).status_code == 422
    assert signed_in(alice).post(URL, {"by": "-1"}).status_code == 422
    assert moving.under_way() is None


def test_clocks_that_differ_have_to_be_brought_together_first(local: Sandbox, acme: Organization, alice: User) -> None:
    clock.advance(timedelta(days=2))
    owner = signed_in(alice)
    text = owner.get(URL).content.decode()
    assert "The two clocks differ" in text
    assert 'value="day"' not in text
    owner.post(URL, {"by": "together"})
    assert moving.under_way() is not None


def test_a_stripe_that_does_not_answer_is_said(settings: Any, acme: Organization, alice: User) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    owner = signed_in(alice)
    assert "does not answer" in owner.get(URL).content.decode()
    assert owner.post(URL, {"by": "together"}).status_code == 200


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_who_may_not_change_the_plan_may_not_move_time(local: Sandbox, acme: Organization, role: Role) -> None:
    bob = person("Bob")
    orgs.add_member(acme, bob, role)
    assert signed_in(bob).get(URL).status_code == 403
    assert signed_in(bob).post(URL, {"by": "day"}).status_code == 403
    assert moving.under_way() is None


def test_strangers_find_nothing_and_the_unknown_sign_in(local: Sandbox, acme: Organization, mallory: User) -> None:
    assert signed_in(mallory).get(URL).status_code == 404
    assert Client().get(URL).status_code == 302


def test_operators_move_it_without_belonging_anywhere(local: Sandbox, acme: Organization, alice: User) -> None:
    ops = User.objects.create_superuser("ops@oxygen.example", name="Ops")
    assert signed_in(alice).get("/move-time/").status_code == 404
    assert signed_in(ops).get("/move-time/").status_code == 200
    signed_in(ops).post("/move-time/", {"by": "day"})
    assert asked_for() >= timedelta(days=1)


def test_the_menu_leads_there(local: Sandbox, acme: Organization, alice: User) -> None:
    assert f'href="{URL}"' in signed_in(alice).get("/orgs/acme/billing/").content.decode()


def test_a_site_without_a_local_stripe_has_no_such_page(settings: Any, acme: Organization, alice: User) -> None:
    settings.ROOT_URLCONF = "oxygen_site.urls"
    owner = signed_in(alice)
    assert owner.get(URL).status_code == 404
    assert owner.get("/move-time/").status_code == 404
    assert "move-time" not in owner.get("/orgs/acme/billing/").content.decode()
    with pytest.raises(NoReverseMatch):
        reverse("move_time", args=["acme"])
