"""/orgs/<slug>/subscribe/: what a change costs before it is made, and what comes of it. Against a local Stripe."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from billing import balance, plans
from billing.models import Invoice, Organization, PlanChange, Purchase, Role, Subscription, User
from billing.orgs import add_member
from oxygen_site.clock import clock
from tests.billing.payments.conftest import VISA
from tests.billing.test_overview import words
from tests.conftest import person
from tests.sandbox.stripe.local import Sandbox

DECLINES = "4000000000000341"  # attaches, and fails when it is charged

type Send = Callable[..., Any]


@pytest.fixture
def visit(client: Client, alice: User, acme: Organization, sold: Sandbox) -> Send:
    """Alice's browser on Acme's plan page: `visit("preview", plan="scale")` posts, `visit()` reads."""
    client.force_login(alice)

    def send(name: str = "subscribe", *, post: bool | None = None, htmx: str = "", **sent: Any) -> Any:
        headers = {"HX-Request": "true", "HX-Target": htmx} if htmx else {}
        url = reverse(f"billing:{name}", args=[acme.slug])
        asks = client.post if (name != "subscribe" if post is None else post) else client.get
        return asks(url, sent, headers=headers)

    return send


def text(answer: HttpResponse) -> str:
    return words(answer.content.decode())


def way_out(answer: HttpResponse) -> str:
    """The link to Stripe on the page that leads there."""
    found = re.search(r'href="([^"]+)" rel="noreferrer">Continue to Stripe', answer.content.decode())
    assert found
    return found[1]


def subscribed(visit: Send, local: Sandbox, plan: str = "growth", interval: str = "month", card: str = VISA) -> None:
    """Buy a first subscription as a person does, and come back."""
    local.press(way_out(visit("checkout", plan=plan, interval=interval)), "pay", number=card)
    session = Purchase.objects.get(is_plan=True).session
    assert "You are on" in text(visit("returned", session_id=session))


def shown(answer: HttpResponse) -> dict[str, str]:
    """The fields that the preview would send with its button."""
    names = ("change", "shown")
    found = {name: re.search(rf'name="{name}" value="([^"]+)"', answer.content.decode()) for name in names}
    return {name: match[1] for name, match in found.items() if match}


def available(org: Organization) -> Any:
    return balance.read(org, clock()).available


# ------------------------------------------------------------------ looking


def test_a_card_says_price_credits_what_a_thousand_cost_and_what_rolls_over(visit: Send) -> None:
    said = text(visit())
    assert "You are on Free: 500 credits a month." in said
    assert "$249a month 30,000 credits, $8.30 per 1,000" in said
    assert "$2,490a year 30,000 credits a month, $6.92 per 1,000" in said
    assert "Credits roll over 1 month" in said


def test_looking_asks_stripe_nothing(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    before = len(sold.asked("GET") + sold.asked("POST"))
    for name in ("subscribe", "invoices", "overview", "cancel_plan"):
        assert visit(name, post=False).status_code == 200
    assert visit("returned", post=False, session_id=Purchase.objects.get().session).status_code == 200
    assert len(sold.asked("GET") + sold.asked("POST")) == before


def test_looking_costs_the_same_whatever_there_is(
    visit: Send, sold: Sandbox, django_assert_max_num_queries: Any
) -> None:
    subscribed(visit, sold)
    with django_assert_max_num_queries(16):
        visit()


def test_who_may_not_buy_sees_the_plans_and_whom_to_ask(visit: Send, client: Client, acme: Organization) -> None:
    vera = person("Vera")
    add_member(acme, vera, Role.MEMBER)
    client.force_login(vera)
    said = visit().content.decode()
    assert "Only an admin or owner of <bdi>Acme</bdi> can change the plan or buy credits." in said
    assert "30,000" in said
    assert 'name="plan"' not in said
    assert "Buy these credits" not in said


def test_without_a_key_a_sentence_says_so_and_there_is_nothing_to_press(visit: Send, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    said = visit().content.decode()
    assert "Payment is not set up on this server" in said
    assert 'name="plan"' not in said


@pytest.mark.parametrize("name", ["checkout", "top_up", "portal"])
def test_without_a_key_what_is_sent_all_the_same_is_refused_in_words(visit: Send, settings: Any, name: str) -> None:
    settings.STRIPE_SECRET_KEY = ""
    answer = visit(name, plan="growth", interval="month", pack="pack-5000-1")
    assert answer.status_code == 409
    assert "set up" in text(answer)


# ------------------------------------------------------------------ a first subscription


def test_the_preview_of_a_first_plan_is_its_price(visit: Send, sold: Sandbox) -> None:
    before = len(sold.asked("GET") + sold.asked("POST"))
    said = text(visit("preview", htmx="preview", plan="growth", interval="year"))
    assert "Subscribe to Growth" in said
    assert "Credits added today 30,000" in said
    assert "Subscribe for $2,490.00 a year" in said
    assert len(sold.asked("GET") + sold.asked("POST")) == before


def test_htmx_moves_the_page_to_checkout(visit: Send, sold: Sandbox) -> None:
    answer = visit("checkout", htmx="preview", plan="growth", interval="month")
    assert answer["HX-Redirect"].startswith(f"{sold.url}/c/pay/")


def test_a_buyer_pays_comes_back_and_is_on_the_plan_with_its_credits(
    visit: Send, sold: Sandbox, acme: Organization
) -> None:
    sold.press(way_out(visit("checkout", plan="growth", interval="month")), "pay", number=VISA)
    session = Purchase.objects.get().session
    waiting = visit("returned", post=False, session_id=session).content.decode()
    assert "Confirming your payment…" in waiting
    assert "every 2s" in waiting
    done = visit("returned", htmx="outcome", session_id=session).content.decode()
    assert "You are on Growth" in done
    assert "every 2s" not in done
    assert available(acme) == 30100
    assert re.search(r"You are on Growth\. It renews on .* for \$249\.00, before tax\.", text(visit()))


def test_an_open_checkout_can_be_gone_on_with(visit: Send) -> None:
    url = way_out(visit("checkout", plan="growth", interval="month"))
    said = visit().content.decode()
    assert "Growth is not paid yet" in said
    assert url in said


def test_anothers_return_is_not_there(visit: Send, client: Client, mallory: User, globex: Organization) -> None:
    visit("checkout", plan="growth", interval="month")
    client.force_login(mallory)
    url = reverse("billing:returned", args=[globex.slug])
    assert client.get(url, {"session_id": Purchase.objects.get().session}).status_code == 404
    assert client.post(url, {"session_id": Purchase.objects.get().session}).status_code == 404


def test_a_return_about_nothing_leads_to_the_plan(visit: Send) -> None:
    assert visit("returned", post=False).headers["Location"] == reverse("billing:subscribe", args=["acme"])


# ------------------------------------------------------------------ changes


def test_an_upgrade_is_shown_from_both_sides(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    said = text(visit("preview", htmx="preview", plan="scale", interval="month"))
    assert "Growth to Scale" in said
    assert "Nothing to pay today." in said
    assert re.search(r"Now, prorated[\d,.]+ more credits right away\.", said)
    assert "Due today $0.00" in said
    assert re.search(r"From .*, each month, before tax \$699\.00", said)


def test_an_upgrade_now_charges_and_adds_what_was_shown(visit: Send, sold: Sandbox, acme: Organization) -> None:
    subscribed(visit, sold)
    ticked = {"plan": "scale", "interval": "month", "when": "now"}
    preview = visit("preview", htmx="preview", **ticked)
    change = PlanChange.objects.get(pk=shown(preview)["change"])
    assert "This price holds until" in text(preview)
    made = visit("confirm", htmx="preview", **ticked, **shown(preview))
    assert made["HX-Redirect"].endswith(f"/return/?change={change.pk}")
    assert "Scale since" in text(visit("returned", htmx="outcome", change=change.pk))
    assert Invoice.objects.filter(total=change.due, status="paid").exists()
    assert available(acme) == 30100 + change.credits
    assert "You are on Scale." in text(visit())


def test_a_downgrade_is_scheduled_seen_and_undone(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    ticked = {"plan": "starter", "interval": "month", "when": "renewal"}
    preview = visit("preview", htmx="preview", **ticked)
    assert "Only upgrades can start before the renewal." in text(preview)
    assert visit("confirm", **ticked, **shown(preview))["Location"] == reverse("billing:subscribe", args=["acme"])
    said = visit().content.decode()
    assert "Growth to Starter" in said
    assert "Until then nothing changes." in said
    change = PlanChange.objects.get(state="scheduled")
    assert visit("undo", change=change.pk).status_code == 302
    assert "Growth to Starter" not in visit().content.decode()


CANNOT_BE_BOUGHT: list[dict[str, str]] = [
    {"plan": "starter", "interval": "month", "when": "now"},
    {"plan": "growth", "interval": "year", "when": "now"},
    {"plan": "enterprise", "interval": "month"},
    {"plan": "free", "interval": "month"},
    {"plan": "scale", "interval": "week"},
    {"plan": "scale", "interval": "month", "quantity": "2"},
    {"plan": "scale", "interval": "month", "currency": "eur"},
    {"plan": "scale\0", "interval": "month"},
    {},
]


def test_what_cannot_be_bought_is_422(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    for ticked in CANNOT_BE_BOUGHT:
        answer = visit("preview", htmx="preview", **ticked)
        assert answer.status_code == 422, ticked
        assert 'role="alert"' in answer.content.decode()
    assert not PlanChange.objects.exists()


def test_a_checkout_of_what_is_not_sold_is_422(visit: Send) -> None:
    for ticked in CANNOT_BE_BOUGHT[2:]:
        assert visit("checkout", htmx="preview", **ticked).status_code == 422, ticked
    assert not Purchase.objects.exists()


def test_now_that_was_ticked_for_another_change_is_not_meant_for_this_one(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    answer = visit("preview", htmx="preview", plan="starter", interval="month", when="now", shown="scale:month")
    assert answer.status_code == 200
    assert re.search('value="renewal" checked', answer.content.decode())


def test_a_quote_that_no_longer_holds_is_answered_with_a_new_one(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    ticked = {"plan": "scale", "interval": "month", "when": "now"}
    old = shown(visit("preview", htmx="preview", **ticked))
    PlanChange.objects.filter(pk=old["change"]).update(until=clock() - timedelta(seconds=1))
    answer = visit("confirm", htmx="preview", **ticked, **old)
    assert answer.status_code == 409
    assert 'role="alert"' in answer.content.decode()
    assert shown(answer)["change"] != old["change"]
    assert visit("confirm", htmx="preview", **ticked, **shown(answer)).status_code == 200


@pytest.mark.parametrize("ticked", [{"when": "renewal"}, {"plan": "starter"}, {"interval": "year"}])
def test_a_button_does_not_do_what_is_no_longer_ticked(visit: Send, sold: Sandbox, ticked: dict[str, str]) -> None:
    subscribed(visit, sold)
    seen = {"plan": "scale", "interval": "month", "when": "now"}
    answer = visit("confirm", **(seen | shown(visit("preview", **seen)) | ticked))
    assert answer.status_code == 409
    assert "Here is what that costs." in text(answer)
    assert not PlanChange.objects.exclude(state="quoted").exists()


def test_a_checkout_of_another_plan_than_was_shown_is_shown_first(visit: Send, sold: Sandbox) -> None:
    quote = shown(visit("preview", plan="growth", interval="month"))
    answer = visit("checkout", plan="scale", interval="month", **quote)
    assert answer.status_code == 409
    assert "Subscribe for $699.00 a month" in text(answer)
    assert not Purchase.objects.exists()


def test_a_quote_of_nobody_is_answered_with_a_new_one(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    for change in ("4d6f0b5e-0000-4000-8000-000000000000", "nonsense", ""):
        answer = visit("confirm", htmx="preview", plan="scale", interval="month", when="now", change=change)
        assert answer.status_code == 409
        assert shown(answer)["change"] != change


def test_an_upgrade_whose_card_is_declined_waits_and_can_be_dropped(
    visit: Send, sold: Sandbox, acme: Organization
) -> None:
    subscribed(visit, sold)
    sold.order("settings", fail_next_payments=["card_declined"])
    ticked = {"plan": "scale", "interval": "month", "when": "now"}
    preview = visit("preview", **ticked)
    visit("confirm", **ticked, **shown(preview))
    change = PlanChange.objects.get(pk=shown(preview)["change"])
    assert "The payment is not finished" in text(visit("returned", change=change.pk))
    said = visit().content.decode()
    assert "Pay it, or finish the check with your bank" in said
    assert "You are on <strong>Growth</strong>" in said
    assert "Pay it or drop it, then choose another plan." in said
    assert "waits for its payment" in visit("overview", post=False).content.decode()
    visit("undo", change=change.pk)
    assert "Growth to Scale" not in visit().content.decode()
    assert available(acme) == 30100


def test_the_owner_cancels_and_keeps_it_after_all(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    assert "Cancel Growth?" in text(visit("cancel_plan", post=False, htmx="dialog-body"))
    assert visit("cancel_plan").status_code == 302
    said = text(visit())
    assert re.search(r"You are on Growth\. It ends on", said)
    assert "Cancel the subscription" not in said
    visit("undo", change=PlanChange.objects.get(state="scheduled").pk)
    assert re.search(r"You are on Growth\. It renews on", text(visit()))


def test_where_there_is_nothing_to_cancel_it_says_so(visit: Send) -> None:
    assert "There is nothing to cancel" in text(visit("cancel_plan", post=False))
    assert visit("cancel_plan").status_code == 409


def test_a_failed_renewal_leads_to_its_payment(visit: Send, sold: Sandbox, acme: Organization) -> None:
    subscribed(visit, sold)
    Subscription.objects.update(status="past_due", pay_url="https://invoice.example/1")
    for name in ("subscribe", "overview"):
        said = visit(name, post=False).content.decode()
        assert "The payment of Growth failed." in said
        assert 'href="https://invoice.example/1"' in said
    assert "Once that is paid, the plan can be changed." in visit().content.decode()


# ------------------------------------------------------------------ packs and the portal


def test_a_pack_is_bought_and_its_credits_come(visit: Send, sold: Sandbox, acme: Organization) -> None:
    url = way_out(visit("top_up", pack="pack-5000-1"))
    sold.press(url, "pay", number=VISA)
    said = text(visit("returned", session_id=Purchase.objects.get().session))
    assert "5,000 credits were added" in said
    assert available(acme) == 5100


@pytest.mark.parametrize("pack", ["pack-7-1", "", "\0"])
def test_an_unknown_pack_is_422_where_it_was_chosen(visit: Send, pack: str) -> None:
    answer = visit("top_up", htmx="top-up", pack=pack)
    assert answer.status_code == 422
    assert answer.content.decode().strip().startswith('<form id="top-up"')
    assert 'role="alert"' in answer.content.decode()


def test_the_portal_opens_and_leads_back(visit: Send, sold: Sandbox) -> None:
    subscribed(visit, sold)
    answer = visit("portal", htmx="portal", flow="payment_method_update", back="billing:invoices")
    assert answer["HX-Redirect"].startswith(f"{sold.url}/p/session/")


def test_stripe_out_of_reach_is_said_and_nothing_is_half_done(visit: Send, sold: Sandbox, acme: Organization) -> None:
    subscribed(visit, sold)
    sold.order("faults", kind="error", times=50, path="/v1/")
    answer = visit("preview", plan="scale", interval="month")
    assert answer.status_code == 409
    assert 'role="alert"' in answer.content.decode()
    sold.order("faults", kind="error", times=0, path="/v1/")
    assert plans.read(acme, clock()).change is None
