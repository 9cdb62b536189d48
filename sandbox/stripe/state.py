"""All that this Stripe knows: its objects as the API shows them, what it keeps to itself, and what time it is.

An object is the JSON that Stripe would answer, with ids where nothing was expanded. Time has several lines: the main
one, real time plus an offset that only grows, and one for each test clock, which stands until it is advanced.
"""

import copy
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from sandbox.stripe.cards import Card
from sandbox.stripe.refusals import missing

type Json = dict[str, Any]

BLANKS: dict[str, Json] = json.loads(Path(__file__).with_name("blanks.json").read_text("utf-8"))
PREFIXES = {
    "product": "prod",
    "price": "price",
    "customer": "cus",
    "payment_method": "pm",
    "setup_intent": "seti",
    "payment_intent": "pi",
    "charge": "ch",
    "refund": "re",
    "dispute": "du",
    "credit_note": "cn",
    "credit_note_line_item": "cnli",
    "checkout.session": "cs_test",
    "item": "li",
    "billing_portal.configuration": "bpc",
    "billing_portal.session": "bps",
    "subscription": "sub",
    "subscription_item": "si",
    "subscription_schedule": "sub_sched",
    "invoice": "in",
    "line_item": "il",
    "invoiceitem": "ii",
    "invoice_payment": "inpay",
    "event": "evt",
    "webhook_endpoint": "we",
    "test_helpers.test_clock": "clock",
    "customer_balance_transaction": "cbtxn",
    "balance_transaction": "txn",
}


@dataclass
class Settings:
    """What the control API may want otherwise."""

    fail_next_payments: list[str] = field(default_factory=list)  # decline codes, one a payment
    tax_percent: str = "0"  # exclusive, on every invoice made from now on
    after_retries: str = "cancel"  # what becomes of a subscription nobody pays: cancel, unpaid or past_due


@dataclass
class Caller:
    """The request that is being answered; its id and key stand in the events it causes."""

    id: str | None = None
    key: str | None = None
    pinned: bool = True  # it names its API version; without one the account's older default is meant


@dataclass
class World:
    base: str = ""  # the address of the hosted pages
    kinds: dict[str, dict[str, Json]] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)  # by payment method
    set_up: set[str] = field(default_factory=set)  # payment methods that were authenticated for later use
    hidden: dict[str, Json] = field(default_factory=dict)  # by object, what Stripe knows and does not show
    secrets: dict[str, str] = field(default_factory=dict)  # by webhook endpoint
    settings: Settings = field(default_factory=Settings)
    caller: Caller = field(default_factory=Caller)
    outgoing: list[tuple[str, str]] = field(default_factory=list)  # (event, endpoint) not yet handed to the post
    offset: int = 0
    instant: int | None = None  # the main line's time while due work is done

    def real(self) -> int:
        """Say what time it is on the main line."""
        return self.instant if self.instant is not None else int(time.time()) + self.offset

    def now(self, clock: str | None) -> int:
        """Say what time it is on a test clock, or on the main line."""
        return int(self.get("test_helpers.test_clock", clock)["frozen_time"]) if clock else self.real()

    @property
    def tax_rate(self) -> Fraction:
        return Fraction(self.settings.tax_percent) / 100

    def make(self, kind: str, created: int | None = None, **fields: Any) -> Json:
        """Make an object of a kind, blank but for `fields`, and keep it."""
        made = self.draft(kind, created, **fields)
        self.kinds.setdefault(kind, {})[made["id"]] = made
        return made

    def draft(self, kind: str, created: int | None = None, **fields: Any) -> Json:
        """Make an object of a kind without keeping it, for a part of another or a preview."""
        made = copy.deepcopy(BLANKS[kind])
        # Random, so that a database which outlives this process never meets an id twice.
        made["id"] = f"{PREFIXES[kind]}_{secrets.token_hex(12)}"
        if "created" in made:
            made["created"] = self.real() if created is None else created
        return made | fields

    def all(self, kind: str) -> list[Json]:
        """List the objects of a kind, oldest first."""
        return list(self.kinds.get(kind, {}).values())

    def where(self, kind: str, **facts: Any) -> Iterator[Json]:
        """Walk the objects of a kind of which all `facts` hold, oldest first."""
        for each in self.all(kind):
            if all(each.get(name) == value for name, value in facts.items()):
                yield each

    def get(self, kind: str, id: Any, param: str = "id") -> Json:
        """Find an object, or refuse as Stripe does."""
        found = self.kinds.get(kind, {}).get(str(id))
        if found is None:
            raise missing(kind, str(id), param)
        return found

    def find(self, id: str) -> Json | None:
        """Find an object of any kind."""
        return next((objects[id] for objects in self.kinds.values() if id in objects), None)

    def drop(self, thing: Json) -> None:
        del self.kinds[thing["object"]][thing["id"]]

    def keep(self, id: str) -> Json:
        """What is known of an object and not shown."""
        return self.hidden.setdefault(id, {})

    def living_customer(self, id: Any) -> Json:
        """Find a customer that was not deleted."""
        customer = self.get("customer", id, "customer")
        if customer.get("deleted"):
            raise missing("customer", str(id), "customer")
        return customer
