"""Verbs of API keys: make one, make one in another's place, revoke one, and read the one that a request presents.

For `access.py`, which alone says what a key may do, and for whoever manages keys. A key is `oxy_live_`, eight signs by
which it is found and known, `_`, 43 signs that nobody can guess, and six that tell a typing mistake from a wrong key.
It is shown once, when it is made.
"""

import re
import secrets
import string
from binascii import crc32
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from billing.models import Agency, ApiKey, Organization, Scope, User
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention

SIGNS = string.digits + string.ascii_letters
KEY = re.compile(r"(oxy_live_[0-9A-Za-z]{8})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})")


def make(
    of: Organization | Agency, by: User, name: str, scopes: Collection[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make a key of an org, or of an agency for its client orgs; answer it with the secret, which is shown only now.

    Refused: invalid_name, invalid_scopes, invalid_expiry (422).
    """
    name, now = _name(name), clock()
    if not scopes or not set(scopes) <= set(Scope.values):
        raise Refused("invalid_scopes", f"Give the key one or more of {', '.join(Scope.values)}.", 422, "scopes")
    if expires_at is not None and expires_at <= now:
        raise Refused("invalid_expiry", "The key has to expire later than now.", 422, "expires_at")
    kept = [scope for scope in Scope.values if scope in scopes]
    org, agency = (of, None) if isinstance(of, Organization) else (None, of)
    key, secret = _new(by, org=org, agency=agency, name=name, scopes=kept, created_at=now, expires_at=expires_at)
    intention(lambda: ApiKey.objects.bulk_create([key]), certain=True)
    return key, secret


def rotate(key: ApiKey, by: User, overlap: timedelta) -> tuple[ApiKey, str]:
    """Make a key in another's place: the same name, scopes and org, good for as long. The old one ends after `overlap`.

    It reaches as far as `by` does, and is answered with its secret, which is shown only now. Refused: key_ended,
    key_replaced (409).
    """
    now = clock()
    same = {name: getattr(key, name) for name in ("org", "agency", "name", "scopes")}
    expires_at = key.expires_at and now + (key.expires_at - key.created_at)
    new, secret = _new(by, **same, created_at=now, expires_at=expires_at, replaces=key)

    def verb() -> None:
        old = ApiKey.objects.select_for_update().get(pk=key.pk)
        if old.has_ended(now):
            raise Refused("key_ended", "This key opens nothing any more. Make a new one instead.")
        if ApiKey.objects.filter(replaces=old).exists():
            raise Refused("key_replaced", "This key was replaced already. Replace the one that took its place.")
        ends = now + overlap
        ApiKey.objects.filter(pk=old.pk).update(expires_at=min(old.expires_at or ends, ends))
        ApiKey.objects.bulk_create([new])

    intention(verb, certain=True)
    key.refresh_from_db(fields=("expires_at",))
    return new, secret


def revoke(key: ApiKey, by: User) -> None:
    """Let a key open nothing from this instant on. Again: nothing."""
    now = clock()
    intention(lambda: ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now, revoked_by=by))
    key.refresh_from_db(fields=("revoked_at", "revoked_by"))


def presented(authorization: str) -> ApiKey:
    """Read the key in an Authorization header, and note to the minute that it is used.

    Two queries, and one write a minute. Refused (401): not_signed_in, mistyped_key, invalid_key, revoked_key,
    expired_key.
    """
    scheme, _, secret = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not (secret := secret.strip()):
        raise Refused("not_signed_in", "Send your API key in the header Authorization: Bearer oxy_live_….", 401)
    shaped = KEY.fullmatch(secret)
    if not shaped or not secrets.compare_digest(shaped[2], _check(secret[:-6])):
        raise Refused("mistyped_key", "That is no API key as they are made here. Was it cut off or mistyped?", 401)
    key = ApiKey.objects.select_related("org__agency", "made_by").filter(prefix=shaped[1]).first()
    if key is None or not secrets.compare_digest(key.digest, _digest(secret)):
        raise Refused("invalid_key", "There is no such API key.", 401)
    if key.revoked_at:
        raise Refused("revoked_key", f"The API key {key} was revoked.", 401)
    now = clock()
    if key.expires_at and key.expires_at <= now:
        raise Refused("expired_key", f"The API key {key} has expired.", 401)
    _note_use(key, now)
    return key


def _new(by: User, **facts: Any) -> tuple[ApiKey, str]:
    prefix = f"oxy_live_{_signs(8)}"
    bare = f"{prefix}_{_signs(43)}"
    secret = bare + _check(bare)
    return ApiKey(prefix=prefix, digest=_digest(secret), last_four=secret[-4:], made_by=by, **facts), secret


def _note_use(key: ApiKey, now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0)
    if key.last_used_at is None or key.last_used_at < minute:
        unnoted = ApiKey.objects.filter(pk=key.pk).exclude(last_used_at__gte=minute)
        intention(lambda: unnoted.update(last_used_at=minute))


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 80:
        raise Refused("invalid_name", "Give the key a name of at most 80 characters.", 422, "name")
    return name


def _signs(count: int) -> str:
    return "".join(secrets.choice(SIGNS) for _ in range(count))


def _check(bare: str) -> str:
    number, signs = crc32(bare.encode()), ""
    for _ in range(6):
        number, sign = divmod(number, len(SIGNS))
        signs += SIGNS[sign]
    return signs


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
