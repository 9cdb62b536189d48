"""A local Stripe: one loopback process with state, which the real SDK talks to as it talks to Stripe.

`python -m sandbox.stripe --port N`; then `StripeClient("sk_test_…", base_addresses={"api": "http://127.0.0.1:N"})`.
Bracketed forms in, JSON out; `Authorization: Bearer sk_test_…`, `Stripe-Version` as below, `Idempotency-Key`,
`Request-Id`. Pages for a browser: `/c/pay/<session>`, `/i/<invoice>`, `/3ds/<payment>`, `/p/session/<portal session>`.
Webhooks are signed and sent to the endpoints made by the API. What this Stripe does not know it refuses, in words.
`/_emu/…` is the control API (`control.py` says what it takes): time, payments that fail, disputes, faults, the post.

Money is integers of minor units, shares are exact fractions. What it knows is in memory, and gone with the process
unless it is told to `--keep` it in a file.
"""

API_VERSION = "2026-10-28.endive"
