"""What callers of the JSON API have been answered, and how often they called.

Written by `oxygen_site/api/` alone. The law: an answer is kept in the transaction of its effect, so that a key stands
for one effect and one answer, or for nothing.
"""

from django.db import models
from django.db.models import Q

from .keys import ApiKey
from .orgs import Organization


class KeptAnswer(models.Model):
    """The first answer to a write, by the Idempotency-Key it came with; whoever sends it again gets this."""

    pk = models.CompositePrimaryKey("org_id", "key")
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, address and body.")
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.TextField(default="")
    kept_at = models.DateTimeField(help_text="Business time.")

    class Meta:
        indexes = (models.Index(fields=("kept_at",), name="kept_answer_by_age"),)
        constraints = (
            models.CheckConstraint(condition=Q(fingerprint__regex=r"^[0-9a-f]{64}$"), name="kept_answer_fingerprint"),
        )

    def __str__(self) -> str:
        return self.key


class CallCount(models.Model):
    """How often a key has called since a minute of the machine's clock began."""

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="+")
    minute = models.DateTimeField()
    calls = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.calls} calls since {self.minute:%H:%M}"
