"""`manage.py make_key ORG --name NAME --scope SCOPE`, or `--agency NAME`: make an API key and print it, once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import access, keys
from billing.models import Agency, Organization, Role, Scope, User
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused


class Command(BaseCommand):
    help = "Make an API key of an organization or an agency. The key alone is printed, and cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        of = parser.add_mutually_exclusive_group(required=True)
        of.add_argument("org", nargs="?", help="the organization's slug, as in its address")
        of.add_argument("--agency", metavar="NAME", help="the agency whose client organizations it opens")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument("--scope", required=True, action="append", choices=Scope.values, help="may be repeated")
        parser.add_argument(
            "--by", metavar="EMAIL", help="whose reach the key has; else an owner's, or one of the staff"
        )
        parser.add_argument("--days", type=int, help="until it expires; else it never does")

    def handle(
        self,
        *args: Any,
        org: str | None,
        agency: str | None,
        name: str,
        scope: list[str],
        by: str | None,
        days: int | None,
        **options: Any,
    ) -> None:
        of = _agency(agency) if agency else _org(org or "")
        maker = User.objects.filter(email__iexact=by).first() if by else _first(of)
        if maker is None or not access.people_of(of).filter(pk=maker.pk).exists():
            raise CommandError(f"{by or 'Whoever could make it'} is not in {of}; --by names who makes the key.")
        try:
            key, secret = keys.make(of, maker, name, scope, clock() + timedelta(days=days) if days else None)
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
        self.stderr.write(f"{key.name}, a key of {of}, reaches as far as {maker} does. It is shown only now:")
        self.stdout.write(secret)


def _org(slug: str) -> Organization:
    org = Organization.objects.filter(slug=slug).first()
    if org is None:
        raise CommandError(f"There is no organization {slug}.")
    return org


def _agency(name: str) -> Agency:
    named = list(Agency.objects.filter(name__iexact=name)[:2])
    if len(named) != 1:
        raise CommandError(f"There is {'more than one' if named else 'no'} agency {name}.")
    return named[0]


def _first(of: Organization | Agency) -> User | None:
    """Whoever was there first: of an organization's owners, or of an agency's staff."""
    if isinstance(of, Agency):
        return of.staff.order_by("date_joined").first()
    return User.objects.filter(memberships__org=of, memberships__role=Role.OWNER).order_by("date_joined").first()
