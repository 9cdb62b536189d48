"""Customers who do whatever a customer may, at a small exact Stripe of their own; and what they are entitled to.

For `test_farming.py`. A Buyer keeps what Stripe would keep (periods, debits, a balance), makes the facts that the
gateway would bring back, and tells them to `effects`. Beside it stands the oracle: what each payment entitles to, month
by month, in fractions and from nothing but the prices, the periods and the instants.
"""

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from itertools import count
from random import Random
from typing import Any

from billing import ledger
from billing.models import Account, Customer, Organization, Price
from billing.payments import bought, effects, facts
from oxygen_site.transactions import intention
from tests.billing import moves

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
LEAST = 50  # what is less, Stripe leaves on the customer's balance
readings = count(1)


def months_after(anchor: datetime, months: int) -> datetime:
    year, month = divmod(anchor.month - 1 + months, 12)
    day = min(anchor.day, monthrange(anchor.year + year, month + 1)[1])
    return anchor.replace(year=anchor.year + year, month=month + 1, day=day)


def part(at: datetime, start: datetime, end: datetime) -> Fraction:
    """The share of a time that is left, by seconds."""
    return Fraction((end - at) // SECOND, (end - start) // SECOND)


def cents(exact: Fraction) -> int:
    """To the nearest cent, ties downwards."""
    return -((Fraction(1, 2) - exact) // 1)


@dataclass
class Due:
    """The credits of one month that was paid for: from when, until when at least, and how many."""

    begins: datetime
    ends: datetime
    credits: Fraction


@dataclass
class Paid:
    """A paid invoice, and what it entitles to by the keys of its grants, oldest first."""

    bill: facts.Invoice
    worth: Fraction  # minor units a credit
    due: dict[str, Due]
    refunded: int = 0
    disputed: int = 0
    back_at: datetime | None = None

    @property
    def back(self) -> int:
        return self.refunded + self.disputed

    @property
    def payment(self) -> facts.Payment | None:
        if not self.bill.payment:
            return None
        bill, disputed = self.bill, self.disputed > 0
        return facts.Payment(
            bill.payment, bill.customer, bill.amount_paid, "usd", bill.paid_at, self.back, self.back_at, disputed, {}
        )

    def owed(self) -> dict[str, Fraction]:
        """What is owed of each month: from the last one backwards."""
        paid = self.bill.amount_paid
        debt = sum((each.credits for each in self.due.values()), Fraction(0)) * (
            Fraction(self.back, paid) if paid else 0
        )
        owes = {}
        for key, each in reversed(self.due.items()):
            owes[key] = min(debt, each.credits)
            debt -= owes[key]
        return owes


@dataclass
class Standing:
    """A subscription as Stripe keeps it."""

    id: str
    item: str
    price: Price
    began: datetime
    anchor: datetime
    start: datetime
    end: datetime
    debit: int  # the last one of its item, and since when
    since: datetime
    paid: str  # the invoice of that debit
    most: Price
    status: str = "active"
    following: Price | None = None
    leaves: bool = False
    ended: datetime | None = None
    unpaid: facts.Invoice | None = None


@dataclass
class Buyer:
    org: Organization
    row: Customer
    dice: Random
    plans: list[Price]
    packs: list[Price]
    standing: Standing | None = None
    balance: int = 0
    paid: list[Paid] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: count(1))

    # -------------------------------------------------------------- what Stripe does

    def id(self, kind: str) -> str:
        return f"{kind}_{self.row.pk}_{next(self.numbers)}"

    def line(self, price: Price, amount: int, start: datetime, end: datetime, **more: Any) -> facts.Line:
        return facts.Line(self.id("il"), "", amount, str(price.stripe_id), 1, start, end, **more)

    def bill(self, at: datetime, reason: str, *lines: facts.Line) -> facts.Invoice:
        total = sum(each.amount for each in lines)
        due = total + self.balance
        self.balance, due = (0, due) if due >= LEAST else (due, 0)
        id = self.id("in")
        return facts.Invoice(
            id=id,
            customer=self.row.stripe_id,
            status="paid",
            reason=reason,
            total=total,
            amount_paid=due,
            amount_due=0,
            tax=0,
            currency="usd",
            created=at,
            paid_at=at,
            subscription=self.standing.id if self.standing else "",
            number="",
            url=f"https://invoice.example/{id}",
            pdf="",
            attempted=True,
            payment=self.id("pi") if due else "",
            metadata={},
            lines=list(lines),
        )

    def renew(self, now: datetime) -> None:
        """Do all that a renewal brings, of every period that is over."""
        while (its := self.standing) and its.ended is None and its.end <= now:
            if its.leaves or its.status == "past_due":
                its.status, its.ended, self.standing = "canceled", its.end, None
                self.tell_subscription(its)
                return
            new = its.following or its.price
            its.start = its.end
            if new.interval != its.price.interval:
                its.anchor = its.start
            its.price, its.most, its.following = new, new, None
            its.end = self.next_end(its)
            its.debit, its.since = its.price.amount, its.start
            line = self.line(its.price, its.price.amount, its.start, its.end, item=its.item)
            bill = self.bill(its.start + HOUR, "subscription_cycle", line)
            its.paid = bill.id
            if self.dice.random() < 0.15 and bill.payment:
                its.status, its.unpaid = "past_due", bill
                self.story.append("declined")
            else:
                self.took(bill, its)
            self.tell_subscription(its)

    def next_end(self, its: Standing) -> datetime:
        step, n = (1, 1) if its.price.interval == "month" else (12, 1)
        while months_after(its.anchor, step * n) <= its.start:
            n += 1
        return months_after(its.anchor, step * n)

    # -------------------------------------------------------------- what is told here

    def took(self, bill: facts.Invoice, its: Standing) -> None:
        """A whole period was paid for: its months, each with the plan's credits."""
        plan, n = its.price.plan, 0
        due: dict[str, Due] = {}
        assert plan
        while True:
            begins = months_after(its.start, n)
            if begins >= its.end:
                break
            ends = its.end if its.price.interval == "month" else min(months_after(its.start, n + 1), its.end)
            due[f"refill:{its.item}:{begins:%Y-%m-%dT%H:%M:%SZ}"] = Due(begins, ends, Fraction(plan.credits))
            n += 1
            if its.price.interval == "month":
                break
        self.keep(Paid(bill, Fraction(its.price.amount) / sum(each.credits for each in due.values()), due))

    def keep(self, paid: Paid) -> None:
        self.paid.append(paid)
        self.tell(paid)

    def tell(self, paid: Paid) -> None:
        """In any order, and some of it twice."""
        prices = bought.Prices(each.price for each in paid.bill.lines)
        tells: list[Callable[[], None]] = [
            lambda: effects.invoice_read(self.row, next(readings), paid.bill, prices, paid.payment)
        ]
        if payment := paid.payment:
            tells.append(lambda: effects.payment_read(self.row, next(readings), payment))
        self.dice.shuffle(tells)
        for tell in tells + self.dice.sample(tells, self.dice.random() < 0.2):
            intention(tell)

    def tell_subscription(self, its: Standing) -> None:
        seen = facts.Subscription(
            its.id, self.row.stripe_id, its.status, its.item, str(its.price.stripe_id), 1, 1, its.start, its.end,
            its.anchor, its.ended, its.leaves, "sub_sched" if its.following else "",
            str(its.following.stripe_id) if its.following else "", "", False, "", {},
        )  # fmt: skip
        prices = bought.Prices(each for each in (seen.price, seen.next_price) if each)
        intention(lambda: effects.subscription_read(self.row, next(readings), seen, prices))

    # -------------------------------------------------------------- what the customer does

    def subscribe(self, now: datetime) -> None:
        if self.standing:
            return
        at, price = now.replace(microsecond=0), self.dice.choice(self.plans)
        its = Standing(self.id("sub"), self.id("si"), price, at, at, at, at, price.amount, at, "", price)
        its.end = self.next_end(its)
        self.standing = its
        bill = self.bill(at, "subscription_create", self.line(price, price.amount, at, its.end, item=its.item))
        its.paid = bill.id
        tells = [partial(self.tell_subscription, its), partial(self.took, bill, its)]
        for tell in self.dice.sample(tells, 2):
            tell()

    def upgrade(self, now: datetime) -> None:
        """At an instant T, paid at once or within the day. Money goes by the period, credits by the month."""
        its = self.standing
        if not its or its.status != "active":
            return
        higher = [each for each in self.plans if each.interval == its.price.interval and each.amount > its.price.amount]
        at = now.replace(microsecond=0) - timedelta(seconds=self.dice.choice([0, 3, 890, 70_000]))
        if not higher or at < its.since:
            return
        new = self.dice.choice(higher)
        given_back = cents(-its.debit * part(at, its.since, its.end))
        costs = cents(new.amount * part(at, its.start, its.end))
        bill = self.bill(
            now.replace(microsecond=0), "subscription_update",
            self.line(its.price, given_back, at, its.end, item=its.item, proration=True, credited=its.paid),
            self.line(new, costs, at, its.end, item=its.item, proration=True),
        )  # fmt: skip
        assert new.plan
        assert its.most.plan
        more = Fraction(new.plan.credits) - Fraction(its.most.plan.credits)
        listed = Fraction(new.amount - its.price.amount) / more / (1 if new.interval == "month" else 12)
        its.price = its.most = new
        its.debit, its.since, its.paid = costs, at, bill.id
        due = self.added(f"upgrade:{bill.id}", its, at, more)
        credits = sum((each.credits for each in due.values()), Fraction(0))
        # Credits go by the month that runs, a year's money by its days: they are apart by some days of one month.
        assert abs(credits * listed - bill.total) <= (1 if new.interval == "month" else more * listed / 8)
        self.keep(Paid(bill, bill.total / credits, due))
        self.tell_subscription(its)

    def added(self, key: str, its: Standing, at: datetime, more: Fraction) -> dict[str, Due]:
        if its.price.interval == "month":
            return {key: Due(at, its.end, more * part(at, its.start, its.end))}
        due: dict[str, Due] = {}
        n = 0
        while (begins := months_after(its.start, n)) < its.end:
            ends, n = min(months_after(its.start, n + 1), its.end), n + 1
            if begins <= at < ends:
                due[key] = Due(at, ends, more * part(at, begins, ends))
            elif begins > at:
                due[f"{key}:{begins:%Y-%m-%dT%H:%M:%SZ}"] = Due(begins, ends, more)
        return due

    def schedule(self, now: datetime) -> None:
        if self.standing and not self.standing.leaves:
            self.standing.following = self.dice.choice([None, *self.plans])
            self.tell_subscription(self.standing)

    def leave_or_stay(self, now: datetime) -> None:
        if self.standing:
            self.standing.leaves, self.standing.following = not self.standing.leaves, None
            self.tell_subscription(self.standing)

    def pay_late(self, now: datetime) -> None:
        its = self.standing
        if its and its.unpaid:
            bill, its.unpaid, its.status = replace(its.unpaid, paid_at=now.replace(microsecond=0)), None, "active"
            self.took(bill, its)
            self.tell_subscription(its)

    def top_up(self, now: datetime) -> None:
        price, at = self.dice.choice(self.packs), now.replace(microsecond=0)
        assert price.pack
        line = self.line(price, price.amount, at, at)
        bill, credits = replace(self.bill(at, "manual", line), subscription=""), Fraction(price.pack.credits)
        key = f"top_up:{line.id}"
        self.keep(Paid(bill, price.amount / credits, {key: Due(at, months_after(at, 12), credits)}))

    def money_moves(self, now: datetime) -> None:
        """A refund of a part or all, a dispute that opens, or one that was won."""
        charged = [each for each in self.paid if each.bill.payment]
        if not charged:
            return
        paid = self.dice.choice(charged)
        left = paid.bill.amount_paid - paid.back
        if paid.disputed and self.dice.random() < 0.6:
            paid.disputed = 0
        elif left and not paid.disputed and self.dice.random() < 0.4:
            paid.disputed, paid.back_at = left, now.replace(microsecond=0)
        elif left and not paid.disputed:
            paid.refunded += self.dice.choice([left, self.dice.randint(1, left)])
            paid.back_at = now.replace(microsecond=0)
        if not paid.back:
            paid.back_at = None
        self.tell(paid)

    def use(self, now: datetime) -> None:
        """Have a run capture some of what is available."""
        intention(partial(ledger.expire, self.org.pk))
        some = (Account.objects.get(org=self.org.pk).available * self.dice.choice([1, 3, 4]) / 4).quantize(
            ledger.PLACES
        )

        def verb() -> None:
            run = moves.open_run(self.org.pk, some, begin=1, unit=some)
            moves.settle(self.org.pk, run, moves.attempt(1, some, some))
            moves.close(self.org.pk, run)

        if some:
            intention(verb)


VERBS: list[Callable[[Buyer, datetime], None]] = [
    *[Buyer.upgrade] * 4,
    *[Buyer.subscribe, Buyer.pay_late, Buyer.money_moves, Buyer.use] * 2,
    *[Buyer.schedule, Buyer.leave_or_stay, Buyer.top_up],
]
