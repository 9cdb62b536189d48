"""`manage.py sync_catalog [FILE]`: make the catalog of providers and tools say what a file says.

Creates and updates, never deletes: what is no longer in the file stays for the runs that used it. Runs keep the prices
they froze when they started. A price that is not known is null: such a tool cannot be run live, and never counts as 0.
"""

import json
from argparse import ArgumentParser
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from oxygen_site.transactions import intention
from runs.models import Provider, Tool

CATALOG = Path(__file__).parents[2] / "catalog.json"
NOT_OURS = ("takes_keys", "looks_up", "calls_per_second")  # what operators say of a provider, in the admin


class Command(BaseCommand):
    help = "Create and update the providers and tools of the catalog, from runs/catalog.json or another file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=CATALOG)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            wanted = list(_read(json.loads(file.read_text("utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise CommandError(f"{file} is no catalog: {error}") from error
        try:
            changed = intention(lambda: [row for row in wanted if _put(row)])
        except ValidationError as error:
            raise CommandError(f"Nothing was changed: {'; '.join(error.messages)}") from error
        for row in changed:
            self.stdout.write(f"{row._meta.verbose_name} {row.pk}")
        self.stdout.write(f"{len(changed)} of {len(wanted)} changed")


def _read(providers: list[dict[str, Any]]) -> Any:
    for facts in providers:
        yield Provider(id=facts["id"], name=facts["name"], category=facts["category"])
        for tool in facts["tools"]:
            price, maximum = tool["price"], tool["maximum"]
            if (price is None) != (maximum is None):
                raise ValueError(f"{tool['id']} needs both a price and a maximum, or neither")
            yield Tool(
                id=tool["id"],
                provider_id=facts["id"],
                name=tool["name"],
                price=None if price is None else Decimal(price),
                maximum=None if maximum is None else Decimal(maximum),
                success_rate=Decimal(tool["success_rate"]),
            )


def _put(row: Model) -> bool:
    """Write the row where it says something new."""
    model = type(row)
    stored = model._default_manager.filter(pk=row.pk).first()
    fields = [field.attname for field in row._meta.concrete_fields if field.attname not in NOT_OURS]
    if stored and all(getattr(stored, name) == getattr(row, name) for name in fields):
        return False
    row.full_clean(validate_unique=False, exclude=NOT_OURS)
    model._default_manager.update_or_create(pk=row.pk, defaults={name: getattr(row, name) for name in fields})
    return True
