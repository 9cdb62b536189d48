"""A wrong Stripe setting stops a server at its start, in one sentence that names the variable."""

from typing import Any

import pytest

from billing.checks import stripe_settings
from tests.oxygen_site.test_settings import PRODUCTION, manage

SANDBOX = {"STRIPE_API_BASE": "http://127.0.0.1:8002", "STRIPE_ALLOW_SANDBOX": True}
TEST_KEY = {"STRIPE_SECRET_KEY": "sk_test_51Abc", "STRIPE_WEBHOOK_SECRETS": ["whsec_1", "whsec_2"]}
LIVE_KEY = TEST_KEY | {"STRIPE_SECRET_KEY": "sk_live_51Abc", "PLAYING": False}


@pytest.mark.parametrize(
    "good", [{}, TEST_KEY, TEST_KEY | SANDBOX, LIVE_KEY, LIVE_KEY | {"STRIPE_SECRET_KEY": "rk_live_51Abc"}]
)
def test_nothing_is_wrong_with(settings: Any, good: dict[str, Any]) -> None:
    for name, value in good.items():
        setattr(settings, name, value)
    assert stripe_settings() == ""


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (TEST_KEY | {"STRIPE_SECRET_KEY": "pk_test_51Abc"}, "STRIPE_SECRET_KEY"),
        (TEST_KEY | {"STRIPE_SECRET_KEY": "sk_test_51 Abc"}, "STRIPE_SECRET_KEY"),
        (TEST_KEY | {"STRIPE_SECRET_KEY": "sk_test_"}, "STRIPE_SECRET_KEY"),
        (LIVE_KEY | {"PLAYING": True}, "real money"),
        (LIVE_KEY | SANDBOX, "STRIPE_API_BASE"),
        (TEST_KEY | SANDBOX | {"STRIPE_ALLOW_SANDBOX": False}, "STRIPE_ALLOW_SANDBOX"),
        (TEST_KEY | SANDBOX | {"STRIPE_SECRET_KEY": "rk_test_51Abc"}, "STRIPE_API_BASE"),
        (SANDBOX, "STRIPE_SECRET_KEY"),
        (TEST_KEY | {"STRIPE_WEBHOOK_SECRETS": []}, "STRIPE_WEBHOOK_SECRETS"),
        (TEST_KEY | {"STRIPE_WEBHOOK_SECRETS": ["whsec_1", "we_2"]}, "STRIPE_WEBHOOK_SECRETS"),
    ],
)
def test_what_does_not_go_together_is_named(settings: Any, wrong: dict[str, Any], named: str) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)
    assert named in stripe_settings()


def test_nothing_starts_with_a_wrong_setting() -> None:
    live = {"STRIPE_SECRET_KEY": "sk_live_51Abc", "STRIPE_WEBHOOK_SECRETS": "whsec_1"}
    refused = manage({"OXYGEN_ENV": "demo", **live}, "check")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "real money" in refused.stderr
    assert manage(PRODUCTION | live, "check").returncode == 0
