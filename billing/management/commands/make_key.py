"""`manage.py make_key ORG --name NAME --scope SCOPE`: make an API key and print it, once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import access, keys
from billing.models import Organization, Role, Scope, User
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused


class Command(BaseCommand):
    help = "Make an API key of an organization. The key alone is printed, and cannot be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("org", help="the organization's slug, as in its address")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument("--scope", required=True, action="append", choices=Scope.values, help="may be repeated")
        parser.add_argument("--by", metavar="EMAIL", help="whose reach the key has; else an owner's")
        parser.add_argument("--days", type=int, help="until it expires; else it never does")

    def handle(
        self, *args: Any, org: str, name: str, scope: list[str], by: str | None, days: int | None, **options: Any
    ) -> None:
        of = Organization.objects.filter(slug=org).first()
        if of is None:
            raise CommandError(f"There is no organization {org}.")
        maker = User.objects.filter(email__iexact=by).first() if by else _owner(of)
        if maker is None or not access.has_right(maker, of, "read"):
            raise CommandError(f"{by or 'An owner'} is not in {of}; --by names who makes the key.")
        try:
            key, secret = keys.make(of, maker, name, scope, clock() + timedelta(days=days) if days else None)
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
        self.stderr.write(f"{key.name}, a key of {of}, reaches as far as {maker} does. It is shown only now:")
        self.stdout.write(secret)


def _owner(org: Organization) -> User | None:
    return User.objects.filter(memberships__org=org, memberships__role=Role.OWNER).order_by("date_joined").first()
