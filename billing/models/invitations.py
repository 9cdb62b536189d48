"""Invitations: e-mails that ask somebody to join an org, until they are accepted, taken back or too old."""

import uuid
from typing import Self

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import models

from .orgs import Organization, Role

SIGNER = Signer(salt="billing.invitation", sep=".")


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def of_token(self, token: str) -> Self:
        """Those that a link is of: one, or none where the link was not made here."""
        try:
            return self.filter(pk=uuid.UUID(SIGNER.unsign(token)))
        except (BadSignature, ValueError):
            return self.none()


class Invitation(models.Model):
    """Whoever reads the mail at `email` may join in `role`. Accepted or taken back, it is no more."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(help_text="In small letters.")
    role = models.CharField(max_length=10, choices=Role.choices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ("-made_at",)
        constraints = (
            models.UniqueConstraint(fields=("org", "email"), name="one_invitation_of_an_address"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="invitation_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.email}, {self.role} of {self.org}"

    @property
    def token(self) -> str:
        """What its link ends with, signed, so that none is guessed."""
        return SIGNER.sign(self.pk.hex)
