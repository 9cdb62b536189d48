"""Providers and their tools with prices, what is made of tools, the orgs' integrations, and the tables tools fill.

A column, a capability and a workflow template each are a cascade: an ordered list of tools.
"""

import uuid
from collections.abc import Sequence

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from billing.models.credits import CreditsField


class Mode(models.TextChoices):
    """Who pays the provider: Oxygen, in credits, or the org on its own account."""

    MANAGED = "managed"
    BYOK = "byok", "own account"


class Provider(models.Model):
    class Category(models.TextChoices):
        ENRICHMENT = "enrichment"
        AI = "ai", "AI"
        CRM = "crm", "CRM"
        OUTBOUND = "outbound"
        LINKEDIN = "linkedin", "LinkedIn"

    id = models.SlugField(primary_key=True, max_length=40)
    name = models.CharField(max_length=80)
    category = models.CharField(max_length=12, choices=Category.choices)
    takes_keys = models.BooleanField("takes idempotency keys", default=True)
    looks_up = models.BooleanField("tells what became of a key", default=False)
    calls_per_second = models.DecimalField(
        max_digits=8, decimal_places=2, null=True, blank=True, help_text="For each account at it. Empty: no limit."
    )

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(calls_per_second__isnull=True) | models.Q(calls_per_second__gt=0),
                name="provider_may_be_called",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def default_mode(self) -> Mode:
        return Mode.MANAGED if self.may_be_managed else Mode.BYOK

    @property
    def may_be_managed(self) -> bool:
        return self.category in (self.Category.ENRICHMENT, self.Category.AI)


class Tool(models.Model):
    """One thing a provider does, e.g. `hunter.email_finder`. A price that is unknown is null, never 0."""

    id = models.CharField(primary_key=True, max_length=80)
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="tools")
    name = models.CharField(max_length=120)
    price = CreditsField("estimated credits per call", null=True, blank=True)
    maximum = CreditsField("maximum credits per call", null=True, blank=True)
    success_rate = models.DecimalField(
        "estimated success rate", max_digits=5, decimal_places=4, help_text="Used until 50 calls have been observed."
    )

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(price__isnull=True, maximum__isnull=True)
                | models.Q(price__isnull=False, price__gte=0, maximum__isnull=False, maximum__gte=models.F("price")),
                name="tool_price_within_maximum",
            ),
            models.CheckConstraint(
                condition=models.Q(success_rate__gte=0, success_rate__lte=1), name="tool_success_rate_is_a_share"
            ),
        )

    def __str__(self) -> str:
        return self.id


def each_tool_once(cascade: Sequence[str]) -> None:
    """Refuse a cascade that names a tool twice, or one that is not there. One query."""
    if twice := {name for name in cascade if cascade.count(name) > 1}:
        raise ValidationError(f"names {', '.join(sorted(twice))} twice")
    if unknown := set(cascade) - set(Tool.objects.filter(pk__in=cascade).values_list("pk", flat=True)):
        raise ValidationError(f"there is no tool {', '.join(sorted(unknown))}")


class Capability(models.Model):
    """What can be asked for by its name alone, e.g. `work_email`; a run of it fills the column of that key."""

    key = models.SlugField(primary_key=True, max_length=60)
    name = models.CharField(max_length=120)
    cascade = ArrayField(models.CharField(max_length=80), validators=[each_tool_once])

    class Meta:
        verbose_name_plural = "capabilities"
        ordering = ("name",)
        constraints = (models.CheckConstraint(condition=models.Q(cascade__len__gte=1), name="capability_has_a_tool"),)

    def __str__(self) -> str:
        return self.name


class WorkflowTemplate(models.Model):
    """A cascade made for a purpose; a run of it fills the column named after it, and needs approval."""

    id = models.SlugField(primary_key=True, max_length=60)
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=300)
    cascade = ArrayField(models.CharField(max_length=80), validators=[each_tool_once])

    class Meta:
        ordering = ("name",)
        constraints = (models.CheckConstraint(condition=models.Q(cascade__len__gte=1), name="template_has_a_tool"),)

    def __str__(self) -> str:
        return self.name


class Integration(models.Model):
    """An org's link to a provider, where it differs from the provider's default mode."""

    org = models.ForeignKey("billing.Organization", on_delete=models.CASCADE, related_name="integrations")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT)
    mode = models.CharField(max_length=8, choices=Mode.choices)
    credential = models.BinaryField(null=True)  # of the org's own account, encrypted; `accounts.py` alone reads it
    connected_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("org", "provider"), name="one_integration_per_provider"),
            models.CheckConstraint(condition=models.Q(mode__in=Mode.values), name="integration_mode_known"),
        )

    def __str__(self) -> str:
        return f"{self.provider_id}: {self.mode}"


class Table(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey("billing.Organization", on_delete=models.CASCADE, related_name="tables")
    name = models.CharField(max_length=120)
    fields = ArrayField(models.TextField(), default=list, help_text="What its rows hold, in the order of the import.")
    row_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Row(models.Model):
    """One imported row. What columns add to it stands in the items that found it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    table = models.ForeignKey(Table, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField()
    data = models.JSONField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("table", "number"), name="one_row_per_number"),)

    def __str__(self) -> str:
        return f"{self.table}, row {self.number}"


class Column(models.Model):
    """A column that tools fill: its cascade is an ordered list of tools, each bought at most once an item."""

    table = models.ForeignKey(Table, on_delete=models.CASCADE, related_name="columns")
    key = models.SlugField(max_length=60)
    name = models.CharField(max_length=120)
    cascade = ArrayField(models.CharField(max_length=80))

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("table", "key"), name="one_column_per_key"),
            models.CheckConstraint(condition=models.Q(cascade__len__gte=1), name="column_has_a_tool"),
        )

    def __str__(self) -> str:
        return self.name


type Fill = Column | Capability | WorkflowTemplate  # what a run can be told to fill in a table
