"""A year of one customer's life, and how what Stripe tells of it arrives: thrice, in any order, from all sides at once.

For `test_order.py`. What happens is fixed to the second, and counted from the subscription's own start; only the order
in which it is told is up to the dice. Business time and Stripe's move on together, once all of an instant is in.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from threading import Event, Thread, local
from typing import Any

from django.db import connection

from billing import jobs, orgs, plans
from billing.models import (
    Account,
    Customer,
    Grant,
    Invoice,
    Pack,
    PaidPeriod,
    Payment,
    PlanChange,
    Purchase,
    StripeEvent,
    Subscription,
    User,
)
from billing.payments import changes, facts, gateway, inbox, purchases
from billing.payments.effects import Ignored
from oxygen_site import clock
from oxygen_site.transactions import intention
from tests.billing import moves
from tests.billing.payments.conftest import URLS, VISA, another_card
from tests.sandbox.stripe.local import Judged, Sandbox

COPIES, SIDES = 3, 3  # how often each event is delivered, and from how many sides
APPLIED = 0.4  # the share of deliveries whose job runs before the next one comes
LATE = 0.1  # the share of deliveries that come past newer ones
EARLY = timedelta(seconds=0.2)  # business time is up to a second ahead of Stripe's whole seconds
NOW, RENEWAL = PlanChange.When.NOW, PlanChange.When.RENEWAL


class Slow:
    """A look that is begun now, and whose first answer comes no sooner than it may arrive."""

    def __init__(self, wire: Judged, kind: str, id: str) -> None:
        self.may_arrive, self.answered = Event(), Event()
        assert isinstance(wire, Wire)
        self.thread = Thread(target=self.look, args=(wire, kind, id))
        self.thread.start()
        assert self.answered.wait(20)

    def look(self, wire: "Wire", kind: str, id: str) -> None:
        wire.slow.look = self
        try:
            glance(kind, id)
        finally:
            connection.close()

    def arrive(self) -> None:
        self.may_arrive.set()
        self.thread.join()


class Wire(Judged):
    """The way to Stripe, on which the first answer to a slow look stays until it may arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = local()

    def request(self, *asked: Any, **more: Any) -> tuple[bytes, int, Mapping[str, str]]:  # type: ignore[override]
        answer = super().request(*asked, **more)
        look: Slow | None = getattr(self.slow, "look", None)
        if look:
            look.answered.set()
            look.may_arrive.wait(60)
        return answer


class Life:
    """An org, its Stripe, and the dice that say in which order events come."""

    def __init__(self, local: Sandbox, alice: User, begins: datetime, dice: Random) -> None:
        self.local, self.alice, self.dice = local, alice, dice
        self.heard: set[str] = set()
        self.then = begins
        self.pass_to(begins)
        self.org = orgs.create("Acme", "Europe/Lisbon", owner=alice)
        self.looks: list[tuple[str, str]] = []
        self.slow: list[Slow] = []
        self.story: list[dict[str, object]] = []  # what there was after each instant
        self.deliveries = 0
        self.run: Any = None
        self.dispute = ""

    # -------------------------------------------------------------- time, and what it brings

    def pass_to(self, instant: datetime) -> None:
        self.then = gateway_time = instant.replace(microsecond=0)
        self.local.order("clock", to=int(gateway_time.timestamp()))
        clock.advance(gateway_time + EARLY - clock.clock())

    def later(self, **time: float) -> None:
        """Come to an instant, hear what it brings, and let the periodic jobs run."""
        self.pass_to(self.then + timedelta(**time))
        self.hear()

    @property
    def standing(self) -> Subscription:
        live = plans.subscription(self.org)
        assert live
        return live

    def renew(self) -> None:
        """The draft comes at once, the charge an hour later."""
        self.then = self.standing.period_end
        self.later(minutes=5)
        self.later(hours=2)

    def hear(self) -> None:
        """Let all that was told since the last instant arrive, from several sides at once."""
        told = [each for each in gateway.events(self.then - timedelta(days=40)) if each.id not in self.heard]
        self.heard.update(each.id for each in told)
        deliveries = told * COPIES
        self.deliveries += len(deliveries)
        self.dice.shuffle(deliveries)
        late = [each for each in deliveries if self.dice.random() < LATE]
        deliveries = [each for each in deliveries if each not in late] + late
        glances, self.looks = self.looks * 2, []
        applied = [partial(inbox.apply_waiting, group) for group in {each.customer or each.about for each in told}]
        sides: list[list[Callable[[], object]]] = [
            [*(partial(arrive, each, apply=self.dice.random() < APPLIED) for each in deliveries[n::SIDES]), *applied]
            for n in range(SIDES)
        ]
        for look in glances:
            side = self.dice.choice(sides)
            side.insert(self.dice.randint(0, len(side)), partial(glance, *look))
        for slow in self.slow:
            side = self.dice.choice(sides)
            side.insert(self.dice.randint(0, len(side)), slow.arrive)
        with ThreadPoolExecutor(SIDES) as pool:
            for done in [pool.submit(one_after_the_other, side) for side in sides]:
                done.result()
        self.slow.clear()
        jobs.give_due()
        jobs.expire_due()
        self.story.append(seen(self))

    # -------------------------------------------------------------- what the customer does

    def look_slowly(self) -> None:
        """Begin looks whose first answer is from before what comes next, and stays on its way until after it."""
        standing = plans.subscription(self.org)
        if standing is None:
            return
        known = {"customer": standing.customer.stripe_id, "subscription": standing.pk, "payment": self.newest().pk}
        known["invoice"] = gateway.subscription(standing.pk).latest_invoice
        for kind, id in known.items():
            self.slow.append(Slow(self.local.products, kind, id))

    def subscribe(self, plan: str) -> None:
        purchase = purchases.subscribe(self.org, self.alice, plan, "month", URLS)
        self.local.press(purchase.url, "pay", number=VISA)
        self.looks = [("session", purchase.session)]

    def upgrade(self, plan: str, day: int) -> None:
        """Exactly so many days into the month: what it adds must not hang on how quick this machine is."""
        at = self.standing.period_start + timedelta(days=day)
        self.pass_to(at)
        quote = changes.quote(self.org, self.alice, plan, "month", NOW)
        assert quote.at == at, "too slow to quote at the instant that was meant"
        asked = changes.confirm(self.org, self.alice, quote.pk)
        self.looks = [("subscription", asked.subscription_id), ("invoice", asked.invoice)]

    def schedule(self, plan: str) -> None:
        quote = changes.quote(self.org, self.alice, plan, "month", RENEWAL)
        assert changes.confirm(self.org, self.alice, quote.pk).state == "scheduled"
        self.looks = [("subscription", self.standing.pk)]

    def cancel(self) -> None:
        assert changes.cancel(self.org, self.alice).state == "scheduled"
        self.looks = [("subscription", self.standing.pk)]

    def top_up(self, credits: int) -> None:
        pack = Pack.objects.get(credits=credits, on_sale=True)
        purchase = purchases.top_up(self.org, self.alice, pack.pk, URLS)
        self.local.press(purchase.url, "pay", number=VISA)
        self.looks = [("session", purchase.session)]

    def pay_what_is_open(self) -> None:
        self.local.press(self.standing.pay_url, "pay", number=VISA)
        self.looks = [("invoice", self.standing.pay_url.rpartition("/")[2])]

    def use(self, credits: Decimal | int) -> None:
        """Have a run capture so many."""

        def verb() -> None:
            run = moves.open_run(self.org.pk, credits, begin=1, unit=credits)
            moves.settle(self.org.pk, run, moves.attempt(1, credits, credits))
            moves.close(self.org.pk, run)

        intention(verb)

    def use_all_but(self, credits: int) -> None:
        self.use(Account.objects.get(org=self.org.pk).available - credits)

    def hold(self, credits: int) -> None:
        self.run = intention(partial(moves.open_run, self.org.pk, credits))

    def let_go(self) -> None:
        intention(partial(moves.close, self.org.pk, self.run))

    # -------------------------------------------------------------- what its bank and Stripe's dashboard do

    def card(self, name: str) -> None:
        another_card(self.local, self.org, name)

    def newest(self) -> Payment:
        return Payment.objects.filter(org=self.org).latest("paid_at")

    def charge(self) -> str:
        paid = self.local.stripe.payment_intents.retrieve(self.newest().pk)
        self.looks = [("payment", paid.id)]
        return str(paid.latest_charge)

    def refund(self, amount: int) -> None:
        self.local.order("refunds", charge=self.charge(), amount=amount)

    def open_dispute(self) -> None:
        self.dispute = self.local.order("disputes", charge=self.charge())["id"]

    def close_dispute(self, outcome: str) -> None:
        self.local.order("disputes", dispute=self.dispute, outcome=outcome)


def arrive(event: facts.Event, *, apply: bool) -> None:
    inbox.receive(event)
    if apply:
        inbox.apply_waiting(event.customer or event.about)


def glance(kind: str, id: str) -> None:
    """As the page does to which Stripe sends people back."""
    with suppress(Ignored):
        inbox.look(kind, id)


def one_after_the_other(side: list[Callable[[], object]]) -> None:
    try:
        for each in side:
            each()
    finally:
        connection.close()


def live(stripe: Sandbox, alice: User, begins: datetime, dice: Random) -> Life:
    """Subscribe, upgrade, renew, decline, pay late, refund, be disputed, go down, top up and leave."""
    life = Life(stripe, alice, begins, dice)
    jobs.give_due()
    life.later(hours=1)
    life.subscribe("starter")
    life.later(minutes=1)
    life.use(500)
    life.look_slowly()
    life.upgrade("growth", day=10)
    life.later(minutes=1)
    life.use(9000)
    life.renew()
    life.hold(20_000)
    life.look_slowly()
    life.refund(8300)  # a third
    life.later(days=1)
    life.let_go()
    life.look_slowly()
    life.card("pm_card_chargeCustomerFail")
    life.renew()
    assert life.standing.status == "past_due"
    life.later(days=1)
    life.look_slowly()
    life.card("pm_card_visa")
    life.pay_what_is_open()
    life.later(minutes=1)
    life.renew()
    life.use_all_but(5000)
    life.look_slowly()
    life.open_dispute()
    life.later(days=2)
    life.look_slowly()
    life.close_dispute("lost")
    life.later(days=9)
    life.renew()
    life.look_slowly()
    life.open_dispute()
    life.later(days=1)
    life.look_slowly()
    life.close_dispute("won")
    life.later(days=1)
    life.look_slowly()
    life.schedule("starter")
    life.later(days=1)
    life.renew()
    life.look_slowly()
    life.top_up(1000)
    life.later(minutes=1)
    life.use(7000)
    life.look_slowly()
    life.refund(400)
    life.later(days=3)
    life.renew()
    life.look_slowly()
    life.cancel()
    life.later(days=1)
    for _ in range(2):
        life.then = life.then + timedelta(days=1)
        life.later(days=32)
    for _ in range(3):
        life.later(days=31)
    return life


# ------------------------------------------------------------------ what came of it

IDS = re.compile(r"http://\S+|sub_sched_\w+")
GRANT = ("source", "amount", "remaining", "burned", "expired", "owed")
SUBSCRIPTION = ("status", "price_id", "cancel_at_period_end", "schedule", "next_price_id", "pay_url", "surplus")
CHANGE = ("old_id", "new_id", "when", "state", "why", "pay_url", "undoing", "due", "credits")
PURCHASE = ("price_id", "is_plan", "automatic", "state", "why", "url")
PAYMENT = ("amount", "gone_back", "disputed")
PERIOD = ("source", "price_id", "amount", "first", "credits", "level")


def seen(life: Life) -> dict[str, object]:
    """All that must be the same in whatever order it was told: without ids, and without the instants."""
    org = life.org
    mine: dict[str, Any] = {"org": org}
    account = Account.objects.get(org=org.pk)
    grants = Grant.objects.filter(org=org.pk).order_by("effective_at", "source")
    return {
        "grants": list(grants.values_list(*GRANT)),
        "clawed back, less what was restored": [each.clawed_back - each.restored for each in grants],
        "short": [max(each.burned + each.owed - each.amount, Decimal(0)) for each in grants],
        "balance": (account.available, account.drawn),
        "subscriptions": without_ids(Subscription.objects.filter(**mine).values_list(*SUBSCRIPTION)),
        "changes": without_ids(PlanChange.objects.filter(**mine).order_by("quoted_at").values_list(*CHANGE)),
        "purchases": without_ids(Purchase.objects.filter(**mine).order_by("asked_at").values_list(*PURCHASE)),
        "payments": list(Payment.objects.filter(**mine).order_by("paid_at").values_list(*PAYMENT)),
        "paid for": list(PaidPeriod.objects.filter(**mine).order_by("paid_at", "start").values_list(*PERIOD)),
        "invoices": list(Invoice.objects.filter(**mine).order_by("created_at").values_list("status", "total")),
        "card": list(Customer.objects.filter(**mine).values_list("card")),
        "events": sorted(StripeEvent.objects.values_list("type", "state")),
    }


def without_ids(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [[IDS.sub("…", each) if isinstance(each, str) else each for each in row] for row in rows]


def next_new_year(now: datetime) -> datetime:
    """A day in January: of long months, and the same for every life of one test."""
    return datetime(now.year + 1, 1, 15, 12, tzinfo=UTC)
