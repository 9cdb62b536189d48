"""One local Stripe for these tests, emptied before each; the SDK that talks to it shows every answer to the judge."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import NEW_YEAR, Sandbox, running


@pytest.fixture(scope="session")
def _stripe() -> Iterator[Sandbox]:
    with running() as local:
        yield local


@pytest.fixture
def sandbox(_stripe: Sandbox) -> Iterator[Sandbox]:
    """An empty Stripe, judged when the test is over."""
    with _stripe.emptied():
        yield _stripe


@pytest.fixture
def prices(sandbox: Sandbox) -> Callable[..., stripe.Price]:
    """Sell something: `prices("starter", 2000)` by the month, or by another interval, or once."""

    def price(key: str, amount: int, interval: str | None = "month") -> stripe.Price:
        product = sandbox.stripe.products.create(params={"name": key.title()})
        wished: Any = {"product": product.id, "currency": "usd", "unit_amount": amount, "lookup_key": key}
        if interval:
            wished["recurring"] = {"interval": interval}
        return sandbox.stripe.prices.create(params=wished)

    return price


@pytest.fixture
def buyer(sandbox: Sandbox) -> Callable[..., stripe.Customer]:
    """Somebody with a card, on a test clock that stands at New Year unless another instant is named."""

    def customer(card: str = "pm_card_visa", at: int = NEW_YEAR) -> stripe.Customer:
        clock = sandbox.stripe.test_helpers.test_clocks.create(params={"frozen_time": at})
        made = sandbox.stripe.customers.create(params={"email": "ada@acme.example", "test_clock": clock.id})
        method = sandbox.stripe.payment_methods.attach(card, params={"customer": made.id})
        return sandbox.stripe.customers.update(
            made.id, params={"invoice_settings": {"default_payment_method": method.id}}
        )

    return customer


@pytest.fixture
def pass_time(sandbox: Sandbox) -> Callable[[stripe.Customer, int], None]:
    """Advance a customer's clock by so many seconds."""

    def advance(customer: stripe.Customer, seconds: int) -> None:
        assert isinstance(customer.test_clock, str)
        clock = sandbox.stripe.test_helpers.test_clocks.retrieve(customer.test_clock)
        sandbox.stripe.test_helpers.test_clocks.advance(clock.id, params={"frozen_time": clock.frozen_time + seconds})
        assert sandbox.stripe.test_helpers.test_clocks.retrieve(clock.id).status == "ready"

    return advance
