"""Every operation that moves money, each time for a new org; what a fresh process does afterwards, and what is there.

For `mortal.py`. An operation prepares an org and answers the verb to be done there. The verb may be done again,
as a person presses again, a queue runs a job again, or Stripe delivers again.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import jobs, orgs, top_ups
from billing.models import (
    Account,
    AutoTopUp,
    Customer,
    Grant,
    Pack,
    Payment,
    PlanChange,
    Purchase,
    StripeEvent,
    Subscription,
    User,
)
from billing.payments import changes, facts, gateway, inbox, purchases
from billing.payments.effects import Ignored
from oxygen_site.clock import clock
from tests.billing.payments.conftest import URLS, VISA, pass_time, subscribed
from tests.sandbox.stripe.local import Sandbox

NOW, RENEWAL = PlanChange.When.NOW, PlanChange.When.RENEWAL

type Verb = Callable[[], object]
type Seen = dict[str, list[Any]]


class Place:
    """An org, and the local Stripe."""

    def __init__(self, local: Sandbox, alice: User, name: str) -> None:
        self.local, self.alice, self.began = local, alice, clock()
        self.org = orgs.create(name, "UTC", owner=alice)
        run_what_waits()  # its first free month

    @property
    def customer(self) -> str:
        return Customer.objects.get(org=self.org).stripe_id

    def on(self, plan: str, interval: str = "month") -> Subscription:
        return subscribed(self.local, self.org, self.alice, plan, interval)

    def told(self) -> list[facts.Event]:
        """What Stripe has told of this org."""
        ours = set(Customer.objects.filter(org=self.org).values_list("stripe_id", flat=True))
        return [each for each in gateway.events(self.began - timedelta(minutes=1)) if each.customer in ours]

    def hear(self) -> None:
        """Let all be delivered that Stripe has told, and what it tells because of that."""
        heard: set[str] = set()
        while new := [each for each in self.told() if each.id not in heard]:
            heard |= {each.id for each in new}
            for event in new:
                inbox.receive(event)
            for group in {each.customer or each.about for each in new}:
                inbox.apply_waiting(group)

    def charge(self) -> str:
        paid = Payment.objects.filter(org=self.org).latest("paid_at")
        return str(self.local.stripe.payment_intents.retrieve(paid.pk).latest_charge)

    def recover(self) -> None:
        """As a fresh process: run the jobs that wait, the periodic ones some minutes later, and hear what is told."""
        run_what_waits()
        pass_time(self.local, minutes=7)
        jobs.carry_on_with_stripe()
        jobs.top_up_due()
        self.hear()
        run_what_waits()
        jobs.give_due()
        jobs.expire_due()

    def seen(self) -> Seen:
        """What there is of money and credits, here and at Stripe; to the nearest hundred, for seconds pass."""
        mine: dict[str, Any] = {"org": self.org}
        v = self.local.stripe
        whose: Any = {"customer": self.customer, "limit": 100} if Customer.objects.filter(**mine) else None
        account = Account.objects.get(org=self.org.pk)
        changed = PlanChange.objects.filter(**mine).exclude(state__in=("quoted", "failed"))
        bought = Purchase.objects.filter(**mine, state__in=("asked", "open", "paid"))
        subs = v.subscriptions.list(params=whose | {"status": "all"}).data if whose else []
        return {
            "grants": sorted(
                (each.source, about(each.amount), about(each.clawed_back - each.restored))
                for each in Grant.objects.filter(org=self.org.pk)
            ),
            "available": [about(account.available)],
            "subscriptions": sorted(
                Subscription.objects.filter(**mine).values_list(
                    "price", "status", "cancel_at_period_end", "next_price", "surplus"
                )
            ),
            "changes": sorted(changed.values_list("old", "new", "when", "state"), key=str),
            "purchases": sorted(bought.values_list("price", "automatic", "state")),
            "payments": sorted((about(each.amount), about(each.gone_back)) for each in Payment.objects.filter(**mine)),
            "wishes": list(AutoTopUp.objects.filter(**mine).values_list("declines", "why")),
            "charged": sorted(
                (about(each.amount), about(each.amount_refunded))
                for each in (v.charges.list(params=whose).data if whose else [])
                if each.paid
            ),
            "at Stripe": sorted(
                (each["items"].data[0].price.lookup_key, each.status, each.cancel_at_period_end, bool(each.schedule))
                for each in subs
            ),
            "invoices": sorted(
                (each.status, about(each.total))
                for each in (v.invoices.list(params=whose).data if whose else [])
                if each.status != "void"
            ),
            "stuck": list(
                StripeEvent.objects.filter(customer__in=Customer.objects.filter(**mine).values("stripe_id"))
                .exclude(state__in=("applied", "ignored"))
                .values_list("type", "state", "why")
            ),
        }


def about(figure: Decimal | int) -> int:
    return round(figure / 100) * 100


def more(there: Seen, meant: Seen, what: str) -> int:
    """Say how many more of something there are than were meant."""
    return (Counter(there[what]) - Counter(meant[what])).total() if len(there[what]) > len(meant[what]) else 0


def run_what_waits() -> None:
    """Run the jobs about payments that were deferred, as a worker would: each once, and what they defer."""
    known: dict[str, Callable[..., object]] = {
        task.name: task for task in (inbox.apply_waiting, inbox.look_soon, jobs.welcome)
    }
    for _ in range(3):
        waiting = ProcrastinateJob.objects.filter(status="todo", task_name__in=known).order_by("id")
        for job in list(waiting):
            known[job.task_name](**job.args)
            connection.cursor().execute("DELETE FROM procrastinate_jobs WHERE id = %s", [job.pk])


OPERATIONS: dict[str, Callable[[Place], Verb]] = {}


def operation(prepare: Callable[[Place], Verb]) -> Callable[[Place], Verb]:
    OPERATIONS[prepare.__name__] = prepare
    return prepare


# ------------------------------------------------------------------ what a person asks for


@operation
def subscribe(place: Place) -> Verb:
    return _through_checkout(place, partial(purchases.subscribe, place.org, place.alice, "growth", "month", URLS))


@operation
def top_up(place: Place) -> Verb:
    pack = Pack.objects.get(credits=1000).pk
    return _through_checkout(place, partial(purchases.top_up, place.org, place.alice, pack, URLS))


def _through_checkout(place: Place, buy: Callable[[], Purchase]) -> Verb:
    """Press, pay at Checkout, come back. Who has paid comes back once more, and does not pay again."""
    paid: list[str] = []

    def verb() -> None:
        if not paid:
            purchase = buy()
            place.local.press(purchase.url, "pay", number=VISA)
            paid.append(purchase.session)
        purchases.confirm_return(place.org, paid[0])

    return verb


@operation
def quote(place: Place) -> Verb:
    place.on("growth")
    return partial(changes.quote, place.org, place.alice, "scale", "month", NOW)


@operation
def confirm_now(place: Place) -> Verb:
    place.on("growth")
    shown = changes.quote(place.org, place.alice, "scale", "month", NOW)
    return partial(changes.confirm, place.org, place.alice, shown.pk)


@operation
def confirm_at_renewal(place: Place) -> Verb:
    place.on("growth")
    shown = changes.quote(place.org, place.alice, "starter", "month", RENEWAL)
    return partial(changes.confirm, place.org, place.alice, shown.pk)


@operation
def confirm_in_place_of_what_was_scheduled(place: Place) -> Verb:
    place.on("growth")
    before = changes.quote(place.org, place.alice, "starter", "month", RENEWAL)
    changes.confirm(place.org, place.alice, before.pk)
    shown = changes.quote(place.org, place.alice, "scale", "month", NOW)
    return partial(changes.confirm, place.org, place.alice, shown.pk)


@operation
def undo(place: Place) -> Verb:
    place.on("growth")
    shown = changes.quote(place.org, place.alice, "starter", "month", RENEWAL)
    changes.confirm(place.org, place.alice, shown.pk)
    return partial(changes.undo, place.org, place.alice, shown.pk)


@operation
def cancel(place: Place) -> Verb:
    place.on("growth")
    return partial(changes.cancel, place.org, place.alice)


@operation
def stay(place: Place) -> Verb:
    place.on("growth")
    leaving = changes.cancel(place.org, place.alice)
    return partial(changes.undo, place.org, place.alice, leaving.pk)


# ------------------------------------------------------------------ what happens by itself


@operation
def top_up_by_itself(place: Place) -> Verb:
    place.on("growth")
    place.hear()
    top_ups.change(place.org, on=True, threshold=Decimal(10**6), pack=Pack.objects.get(credits=1000), monthly_max=1200)
    return jobs.top_up_due


@operation
def give_a_month_that_begins(place: Place) -> Verb:
    place.on("growth", "year")
    place.hear()
    pass_time(place.local, days=35)  # its first free month has expired by then, however long months are
    return jobs.give_due


# ------------------------------------------------------------------ what Stripe tells


@operation
def receive(place: Place) -> Verb:
    place.on("growth")

    def verb() -> None:
        for event in place.told()[:3]:
            inbox.receive(event)

    return verb


@operation
def apply_what_waits(place: Place) -> Verb:
    place.on("growth")
    for event in place.told():
        inbox.receive(event)
    return partial(inbox.apply_waiting, place.customer)


def _bought_and_not_read(place: Place) -> tuple[str, str]:
    """A first subscription that was paid for, of which nothing was heard yet: its session and itself."""
    purchase = purchases.subscribe(place.org, place.alice, "growth", "month", URLS)
    place.local.press(purchase.url, "pay", number=VISA)
    return purchase.session, gateway.session(purchase.session).subscription


@operation
def look_at_a_session(place: Place) -> Verb:
    return partial(look, "session", _bought_and_not_read(place)[0])


@operation
def look_at_a_subscription(place: Place) -> Verb:
    return partial(look, "subscription", _bought_and_not_read(place)[1])


@operation
def look_at_an_invoice(place: Place) -> Verb:
    standing = _bought_and_not_read(place)[1]
    return partial(look, "invoice", gateway.subscription(standing).latest_invoice)


@operation
def look_at_a_payment(place: Place) -> Verb:
    place.on("growth")
    place.local.order("refunds", charge=place.charge(), amount=8300)
    return partial(look, "payment", Payment.objects.get(org=place.org).pk)


@operation
def look_at_a_customer(place: Place) -> Verb:
    place.on("growth")
    return partial(look, "customer", place.customer)


@operation
def end_a_second_subscription(place: Place) -> Verb:
    """Two pages of Checkout were open, and both were paid: the second is ended, and paid back."""
    place.on("starter")
    price = gateway.prices(["oxygen_growth_1_month"])[0].id
    second = place.local.stripe.subscriptions.create(
        params={"customer": place.customer, "items": [{"price": price}], "default_payment_method": _card(place)}
    )
    return partial(look, "subscription", second.id)


def _card(place: Place) -> str:
    return place.local.stripe.customers.payment_methods.list(place.customer).data[0].id


def look(kind: str, id: str) -> None:
    try:
        inbox.look(kind, id)
    except Ignored as reason:
        raise AssertionError(f"{kind} {id}: {reason}") from reason


# Two halves, for two workers.
TOLD = [name for name in OPERATIONS if name.startswith(("look_", "give_", "receive", "apply_", "end_"))]
ASKED = [name for name in OPERATIONS if name not in TOLD]
