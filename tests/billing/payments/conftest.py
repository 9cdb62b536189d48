"""The product's payments against the local Stripe: every answer judged, and every POST under a key made of facts.

Stripe is never asked inside a transaction, so whoever asks it lives on a database of the test's own.
"""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import stripe
from django.core.management import call_command

from billing.models import Price
from billing.payments import gateway
from tests.sandbox.stripe.local import OF_FACTS, Sandbox, running

SECRET = "whsec_of_the_tests"


@pytest.fixture(scope="session")
def _local() -> Iterator[Sandbox]:
    with running() as local:
        yield local


@pytest.fixture
def local(_local: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """An empty Stripe that the product is set up with."""
    settings.STRIPE_SECRET_KEY = "sk_test_product"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_API_BASE = _local.url
    settings.STRIPE_ALLOW_SANDBOX = True
    monkeypatch.setattr(stripe, "RequestsClient", lambda **how: _local.products)
    gateway.client.cache_clear()
    with _local.emptied():
        yield _local
        keys = [str(each["idempotency_key"]) for each in _local.asked()]
        assert [key for key in keys if not OF_FACTS.fullmatch(key)] == []
    gateway.client.cache_clear()


@pytest.fixture
def sold(fresh_database: str, local: Sandbox) -> Sandbox:
    """All plans and packs are on sale, here and there."""
    call_command("sync_plans", stdout=StringIO())
    return local


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
