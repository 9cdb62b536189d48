"""Who did what an entry says, in words: a person, a key, a run, Stripe, Oxygen itself. Reads only; for its page."""

from uuid import UUID

from billing import access
from billing.models import ApiKey, Entry, Organization, User

OXYGEN = {"expiry": "Oxygen, when it expired", "free_plan": "Oxygen, as a month of the free plan began"}


def in_words(org: Organization, entry: Entry) -> str:
    """Name whoever made an entry; operators of Oxygen are told by their office. Four queries at most."""
    kind, _, name = (entry.actor or f"run:{entry.source}").partition(":")
    if kind == "run":
        return "The run itself"
    if kind == "stripe":
        return f"Stripe, as it told of {name}"
    if kind == "system":
        return OXYGEN.get(name, "Oxygen")
    try:
        id = UUID(name)
    except ValueError:
        return "Somebody"
    return _key(id) if kind == "key" else _person(org, id)


def _key(id: UUID) -> str:
    key = ApiKey.objects.filter(pk=id).select_related("made_by").first()
    return f"The API key {key}, made by {key.made_by}" if key else "An API key"


def _person(org: Organization, id: UUID) -> str:
    user = User.objects.filter(pk=id).first()
    if user is None:
        return "Somebody who is not here any more"
    if user.is_staff and not access.has_right(user, org, "read"):
        return "An operator of Oxygen"
    return str(user)
