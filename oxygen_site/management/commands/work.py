"""A worker: takes jobs from the queue until it is told to stop (SIGTERM, SIGINT), then finishes what it began."""

from typing import Any

from django.core.management.base import BaseCommand

from oxygen_site import jobs


class Command(BaseCommand):
    help = "Run a worker."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        jobs.work()
