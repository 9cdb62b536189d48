"""`manage.py import_table ORG FILE.csv [--name NAME]`: make a table of a CSV file, whole or not at all."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.models import Organization
from oxygen_site.transactions import Refused
from runs import tables


class Command(BaseCommand):
    help = "Import a CSV file as a table of an organization."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("org", help="the organization's slug, as in its address")
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", help="the table's name; else the file's")

    def handle(self, *args: Any, org: str, file: Path, name: str | None, **options: Any) -> None:
        owner = Organization.objects.filter(slug=org).first()
        if owner is None:
            raise CommandError(f"There is no organization {org}.")
        try:
            with file.open("rb") as content:
                table = tables.import_csv(owner, name or file.stem, content)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        except Refused as refusal:
            raise CommandError(f"{file}: {refusal.message}") from refusal
        self.stdout.write(f"{table.id} {table.name}, {table.row_count} rows")
