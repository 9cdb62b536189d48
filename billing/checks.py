"""What must be so before anything starts: a Stripe key of the right kind, and money only where it is meant.

Read once by `apps.py` in every process, so that a wrong setting stops a server at its start, not a buyer.
"""

import re

from django.conf import settings

KEY = re.compile(r"(sk|rk)_(test|live)_\w+")


def stripe_settings() -> str:
    """Say in a sentence what is wrong with the settings of Stripe; "" where nothing is."""
    key, base = settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE
    if not key:
        return "STRIPE_API_BASE is set, and STRIPE_SECRET_KEY is not." if base else ""
    if not KEY.fullmatch(key):
        return (
            "STRIPE_SECRET_KEY is no secret key of Stripe's: one begins with sk_test_, sk_live_, rk_test_ or rk_live_."
        )
    if key.split("_")[1] == "live" and settings.PLAYING:
        return "STRIPE_SECRET_KEY is a live key: it moves real money, so it is taken with OXYGEN_ENV=production only."
    if base and not (key.startswith("sk_test_") and settings.STRIPE_ALLOW_SANDBOX):
        return "STRIPE_API_BASE is for the sandbox: set STRIPE_ALLOW_SANDBOX too, with a key that begins with sk_test_."
    if not settings.STRIPE_WEBHOOK_SECRETS:
        return "STRIPE_WEBHOOK_SECRETS is missing: without it nothing that Stripe says could be believed."
    if not all(secret.startswith("whsec_") and secret.strip() == secret for secret in settings.STRIPE_WEBHOOK_SECRETS):
        return "STRIPE_WEBHOOK_SECRETS holds something other than signing secrets: each begins with whsec_."
    return ""
