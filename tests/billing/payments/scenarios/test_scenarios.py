"""Lives of subscriptions, played from outside by billing-e2e: its own five scenarios as they come, and six of ours.

Everything runs for real: the site over HTTP, a worker, signed webhooks from the local Stripe. The scenarios look at our
side through the JSON API alone, once all that was said so far is applied: so "nothing was given" is no early look.
billing-e2e advances a customer's test clock, and no other time; so our business time follows after each advance, and
what has come due by then is done. Until it has, Stripe's objects are ahead of our time: a renewal that is told in
between gives its month only when that month has begun here, too.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from billing_e2e.runner import Runner  # type: ignore[import-untyped]
from billing_e2e.scenario import Advance, CommandCheck, Config, HttpCheck, Scenario, parse_scenario  # type: ignore[import-untyped]
from billing_e2e.stripe_ops import StripeRun  # type: ignore[import-untyped]
from django.core.management import call_command

from billing import jobs, keys, orgs
from billing.models import Customer, Organization, PlanChange, Price, StripeEvent, User
from billing.payments import changes, purchases
from oxygen_site import clock
from oxygen_site.postgres import CLONE
from tests.billing.payments.conftest import SECRET, URLS, VISA
from tests.effort import SOAK
from tests.runs.conftest import assert_books_hold
from tests.sandbox.stripe.local import Sandbox, running

HERE, THEIRS = Path(__file__).parent, files("billing_e2e") / "scenarios"
PLACE = re.compile(r"^  # - check: .*$", re.MULTILINE)
OURS = ("failed-upgrade", "scheduled-downgrade", "top-up", "refund", "lost-dispute", "won-dispute")
CHECKS = yaml.safe_load((HERE / "built_in.yml").read_text())


def built_in(name: str) -> Scenario:
    """One of billing-e2e's own, with our checks where it leaves comments for them."""
    text, checks = (THEIRS / name).read_text(), iter(CHECKS[name])

    def ours(place: re.Match[str]) -> str:
        return "".join(f"  - {yaml.safe_dump(each, default_flow_style=True)}" for each in next(checks))

    told = PLACE.sub(ours, text)
    assert next(checks, None) is None, "as many places as lists of checks"
    return parse_scenario(yaml.safe_load(told), name)


class Play(Runner):  # type: ignore[misc]
    """billing-e2e's runner, with the org linked to each customer, our time beside its clock, and acts of our own."""

    def __init__(self, site: str, local: Sandbox, org: Organization, owner: User) -> None:
        _, secret = keys.make(org, owner, "billing-e2e", ["read"])
        prices = {
            name: str(Price.objects.get(pk=f"oxygen_{plan}_1_month").stripe_id)
            for name, plan in (("monthly_price", "starter"), ("upgrade_price", "growth"))
        }
        headers = {"Authorization": f"Bearer {secret}"}
        config = Config("sk_test_e2e", base_url=site, headers=headers, setup="link", vars=prices)
        super().__init__(config, local.client(max_network_retries=2))
        self.local, self.org, self.owner = local, org, owner

    def _hook(self, name: str, command: str, run: StripeRun) -> None:
        Customer.objects.create(org=self.org, stripe_id=run.customer.id, email=run.customer.email or "")

    def _play(self, step: Any, run: StripeRun) -> str:
        if isinstance(step, CommandCheck):
            self.act(step.command)
            return str(step.command)
        if isinstance(step, HttpCheck):
            self.settled()
        said: str = super()._play(step, run)
        if isinstance(step, Advance):
            self.settled()
            clock.advance(max(run.now - clock.clock(), timedelta(0)))
            for due in (jobs.expire_due, jobs.give_due, jobs.carry_on_with_stripe, jobs.top_up_due, jobs.apply_events):
                due()
        return said

    def settled(self) -> None:
        """Wait until all that Stripe has said is here and applied."""
        self.local.delivered()
        for _ in range(600):
            states = set(StripeEvent.objects.values_list("state", flat=True))
            if "received" not in states:
                assert states <= {"applied", "ignored"}
                return
            time.sleep(0.05)
        raise TimeoutError("the worker does not come to an end of what Stripe said")

    def act(self, what: str) -> None:
        """What billing-e2e has no step for: a person at our pages, at Stripe's, or at the bank."""
        match what.split():
            case ["upgrade", "to", plan, "now"]:
                self.change(plan, PlanChange.When.NOW)
            case ["change", "to", plan, "at", "the", "renewal"]:
                self.change(plan, PlanChange.When.RENEWAL)
            case ["buy", credits, "credits"]:
                bought = purchases.top_up(self.org, self.owner, f"pack-{credits}-1", URLS)
                assert self.local.press(bought.url, "pay", number=VISA).is_redirect
            case ["refund", amount, *_]:
                some = {} if amount == "the" else {"amount": int(amount)}
                self.local.order("refunds", charge=self.charge(), **some)
            case ["dispute", "the", "payment"]:
                self.local.order("disputes", charge=self.charge())
            case [("lose" | "win") as how, "the", "dispute"]:
                (dispute,) = self.local.stripe.disputes.list(params={"charge": self.charge()}).data
                self.local.order("disputes", dispute=dispute.id, outcome={"lose": "lost", "win": "won"}[how])
            case _:
                raise ValueError(f"nobody here knows how to {what}")

    def change(self, plan: str, when: PlanChange.When) -> None:
        quoted = changes.quote(self.org, self.owner, plan, "month", when)
        changes.confirm(self.org, self.owner, quoted.pk)

    def charge(self) -> str:
        """The charge of the subscription's payment."""
        customer = Customer.objects.get(org=self.org).stripe_id
        return self.local.stripe.charges.list(params={"customer": customer}).data[-1].id


@pytest.fixture(scope="session")
def _local() -> Iterator[Sandbox]:
    """A local Stripe of these tests' own: others move its time, and billing-e2e begins at the real one."""
    with running() as local:
        yield local


@pytest.fixture
def play(site: str, local: Sandbox, settings: Any, alice: User) -> Iterator[Callable[[Scenario], None]]:
    """Play a scenario with everything up: the site, a worker, and Stripe's post on its way to us."""
    stripe = {
        "STRIPE_SECRET_KEY": settings.STRIPE_SECRET_KEY,
        "STRIPE_WEBHOOK_SECRETS": SECRET,
        "STRIPE_API_BASE": local.url,
        "STRIPE_ALLOW_SANDBOX": "true",
        "OXYGEN_RESCUE_SECONDS": "1",  # every second it looks for what nothing woke it for, as behind a lock
    }
    with working(stripe):
        call_command("sync_plans", stdout=StringIO())
        org = orgs.create("Acme", "Europe/Lisbon", owner=alice)
        jobs.give_due()
        runner = Play(site, local, org, alice)
        local.order("webhook", url=f"{site}/stripe/webhook/", secret=SECRET)

        def played(scenario: Scenario) -> None:
            result = runner.run(scenario)
            said = [f"{'ok' if step.passed else 'NO'}  {step.label}: {step.detail}" for step in result.steps]
            assert result.passed, "\n".join([*said, *result.errors])
            runner.settled()
            assert_books_hold(org)

        yield played
        local.delivered()
        runner.http.close()


@contextmanager
def working(settings: dict[str, str]) -> Iterator[None]:
    """A worker, as it runs in production."""
    with subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=os.environ | settings) as worker:
        try:
            yield
        finally:
            worker.terminate()


def played(names: Iterable[str]) -> list[str]:
    """All of them in the soak; each takes many seconds, so `make test` plays one."""
    return list(names) if SOAK else list(names)[:1]


@pytest.mark.parametrize("name", played(CHECKS))
def test_billing_e2es_own_scenario(name: str, play: Callable[[Scenario], None]) -> None:
    play(built_in(name))


@pytest.mark.parametrize("name", played(OURS))
def test_our_own_scenario(name: str, play: Callable[[Scenario], None]) -> None:
    play(parse_scenario(yaml.safe_load((HERE / f"{name}.yml").read_text()), name))


def test_all_of_billing_e2es_scenarios_are_played() -> None:
    assert sorted(CHECKS) == sorted(each.name for each in THEIRS.iterdir() if each.name.endswith(".yml"))
    assert sorted(OURS) == sorted(each.stem for each in HERE.glob("*.yml") if each.stem != "built_in")
