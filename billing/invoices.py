"""An org's invoices as last read at Stripe: `keep` for the inbox, `listed` for the page.

Laws: an older look never overwrites a newer one; what an invoice is for is said in our words, from its lines' prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import FETCH_RAISE, Q

from billing.models import Invoice, Organization, Price
from billing.payments import facts

PAGE = 50


def keep(org: Organization, reading: int, said: facts.Invoice, prices: Mapping[str, Price]) -> bool:
    """Write down an invoice as look number `reading` found it; `prices` are ours by Stripe's ids. Three queries.

    Under the customer's row, which keeps looks apart. Answers whether it is the latest look at it.
    """
    if Invoice.objects.filter(pk=said.id, reading__gte=reading).exists():
        return False
    now = {
        "org": org,
        "reading": reading,
        "number": said.number,
        "status": said.status,
        "what": describe(said, prices),
        "total": said.total,
        "tax": said.tax,
        "amount_paid": said.amount_paid,
        "amount_due": said.amount_due,
        "currency": said.currency,
        "created_at": said.created,
        "paid_at": said.paid_at,
        "url": said.url,
        "pdf": said.pdf,
    }
    Invoice.objects.update_or_create(pk=said.id, defaults=now)
    return True


def describe(said: facts.Invoice, prices: Mapping[str, Price]) -> str:
    """Say what an invoice is for, in a few words; `prices` are ours by Stripe's ids."""
    prorated = [line for line in said.lines if line.proration and line.price in prices]
    old = [_name(prices[line.price]) for line in prorated if line.amount < 0]
    new = [_name(prices[line.price]) for line in prorated if line.amount >= 0]
    if old and new:
        return f"{old[0]} to {new[-1]}, from {_day(prorated[-1].start)}"[:200]
    return "; ".join(dict.fromkeys(_line(line, prices.get(line.price)) for line in said.lines))[:200]


def _line(line: facts.Line, price: Price | None) -> str:
    if price is None:
        return line.text
    if price.pack:
        return str(price.pack)
    return f"{_name(price)}, {_day(line.start)} to {_day(line.end)}"


def _name(price: Price) -> str:
    name = price.plan.name if price.plan else str(price.pack)
    return f"{name} by the year" if price.interval == Price.Interval.YEAR else name


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC).day} {at.astimezone(UTC):%b}"


# ------------------------------------------------------------------ what the page reads


@dataclass(frozen=True)
class Keyset:
    """The place of an invoice in the list: the next page begins after it."""

    at: datetime
    id: str

    @classmethod
    def read(cls, text: str) -> "Keyset":
        """Read what `text` wrote; ValueError for anything else."""
        at, _, id = text.partition("_")
        if not (id.isascii() and id.isidentifier()):
            raise ValueError(text)
        return cls(datetime.strptime(at, _AT).replace(tzinfo=UTC), id)

    @property
    def text(self) -> str:
        return f"{self.at.astimezone(UTC).strftime(_AT)}_{self.id}"

    def older(self) -> Q:
        return Q(created_at__lte=self.at) & (Q(created_at__lt=self.at) | Q(stripe_id__lt=self.id))


_AT = "%Y%m%dT%H%M%S.%f"


@dataclass(frozen=True)
class Listed:
    invoices: list[Invoice]
    older: str | None


def listed(org: Organization, before: Keyset | None = None) -> Listed:
    """List an org's invoices, newest first, 50 a page; drafts are nobody's business yet. One query."""
    found = Invoice.objects.filter(org=org).exclude(status=Invoice.Status.DRAFT)
    if before:
        found = found.filter(before.older())
    page = list(found.order_by("-created_at", "-stripe_id").fetch_mode(FETCH_RAISE)[: PAGE + 1])
    last = page[PAGE - 1] if len(page) > PAGE else None
    return Listed(page[:PAGE], Keyset(last.created_at, last.stripe_id).text if last else None)
