"""`manage.py sync_plans [FILE] [--check]`: make the plans and packs on sale, here and at Stripe, be what a file says.

The file names one version of each. A new version puts the old one off sale and keeps it for whoever has it; money and
credits of a version never change, since somebody may have bought it: raise the version instead. Where Stripe is set up,
prices are found by their lookup key, made where they are missing, and refused where Stripe says another amount.
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

from billing.models import Pack, Plan, Price
from billing.payments import facts, gateway
from oxygen_site.transactions import intention

PLANS = Path(__file__).parents[2] / "plans.json"
FIXED = ("key", "version", "credits", "rollover_months", "interval", "amount", "currency", "plan_id", "pack_id")
FREE = ("name", "line", "rank", "on_sale")


class Command(BaseCommand):
    help = "Put plans and packs on sale, here and at Stripe, from billing/plans.json or another file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=PLANS)
        parser.add_argument("--check", action="store_true", help="only say what differs; exit 1 if anything does")

    def handle(self, *args: Any, file: Path, check: bool, **options: Any) -> None:
        try:
            wanted = list(_read(json.loads(file.read_text("utf-8"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise CommandError(f"{file} is no list of plans: {error}") from error
        except ValidationError as error:
            raise CommandError(f"{file} is no list of plans: {'; '.join(error.messages)}") from error
        differs = [row for row in wanted if _differs(row)]
        retired = _retired(wanted)
        prices = [row for row in wanted if isinstance(row, Price)]
        try:
            there = _at_stripe(prices) if gateway.configured() else {}
            to_make = [each for each in prices if gateway.configured() and each.lookup_key not in there]
            told = [f"{row._meta.verbose_name} {row.pk}" for row in differs]
            told += [f"{row._meta.verbose_name} {row.pk}: off sale" for row in retired]
            told += [f"price {each.lookup_key} at Stripe" for each in to_make]
            if not check:
                intention(lambda: _write(differs, retired))
                there |= {each.lookup_key: _made(each) for each in to_make}
            linked = _linked(there, write=not check)
            told += [f"price {key} is {id}" for key, id in linked.items() if key not in [each.pk for each in to_make]]
        except gateway.Unreachable as error:
            raise CommandError(f"Stripe could not be asked; run this again. {error}") from error
        except gateway.Rejected as error:
            raise CommandError(f"Stripe refused: {error}") from error
        for each in told:
            self.stdout.write(each)
        self.stdout.write(f"{len(told)} {'differ' if check else 'changed'}")
        if check and told:
            raise CommandError("What is on sale is not what the file says.", returncode=1)


def _read(file: dict[str, Any]) -> Iterator[Model]:
    """Make the rows that the file asks for, none of them stored."""
    rows: list[Model] = []
    for each in file["plans"]:
        plan = Plan(
            id=f"{each['key']}-{each['version']}",
            key=each["key"],
            version=each["version"],
            name=each["name"],
            line=each["line"],
            rank=each["rank"],
            credits=_credits(each),
            rollover_months=each.get("rollover_months", 0),
            on_sale=True,
        )
        prices = each.get("prices", {})
        if bool(prices) == plan.is_free:
            raise ValueError(f"{plan.id}: the plan of rank 0 has no price, and each other has one")
        rows.append(plan)
        for interval, amount in prices.items():
            key = f"oxygen_{plan.key}_{plan.version}_{interval}"
            rows.append(Price(key, plan_id=plan.id, interval=interval, amount=amount, currency=file["currency"]))
    for each in file["packs"]:
        credits = _credits(each)
        pack = Pack(id=f"pack-{credits}-{each['version']}", credits=credits, on_sale=True)
        key = f"oxygen_pack_{credits}_{each['version']}"
        price = Price(key, pack_id=pack.id, interval="once", amount=each["amount"], currency=file["currency"])
        rows += [pack, price]
    names = [(type(row), row.pk) for row in rows] + [(type(row), row.key) for row in rows if isinstance(row, Plan)]
    if twice := {str(name) for model, name in names if names.count((model, name)) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))} stands there twice")
    for row in rows:
        row.full_clean(validate_unique=False, validate_constraints=False, exclude=("plan", "pack"))
        yield row


def _credits(each: dict[str, Any]) -> Decimal:
    if (credits := Decimal(each["credits"])) <= 0:
        raise ValueError(f"{credits} credits are none")
    return credits


def _fields(row: Model) -> list[str]:
    return [field.attname for field in row._meta.concrete_fields if field.attname in FIXED + FREE]


def _differs(row: Model) -> bool:
    """Say whether the stored row says something else; refuse where that is what somebody may have paid for."""
    stored = type(row)._default_manager.filter(pk=row.pk).first()
    if stored is None:
        return True
    other = [name for name in _fields(row) if getattr(stored, name) != getattr(row, name)]
    if bought := [name for name in other if name in FIXED]:
        raise CommandError(
            f"{row.pk} has another {' and '.join(bought)} than it was sold with; raise the version in the file."
            " Nothing was changed."
        )
    return bool(other)


def _retired(wanted: list[Model]) -> list[Plan | Pack]:
    """Read what is on sale and not in the file."""
    keep = [row.pk for row in wanted]
    plans = Plan.objects.filter(on_sale=True).exclude(pk__in=keep)
    return [*plans, *Pack.objects.filter(on_sale=True).exclude(pk__in=keep)]


def _write(rows: list[Model], retired: list[Plan | Pack]) -> None:
    for old in retired:
        type(old)._default_manager.filter(pk=old.pk).update(on_sale=False)
    for row in rows:
        values = {name: getattr(row, name) for name in _fields(row)}
        type(row)._default_manager.update_or_create(pk=row.pk, defaults=values)


def _at_stripe(prices: list[Price]) -> dict[str, facts.PriceFacts]:
    """Find our prices at Stripe; refuse one that is other than ours."""
    found = {each.lookup_key: each for each in gateway.prices([each.lookup_key for each in prices])}
    for ours in prices:
        if there := found.get(ours.lookup_key):
            said = (there.amount, there.currency, there.interval)
            if said != (ours.amount, ours.currency, ours.interval):
                raise CommandError(
                    f"{ours.lookup_key} is {' '.join(map(str, said))} at Stripe and {ours.amount} {ours.currency}"
                    f" {ours.interval} in the file. A price at Stripe cannot be changed: raise the version in the file."
                    " Nothing was changed."
                )
            if not there.active:
                raise CommandError(f"{ours.lookup_key} is archived at Stripe; restore it there. Nothing was changed.")
    return found


def _made(price: Price) -> facts.PriceFacts:
    """Make a price and its product; both again are the same."""
    sold = Price.objects.select_related("plan", "pack").get(pk=price.pk)
    thing = sold.plan or sold.pack
    assert thing
    product = gateway.make_product(f"oxygen_{thing.pk}", str(thing), key=f"product:{thing.pk}")
    return gateway.make_price(
        product, sold.lookup_key, sold.amount, sold.currency, sold.interval, key=f"price:{sold.lookup_key}"
    )


def _linked(there: dict[str, facts.PriceFacts], *, write: bool) -> dict[str, str]:
    """Keep the ids of Stripe's prices; answers what was another."""
    known = dict(Price.objects.values_list("lookup_key", "stripe_id"))
    other = {key: each.id for key, each in there.items() if known.get(key) != each.id}
    if write:
        intention(lambda: [Price.objects.filter(pk=key).update(stripe_id=id) for key, id in other.items()])
    return other
