"""Periodic work on credits, each written as "do all that is due", so that a missed tick costs nothing but time."""

import logging
from functools import partial

from billing import books, ledger
from billing.models import Grant
from oxygen_site.clock import clock
from oxygen_site.jobs import periodic
from oxygen_site.transactions import intention

log = logging.getLogger("oxygen.billing")


@periodic("* * * * *")
def expire_due() -> None:
    """Book the expiry of every grant that is due, an org at a time."""
    due = Grant.objects.filter(open=True, expires_at__lte=clock())
    for org in due.values_list("org", flat=True).distinct():
        intention(partial(ledger.expire, org))


@periodic("7 * * * *")
def prove_hourly() -> None:
    """Prove what is cheap to prove of all books."""
    _say(books.prove(names=books.HOURLY))


@periodic("23 3 * * *")
def prove_nightly() -> None:
    """Prove all of all books."""
    _say(books.prove())


@periodic("41 * * * *")
def make_months() -> None:
    """Have three months of partitions ready; without this month's, a run could not start."""
    ahead = ledger.make_months()
    if ahead < 2:
        log.error("only %s months of ledger partitions are ready; run manage.py make_months", ahead)


def _say(found: list[books.Drift]) -> None:
    for drift in found:
        log.error("the books of org %s drifted: %s", drift.org, drift)
