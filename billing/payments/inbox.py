"""What Stripe tells us: events are stored, and their objects looked at. What follows is in `effects.py`.

An event is stored once, as it came, and is no more than a hint: a job looks at its object anew, at Stripe, and writes
down what stands there now. So order, number and lateness of events change nothing. Looks are numbered before they are
begun; one that was begun earlier never overwrites a later one. Every effect is one intention under the customer's row,
and every grant has a key made from the business object that was paid for.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.db.models import Q

from billing.models import Customer, StripeEvent, Subscription
from billing.payments import bought, effects, facts, gateway
from billing.payments.effects import Ignored
from oxygen_site.clock import clock
from oxygen_site.jobs import defer, task
from oxygen_site.sql import query
from oxygen_site.transactions import connection_lost, intention

log = logging.getLogger("oxygen.billing")

AGAIN = timedelta(seconds=30)
# What an event's object leads to. Anything else is stored and ignored: nothing follows from it.
KINDS = {
    "invoice": "invoice",
    "subscription": "subscription",
    "subscription_schedule": "subscription",
    "payment_intent": "payment",
    "charge": "payment",
    "refund": "payment",
    "dispute": "payment",
    "checkout.session": "session",
    "customer": "customer",
}


# ------------------------------------------------------------------ storing


def receive(event: facts.Event) -> bool:
    """Store an event and wake a job for it; answer whether it is new. What is not ours to apply is parked."""
    parked = _foreign(event)
    kind = KINDS.get(event.kind)
    ignored = not parked and kind is None
    state = StripeEvent.State.PARKED if parked else StripeEvent.State.IGNORED if ignored else StripeEvent.State.RECEIVED

    def verb() -> bool:
        if StripeEvent.objects.filter(pk=event.id).exists():
            return False
        now = clock()
        row = StripeEvent(
            id=event.id,
            type=event.type,
            customer=event.customer,
            object=event.about,
            created_at=event.created,
            received_at=now,
            state=state,
            why=parked or ("Nothing follows from it." if ignored else ""),
            closed_at=None if state == StripeEvent.State.RECEIVED else now,
            payload=event.payload,
        )
        # Two deliveries at once: the second waits for the first, and then finds it stored.
        StripeEvent.objects.bulk_create([row], ignore_conflicts=True)
        if state == StripeEvent.State.RECEIVED:
            _wake(_group(row))
        return True

    return intention(verb)


def _foreign(event: facts.Event) -> str:
    """Say why an event is not for us to apply: of the other mode, another account, another version of the API."""
    if event.livemode != gateway.live():
        return f"It is of {'live' if event.livemode else 'test'} mode, and this is the other."
    if event.account:
        return f"It is of the account {event.account}; ours names none."
    if event.api_version != gateway.API_VERSION:
        return f"It is of the API version {event.api_version}, and {gateway.API_VERSION} is read here."
    return ""


def _group(event: StripeEvent) -> str:
    return event.customer or event.object


# ------------------------------------------------------------------ applying


@task()
def apply_waiting(group: str) -> None:
    """Apply all events that wait for one customer, or for one object that names none. A look serves many events."""
    waiting = StripeEvent.objects.filter(state=StripeEvent.State.RECEIVED)
    events = list(waiting.filter(Q(customer=group) | Q(customer="", object=group)).order_by("created_at", "id"))
    looks: dict[tuple[str, str], list[StripeEvent]] = {}
    for event in events:
        looks.setdefault(_object_of(event), []).append(event)
    later = False
    for (kind, id), hints in looks.items():
        later |= _apply(kind, id, hints)
    if later:
        intention(partial(_wake, group, AGAIN))


def _apply(kind: str, id: str, hints: list[StripeEvent]) -> bool:
    """Look at one object for all that was said of it; answer whether that must be tried again later."""
    state, why = StripeEvent.State.APPLIED, ""
    try:
        look(kind, id)
    except Ignored as reason:
        state, why = StripeEvent.State.IGNORED, str(reason)
    except gateway.Unreachable as reason:
        state, why = StripeEvent.State.RECEIVED, f"Stripe could not be reached: {reason}"
    except Exception as bug:
        if connection_lost(bug):
            raise
        log.exception("%s %s could not be applied", kind, id)
        state, why = StripeEvent.State.FAILED, f"{type(bug).__name__}: {bug}"
    rows = StripeEvent.objects.filter(pk__in=[hint.pk for hint in hints])
    closed = None if state == StripeEvent.State.RECEIVED else clock()
    for hint in hints:
        hint.tries += 1
    intention(lambda: rows.update(state=state, why=why[:400], closed_at=closed, tries=hints[0].tries))
    return state == StripeEvent.State.RECEIVED


def _object_of(event: StripeEvent) -> tuple[str, str]:
    """Say what to look at for an event: a charge's, refund's or dispute's payment, a schedule's subscription."""
    thing = event.payload["data"]["object"]
    kind = KINDS[thing["object"]]
    if thing["object"] == "subscription_schedule":
        return kind, thing["subscription"] or thing["released_subscription"] or ""
    if kind == "payment" and thing["object"] != "payment_intent":
        return kind, thing["payment_intent"] or ""
    return kind, event.object


def replay(event: StripeEvent) -> bool:
    """Have an event applied again, whatever became of it; safe, for it only looks. What is parked stays parked.

    Answers whether it will be.
    """

    def verb() -> bool:
        row = StripeEvent.objects.select_for_update().get(pk=event.pk)
        if row.state == StripeEvent.State.PARKED or row.payload["data"]["object"]["object"] not in KINDS:
            return False
        StripeEvent.objects.filter(pk=row.pk).update(state=StripeEvent.State.RECEIVED, why="", closed_at=None)
        _wake(_group(row))
        return True

    return intention(verb)


def wake_all() -> None:
    """Wake a job for everything that waits, where one was lost."""
    waiting = StripeEvent.objects.filter(state=StripeEvent.State.RECEIVED).order_by()
    for customer, thing in waiting.values_list("customer", "object").distinct():
        intention(partial(_wake, customer or thing))


def _wake(group: str, after: timedelta | None = None) -> None:
    defer(apply_waiting, key=f"stripe:{group}", after=after, group=group)


# ------------------------------------------------------------------ looking


def look(kind: str, id: str) -> None:
    """Look at an object at Stripe and write down what stands there. Again: nothing more.

    Raises Ignored where nothing follows from it, gateway.Unreachable where it could not be looked at.
    """
    if not id:
        raise Ignored("It names no object.")
    LOOKS[kind](id)


@task()
def look_soon(kind: str, id: str) -> None:
    """`look` as a job, for who must not wait for Stripe."""
    try:
        look(kind, id)
    except Ignored as reason:
        log.info("%s %s: %s", kind, id, reason)


def wake(kind: str, id: str) -> None:
    """Have an object looked at by a job, once the caller's transaction has committed."""
    defer(look_soon, key=f"look:{kind}:{id}", kind=kind, id=id)


def _number() -> int:
    """Number a look, before anything is asked of Stripe."""
    number: int = query("SELECT nextval('billing_reading')")[0][0]
    return number


def customer_of(stripe_id: str) -> Customer:
    """Find whose object it is. Ignored: nobody's here."""
    customer = Customer.objects.filter(stripe_id=stripe_id).select_related("org").first()
    if customer is None:
        raise Ignored(f"No organization here has the customer {stripe_id or 'nobody'}.")
    return customer


def _invoice(id: str) -> None:
    number, invoice = _number(), gateway.invoice(id)
    customer = customer_of(invoice.customer)
    if invoice.subscription and not Subscription.objects.filter(pk=invoice.subscription).exists():
        look("subscription", invoice.subscription)  # whether it is the org's own decides what its invoice gives
    prices = bought.Prices(line.price for line in invoice.lines if line.price)
    payment = gateway.payment(invoice.payment) if invoice.payment and invoice.status == "paid" else None
    if invoice.status == "paid":
        for earlier in sorted({line.credited for line in invoice.lines if line.credited} - {id}):
            if not effects.is_known(earlier):
                look("invoice", earlier)  # what an upgrade adds is counted from what was paid for before it
    intention(partial(effects.invoice_read, customer, number, invoice, prices, payment))
    if invoice.subscription and invoice.status == "paid":
        look("subscription", invoice.subscription)  # which has begun, changed or gone on with it


def _subscription(id: str) -> None:
    number, subscription = _number(), gateway.subscription(id)
    customer = customer_of(subscription.customer)
    prices = bought.Prices(price for price in (subscription.price, subscription.next_price) if price)
    if intention(partial(effects.subscription_read, customer, number, subscription, prices)):
        end_surplus(id)


def _payment(id: str) -> None:
    number, payment = _number(), gateway.payment(id)
    customer = customer_of(payment.customer)
    intention(partial(effects.payment_read, customer, number, payment))


def _session(id: str) -> None:
    session = gateway.session(id)
    customer = customer_of(session.customer)
    if session.subscription:
        look("subscription", session.subscription)
    if session.invoice:
        look("invoice", session.invoice)
    elif session.payment:
        look("payment", session.payment)
    intention(partial(effects.session_read, customer, session))


def _customer(id: str) -> None:
    customer, number, seen = customer_of(id), _number(), gateway.customer(id)
    intention(partial(effects.customer_read, customer, number, seen))


LOOKS: dict[str, Callable[[str], None]] = {
    "invoice": _invoice,
    "subscription": _subscription,
    "payment": _payment,
    "session": _session,
    "customer": _customer,
}


def end_surplus(id: str) -> None:
    """Pay back what came for a second subscription beside the org's own, and end it: once it has ended, nobody asks."""
    log.error("%s is a second subscription of its organization; it is ended and paid back", id)
    seen = gateway.subscription(id)
    if seen.latest_invoice:
        invoice = gateway.invoice(seen.latest_invoice)
        if invoice.payment and invoice.status == "paid":
            gateway.refund(invoice.payment, key=f"refund:{id}")
    if seen.ended is None:
        gateway.end_now(id, key=f"end:{id}")
    look("subscription", id)


# ------------------------------------------------------------------ once a night


def catch_up(since: timedelta = timedelta(days=4)) -> tuple[int, list[tuple[str, str, str]]]:
    """Receive what was not delivered, and compare all subscriptions and recent invoices with what stands here.

    Answers how many events had not come, and what differs as (what, here, at Stripe); each is looked at anew.
    """
    missed = sum(receive(event) for event in gateway.events(clock() - since))
    drift = [*_differing_subscriptions(), *_differing_invoices(since)]
    for what, _, _ in drift:
        kind, _, id = what.partition(" ")
        intention(partial(wake, kind, id))
    return missed, drift


def _differing_subscriptions() -> list[tuple[str, str, str]]:
    here = {row.pk: row for row in Subscription.objects.select_related("price")}
    ours = set(Customer.objects.values_list("stripe_id", flat=True))
    drift = []
    for there in gateway.subscriptions():
        row = here.get(there.id)
        if there.customer not in ours or (row is None and there.status in ("incomplete", "incomplete_expired")):
            continue
        seen = _said(there.status, there.price, there.cancel_at_period_end, there.period_end)
        stands = _said(row.status, row.price.stripe_id, row.cancel_at_period_end, row.period_end) if row else "nothing"
        if seen != stands:
            drift.append((f"subscription {there.id}", stands, seen))
    return drift


def _said(status: str, price: str | None, cancelling: bool, until: object) -> str:
    return f"{status}, {price}{', cancelling' if cancelling else ''}, until {until}"


def _differing_invoices(since: timedelta) -> list[tuple[str, str, str]]:
    ours = set(Customer.objects.values_list("stripe_id", flat=True))
    paid = [each.id for each in gateway.invoices_since(clock() - since) if each.customer in ours and each.paid_at]
    return [(f"invoice {id}", "not taken down", "paid") for id in paid if not effects.is_known(id)]
