"""Mails to the people who can do something: an automatic top-up needs them, or was switched off."""

from uuid import UUID

from django.core.mail import send_mail

from billing.models import Membership, Organization, Role
from oxygen_site.jobs import defer, task

SUBJECTS = {
    "confirm": "{org}: confirm the automatic top-up",
    "off": "{org}: automatic top-up was switched off",
}


def tell(org: Organization, what: str, words: str) -> None:
    """Write to an org's admins and owners, once the caller's transaction has committed."""
    defer(send, org=str(org.pk), subject=SUBJECTS[what].format(org=org.name), words=words)


@task()
def send(org: str, subject: str, words: str) -> None:
    them = Membership.objects.filter(org=UUID(org), role__in=(Role.ADMIN, Role.OWNER), user__is_active=True)
    if addresses := list(them.values_list("user__email", flat=True)):
        send_mail(subject, words, None, addresses)
