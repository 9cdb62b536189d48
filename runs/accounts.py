"""The orgs' own accounts at providers (BYOK): connect, disconnect, and what a run needs of them.

For the accounts page, `lifecycle.py` and `worker.py`. Laws: a credential is stored encrypted under the settings' key,
is never shown again, and leaves this house in one place only, the header of a call on the org's own account.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db.models import FETCH_RAISE

from billing.models import Organization
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention
from runs.models import Integration, Mode, Provider, Run
from runs.providers import limits

CREDENTIAL = re.compile(r"[\x21-\x7e]{8,400}")  # what fits into a header


@dataclass(frozen=True)
class AccountLine:
    """A provider, and since when the org's own account at it is connected; its credential is nowhere to be read."""

    provider: Provider
    connected_at: datetime | None


def listed(org: Organization) -> list[AccountLine]:
    """Every provider with the org's own account: first those that have no other way. Two queries."""
    connected = Integration.objects.filter(org=org, credential__isnull=False)
    since = dict(connected.values_list("provider", "connected_at"))
    providers = Provider.objects.all().fetch_mode(FETCH_RAISE)
    ordered = sorted(providers, key=lambda provider: provider.may_be_managed)
    return [AccountLine(provider, since.get(provider.pk)) for provider in ordered]


def connect(org: Organization, provider: Provider, credential: str) -> Integration:
    """Use the org's own account at a provider from the next run on; a new credential takes the old one's place.

    Refused: invalid_credential, accounts_unavailable (422).
    """
    given = credential.strip()
    if not settings.CREDENTIALS_KEY:
        raise Refused("accounts_unavailable", "Own accounts cannot be connected here: the server has no key.", 422)
    if not CREDENTIAL.fullmatch(given):
        raise Refused(
            "invalid_credential",
            "That is no API key: 8 to 400 letters, digits and signs, without spaces.",
            422,
            field="credential",
        )
    kept = Fernet(settings.CREDENTIALS_KEY).encrypt(given.encode())

    def verb() -> Integration:
        limits.forget(org.pk, provider.pk)
        facts = {"mode": Mode.BYOK, "credential": kept, "connected_at": clock()}
        return Integration.objects.update_or_create(org=org, provider=provider, defaults=facts)[0]

    return intention(verb)


def disconnect(org: Organization, provider: Provider) -> None:
    """Forget the org's own account; the provider is paid by Oxygen again where it can be. Again: nothing."""
    intention(lambda: Integration.objects.filter(org=org, provider=provider).delete())


def missing(org: UUID, providers: Collection[str]) -> list[str]:
    """Name those of the providers at which the org has connected no account. One query, none for no provider."""
    if not providers:
        return []
    connected = Integration.objects.filter(org=org, credential__isnull=False).values("provider")
    return list(Provider.objects.filter(id__in=providers).exclude(id__in=connected).values_list("name", flat=True))


def credentials(run: Run) -> dict[str, str]:
    """Read the credentials a run's calls on own accounts need, by provider. One query, none where it needs none."""
    own = {step.provider for step in run.cascade if step.byok}
    if not own:
        return {}
    connected = Integration.objects.filter(org=run.org_id, provider__in=own, credential__isnull=False)
    return dict(_readable(connected))


def _readable(integrations: Iterable[Integration]) -> Iterable[tuple[str, str]]:
    for integration in integrations:
        try:
            kept = bytes(integration.credential or b"")
            yield integration.provider_id, Fernet(settings.CREDENTIALS_KEY).decrypt(kept).decode()
        except (InvalidToken, ValueError):
            continue  # of another key: as if it were not connected
