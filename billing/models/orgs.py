"""Orgs, who belongs to them in which role, and the agencies that look after many of them.

What a role may do is said once, in `billing/access.py`; here are only the facts it reads.
"""

import uuid
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from .credits import CreditsField


class Role(models.TextChoices):
    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"


class Agency(models.Model):
    """A group of client orgs and the staff who look after them. It has no balance of its own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    staff = models.ManyToManyField(settings.AUTH_USER_MODEL, through="AgencyStaff", related_name="agencies")

    class Meta:
        verbose_name_plural = "agencies"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class AgencyStaff(models.Model):
    agency = models.ForeignKey(Agency, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    class Meta:
        verbose_name_plural = "agency staff"
        constraints = (models.UniqueConstraint(fields=("agency", "user"), name="one_place_in_an_agency"),)

    def __str__(self) -> str:
        return f"{self.user} at {self.agency}"


class Organization(models.Model):
    """Owns exactly one balance. `zone` mirrors the account's: `orgs.change_zone` alone sets both together."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    zone = models.CharField(max_length=64, default="UTC")
    agency = models.ForeignKey(Agency, null=True, blank=True, on_delete=models.PROTECT, related_name="clients")
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="organizations")
    created_at = models.DateTimeField(help_text="Business time; the free plan's credit months are counted from it.")
    free_until = models.DateTimeField(
        null=True, editable=False, help_text="Up to here the free plan's months were given, or passed under a paid one."
    )
    zone_asked = models.CharField(
        max_length=64, blank=True, editable=False, help_text="The zone that a job is to cut its days by."
    )
    approval_threshold = CreditsField(
        null=True,
        blank=True,
        help_text="A run that would hold more than this needs approval; empty: none for its size.",
    )

    class Meta:
        ordering = (Lower("name"), "slug")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(approval_threshold__gte=0), name="approval_threshold_not_negative"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


class Membership(models.Model):
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("org", "user"), name="one_membership_in_an_org"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.user}, {self.role} of {self.org}"
