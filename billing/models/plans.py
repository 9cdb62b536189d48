"""What is sold, who bought it, and what Stripe told us.

Three kinds of rows. What we offer: Plan, Pack, Price. What stands at Stripe, as last read from there: Customer,
Subscription, Payment; only `payments/inbox.py` writes these, under the customer's row. What happened: PlanChange and
Purchase are what people asked for, PaidPeriod is what a payment bought, StripeEvent what Stripe said, StripeCheck what
the nightly comparison found. Money is in whole minor units (cents) with its currency beside it; Stripe computes it.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from .credits import CreditsField, Grant
from .orgs import Organization

PAID_SOURCES = [
    (source.value, source.label)
    for source in (Grant.Source.PLAN_REFILL, Grant.Source.PLAN_UPGRADE, Grant.Source.TOP_UP)
]


class Plan(models.Model):
    """One version of a plan. A customer keeps the version bought until changed; only what is on sale can be bought."""

    id = models.SlugField(primary_key=True, max_length=60, help_text="The key and the version: growth-1.")
    key = models.SlugField(max_length=40)
    version = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)
    line = models.CharField(max_length=120, help_text="For whom it is, in one sentence.")
    rank = models.PositiveSmallIntegerField(help_text="A change to a higher rank is an upgrade. The free plan is 0.")
    credits = CreditsField(help_text="A credit month.")
    rollover_months = models.PositiveSmallIntegerField(default=0, help_text="Credits live so many months longer.")
    on_sale = models.BooleanField()

    class Meta:
        ordering = ("rank", "version")
        constraints = (
            models.UniqueConstraint(fields=("key", "version"), name="plan_version_once"),
            models.UniqueConstraint(fields=("key",), condition=Q(on_sale=True), name="one_version_of_a_plan_on_sale"),
            models.CheckConstraint(condition=Q(credits__gte=0), name="plan_credits_not_negative"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_free(self) -> bool:
        return self.rank == 0


class Pack(models.Model):
    """One version of a pack of credits to buy at once."""

    id = models.SlugField(primary_key=True, max_length=60)
    credits = CreditsField()
    on_sale = models.BooleanField()

    class Meta:
        ordering = ("credits",)
        constraints = (models.CheckConstraint(condition=Q(credits__gt=0), name="pack_credits_positive"),)

    def __str__(self) -> str:
        return f"{self.credits.normalize():,f} credits"


class Price(models.Model):
    """What a plan costs by the month or year, or a pack once. Found in the Stripe account by its lookup key."""

    class Interval(models.TextChoices):
        MONTH = "month"
        YEAR = "year"
        ONCE = "once"

    lookup_key = models.SlugField(primary_key=True, max_length=80)
    plan = models.ForeignKey(Plan, null=True, blank=True, on_delete=models.PROTECT, related_name="prices")
    pack = models.OneToOneField(Pack, null=True, blank=True, on_delete=models.PROTECT, related_name="price")
    interval = models.CharField(max_length=5, choices=Interval.choices)
    amount = models.PositiveIntegerField(help_text="Minor units, before tax.")
    currency = models.CharField(max_length=3)
    stripe_id = models.CharField(max_length=255, null=True, blank=True, unique=True, help_text="Set by sync_plans.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("plan", "interval"), name="one_price_of_a_plan_by_interval"),
            models.CheckConstraint(
                condition=Q(plan__isnull=False, pack__isnull=True, interval__in=("month", "year"))
                | Q(plan__isnull=True, pack__isnull=False, interval="once"),
                name="price_of_a_plan_or_a_pack",
            ),
        )

    def __str__(self) -> str:
        return self.lookup_key


# ------------------------------------------------------------------ what stands at Stripe


class Customer(models.Model):
    """An org at Stripe. Its row is the lock of everything the inbox and the purchases do for the org."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="customers")
    stripe_id = models.CharField(max_length=255, unique=True)
    reading = models.BigIntegerField(default=0, help_text="The number of the latest look at it.")
    email = models.EmailField(blank=True)
    card = models.CharField(max_length=60, blank=True, help_text="The card charged by default, as “visa 4242”.")
    closed_at = models.DateTimeField(null=True, help_text="Deleted at Stripe; the next purchase makes a new one.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("org",), condition=Q(closed_at=None), name="one_open_customer_of_an_org"),
        )

    def __str__(self) -> str:
        return self.stripe_id


class Subscription(models.Model):
    """A subscription as last read. `reading` numbers the look at it: one that was begun earlier changes nothing."""

    PAID_FOR = (
        "active",
        "past_due",
        "trialing",
    )  # past due gets no refill, but no free plan either
    LIVE = (*PAID_FOR, "unpaid", "paused")

    stripe_id = models.CharField(primary_key=True, max_length=255)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="subscriptions")
    reading = models.BigIntegerField()
    item = models.CharField(max_length=255)
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=20)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    cancel_at_period_end = models.BooleanField(default=False)
    schedule = models.CharField(max_length=255, null=True)
    next_price = models.ForeignKey(Price, null=True, on_delete=models.PROTECT, related_name="+")
    pay_url = models.URLField(max_length=2000, blank=True, help_text="Where its open invoice can be paid.")
    surplus = models.BooleanField(default=False, help_text="A second one beside the org's own: to be ended.")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("org",),
                condition=Q(status__in=("active", "past_due", "trialing", "unpaid", "paused"), surplus=False),
                name="one_live_subscription_of_an_org",
            ),
        )

    def __str__(self) -> str:
        return self.stripe_id

    @property
    def plan(self) -> Plan:
        assert self.price.plan is not None
        return self.price.plan

    @property
    def is_past_due(self) -> bool:
        return self.status in ("past_due", "unpaid")


class Payment(models.Model):
    """Money that came, and how much of it has gone back: refunds, and disputes that are open or lost."""

    stripe_id = models.CharField(primary_key=True, max_length=255)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="payments")
    reading = models.BigIntegerField()
    amount = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    paid_at = models.DateTimeField()
    gone_back = models.PositiveIntegerField(default=0)
    gone_back_at = models.DateTimeField(null=True, help_text="When the newest refund or dispute was made.")
    disputed = models.BooleanField(default=False, help_text="A dispute is open or lost.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(gone_back__lte=models.F("amount")), name="no_more_goes_back_than_came"),
        )

    def __str__(self) -> str:
        return self.stripe_id


# ------------------------------------------------------------------ what happened


class PaidPeriod(models.Model):
    """What one payment bought: the credit months of a plan, what an upgrade adds to them, or a pack. Facts, but for
    `given_until`.

    `first` are the credits of the month that holds `start`, `credits` those of each later one. Months are counted from
    `anchor`. `level`: the credits a month that its months are at with it.
    """

    key = models.CharField(primary_key=True, max_length=255, help_text="refill:…, upgrade:… or top_up:…")
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="paid_periods")
    source = models.CharField(max_length=20, choices=PAID_SOURCES)
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    item = models.CharField(max_length=255, blank=True, help_text="The subscription's item.")
    anchor = models.DateTimeField()
    start = models.DateTimeField()
    end = models.DateTimeField()
    first = CreditsField()
    credits = CreditsField()
    level = CreditsField()
    amount = models.PositiveIntegerField(help_text="What was paid for it, tax included.")
    currency = models.CharField(max_length=3)
    paid_at = models.DateTimeField()
    invoice = models.CharField(max_length=255, blank=True)
    line = models.CharField(max_length=255, blank=True)
    payment = models.CharField(max_length=255, blank=True, help_text="Empty where nothing had to be paid.")
    given_until = models.DateTimeField(help_text="Months that start before this were given, or wholly owed.")

    class Meta:
        indexes = (
            models.Index(fields=("payment",)),
            models.Index(fields=("org", "item", "start")),
            models.Index(fields=("given_until",), condition=Q(given_until__lt=models.F("end")), name="still_to_give"),
        )

    def __str__(self) -> str:
        return self.key


class PlanChange(models.Model):
    """A change of plan somebody asked about: the quote shown, and what became of it. No price: the free plan."""

    class When(models.TextChoices):
        NOW = "now"
        RENEWAL = "renewal"

    class State(models.TextChoices):
        QUOTED = "quoted"  # shown, nothing asked of Stripe
        ASKED = "asked"  # confirmed; Stripe is being asked
        UNPAID = "unpaid"  # waits for a payment: declined, or to be authenticated
        SCHEDULED = "scheduled"  # will happen at the renewal
        APPLIED = "applied"
        UNDONE = "undone"
        FAILED = "failed"

    OPEN = (State.ASKED, State.UNPAID, State.SCHEDULED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="plan_changes")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="changes")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    old = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    new = models.ForeignKey(Price, null=True, on_delete=models.PROTECT, related_name="+")
    when = models.CharField(max_length=8, choices=When.choices)
    state = models.CharField(max_length=10, choices=State.choices)
    at = models.DateTimeField(help_text="The instant of money and credits alike; of a renewal, the renewal.")
    quoted_at = models.DateTimeField()
    until = models.DateTimeField(help_text="The quote holds until then.")
    due = models.IntegerField(default=0, help_text="To pay today, tax included.")
    tax = models.IntegerField(default=0)
    currency = models.CharField(max_length=3)
    lines = models.JSONField(default=list, help_text="[[what, minor units], …] as Stripe previewed them.")
    credits = CreditsField(default=0, help_text="Added today.")
    invoice = models.CharField(max_length=255, blank=True)
    pay_url = models.URLField(max_length=2000, blank=True)
    why = models.CharField(max_length=400, blank=True, help_text="What went wrong, for whoever asked.")
    tried_at = models.DateTimeField(null=True)
    undoing = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("org",),
                condition=Q(state__in=("asked", "unpaid", "scheduled")),
                name="one_open_change_of_an_org",
            ),
        )

    def __str__(self) -> str:
        return f"{self.old} to {self.new or 'free'}, {self.when}: {self.state}"


class Purchase(models.Model):
    """A first subscription or a pack, from the press of the button (or the automatic top-up) to its end."""

    class State(models.TextChoices):
        ASKED = "asked"  # Stripe is being asked
        OPEN = "open"  # its Checkout is open, or its payment waits for the person
        PAID = "paid"
        FAILED = "failed"
        ABANDONED = "abandoned"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="purchases")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    is_plan = models.BooleanField(help_text="A first subscription; else a pack.")
    automatic = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=State.choices)
    asked_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    session = models.CharField(max_length=255, blank=True)
    invoice = models.CharField(max_length=255, blank=True)
    url = models.URLField(max_length=2000, blank=True, help_text="Where it is paid while it is open.")
    why = models.CharField(max_length=400, blank=True)
    tried_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("org",), condition=Q(state__in=("asked", "open"), is_plan=True), name="one_open_first_purchase"
            ),
            models.UniqueConstraint(
                fields=("org", "price"),
                condition=Q(state__in=("asked", "open"), is_plan=False, automatic=False),
                name="one_open_purchase_of_a_pack",
            ),
            models.UniqueConstraint(
                fields=("org",),
                condition=Q(state__in=("asked", "open"), automatic=True),
                name="one_automatic_top_up_in_flight",
            ),
        )

    def __str__(self) -> str:
        return f"{self.price}: {self.state}"


class StripeEvent(models.Model):
    """One event as it was received, and what became of it. It is only a hint to look at its object again."""

    class State(models.TextChoices):
        RECEIVED = "received"
        APPLIED = "applied"
        IGNORED = "ignored"
        FAILED = "failed"
        PARKED = "parked"  # of another API version, mode or account: never applied

    id = models.CharField(primary_key=True, max_length=255)
    type = models.CharField(max_length=120)
    customer = models.CharField(max_length=255, blank=True)
    object = models.CharField(max_length=255, help_text="The id of what it is about.")
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices)
    why = models.CharField(max_length=400, blank=True)
    tries = models.PositiveIntegerField(default=0)
    closed_at = models.DateTimeField(null=True)
    payload = models.JSONField()

    class Meta:
        indexes = (
            models.Index(
                fields=("state", "received_at"),
                condition=Q(state__in=("received", "failed", "parked")),
                name="event_open",
            ),
            models.Index(fields=("-created_at",)),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class StripeCheck(models.Model):
    """One nightly comparison with Stripe: events that had not come, and what stood differently."""

    at = models.DateTimeField()
    caught_up = models.PositiveIntegerField(help_text="Events that had not been delivered.")
    drift = models.JSONField(default=list, help_text="[[what, here, at Stripe], …]")

    class Meta:
        ordering = ("-at",)
        get_latest_by = "at"

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d}: {len(self.drift)} drifts"
