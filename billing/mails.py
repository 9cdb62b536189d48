"""Mails to the people who can do something: an automatic top-up needs them, credits run low, an org asks for them."""

from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import QuerySet
from django.urls import reverse

from billing.models import Invitation, Organization, Role, User
from oxygen_site.jobs import defer, task

SUBJECTS = {
    "confirm": "{org}: confirm the automatic top-up",
    "off": "{org}: automatic top-up was switched off",
    "low": "{org}: credits are running low",
}


def tell(org: Organization, what: str, words: str) -> None:
    """Write to those who act as admins of an org, once the caller's transaction has committed.

    Each has a mail of their own: an address that is refused is tried again alone, and nobody is written to twice.
    """
    for person in _admins(org):
        defer(send, to=str(person.pk), subject=SUBJECTS[what].format(org=org.name), words=words)


def _admins(org: Organization) -> QuerySet[User]:
    """Read an org's own admins and owners; where it has none, its agency's staff."""
    active = User.objects.filter(is_active=True)
    own = active.filter(memberships__org=org, memberships__role__in=(Role.ADMIN, Role.OWNER))
    return own or active.filter(agencies__clients=org)


@task(retry=OSError)  # which every error of SMTP and of the network is
def send(to: str, subject: str, words: str) -> None:
    if person := User.objects.filter(pk=UUID(to), is_active=True).first():
        send_mail(subject, words, None, [person.email])


def ask(invitation: Invitation) -> None:
    """Write to whoever is invited, once the caller's transaction has committed."""
    defer(send_invitation, invitation=str(invitation.pk))


@task(retry=OSError)
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
