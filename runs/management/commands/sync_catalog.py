"""`manage.py sync_catalog [FILE]`: make the catalog of what can be bought say what a file says.

The file has `providers` with their tools and, made of these tools in an order, `capabilities` and `templates`. Creates
and updates, never deletes: what is no longer in the file stays for the runs that used it. Runs keep the prices they
froze when they started. A price that is not known is null: such a tool cannot be run live, and never counts as 0.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model
from django.utils.text import slugify

from oxygen_site.transactions import intention
from runs.models import Capability, Provider, Tool, WorkflowTemplate

CATALOG = Path(__file__).parents[2] / "catalog.json"
NOT_OURS = ("takes_keys", "looks_up", "calls_per_second")  # what operators say of a provider, in the admin


class Command(BaseCommand):
    help = "Create and update providers, tools, capabilities and templates, from runs/catalog.json or another file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=CATALOG)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            wanted = _read(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise CommandError(f"{file} is no catalog: {error}") from error
        try:
            changed = intention(lambda: [row for row in wanted if _put(row)])
        except ValidationError as error:
            raise CommandError(f"Nothing was changed: {'; '.join(error.messages)}") from error
        for row in changed:
            self.stdout.write(f"{row._meta.verbose_name} {row.pk}")
        self.stdout.write(f"{len(changed)} of {len(wanted)} changed")


def _read(file: dict[str, Any]) -> list[Model]:
    made_of_tools = list(_made_of_tools(file))
    keys = [row.pk for row in made_of_tools]
    if twice := {key for key in keys if keys.count(key) > 1}:  # both would fill the same column
        raise ValueError(f"{', '.join(sorted(twice))} stands there twice")
    return [*_providers(file["providers"]), *made_of_tools]


def _providers(providers: list[dict[str, Any]]) -> Iterator[Model]:
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


def _made_of_tools(file: dict[str, Any]) -> Iterator[Model]:
    for facts in file["capabilities"]:
        yield Capability(key=_key(facts["key"]), name=facts["name"], cascade=list(facts["cascade"]))
    for facts in file["templates"]:
        yield WorkflowTemplate(
            id=_key(facts["id"]),
            name=facts["name"],
            description=facts["description"],
            cascade=list(facts["cascade"]),
        )


def _key(key: str) -> str:
    """A column is named after it, so it is what a column's key may be."""
    if not key or slugify(key) != key:
        raise ValueError(f"“{key}” is no key: lower-case letters, digits, - and _")
    return key


def _put(row: Model) -> bool:
    """Write the row where it says something new."""
    model = type(row)
    stored = model._default_manager.filter(pk=row.pk).first()
    fields = [field.attname for field in row._meta.concrete_fields if field.attname not in NOT_OURS]
    if stored and all(getattr(stored, name) == getattr(row, name) for name in fields):
        return False
    try:
        row.full_clean(validate_unique=False, exclude=NOT_OURS)
    except ValidationError as error:
        raise ValidationError([f"{row.pk}: {message}" for message in error.messages]) from error
    model._default_manager.update_or_create(pk=row.pk, defaults={name: getattr(row, name) for name in fields})
    return True
