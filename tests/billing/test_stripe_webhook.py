"""POST /stripe/webhook/: what Stripe signed is stored once; everything else is 400 and leaves nothing behind."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import StripeEvent
from billing.payments import gateway
from tests.billing.payments.conftest import SECRET
from tests.billing.payments.test_events import body, signed

pytestmark = pytest.mark.django_db

HUGE = b"[" + b" " * gateway.LARGEST_EVENT + b"]"


@pytest.fixture(autouse=True)
def _set_up(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_product"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]


def post(sent: bytes, signature: str | None = None) -> int:
    headers = {"Stripe-Signature": signed(sent) if signature is None else signature}
    answer = Client(enforce_csrf_checks=True).post(
        reverse("billing:stripe_webhook"), sent, content_type="application/json", headers=headers
    )
    return answer.status_code


def test_what_stripe_signed_is_stored_as_it_came() -> None:
    assert post(body()) == 200
    event = StripeEvent.objects.get()
    assert (event.pk, event.type, event.customer, event.state) == ("evt_1", "invoice.paid", "cus_1", "received")


def test_delivered_again_it_is_stored_once() -> None:
    assert [post(body()), post(body())] == [200, 200]
    assert StripeEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("sent", "signature"),
    [
        (body(), ""),
        (body(), "t=1,v1=00"),
        (body(), signed(body(), "whsec_of_somebody_else")),
        (body(), signed(body(), age=301)),
        (body(), signed(body(id="evt_2"))),
        (b"", None),
        (b"not JSON", None),
        (b"[]", None),
        (b'{"id": "evt_1"}', None),
        (b"\xff\xfe", "t=1,v1=00"),
        (HUGE, None),
    ],
    ids=["unsigned", "forged", "other secret", "stale", "of another", "empty", "text", "list", "part", "bytes", "huge"],
)
def test_what_is_not_an_event_of_stripes_leaves_nothing(sent: bytes, signature: str | None) -> None:
    assert post(sent, signature) == 400
    assert not StripeEvent.objects.exists()


def test_nobody_can_look_at_it(client: Client) -> None:
    assert client.get(reverse("billing:stripe_webhook")).status_code == 405


def test_where_no_secret_is_set_nothing_is_believed(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert post(body()) == 400
