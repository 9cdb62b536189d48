"""Mails to the people who can do something: an automatic top-up needs them, credits run low, an org asks for them."""

from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.urls import reverse

from billing.models import Invitation, Membership, Organization, Role
from oxygen_site.jobs import defer, task

SUBJECTS = {
    "confirm": "{org}: confirm the automatic top-up",
    "off": "{org}: automatic top-up was switched off",
    "low": "{org}: credits are running low",
}


def tell(org: Organization, what: str, words: str) -> None:
    """Write to an org's admins and owners, once the caller's transaction has committed."""
    defer(send, org=str(org.pk), subject=SUBJECTS[what].format(org=org.name), words=words)


@task()
def send(org: str, subject: str, words: str) -> None:
    them = Membership.objects.filter(org=UUID(org), role__in=(Role.ADMIN, Role.OWNER), user__is_active=True)
    if addresses := list(them.values_list("user__email", flat=True)):
        send_mail(subject, words, None, addresses)


def ask(invitation: Invitation) -> None:
    """Write to whoever is invited, once the caller's transaction has committed."""
    defer(send_invitation, invitation=str(invitation.pk))


@task()
def send_invitation(invitation: str) -> None:
    """Send an invitation, unless it was taken back meanwhile."""
    asked = Invitation.objects.filter(pk=UUID(invitation)).select_related("org", "by").first()
    if asked is None:
        return
    who, org = " ".join(str(asked.by).split()), asked.org.name
    words = (
        f"{who} invites you to {org} on Oxygen, as {ARTICLES[Role(asked.role)]} {asked.role}. Join here:\n\n"
        f"{link('billing:join', asked.token)}\n\n"
        f"The link is for this address alone, and is good until {asked.expires_at:%-d %B %Y, %H:%M} UTC. If you do not"
        " know what this is about, nothing happens unless you follow it."
    )
    send_mail(f"{who} invites you to {org}", words, None, [asked.email])


ARTICLES = {Role.VIEWER: "a", Role.MEMBER: "a", Role.ADMIN: "an", Role.OWNER: "an"}


def link(name: str, *args: str) -> str:
    """Give the whole address of a page, for where there is no request."""
    return settings.SITE_URL + reverse(name, args=args)
