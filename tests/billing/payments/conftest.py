"""The product's payments against the local Stripe: every answer judged, and every POST under a key made of facts.

Stripe is never asked inside a transaction, so whoever asks it lives on a database of the test's own.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import stripe
from django.core.management import call_command
from django.db import connection

from billing import plans
from billing.models import Customer, Organization, Pack, Plan, Price, Subscription, User
from billing.payments import gateway, inbox, purchases
from oxygen_site import clock
from oxygen_site.transactions import Refused
from tests.sandbox.stripe.local import OF_FACTS, Sandbox, running

SECRET = "whsec_of_the_tests"


@pytest.fixture(scope="session")
def _local() -> Iterator[Sandbox]:
    with running() as local:
        yield local


@pytest.fixture
def local(_local: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """An empty Stripe that the product is set up with."""
    with set_up_with(_local, settings, monkeypatch):
        yield _local


@contextmanager
def set_up_with(
    local: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch, *, keyed: bool = True
) -> Iterator[None]:
    """Empty a Stripe and have the product speak to it. Afterwards every POST must have had a key of facts, or may be
    somebody's who sends none.
    """
    settings.STRIPE_SECRET_KEY = "sk_test_product"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_API_BASE = local.url
    settings.STRIPE_ALLOW_SANDBOX = True
    monkeypatch.setattr(stripe, "RequestsClient", lambda **how: local.products)
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.05)  # seconds until the SDK tries again by itself
    gateway.client.cache_clear()
    with local.emptied():
        yield
        keys = [str(each["idempotency_key"]) for each in local.asked()]
        assert not keyed or [key for key in keys if not OF_FACTS.fullmatch(key)] == []
    gateway.client.cache_clear()


# What is on sale at a Stripe and here, once it was put there; to do so anew takes each test a third of a second.
ON_SALE: dict[str, list[Any]] = {}


@pytest.fixture
def sold(fresh_database: str, local: Sandbox) -> Sandbox:
    """All plans and packs are on sale, here and there, and the time is the same: here up to a second ahead."""
    if local.url not in ON_SALE:
        call_command("sync_plans", stdout=StringIO())
        ON_SALE[local.url] = [local.kept(), *(list(model.objects.all()) for model in (Plan, Pack, Price))]
        for model in (Price, Pack, Plan):
            model.objects.all().delete()
    there, *here = ON_SALE[local.url]
    local.order("reset", to=there)
    for rows in here:
        type(rows[0]).objects.bulk_create(rows)
    ahead = local.http.get("/_emu").json()["now"] + 1 - clock.clock().timestamp()
    clock.advance(timedelta(seconds=max(ahead, 0)))
    return local


def pass_time(local: Sandbox, **time: int) -> None:
    """Let time pass, here and at Stripe."""
    clock.advance(timedelta(**time))
    local.order("clock", by=int(timedelta(**time).total_seconds()))


URLS = ("https://oxygen.example/back?session_id={CHECKOUT_SESSION_ID}", "https://oxygen.example/subscribe")


@pytest.fixture
def growth(sold: Sandbox, acme: Organization, alice: User) -> Subscription:
    """Acme's subscription to Growth by the month, bought just now."""
    return subscribed(sold, acme, alice, "growth")


def subscribed(
    local: Sandbox, org: Organization, by: User, plan: str, interval: str = "month", card: str = "4242424242424242"
) -> Subscription:
    purchase = purchases.subscribe(org, by, plan, interval, URLS)
    local.press(purchase.url, "pay", number=card)
    assert purchases.confirm_return(org, purchase.session) == "paid"
    live = plans.subscription(org)
    assert live
    return live


def hear(org: Organization) -> None:
    """Read at Stripe whatever there is about an org, as its events would have it read."""
    for customer in Customer.objects.filter(org=org):
        inbox.look("customer", customer.stripe_id)
        for subscription in gateway.subscriptions(customer.stripe_id):
            inbox.look("subscription", subscription.id)
        for invoice in reversed(gateway.invoices(customer.stripe_id)):
            inbox.look("invoice", invoice.id)


def another_card(local: Sandbox, org: Organization, name: str) -> None:
    """Give an org another card, for everything."""
    customer = Customer.objects.get(org=org, closed_at=None).stripe_id
    method = local.stripe.payment_methods.attach(name, params={"customer": customer}).id
    local.stripe.customers.update(customer, params={"invoice_settings": {"default_payment_method": method}})
    for each in local.stripe.subscriptions.list(params={"customer": customer}).data:
        local.stripe.subscriptions.update(each.id, params={"default_payment_method": method})


def at_once[T](*verbs: Callable[[], T]) -> list[T | Refused]:
    """Do several things at the same time, each in a thread with a connection of its own."""
    start = threading.Barrier(len(verbs))

    def run(verb: Callable[[], T]) -> T | Refused:
        start.wait()
        try:
            return verb()
        except Refused as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(verbs)) as threads:
        return list(threads.map(run, verbs))


VISA, ASKS = "4242424242424242", "4000002760003184"
BACK = "https://oxygen.example/back"


@pytest.fixture
def bought(sold: Sandbox) -> tuple[str, str]:
    """A customer at Stripe and its subscription to Growth by the month, bought through Checkout."""
    return checked_out(sold, "oxygen_growth_1_month")


def checked_out(local: Sandbox, price: str, card: str = VISA) -> tuple[str, str]:
    made = gateway.make_customer("7", "Acme", "alice@acme.example", key="customer:7")
    session = gateway.open_subscription_checkout(
        made.id, stripe_id(price), org="7", purchase="1", success_url=BACK, cancel_url=BACK, key="purchase:1"
    )
    local.press(session.url, "pay", number=card)
    return made.id, gateway.session(session.id).subscription


def stripe_id(lookup_key: str) -> str:
    id = Price.objects.get(pk=lookup_key).stripe_id
    assert id
    return id
