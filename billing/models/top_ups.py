"""What an organization wishes to happen when credits run low: that some are bought, that somebody hears of it."""

from django.db import models
from django.db.models import Q

from .credits import CreditsField
from .orgs import Organization
from .plans import Pack


class AutoTopUp(models.Model):
    """Buy `pack` when less than `threshold` is available, for at most `monthly_max` a credit month.

    `declines` in a row and `not_before` are what keeps a card that says no from being asked on and on.
    """

    org = models.OneToOneField(Organization, primary_key=True, on_delete=models.PROTECT, related_name="auto_top_up")
    on = models.BooleanField(default=False)
    threshold = CreditsField()
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT, related_name="+")
    monthly_max = models.PositiveIntegerField(help_text="Minor units of the pack's currency, before tax.")
    declines = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(null=True)
    why = models.CharField(max_length=400, blank=True, help_text="Why it was switched off by itself.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(threshold__gt=0), name="auto_top_up_threshold_positive"),
            models.CheckConstraint(condition=Q(monthly_max__gt=0), name="auto_top_up_maximum_positive"),
        )

    def __str__(self) -> str:
        return f"{self.org}: {self.pack} below {self.threshold}"


class LowBalance(models.Model):
    """Mail the admins when fewer than `threshold` credits are available, or days are left at the pace of late.

    There is none where nobody wishes it. `told_at`: since when they know; empty again once it has recovered.
    """

    class Unit(models.TextChoices):
        CREDITS = "credits"
        DAYS = "days"

    org = models.OneToOneField(Organization, primary_key=True, on_delete=models.CASCADE, related_name="low_balance")
    threshold = CreditsField()
    unit = models.CharField(max_length=7, choices=Unit.choices)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(threshold__gt=0), name="low_balance_threshold_positive"),
            models.CheckConstraint(condition=Q(unit__in=["credits", "days"]), name="low_balance_unit_known"),
        )

    def __str__(self) -> str:
        return f"{self.org}: below {self.threshold} {self.unit}"
