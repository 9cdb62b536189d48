"""What comes to the webhook: believed only when Stripe signed it lately, and never a crash."""

import json
import time
from typing import Any

import pytest
import stripe

from billing.payments import gateway
from tests.billing.payments.conftest import SECRET

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": 1_800_000_000,
    "livemode": False,
    "api_version": gateway.API_VERSION,
    "data": {"object": {"id": "in_1", "object": "invoice", "customer": "cus_1"}},
}


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET, "whsec_the_next"]


def signed(body: bytes, secret: str = SECRET, age: int = 0) -> str:
    at = int(time.time()) - age
    return stripe.WebhookSignature.generate_signature_header(body.decode("utf-8"), secret, at)


def body(**other: Any) -> bytes:
    return json.dumps(EVENT | other).encode()


@pytest.mark.parametrize("secret", [SECRET, "whsec_the_next"])
def test_what_stripe_signed_with_either_secret_is_believed(secret: str) -> None:
    event = gateway.read_event(body(), signed(body(), secret))
    assert (event.id, event.type, event.kind, event.about, event.customer) == (
        "evt_1",
        "invoice.paid",
        "invoice",
        "in_1",
        "cus_1",
    )
    assert (event.livemode, event.api_version, event.account) == (False, gateway.API_VERSION, "")
    assert event.payload == EVENT


def test_one_of_several_signatures_is_enough() -> None:
    good = signed(body())
    assert gateway.read_event(body(), good.replace(",v1=", ",v1=0000,v1=")).id == "evt_1"


def test_an_event_of_a_customer_is_about_that_customer() -> None:
    sent = body(type="customer.deleted", data={"object": {"id": "cus_1", "object": "customer"}})
    assert gateway.read_event(sent, signed(sent)).customer == "cus_1"


@pytest.mark.parametrize(
    "signature",
    ["", "v1", "t=1", "t=x,v1=00", "t=1,v0=00", "t=1,v1=00", "t=1,v1=ü", "t=,v1=", f"t={'9' * 5000},v1=00", "\udcff"],
)
def test_what_nobody_signed_is_refused(signature: str) -> None:
    with pytest.raises(gateway.BadEvent):
        gateway.read_event(body(), signature)


def test_what_another_signed_or_was_changed_on_the_way_is_refused() -> None:
    for sent, signature in ((body(), signed(body(), "whsec_of_others")), (body(id="evt_2"), signed(body()))):
        with pytest.raises(gateway.BadEvent):
            gateway.read_event(sent, signature)


def test_what_was_signed_long_ago_is_refused() -> None:
    assert gateway.read_event(body(), signed(body(), age=290)).id == "evt_1"
    with pytest.raises(gateway.BadEvent):
        gateway.read_event(body(), signed(body(), age=310))


def test_without_a_secret_nothing_is_believed(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    with pytest.raises(gateway.BadEvent):
        gateway.read_event(body(), signed(body()))


def test_what_is_not_even_text_is_refused() -> None:
    with pytest.raises(gateway.BadEvent):
        gateway.read_event(b"\xff\xfe", "t=1,v1=00")


def test_what_is_too_large_is_refused_unread() -> None:
    huge = body(padding="x" * 600_000)
    with pytest.raises(gateway.BadEvent, match="too large"):
        gateway.read_event(huge, signed(huge))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"junk",
        b"null",
        b"[]",
        b'"event"',
        b"[" * 200_000,
        b'{"object": "v2.core.event", "id": "evt_1"}',
        body(object="invoice"),
        body(id=None),
        body(id=""),
        body(id="x" * 256),
        body(id={"id": "x"}),
        body(type="x" * 121),
        body(created="soon"),
        body(created=10**30),
        body(created=float("nan")),
        body(livemode="no"),
        body(data=None),
        body(data={"object": None}),
        body(data={"object": {"id": "in_1"}}),
        body(padding="\x00"),
        body(padding="\ud800"),
        body(padding=float("inf")),
    ],
)
def test_what_is_signed_and_yet_no_event_is_refused(sent: bytes) -> None:
    with pytest.raises(gateway.BadEvent):
        gateway.read_event(sent, signed(sent))
