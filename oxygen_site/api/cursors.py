"""Cursors: where the next page of a list begins. Signed for one list of one org; nobody makes one up."""

from collections.abc import Sequence

from django.core import signing

from billing.access import OrgRequest
from oxygen_site.transactions import Refused


def write_cursor(request: OrgRequest, listed: str, place: Sequence[object]) -> str:
    """Write a place in the list of that name."""
    return signing.dumps([str(part) for part in place], salt=_salt(request, listed))


def read_cursor(request: OrgRequest, listed: str, cursor: str | None) -> list[str] | None:
    """Read what `write_cursor` wrote for the same list; None at its beginning. Refused: invalid_cursor (400)."""
    if cursor is None:
        return None
    try:
        return signing.loads(cursor, salt=_salt(request, listed))
    except (signing.BadSignature, ValueError) as garbage:
        sentence = "This cursor is not of this list. Take `next_cursor` from the page before, or leave it out."
        raise Refused("invalid_cursor", sentence, 400) from garbage


def _salt(request: OrgRequest, listed: str) -> str:
    return f"cursor:{listed}:{request.org.pk}"
