"""Stripe's face in this house, and the only importer of its SDK: plain values in, `facts` out.

For purchases, inbox, the top-ups and `sync_plans`. The laws: nothing is asked inside a transaction; every write has a
key made of our own facts (`verb:our id:step`), so that asking again does it once; Stripe keeps the first answer to a
key, also a refusal, so a new attempt needs a new key. What went wrong is one of five: Unreachable (ask again, with the
same key), Declined (the card said no), Rejected (Stripe's rules say no, or we have a bug), BadEvent, NotSetUp.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import stripe
from django.conf import settings
from django.db import connection

from billing.payments import facts, orders, readings
from billing.payments.errors import BadEvent as BadEvent
from billing.payments.errors import Declined as Declined
from billing.payments.errors import NotSetUp as NotSetUp
from billing.payments.errors import Rejected as Rejected
from billing.payments.errors import Unreachable as Unreachable
from billing.payments.readings import Json

log = logging.getLogger("oxygen.billing")

API_VERSION = "2026-10-28.endive"
TIMEOUT = (5, 20)  # seconds to connect, and of silence
RETRIES = 2  # of the SDK's, with the same key
LARGEST_EVENT = 512 * 1024
OLDEST_SIGNATURE = 300  # seconds
KEYS_AT_ONCE = 10  # Stripe's limit
WHOLE_CUSTOMER = ["invoice_settings.default_payment_method", "subscriptions.data.default_payment_method"]
WHOLE_INVOICE = ["payments.data.payment.payment_intent"]


def configured() -> bool:
    return bool(settings.STRIPE_SECRET_KEY)


def live() -> bool:
    """Say whether real money moves here."""
    return settings.STRIPE_SECRET_KEY.split("_")[1:2] == ["live"]


@lru_cache(maxsize=2)
def client(key: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        max_network_retries=RETRIES,  # a client's own default is none
        http_client=stripe.RequestsClient(timeout=TIMEOUT),
        base_addresses={"api": base} if base else {},
    )


@contextmanager
def _stripe() -> Iterator[Any]:
    """Lend the API's first version, and say in our words what goes wrong with it."""
    if connection.in_atomic_block:
        raise RuntimeError("Stripe is never asked inside a transaction.")
    if not configured():
        raise NotSetUp("STRIPE_SECRET_KEY is not set.")
    try:
        yield client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE).v1
    except stripe.CardError as error:
        raise Declined(_sentence(error), _decline_code(error)) from error
    except (stripe.InvalidRequestError, stripe.IdempotencyError) as error:
        raise Rejected(_sentence(error), error.code or "", getattr(error, "param", None) or "") from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        log.error("Stripe does not let us in: %s", _sentence(error))
        raise Rejected(_sentence(error), "not_let_in") from error
    except stripe.StripeError as error:  # no connection, 429, 5xx, 409 while the same key is at work, half an answer
        log.warning("Stripe could not be asked: %s", error)
        raise Unreachable(str(error)) from error


def _sentence(error: stripe.StripeError) -> str:
    return error.user_message or "Stripe gave no reason."


def _decline_code(error: stripe.CardError) -> str:
    said = error.error
    return (said and said.decline_code) or error.code or "card_declined"


def _plain(thing: Any) -> Json:
    return thing.to_dict()


def _keyed(key: str) -> dict[str, str]:
    return {"idempotency_key": key}


# ------------------------------------------------------------------ what stands at Stripe


def account() -> str:
    with _stripe() as v:
        return str(v.accounts.retrieve_current().id)


def invoice(id: str) -> facts.Invoice:
    """Read an invoice with all its lines, and of an open one why it is not paid."""
    with _stripe() as v:
        return _whole(v, v.invoices.retrieve(id, params={"expand": WHOLE_INVOICE}))


def _whole(v: Any, shown: stripe.Invoice) -> facts.Invoice:
    raw = _plain(shown)
    lines = raw["lines"]["data"]
    if raw["lines"]["has_more"]:
        pages = v.invoices.line_items.list(raw["id"], params={"limit": 100})
        lines = [_plain(each) for each in pages.auto_paging_iter()]
    return readings.invoice(raw, lines)


def invoices(customer: str, limit: int = 100, before: str = "") -> list[facts.Invoice]:
    """Read a customer's newest invoices, or those older than `before`; without why an open one is not paid."""
    asked = {"customer": customer, "limit": limit, "expand": ["data.payments"]}
    with _stripe() as v:
        asked |= {"starting_after": before} if before else {}
        return [_whole(v, each) for each in v.invoices.list(params=asked).data]


def invoices_since(since: datetime) -> list[facts.Invoice]:
    """Read everybody's invoices made since an instant, newest first; without why an open one is not paid."""
    asked = {"created": {"gte": int(since.timestamp())}, "limit": 100, "expand": ["data.payments"]}
    with _stripe() as v:
        return [_whole(v, each) for each in v.invoices.list(params=asked).auto_paging_iter()]


def subscription(id: str) -> facts.Subscription:
    with _stripe() as v:
        return readings.subscription(_plain(v.subscriptions.retrieve(id, params={"expand": ["schedule"]})))


def subscriptions(customer: str = "") -> list[facts.Subscription]:
    """Read all subscriptions, ended ones too; of one customer, or of all."""
    whose = {"customer": customer} if customer else {}
    with _stripe() as v:
        asked = {"status": "all", "limit": 100, "expand": ["data.schedule"], **whose}
        pages = v.subscriptions.list(params=asked)
        return [readings.subscription(_plain(each)) for each in pages.auto_paging_iter()]


def payment(id: str) -> facts.Payment:
    """Read a payment and how much of it has gone back by now."""
    with _stripe() as v:
        intent = _plain(v.payment_intents.retrieve(id, params={"expand": ["latest_charge"]}))
        mine = {"payment_intent": id, "limit": 100}
        back = [_plain(each) for each in v.refunds.list(params=mine).auto_paging_iter()]
        disputed = [_plain(each) for each in v.disputes.list(params=mine).auto_paging_iter()]
        return readings.payment(intent, back, disputed)


def session(id: str) -> facts.Session:
    with _stripe() as v:
        return readings.session(_plain(v.checkout.sessions.retrieve(id)))


def customer(id: str) -> facts.CustomerFacts:
    """Read a customer and the card that is charged by default."""
    with _stripe() as v:
        raw = _customer(v, id)
        return readings.customer(raw, _card(v, raw))


def _customer(v: Any, id: str) -> Json:
    raw = _plain(v.customers.retrieve(id))
    return raw if raw.get("deleted") else _plain(v.customers.retrieve(id, params={"expand": WHOLE_CUSTOMER}))


def _card(v: Any, raw: Json) -> Json | None:
    """What is charged by default; Checkout sets it on the subscription only, and for a pack nowhere."""
    if (card := readings.default_card(raw)) or raw.get("deleted"):
        return card
    return next(map(_plain, v.customers.payment_methods.list(raw["id"], params={"limit": 1}).data), None)


def price(id: str) -> facts.PriceFacts:
    with _stripe() as v:
        return readings.price(_plain(v.prices.retrieve(id)))


def prices(lookup_keys: Sequence[str]) -> list[facts.PriceFacts]:
    """Find prices by their lookup keys, archived ones too."""
    found = []
    with _stripe() as v:
        for n in range(0, len(lookup_keys), KEYS_AT_ONCE):
            asked = {"lookup_keys": list(lookup_keys[n : n + KEYS_AT_ONCE]), "limit": 100}
            found += [readings.price(_plain(each)) for each in v.prices.list(params=asked).auto_paging_iter()]
    return found


def events(since: datetime, *, undelivered: bool = False) -> list[facts.Event]:
    """Read the events since an instant (Stripe keeps 30 days), oldest first; if wished only what did not reach us."""
    only = {"delivery_success": False} if undelivered else {}
    with _stripe() as v:
        asked = {"created": {"gte": int(since.timestamp())}, "limit": 100, **only}
        pages = v.events.list(params=asked).auto_paging_iter()
        return [readings.event(each.to_dict(for_json=True)) for each in pages][::-1]


def read_event(body: bytes, signature: str) -> facts.Event:
    """Read what came to the webhook; BadEvent unless one of our secrets signed it within the last five minutes."""
    if len(body) > LARGEST_EVENT:
        raise BadEvent("too large")
    if not any(_signed(body, signature, secret) for secret in settings.STRIPE_WEBHOOK_SECRETS):
        raise BadEvent("not signed by Stripe, or too long ago")
    try:
        return readings.event(json.loads(body))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError) as error:
        raise BadEvent(f"no event: {error!r}") from error


def _signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        return stripe.WebhookSignature.verify_header(body, signature, secret, OLDEST_SIGNATURE)
    except (stripe.SignatureVerificationError, ValueError, TypeError):  # also: not UTF-8, a sign that is not ASCII
        return False


# ------------------------------------------------------------------ what we ask for


def make_customer(org: object, name: str, email: str, *, key: str) -> facts.CustomerFacts:
    asked = {"name": name, "email": email, "metadata": {"org": str(org)}}
    with _stripe() as v:
        return readings.customer(_plain(v.customers.create(params=asked, options=_keyed(key))), None)


def open_subscription_checkout(
    customer: str, price: str, *, org: object, purchase: object, success_url: str, cancel_url: str, key: str
) -> facts.Session:
    return _checkout(orders.plan_checkout(customer, price, org, purchase, (success_url, cancel_url)), key)


def open_pack_checkout(
    customer: str, price: str, *, org: object, purchase: object, success_url: str, cancel_url: str, key: str
) -> facts.Session:
    return _checkout(orders.pack_checkout(customer, price, org, purchase, (success_url, cancel_url)), key)


def _checkout(asked: Json, key: str) -> facts.Session:
    with _stripe() as v:
        return readings.session(_plain(v.checkout.sessions.create(params=asked, options=_keyed(key))))


def expire_session(id: str, *, key: str) -> facts.Session:
    """Close a session that is open; answers what it is afterwards, complete where somebody was quicker."""
    try:
        with _stripe() as v:
            return readings.session(_plain(v.checkout.sessions.expire(id, options=_keyed(key))))
    except Rejected:
        return session(id)


def preview(subscription: str, item: str, price: str, *, at: datetime, key: str) -> facts.Preview:
    """Ask what a change at `at` would cost today."""
    asked = {"subscription": subscription, "subscription_details": orders.change(item, price, at)}
    with _stripe() as v:
        return readings.preview(_plain(v.invoices.create_preview(params=asked, options=_keyed(key))))


def change_now(
    subscription: str, item: str, price: str, *, at: datetime, change: object, key: str
) -> tuple[facts.Subscription, facts.Invoice | None]:
    """Charge a change at `at`; it is so once its invoice is paid, which a declined card leaves open for 23 hours.

    The invoice is read anew, so that asking again with the same key tells how it stands by now.
    """
    asked = {
        **orders.change(item, price, at),
        "payment_behavior": "pending_if_incomplete",
        "metadata": {"change_id": str(change)},
        "expand": ["schedule"],
    }
    with _stripe() as v:
        answer = v.subscriptions.update(subscription, params=asked, options=_keyed(key))
    changed = readings.subscription(_plain(answer))
    made = invoice(changed.latest_invoice) if changed.latest_invoice else None
    ours = made and any(each.proration and each.start == at.replace(microsecond=0) for each in made.lines)
    return changed, made if ours else None


def schedule_change(
    standing: facts.Subscription, price: str, interval: str, *, change: object, key: str
) -> facts.Subscription:
    """Have a subscription be of another price from its next period on, without a charge before."""
    with _stripe() as v:
        schedule = standing.schedule
        if not schedule:
            asked = {"from_subscription": standing.id}  # Stripe allows nothing beside it
            schedule = v.subscription_schedules.create(params=asked, options=_keyed(f"{key}:schedule")).id
        if not (now := _plain(v.subscription_schedules.retrieve(schedule))["current_phase"]):
            raise Rejected("The schedule was taken away at Stripe meanwhile.", "schedule_gone")
        asked = orders.schedule(standing, now["start_date"], price, interval, change)
        v.subscription_schedules.update(schedule, params=asked, options=_keyed(f"{key}:phases"))
    return subscription(standing.id)


def release_schedule(id: str, *, key: str) -> None:
    """Let a subscription go on as it is; one that was let go already stays so."""
    try:
        with _stripe() as v:
            v.subscription_schedules.release(id, options=_keyed(key))
    except Rejected:
        with _stripe() as v:
            if v.subscription_schedules.retrieve(id).status in ("not_started", "active"):
                raise


def cancel_at_period_end(id: str, wanted: bool, *, key: str) -> facts.Subscription:
    """Have a subscription end with its period, or not."""
    asked = {"cancel_at_period_end": wanted, "expand": ["schedule"]}
    with _stripe() as v:
        return readings.subscription(_plain(v.subscriptions.update(id, params=asked, options=_keyed(key))))


def end_now(id: str, *, key: str) -> facts.Subscription:
    """End a subscription at once, without a charge or a credit."""
    try:
        with _stripe() as v:
            v.subscriptions.cancel(id, params={"invoice_now": False, "prorate": False}, options=_keyed(key))
    except Rejected:
        if not (seen := subscription(id)).ended:
            raise
        return seen
    return subscription(id)


def void_invoice(id: str, *, key: str) -> facts.Invoice:
    """Make an open invoice void; answers what it is afterwards, paid where somebody was quicker."""
    try:
        with _stripe() as v:
            v.invoices.void_invoice(id, options=_keyed(key))
    except Rejected:
        if (seen := invoice(id)).status not in ("void", "paid"):
            raise
        return seen
    return invoice(id)


def refund(payment: str, *, key: str) -> None:
    """Give back all that is left of a payment; one that went back already stays so."""
    try:
        with _stripe() as v:
            v.refunds.create(params={"payment_intent": payment}, options=_keyed(key))
    except Rejected as no:
        if no.code not in ("charge_already_refunded", "charge_disputed"):
            raise


def buy_pack_off_session(customer: str, price: str, *, org: object, purchase: object, key: str) -> facts.Invoice:
    """Charge a pack to the card on file while nobody is there. Declined names the invoice, to be made void."""
    with _stripe() as v:
        card = _card(v, _customer(v, customer))
        draft = orders.pack_invoice(customer, org, purchase)
        made = v.invoices.create(params=draft, options=_keyed(f"{key}:invoice")).id
        v.invoice_items.create(params=orders.pack_item(customer, price, made), options=_keyed(f"{key}:item"))
        v.invoices.finalize_invoice(made, params={"auto_advance": False}, options=_keyed(f"{key}:finalize"))
        if card is None:
            raise Declined("There is no card on file.", "no_card", invoice=made)
    try:
        with _stripe() as v:
            v.invoices.pay(made, params=orders.off_session(card["id"]), options=_keyed(f"{key}:pay:{card['id']}"))
    except Declined as no:
        raise Declined(no.why, no.code, invoice=made) from no
    except Rejected:  # by another card before, whose answer was lost
        if invoice(made).status != "paid":
            raise
    return invoice(made)


def portal(customer: str, return_url: str, flow: str = "", *, key: str) -> str:
    """Open the customer portal; answers its address. `flow` payment_method_update leads straight to the card."""
    with _stripe() as v:
        asked = orders.portal(customer, return_url, flow, _portal_configuration(v))
        return str(v.billing_portal.sessions.create(params=asked, options=_keyed(key)).url)


def _portal_configuration(v: Any) -> str:
    for each in v.billing_portal.configurations.list(params={"active": True, "limit": 100}).auto_paging_iter():
        if _plain(each)["metadata"] == orders.PORTAL_NAME:
            return str(each.id)
    key = f"portal:{orders.PORTAL_NAME['made_by']}"
    return str(v.billing_portal.configurations.create(params=orders.PORTAL, options=_keyed(key)).id)


def make_product(id: str, name: str, *, key: str) -> str:
    """Make a product under an id of our own; one that is there stays."""
    try:
        with _stripe() as v:
            return str(v.products.create(params={"id": id, "name": name}, options=_keyed(key)).id)
    except Rejected as no:
        if no.code != "resource_already_exists":
            raise
        return id


def make_price(
    product: str, lookup_key: str, amount: int, currency: str, interval: str, *, key: str
) -> facts.PriceFacts:
    """Sell a product by the month or year, or once."""
    asked = orders.price(product, lookup_key, amount, currency, interval)
    with _stripe() as v:
        return readings.price(_plain(v.prices.create(params=asked, options=_keyed(key))))
