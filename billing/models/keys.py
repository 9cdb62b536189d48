"""API keys: who may speak for an org, or an agency, without being there.

Here is what is kept of a key; what it may do is said in `billing/access.py`, and `billing/keys.py` makes, replaces,
reads and revokes. The law: the key itself is nowhere, only its SHA-256. It is 256 random bits, so no slower hash is
needed.
"""

import uuid
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from .orgs import Agency, Organization


class Scope(models.TextChoices):
    READ = "read"
    RUN = "run"
    STEER = "steer"
    APPROVE = "approve"
    ADMIN = "admin"


class ApiKey(models.Model):
    """A key of one org, or of an agency for each of its client orgs. It reaches as far as its maker does today."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="keys")
    agency = models.ForeignKey(Agency, null=True, blank=True, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=17, unique=True, help_text="Shown, and found by: oxy_live_ and eight signs.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the whole key, in hex.")
    last_four = models.CharField(max_length=4)
    scopes = ArrayField(models.CharField(max_length=7, choices=Scope.choices))
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="keys")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Business time; empty: never.")
    last_used_at = models.DateTimeField(null=True, help_text="To the minute.")
    replaces = models.OneToOneField(
        "self",
        null=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="replaced_by",
        help_text="The key in whose place this one was made.",
    )
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(org__isnull=True, agency__isnull=False) | Q(org__isnull=False, agency__isnull=True),
                name="key_of_an_org_or_an_agency",
            ),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values, scopes__len__gte=1), name="key_scopes_known"
            ),
            models.CheckConstraint(condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="key_digest_is_a_sha256"),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="key_expires_after_it_was_made",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True, revoked_by__isnull=True)
                | Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="key_revoked_by_somebody",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name}, {self.prefix}…{self.last_four}"

    def has_ended(self, now: datetime) -> bool:
        """Say whether it was revoked or has expired."""
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)

    @property
    def replacement(self) -> "ApiKey | None":
        """The key that was made in its place."""
        return getattr(self, "replaced_by", None)
