"""What the pages ask about runs: cards, lists, receipts, items with their attempts. Reads only.

Each function says its cost in queries, the same however long the lists are. Figures of credits come from the ledger's
reservation and entries, never from adding up what attempts claim.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import FETCH_RAISE, Case, Count, Q, QuerySet, Sum, Value, When
from django.shortcuts import get_object_or_404

from billing.models import Entry, Organization, Reservation
from runs.cascade import ZERO, plain
from runs.estimates import PLACES
from runs.models import Attempt, Item, Run
from runs.models.runs import NOT_CHARGED, OUTCOMES

PAGE = 50
IN_VAIN = ("failed_after_billing", "unknown")  # the outcomes of which a person wants to see every row


@dataclass(frozen=True)
class RunCard:
    """A run with its items counted and its credits as booked, and what a person may do with it now."""

    run: Run
    pending: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    unknown: int  # of the running ones: nobody knows what became of their call
    reserved: Decimal  # what it has drawn and not given back, captured included
    captured: Decimal
    held: Decimal
    absorbed: Decimal
    released: Decimal

    @property
    def in_flight(self) -> int:
        return self.running - self.unknown

    @property
    def is_moving(self) -> bool:
        """Say whether its figures change by themselves: it is at work, or was stopped and rows still finish."""
        return self.run.is_live or self.in_flight > 0

    @property
    def stands(self) -> str:
        """What all that is shown of it but the figures depends on, as a poll repeats it."""
        return f"{self.run.status}{'.' if self.is_moving else ''}"

    @property
    def done(self) -> int:
        return self.succeeded + self.failed

    @property
    def share(self) -> Decimal:
        return Decimal(self.done) / self.run.rows

    @property
    def drawn(self) -> Decimal:
        """What it reserved at its start."""
        return self.reserved + self.released

    @property
    def room(self) -> Decimal:
        """What further items may still hold."""
        return self.reserved - self.captured - self.held

    @property
    def open_hold(self) -> Decimal:
        """What the org cannot spend elsewhere because of this run."""
        return self.reserved - self.captured

    @property
    def at_cap(self) -> bool:
        return bool(self.run.unit) and self.pending > 0 and not self.in_flight and self.room < self.run.unit

    @property
    def can_pause(self) -> bool:
        return self.run.status in Run.PAUSABLE

    @property
    def can_resume(self) -> bool:
        return self.run.status == Run.Status.PAUSED and not self.at_cap

    @property
    def can_approve(self) -> bool:
        return self.run.status == Run.Status.AWAITING_APPROVAL

    @property
    def can_cancel(self) -> bool:
        return self.can_pause or self.can_approve or self.run.status == Run.Status.PAUSED

    @property
    def can_continue(self) -> bool:
        return self.run.status == Run.Status.PAUSED and self.pending > 0 and not self.in_flight

    @property
    def why(self) -> str:
        """Why a paused run cannot simply be resumed; empty where it can."""
        if self.run.status != Run.Status.PAUSED or not self.at_cap:
            return ""
        return (
            f"Its cap has room for {plain(self.room)} more credits, and one more row may cost {plain(self.run.unit)}. "
            "Continue with a new cap instead."
        )


@dataclass(frozen=True)
class OutcomeLine:
    """The settled calls of one outcome, and what they captured."""

    outcome: str
    calls: int
    captured: Decimal


@dataclass(frozen=True)
class Tab:
    """Some of a run's rows: those of one status, or with calls of one kind; neither is all of them."""

    label: str
    rows: int
    status: str | None = None
    calls: str | None = None


@dataclass(frozen=True)
class ItemizedReceipt:
    """A run's figures, and its settled calls by outcome; what these captured adds up to what the run did."""

    card: RunCard
    outcomes: list[OutcomeLine]
    rows_in_vain: dict[str, int]  # with calls that were charged, then failed, or were given up
    late: int  # answers that came after their calls had been given up
    late_cost: Decimal  # what these say they cost

    @property
    def calls(self) -> int:
        return sum(line.calls for line in self.outcomes)

    @property
    def column(self) -> list[Decimal]:
        return [self.card.captured, *(line.captured for line in self.outcomes)]

    @property
    def paid_in_vain(self) -> OutcomeLine | None:
        """The calls that were charged, then failed."""
        return next((line for line in self.outcomes if line.outcome == "failed_after_billing"), None)

    @property
    def tabs(self) -> list[Tab]:
        """The rows by status, then by what is odd with their calls; first all of them, and none that are empty."""
        tabs = [
            *(Tab(status.label.lower(), getattr(self.card, status), status=status.value) for status in Item.Status),
            Tab("charged, then failed", self.rows_in_vain["failed_after_billing"], calls="failed_after_billing"),
            Tab("unknown", self.rows_in_vain["unknown"] + self.card.unknown, calls="unknown"),
        ]
        return [Tab("all", sum(tab.rows for tab in tabs if tab.status)), *(tab for tab in tabs if tab.rows)]


@dataclass(frozen=True)
class RunsPage:
    cards: list[RunCard]
    next: UUID | None  # `before` of the following page

    @property
    def captured(self) -> list[Decimal]:
        return [card.captured for card in self.cards]

    @property
    def caps(self) -> list[Decimal]:
        return [card.run.cap or ZERO for card in self.cards]


@dataclass(frozen=True)
class AttemptLine:
    """One call, with what the ledger says it cost; credits are None while it is under way."""

    attempt: Attempt
    credits: Decimal | None
    absorbed: Decimal

    @property
    def given_up_at(self) -> datetime | None:
        """When at the latest a call that was sent is given up, if no usable answer comes."""
        sent = self.attempt.sent_at
        return sent and sent + timedelta(seconds=settings.UNKNOWN_SECONDS)


@dataclass(frozen=True)
class StepLine:
    """What came of one tool: its last try, after those that it refused uncharged."""

    last: AttemptLine
    refused: list[AttemptLine]


@dataclass(frozen=True)
class ItemLine:
    item: Item
    attempts: list[AttemptLine]

    @property
    def title(self) -> str:
        """What a person knows the row by: whom or what it names, else any cell that says something.

        What is worked on outside goes by the name its execution plane has for it.
        """
        if self.item.row is None:
            return self.item.ref or f"Item {self.item.number}"
        cells = self.item.row.data
        person = " ".join(filter(None, (cells.get("first_name"), cells.get("last_name"))))
        named = (cells.get(key) for key in ("name", "full_name", "company", "domain"))
        return next(filter(None, (person, *named, *cells.values())), "An empty row")

    @property
    def steps(self) -> list[StepLine]:
        """The calls by tool, in the order of the cascade."""
        by_tool = [list(lines) for _, lines in groupby(self.attempts, lambda line: line.attempt.step)]
        return [StepLine(tries[-1], tries[:-1]) for tries in by_tool]

    @property
    def credits(self) -> Decimal:
        return sum((line.credits or ZERO for line in self.attempts), ZERO)


@dataclass(frozen=True)
class ItemsPage:
    lines: list[ItemLine]
    next: int | None  # `after` of the following page

    @property
    def column(self) -> list[Decimal]:
        return [call.credits for line in self.lines for call in line.attempts if call.credits is not None]


def attention(org: Organization) -> list[RunCard]:
    """The org's runs that wait for a person, then its live ones, newest first. Three queries."""
    waiting_first = Case(When(status__in=Run.LIVE, then=Value(1)), default=Value(0))
    return _cards(_runs(org).filter(status__in=Run.OPEN).order_by(waiting_first, "-id"))


def run_of(org: Organization, run: UUID) -> Run:
    """Read a run of an org. 404 where the org has none of that id. One query."""
    whole = Run.objects.select_related("org", "table", "column__table", "member", "approved_by")
    return get_object_or_404(whole, org=org, id=run)


def runs_page(
    org: Organization,
    *,
    before: UUID | None = None,
    status: str | None = None,
    table: UUID | None = None,
    size: int | None = None,
) -> RunsPage:
    """The org's runs, newest first; of one status, or `open` ones, or over one table. Three queries."""
    size = size or PAGE
    runs = _runs(org).order_by("-id")
    if table:
        runs = runs.filter(table=table)
    if before:
        runs = runs.filter(id__lt=before)
    if status:
        runs = runs.filter(status__in=Run.OPEN if status == "open" else [status])
    cards = _cards(runs[: size + 1])
    return RunsPage(cards[:size], cards[size - 1].run.id if len(cards) > size else None)


def continued(runs: Sequence[Run]) -> dict[UUID, UUID]:
    """Say which of these runs was continued by which. One query."""
    later = Run.objects.filter(continues__in=[run.id for run in runs]).values_list("continues", "id")
    return {old: new for old, new in later if old}


def success_rates(org: Organization, runs: Sequence[Run]) -> dict[UUID, Decimal]:
    """Say which share of a run's settled calls had a result, leaving out those that failed before billing. One query.

    What it reads grows with the runs.
    """
    calls = Entry.objects.filter(org=org.pk, source__in=[run.id for run in runs], item__gt=0)
    counted = calls.exclude(outcome="failed_before_billing").values_list("source")
    rates = counted.annotate(results=Count("item", filter=Q(outcome="succeeded")), calls=Count("item"))
    return {run: (Decimal(results) / n).quantize(PLACES, ROUND_HALF_UP) for run, results, n in rates}


def receipt(run: Run) -> RunCard:
    """What a run held, captured, gave back and did. Two queries."""
    return _cards([run])[0]


def itemized_receipt(run: Run) -> ItemizedReceipt:
    """A run's figures with its calls by outcome. Four queries; what they read grows with the run, not what they say."""
    settled = Entry.objects.filter(org=run.org_id, source=run.id, item__gt=0).values_list("outcome")
    by_outcome = {
        outcome: OutcomeLine(outcome, calls, captured)
        for outcome, calls, captured in settled.annotate(calls=Count("item"), captured=Sum("amount"))
    }
    rows, late, late_cost = dict.fromkeys(IN_VAIN, 0), 0, ZERO
    in_vain = run.attempts.filter(outcome__in=IN_VAIN).order_by().values_list("outcome")
    facts = {"rows": Count("item", distinct=True), "late": Count("absorbed"), "cost": Sum("absorbed", default=ZERO)}
    for outcome, count, answered, cost in in_vain.annotate(**facts):
        rows[outcome], late, late_cost = count, late + answered, late_cost + cost
    outcomes = [by_outcome[outcome] for outcome in OUTCOMES if outcome in by_outcome]
    return ItemizedReceipt(receipt(run), outcomes, rows, late, late_cost)


def items_page(
    run: Run,
    *,
    after: int = 0,
    status: str | None = None,
    calls: str | None = None,
    number: int | None = None,
    size: int | None = None,
) -> ItemsPage:
    """A run's items by number with their attempts. Three queries.

    `calls`: only items with a call of that outcome, with one nobody knows the outcome of yet (they are `unknown` too),
    or with one of which something was `absorbed`.
    """
    size = size or PAGE
    items = run.items.select_related("row").filter(number__gt=after).order_by("number")
    if number:
        items = items.filter(number=number)
    if status:
        items = items.filter(status=status)
    if calls:
        such = run.attempts.filter(NOT_CHARGED if calls == "absorbed" else Q(outcome=calls)).order_by()
        wanted = Q(number__in=such.values("item"))
        items = items.filter(wanted | Q(unanswered_at__isnull=False) if calls == "unknown" else wanted)
    found = list(items.fetch_mode(FETCH_RAISE)[: size + 1])
    shown = found[:size]
    numbers = [item.number for item in shown]
    entries = {
        (entry.item, entry.attempt): entry
        for entry in Entry.objects.filter(org=run.org_id, source=run.id, item__in=numbers)
    }
    attempts: dict[int, list[AttemptLine]] = defaultdict(list)
    for attempt in run.attempts.filter(item__in=numbers).order_by("item", "number").fetch_mode(FETCH_RAISE):
        entry = entries.get((attempt.item, attempt.number))
        credits, absorbed = (entry.amount, entry.cost - entry.amount) if entry else (None, ZERO)
        attempts[attempt.item].append(AttemptLine(attempt, credits, absorbed))
    lines = [ItemLine(item, attempts[item.number]) for item in shown]
    return ItemsPage(lines, shown[-1].number if len(found) > size else None)


def _runs(org: Organization) -> QuerySet[Run]:
    shown = Run.objects.select_related("table", "column", "member", "approved_by")
    return shown.filter(org=org).fetch_mode(FETCH_RAISE)


def _cards(runs: Iterable[Run]) -> list[RunCard]:
    listed = list(runs)
    ids = [run.id for run in listed]
    reservations = {
        held.run: held for held in Reservation.objects.filter(org__in={run.org_id for run in listed}, run__in=ids)
    }
    counts = _counts(ids)
    return [_card(run, counts[run.id], reservations.get(run.id)) for run in listed]


def _counts(ids: Sequence[UUID]) -> dict[UUID, Counter[str]]:
    counts: dict[UUID, Counter[str]] = defaultdict(Counter)
    unknown = Count("number", filter=Q(unanswered_at__isnull=False))
    items = Item.objects.filter(run__in=ids).values_list("run", "status")
    for run, status, number, unanswered in items.annotate(n=Count("number"), unknown=unknown):
        counts[run][status] = number
        counts[run]["unknown"] += unanswered
    return counts


def _card(run: Run, count: Counter[str], held: Reservation | None) -> RunCard:
    figures: dict[str, Any] = {status: count[status] for status in (*Item.Status.values, "unknown")}
    if held is None:  # not approved: it holds nothing
        return RunCard(run, **figures, reserved=ZERO, captured=ZERO, held=ZERO, absorbed=ZERO, released=ZERO)
    drawn = min(held.cap, held.estimated_max)
    return RunCard(
        run,
        **figures,
        reserved=held.reserved,
        captured=held.captured,
        held=held.held,
        absorbed=held.absorbed,
        released=drawn - held.reserved,
    )
