"""Periodic work on credits, each written as "do all that is due", so that a missed tick costs nothing but time."""

import logging
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.db.models import F, Q

from billing import books, ledger, low_balance, plans, top_ups
from billing.models import Grant, KeptAnswer, Organization, PaidPeriod, StripeCheck
from billing.payments import changes, effects, gateway, inbox, purchases
from oxygen_site.clock import clock
from oxygen_site.jobs import periodic, task
from oxygen_site.transactions import intention

log = logging.getLogger("oxygen.billing")

KEPT = timedelta(days=30)  # answers to writes, for whoever sends one again


@periodic("* * * * *")
def expire_due() -> None:
    """Book the expiry of every grant that is due, an org at a time."""
    due = Grant.objects.filter(open=True, expires_at__lte=clock())
    for org in due.values_list("org", flat=True).distinct():
        intention(partial(ledger.expire, org))


@periodic("* * * * *")
def give_due() -> None:
    """Give the months that have begun: of what was paid for longer, and of the free plan. An org at a time."""
    now = clock()
    due = PaidPeriod.objects.filter(given_until__lt=F("end"), given_until__lte=now)
    for key in due.values_list("key", flat=True):
        intention(partial(effects.give_due, key))
    if plans.free():
        for org in Organization.objects.filter(Q(free_until=None) | Q(free_until__lte=now)):
            _give_free(org)


@task()
def welcome(org: str) -> None:
    """Give a new organization its first free month at once."""
    _give_free(Organization.objects.get(pk=org))


def _give_free(org: Organization) -> None:
    if free := plans.free():
        intention(partial(effects.give_free, org, free))


@task(queue="maint")
def cut_days_of(org: str) -> None:
    """Cut an org's days by the zone that was asked for, at once."""
    intention(partial(_cut_days, UUID(org)))


@periodic("* * * * *")
def cut_days() -> None:
    """Cut the days of every org that asked for another zone and has it not yet."""
    for org in Organization.objects.exclude(zone_asked="").values_list("pk", flat=True):
        intention(partial(_cut_days, org))


def _cut_days(org: UUID) -> None:
    asking = Organization.objects.select_for_update(no_key=True).exclude(zone_asked="").filter(pk=org).first()
    if asking:
        ledger.change_zone(org, asking.zone_asked)
        Organization.objects.filter(pk=org).update(zone=asking.zone_asked, zone_asked="")


@periodic("* * * * *")
def tell_low() -> None:
    """Mail the admins of every org that has run low, once."""
    low_balance.tell_due()


@periodic("* * * * *")
def top_up_due() -> None:
    """Buy packs for those who wish that and have run low."""
    if gateway.configured():
        top_ups.top_up_due()


@periodic("* * * * *")
def carry_on_with_stripe() -> None:
    """Go on with what was asked of Stripe and broke off, and close what was left lying."""
    if gateway.configured():
        changes.carry_on_due()
        purchases.carry_on_due()


@periodic("* * * * *")
def apply_events() -> None:
    """Wake a job for every event of Stripe's that waits, and for none that does not."""
    inbox.wake_all()


@periodic("13 4 * * *")
def compare_with_stripe() -> None:
    """Fetch the events that did not come, and say what stands differently at Stripe."""
    if not gateway.configured():
        return
    missed, drift = inbox.catch_up()
    intention(lambda: StripeCheck.objects.create(at=clock(), caught_up=missed, drift=drift))
    for what, here, there in drift:
        log.error("%s stands differently at Stripe: here %s, there %s", what, here, there)


@task(queue="maint")
def compare_now() -> None:
    """Do at once, for an operator, what is done at night."""
    compare_with_stripe()


@periodic("7 * * * *")
def prove_hourly() -> None:
    """Prove what is cheap to prove of all books."""
    _say(books.prove(names=books.HOURLY))


@periodic("23 3 * * *")
def prove_nightly() -> None:
    """Prove all of all books."""
    _say(books.prove())


@periodic("53 3 * * *")
def forget_answers() -> None:
    """Let go of answers to writes that are too old for anybody to send the write again."""
    old = KeptAnswer.objects.filter(kept_at__lt=clock() - KEPT)
    intention(old.delete)


@periodic("41 * * * *")
def make_months() -> None:
    """Have three months of partitions ready; without this month's, a run could not start."""
    ahead = ledger.make_months()
    if ahead < 2:
        log.error("only %s months of ledger partitions are ready; run manage.py make_months", ahead)


def _say(found: list[books.Drift]) -> None:
    for drift in found:
        log.error("the books of org %s drifted: %s", drift.org, drift)
