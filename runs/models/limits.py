"""How often each provider may be called, and whether it answers: what all workers share of it.

Written by `providers/limits.py` alone, in the database's real clock.
"""

from uuid import UUID

from django.db import models
from django.db.models import Q

OXYGENS = UUID(int=0)  # the account at a provider that Oxygen pays


class Limit(models.Model):
    """One account at one provider: Oxygen's own, or an org's. No row: it was never limited, and has never failed."""

    pk = models.CompositePrimaryKey("provider_id", "account")
    provider = models.ForeignKey("runs.Provider", on_delete=models.CASCADE, related_name="limits", db_constraint=False)
    account = models.UUIDField(default=OXYGENS)
    tokens = models.DecimalField(max_digits=12, decimal_places=4, help_text="Calls that may be made at once.")
    filled_at = models.DateTimeField()
    blocked_until = models.DateTimeField(null=True)  # it asked not to be called for so long
    failures = models.PositiveIntegerField(default=0, help_text="In a row, since it last answered.")
    openings = models.IntegerField(default=0, help_text="How often it was left alone since then.")
    open_until = models.DateTimeField(null=True)  # left alone till then; afterwards one call asks whether it is back
    probing_until = models.DateTimeField(null=True)  # that call is under way

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(tokens__gte=0), name="limit_tokens_not_negative"),
            models.CheckConstraint(
                condition=Q(open_until__isnull=True, probing_until__isnull=True, openings=0)
                | Q(open_until__isnull=False, openings__gte=1),
                name="limit_opened_with_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider_id}, {'Oxygen' if self.account == OXYGENS else self.account}"
