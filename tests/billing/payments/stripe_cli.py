"""`make stripe-cli`: Stripe's own CLI runs its trigger scripts against the local Stripe, and our inbox hears of it.

No part of `make test`, for it fetches a program from npm. Its version and checksum stand in `stripe_cli.json`; it is
fetched into a folder of the run and goes with it. Each script must run to its end, the event it is named after must be
in the local Stripe's list, and what came to our webhook must end as the table says: the customers that a script made
are linked to Acme, its subscriptions are of our Starter plan. No event may fail.
"""

import base64
import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.models import Customer, Grant, Organization, Price, StripeEvent
from billing.payments import inbox
from tests.billing.payments.conftest import SECRET, set_up_with
from tests.runs.conftest import assert_books_hold
from tests.sandbox.stripe.local import Sandbox

PINNED = json.loads(Path(__file__).with_suffix(".json").read_text())

NOBODYS, NOTHING = "No organization here has the customer", "Nothing follows from it."
# How the event of that name ends here: applied, or ignored for a reason.
ENDS = {
    # Cards are charged without a customer by these scripts.
    **dict.fromkeys(
        ("charge.succeeded", "charge.failed", "charge.refunded", "payment_intent.created", "payment_intent.succeeded",
         "payment_intent.payment_failed", "payment_intent.requires_action", "payment_intent.canceled",
         "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed", "checkout.session.expired",
         "customer.deleted"),
        NOBODYS,
    ),
    **dict.fromkeys(
        ("customer.created", "customer.updated", "customer.subscription.created", "customer.subscription.updated",
         "customer.subscription.deleted", "invoice.created", "invoice.updated", "invoice.finalized", "invoice.paid",
         "invoice.payment_succeeded", "invoice.payment_failed", "invoice.payment_action_required", "invoice.voided",
         "invoice.marked_uncollectible"),
        "",
    ),
    **dict.fromkeys(
        ("payment_method.attached", "payment_method.detached", "product.created", "price.created",
         "invoiceitem.created", "setup_intent.created", "setup_intent.succeeded",
         "test_helpers.test_clock.created", "test_helpers.test_clock.ready"),
        NOTHING,
    ),
}  # fmt: skip


@pytest.fixture
def local(_local: Sandbox, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """As for all tests of payments; only that the CLI's requests have no keys."""
    with set_up_with(_local, settings, monkeypatch, keyed=False):
        yield _local


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripe's CLI, as it was when its checksum was written down."""
    folder = tmp_path_factory.mktemp("stripe-cli")
    named = f"{PINNED['package']}@{PINNED['version']}"
    subprocess.run(["npm", "pack", named, "--pack-destination", folder], check=True, capture_output=True)
    (packed,) = folder.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    assert f"sha512-{digest}" == PINNED["integrity"]
    with tarfile.open(packed) as tar:
        tar.extract("package/bin/stripe", folder, filter="data")
    program = folder / "package/bin/stripe"
    program.chmod(0o755)
    return program


def triggered(cli: Path, local: Sandbox, event: str, *more: str) -> None:
    asks = [str(cli), "trigger", event, "--api-base", local.url, "--api-key", "sk_test_" + "cli" * 8, *more]
    home = str(cli.parents[2])
    alone = {"HOME": home, "XDG_CONFIG_HOME": home, "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}
    ran = subprocess.run(asks, env=os.environ | alone, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("event", ENDS)
def test_a_trigger_runs_and_our_inbox_ends_right(
    event: str, cli: Path, site: str, sold: Sandbox, acme: Organization
) -> None:
    sold.order("webhook", url=f"{site}/stripe/webhook/", secret=SECRET)
    before = len(sold.events())
    ours = Price.objects.get(pk="oxygen_starter_1_month").stripe_id
    of_ours = ["--override", f"subscription:items[0][price]={ours}"] if "subscription" in event else []
    triggered(cli, sold, event, *of_ours)
    assert event in sold.told()
    sold.delivered()
    assert StripeEvent.objects.count() == len(sold.events()) - before
    for customer in sold.stripe.customers.list().data[:1]:
        Customer.objects.create(org=acme, stripe_id=customer.id)
    for group in {each.customer or each.object for each in StripeEvent.objects.all()}:
        inbox.apply_waiting(group)
    assert set(StripeEvent.objects.values_list("state", flat=True)) <= {"applied", "ignored"}
    assert all(each.why for each in StripeEvent.objects.filter(state="ignored"))
    for told in StripeEvent.objects.filter(type=event):
        assert told.state == ("ignored" if ENDS[event] else "applied")
        assert told.why.startswith(ENDS[event])
    given = Grant.objects.filter(org=acme.pk).exclude(source="promo")
    assert list(given.values_list("amount", flat=True)) == ([8000] if of_ours else [])
    assert_books_hold(acme)
