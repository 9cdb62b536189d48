"""Runs, their items and attempts: the durable truth of all work. A queue row is only a wake-up.

`Run.status` is changed by `lifecycle.py` and `standing.py` alone; items and attempts by `dispatch.py` and, of outside
runs, by `planes.py`.
"""

import json
from decimal import Decimal
from hashlib import sha256
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.functional import cached_property

from billing.models.credits import CreditsField
from runs.cascade import Step, place
from runs.providers.outcomes import ABSORBED, UNREADABLE

OUTCOMES = ("succeeded", "no_result", "failed_before_billing", "failed_after_billing", "unknown")
# Attempts for which a provider billed what nobody was charged: above its maximum, or after it was given up.
NOT_CHARGED = Q(reason__endswith=ABSORBED) | Q(absorbed__gt=0)
NOT_READ = Q(reason__endswith=UNREADABLE)


class Run(models.Model):
    """One job over rows of a table. `steps` freezes the cascade, prices, maxima and modes it was started with.

    While it waits for approval it has no items and no reservation: both come with the approval. An outside run fills
    nothing here: an execution plane works on its items elsewhere, `rows` of them at most, through `planes.py`.
    """

    class Status(models.TextChoices):
        AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
        QUEUED = "queued"
        RUNNING = "running"
        PAUSED = "paused"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"
        SUCCEEDED = "succeeded"
        COMPLETED_WITH_ERRORS = "completed_with_errors", "completed with errors"
        FAILED = "failed"

    class PauseReason(models.TextChoices):
        CAP_REACHED = "cap_reached", "reached its cap"
        PROVIDER_UNAVAILABLE = "provider_unavailable", "provider unavailable"
        BY_USER = "by_user", "paused by a person"

    class Mode(models.TextChoices):
        """Whether what it calls is charged; a dry run calls nothing, and is no run."""

        LIVE = "live"
        SMOKE_TEST = "smoke_test", "smoke test"

    class Kind(models.TextChoices):
        COLUMN = "column"
        ENRICHMENT = "enrichment"
        WORKFLOW = "workflow"
        OUTSIDE = "outside"

    LIVE = (Status.QUEUED, Status.RUNNING, Status.CANCELLING)
    OPEN = (*LIVE, Status.PAUSED, Status.AWAITING_APPROVAL)
    PAUSABLE = (Status.QUEUED, Status.RUNNING)

    id = models.UUIDField(primary_key=True, editable=False)  # a UUIDv7 in business time; the ledger's partition key
    org = models.ForeignKey("billing.Organization", on_delete=models.PROTECT, related_name="runs")
    table = models.ForeignKey("runs.Table", null=True, blank=True, on_delete=models.PROTECT)
    column = models.ForeignKey("runs.Column", null=True, blank=True, on_delete=models.PROTECT)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.COLUMN)
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.LIVE)
    name = models.CharField(max_length=200)
    member = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    continues = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="continued_by")
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    status = models.CharField(max_length=24, choices=Status.choices)
    pause_reason = models.CharField(max_length=24, choices=PauseReason.choices, null=True, blank=True)
    steps = models.JSONField()
    cap = CreditsField(null=True)
    unit = CreditsField(help_text="One item's maximum: the maxima of its managed steps.")
    estimated_min = CreditsField()
    estimated = CreditsField()
    estimated_max = CreditsField()
    rows = models.PositiveIntegerField()
    row_limit = models.PositiveIntegerField(null=True, blank=True, help_text="The most rows it was asked to take.")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    late_settles = models.PositiveIntegerField(default=0, help_text="Answers that came too late to move anything.")

    class Meta:
        indexes = (
            models.Index(F("org"), F("id").desc(), name="run_by_org"),
            models.Index(
                fields=("org", "status"),
                name="run_open",
                condition=Q(status__in=("awaiting_approval", "queued", "running", "paused", "cancelling")),
            ),
            models.Index(fields=("org", "ended_at"), name="run_smoke_test", condition=Q(mode="smoke_test")),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status="paused", pause_reason__isnull=False)
                | (~Q(status="paused") & Q(pause_reason__isnull=True)),
                name="run_paused_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=("cancelled", "succeeded", "completed_with_errors", "failed"), ended_at__isnull=False
                )
                | Q(
                    status__in=("awaiting_approval", "queued", "running", "paused", "cancelling"), ended_at__isnull=True
                ),
                name="run_ended_at_its_end",
            ),
            models.CheckConstraint(condition=Q(cap__isnull=False) | Q(unit=0), name="run_capped_where_managed"),
            models.CheckConstraint(condition=Q(rows__gte=1), name="run_has_rows"),
            models.CheckConstraint(
                condition=Q(mode="live") | Q(mode="smoke_test", unit=0, cap__isnull=True), name="run_smoke_test_is_free"
            ),
            models.CheckConstraint(
                condition=~Q(status="awaiting_approval") | Q(approved_by__isnull=True, started_at__isnull=True),
                name="run_waits_unapproved",
            ),
            models.CheckConstraint(
                condition=Q(kind="outside", table__isnull=True, column__isnull=True)
                | (~Q(kind="outside") & Q(table__isnull=False, column__isnull=False)),
                name="run_fills_or_is_outside",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_live(self) -> bool:
        return self.status in self.LIVE

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def is_outside(self) -> bool:
        """Whether an execution plane works on it, and our own workers never do."""
        return self.kind == self.Kind.OUTSIDE

    @property
    def is_smoke_test(self) -> bool:
        return self.mode == self.Mode.SMOKE_TEST

    @property
    def providers(self) -> list[str]:
        return list(dict.fromkeys(step["provider"] for step in self.steps))

    @property
    def tools(self) -> list[str]:
        return [step["tool"] for step in self.steps]

    @property
    def to_hold(self) -> Decimal:
        """What it reserves when it starts."""
        return min(self.cap or Decimal(0), self.estimated_max)

    @property
    def plan(self) -> str:
        """A mark of what approving it agrees to: tools, prices, maxima and modes, how many rows, and the cap."""
        facts = json.dumps([self.steps, self.rows, str(self.cap)], sort_keys=True)
        return sha256(facts.encode()).hexdigest()[:16]

    @cached_property
    def cascade(self) -> tuple[Step, ...]:
        return tuple(Step.frozen(facts) for facts in self.steps)


class Items(models.QuerySet["Item"]):
    def in_flight(self) -> Self:
        """Running, and not only waiting for an answer of which nobody knows whether it will come."""
        return self.filter(status=Item.Status.RUNNING, unanswered_at=None)


class Item(models.Model):
    """One row of a run, or what an execution plane calls `ref`. While it runs it has an owner, a lease, and exactly one
    open attempt."""

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    pk = models.CompositePrimaryKey("run_id", "number")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="items")
    number = models.PositiveIntegerField()  # from 1: the ledger keeps 0 and below for the run itself
    row = models.ForeignKey("runs.Row", null=True, on_delete=models.PROTECT, related_name="items")
    ref = models.CharField(max_length=120, null=True, help_text="An execution plane's own name for it; may be empty.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    owner = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)  # the database's real clock
    lease_no = models.PositiveIntegerField(default=0)  # fences: a settle under an older lease changes nothing
    unanswered_at = models.DateTimeField(null=True)  # since when it is unknown what became of its open attempt
    result = models.JSONField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = Items.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=("run", "number"), name="item_pending", condition=Q(status="pending")),
            models.Index(fields=("run", "lease_until"), name="item_running", condition=Q(status="running")),
        )
        constraints = (
            models.CheckConstraint(condition=Q(number__gte=1), name="item_numbered_from_1"),
            models.CheckConstraint(
                condition=Q(status="running", owner__isnull=False, lease_until__isnull=False)
                | (~Q(status="running") & Q(owner__isnull=True, lease_until__isnull=True)),
                name="item_leased_while_running",
            ),
            models.CheckConstraint(
                condition=Q(status="running") | Q(unanswered_at__isnull=True), name="item_unanswered_while_running"
            ),
            models.CheckConstraint(
                condition=Q(row__isnull=False, ref__isnull=True) | Q(row__isnull=True, ref__isnull=False),
                name="item_of_a_row_or_outside",
            ),
        )

    def __str__(self) -> str:
        return f"item {self.number}"


class Attempt(models.Model):
    """One provider call for one item, written before the call. Its key stays on recovery: a replay, not a purchase."""

    pk = models.CompositePrimaryKey("run_id", "item", "number")
    # No constraint in the database: its checks would lock the run's row for every call.
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="attempts", db_constraint=False)
    item = models.PositiveIntegerField()
    number = models.PositiveSmallIntegerField()  # step * 16 + try
    provider = models.CharField(max_length=40)
    tool = models.CharField(max_length=80)
    byok = models.BooleanField()
    sent_at = models.DateTimeField(null=True)  # none yet: it waits until its tool may be tried again
    settled_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=24, choices=[(name, name.replace("_", " ")) for name in OUTCOMES], null=True)
    cost = CreditsField(null=True, help_text="What the provider billed; what is above the maximum was absorbed.")
    absorbed = CreditsField(null=True, help_text="What an answer that came after giving up says it cost.")
    reference = models.CharField(max_length=120, blank=True, help_text="The provider's own.")
    latency_ms = models.PositiveIntegerField(null=True)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it cost what it cost, for a person.")

    class Meta:
        indexes = (
            models.Index(fields=("sent_at",), name="attempt_given_up", condition=Q(outcome="unknown")),
            models.Index(
                fields=("run", "item"),
                name="attempt_in_vain",
                condition=Q(outcome__in=("failed_after_billing", "unknown")),
            ),
            models.Index(fields=("run", "item"), name="attempt_odd_cost", condition=NOT_CHARGED | NOT_READ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(outcome__isnull=True, settled_at__isnull=True)
                | Q(outcome__isnull=False, settled_at__isnull=False),
                name="attempt_settled_with_outcome",
            ),
            models.UniqueConstraint(
                fields=("run", "item"), condition=Q(outcome__isnull=True), name="one_open_attempt_an_item"
            ),
        )

    def __str__(self) -> str:
        return f"attempt {self.number} of item {self.item}"

    @property
    def step(self) -> int:
        return place(self.number)[0]

    @property
    def try_number(self) -> int:
        return place(self.number)[1]
