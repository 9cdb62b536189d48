"""What Stripe says, as plain values: what the gateway brings back. Pure, and without Stripe's own types.

Money is in minor units with its currency (lower case, as Stripe writes it), instants are aware datetimes in UTC.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Line:
    """One line of an invoice. `price` is Stripe's id; `credited`: the invoice whose line a proration takes back."""

    id: str
    text: str
    amount: int
    price: str
    quantity: int
    start: datetime
    end: datetime
    item: str = ""
    proration: bool = False
    credited: str = ""


@dataclass(frozen=True)
class Invoice:
    """An invoice with all its lines. `payment`: the PaymentIntent that pays it, where there is one."""

    id: str
    customer: str
    status: str  # draft, open, paid, void, uncollectible
    reason: str  # subscription_create, subscription_cycle, subscription_update, manual
    total: int
    amount_paid: int
    amount_due: int
    tax: int
    currency: str
    created: datetime
    paid_at: datetime | None
    subscription: str
    number: str
    url: str  # the hosted page
    pdf: str
    attempted: bool
    payment: str
    metadata: dict[str, str]
    lines: list[Line] = field(default_factory=list)
    why: str = ""  # the sentence of the last failed payment
    needs_person: bool = False  # the payment waits for an authentication

    @property
    def unpaid_because(self) -> str:
        return self.why or ("Your bank asks you to confirm the payment." if self.needs_person else "")


@dataclass(frozen=True)
class Subscription:
    """A subscription with its one item. `next_price`: of a later phase of its schedule, where it has one."""

    id: str
    customer: str
    status: str
    item: str
    price: str
    quantity: int
    items: int  # how many it has; ours have one
    period_start: datetime
    period_end: datetime
    started: datetime
    ended: datetime | None
    cancel_at_period_end: bool
    schedule: str
    next_price: str
    change: str  # the change_id in the schedule's metadata
    pending: bool  # an update waits for its payment
    latest_invoice: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Payment:
    """A payment that succeeded, or not (`paid_at` None), and what of it has gone back."""

    id: str
    customer: str
    amount: int
    currency: str
    paid_at: datetime | None
    gone_back: int
    gone_back_at: datetime | None
    disputed: bool
    metadata: dict[str, str]


@dataclass(frozen=True)
class Session:
    """A Checkout session."""

    id: str
    customer: str
    status: str  # open, complete, expired
    paid: bool  # or nothing had to be paid
    url: str
    subscription: str
    invoice: str
    payment: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Preview:
    """What a change would cost: Stripe's own figures, with the lines of today's invoice."""

    due: int
    total: int
    tax: int
    currency: str
    lines: list[Line]


@dataclass(frozen=True)
class CustomerFacts:
    id: str
    email: str
    card: str
    deleted: bool


@dataclass(frozen=True)
class PriceFacts:
    id: str
    lookup_key: str
    amount: int
    currency: str
    interval: str  # month, year, once
    active: bool


@dataclass(frozen=True)
class Event:
    """An event as received, whose signature was right."""

    id: str
    type: str
    created: datetime
    livemode: bool
    api_version: str
    account: str
    kind: str  # of its object: invoice, subscription, charge, …
    about: str  # its id
    customer: str
    payload: dict[str, object]
