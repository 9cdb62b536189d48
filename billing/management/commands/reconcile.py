"""manage.py reconcile: prove the books and say what drifted."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import books
from billing.models import Account, Organization


class Command(BaseCommand):
    help = "Prove the books of one organization or all, note when, and say what drifted. Exit 1 on drift."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", nargs="?", help="one organization; without it, all")

    def handle(self, *args: Any, slug: str | None = None, **options: Any) -> None:
        org = Organization.objects.filter(slug=slug).first() if slug else None
        if slug and org is None:
            raise CommandError(f"There is no organization {slug}.")
        found = books.prove(org.pk if org else None)
        for drift in found:
            self.stdout.write(f"{drift.org}: {drift}")
        count = 1 if org else Account.objects.count()
        if found:
            raise CommandError(f"{len(found)} drifts in the books of {count} organizations.")
        self.stdout.write(f"The books of {count} organizations are right: {len(books.INVARIANTS) + 1} invariants hold.")
