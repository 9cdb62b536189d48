"""Invitations: an owner asks somebody by e-mail to join an org; the link makes them a member, once.

For the settings page and the page the link leads to. Laws: a link is signed, and good for a week and for its own
address alone; inviting an address again replaces its link; who joins never loses a role they had.
"""

from datetime import timedelta
from uuid import UUID

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from billing import mails
from billing.models import Invitation, Membership, Organization, Role, User
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention

GOOD_FOR = timedelta(days=7)
MOST = 50  # at a time: an org is no way to write to strangers
RANKS = list(Role)  # each may what those before it may
OVER = Refused(
    "invitation_over",
    "This invitation is good no more: it was used or taken back, or it is too old. Ask an owner of the organization"
    " for another one.",
    410,
)


def invite(org: Organization, email: str, role: Role, *, by: User) -> Invitation:
    """Write to somebody that they may join an org in a role; again, with a new link.

    Refused: invalid_email (422), member_already, too_many_invitations (409).
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise Refused("invalid_email", "Write one e-mail address, such as ada@example.com.", 422, "email") from None
    now = clock()

    def verb() -> Invitation:
        Organization.objects.select_for_update(no_key=True).get(pk=org.pk)  # counted one after the other
        if Membership.objects.filter(org=org, user__email__iexact=email).exists():
            sentence = f"{email} is a member already. Their role is changed in the list of members."
            raise Refused("member_already", sentence, 409, "email")
        others = Invitation.objects.filter(org=org).exclude(email=email)
        if others.count() >= MOST:
            sentence = f"{MOST} invitations are open. Take one back before you send another."
            raise Refused("too_many_invitations", sentence, 409, "email")
        Invitation.objects.filter(org=org, email=email).delete()
        invitation = Invitation.objects.create(
            org=org, email=email, role=role, by=by, made_at=now, expires_at=now + GOOD_FOR
        )
        mails.ask(invitation)
        return invitation

    return intention(verb)


def revoke(org: Organization, invitation: UUID) -> None:
    """Take an invitation back: its link leads nowhere. Again: nothing."""
    intention(lambda: Invitation.objects.filter(org=org, pk=invitation).delete())


def read(token: str) -> Invitation:
    """Read the invitation that a link is of. One query. Refused: invitation_over (410)."""
    found = Invitation.objects.of_token(token).filter(expires_at__gt=clock()).select_related("org", "by").first()
    if found is None:
        raise OVER
    return found


def is_for(invitation: Invitation, user: User) -> bool:
    """Say whether an invitation was sent to an address of this person's. One query at most."""
    if user.email.lower() == invitation.email:
        return True
    return EmailAddress.objects.filter(user=user, email__iexact=invitation.email, verified=True).exists()


def accept(token: str, user: User) -> Organization:
    """Make a person a member as they were invited; one who is already keeps the higher role.

    Refused: invitation_over (410), for_another (409).
    """

    def verb() -> Organization:
        invitation = read(token)
        if not Invitation.objects.select_for_update(of=("self",)).filter(pk=invitation.pk).exists():
            raise OVER
        if not is_for(invitation, user):
            sentence = f"This invitation is for {invitation.email}. Sign in with that address."
            raise Refused("for_another", sentence, 409)
        had = Membership.objects.filter(org=invitation.org, user=user).first()
        if had is None:
            Membership.objects.create(org=invitation.org, user=user, role=invitation.role)
        elif RANKS.index(Role(had.role)) < RANKS.index(Role(invitation.role)):
            had.role = invitation.role
            had.save(update_fields=["role"])
        invitation.delete()
        return invitation.org

    return intention(verb, certain=True)
