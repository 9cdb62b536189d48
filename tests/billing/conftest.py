"""The local Stripe, for pages that buy: the fixtures of the payments' own tests."""

from tests.billing.payments.conftest import _local, local, sold

__all__ = ["_local", "local", "sold"]
