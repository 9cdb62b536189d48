"""manage.py make_months: have the ledger's coming months ready."""

from typing import Any

from django.core.management.base import BaseCommand

from billing import jobs


class Command(BaseCommand):
    help = "Make the ledger's partitions for this month and the next three; an hourly job does the same."

    def handle(self, *args: Any, **options: Any) -> None:
        jobs.make_months()
