"""`manage.py seed_demo`: live through the demo's weeks, then see to it that one run of Acme is live.

On an empty ledger only. Credits are given and runs are started through the verbs of everybody, and driven by the
worker's own code over real HTTP to sandbox providers of its own, while business time moves from weeks ago to now.
Stopped anywhere and started again it goes on from there; once lived, it is over in a second.
"""

import json
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from io import StringIO
from itertools import groupby
from typing import Any
from urllib.request import Request, urlopen

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from billing import keys, ledger, orgs
from billing.cycles import credit_month
from billing.jobs import expire_due
from billing.models import Agency, ApiKey, Organization, Role, Scope, User
from oxygen_site import clock
from oxygen_site.transactions import Refused, intention
from runs import accounts, lifecycle, tables, today, worker
from runs.management.demo import buyers, cast, story
from runs.management.demo.story import Act, Given, Opened, Started, Subscribed, Taken
from runs.models import Capability, Column, Fill, Provider, Run, Table, WorkflowTemplate

DATA = settings.BASE_DIR / "sandbox" / "data"
# Answers at once and no waiting to be let in, but the usual failures.
AT_ONCE = {"latency": 0, "rates": {"invalid": 0.004, "unavailable": 0.002, "failed_after": 0.003}}
# A bad moment of theirs: they charge and err, bill too much, and some answers are lost on the way.
AT_THEIR_WORST = {
    "latency": 0.2,
    "rates": {"throttled": 0.1, "invalid": 0.05, "failed_after": 0.08, "lost_after": 0.06},
    "retry_after": 0,
    "cost_times": "1.3",
}
LATE = timedelta(minutes=-10)  # an act this long past belongs to a seeding that was stopped
PLACES = Decimal("0.0001")


class Command(BaseCommand):
    help = "Fill an empty ledger with the demo's six weeks, and keep one run live."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="also make a key anew, and say how the oxygen command reaches Acme there")

    def handle(self, *args: Any, url: str | None = None, **options: Any) -> None:
        if not settings.MOVABLE_CLOCK:
            raise CommandError("The demo needs OXYGEN_ENV=demo: its data and passwords are known to everybody.")
        acme = Organization.objects.filter(slug="acme").first()
        if acme is None and Organization.objects.exists():
            raise CommandError("This database holds organizations already; the demo begins with an empty one.")
        begun = _begin() if acme is None else acme.created_at.replace(second=0, microsecond=0)
        if not Table.objects.filter(org=acme, name=cast.WORLDWIDE.name).exists():  # the first thing of the present
            self._live(begun)
        buyers.buy()
        _keep_one_live(Organization.objects.get(slug="acme"))
        for person in cast.PEOPLE:
            self.stdout.write(f"  {person.email:24} {person.who}")
        self.stdout.write(f"  Everybody's password is {cast.PASSWORD}")
        if url:
            self.stdout.write(f"\nFor the oxygen command, as Alice at Acme:\n  export OXYGEN_API_URL={url}")
            self.stdout.write(f"  export OXYGEN_API_KEY={_key_anew()}")

    def _live(self, begun: datetime) -> None:
        call_command("sync_catalog", stdout=StringIO())
        _people()
        with _providers():
            for run in Run.objects.filter(status__in=Run.LIVE):  # of a seeding that was stopped
                worker.drive_to_rest(run)
            for week, acts in groupby(story.acts(begun), lambda act: (act.at - begun).days // 7):
                self._say(f"Living through week {week + 1} of {story.WEEKS}.")
                for _, daily in groupby(acts, lambda act: act.at.date()):
                    expire_due()
                    buyers.follow()
                    for act in daily:
                        _perform(act)
            clock.catch_up()
            expire_due()
            buyers.follow()
        _count_free_months()

    def _say(self, line: str) -> None:
        """Progress goes to standard error; who can sign in, to standard output."""
        self.stderr.write(line, style_func=str)
        self.stderr.flush()


def _count_free_months() -> None:
    """Let the free plan begin with each org's next credit month: until now the story's own grants stand for it."""
    now = clock.clock()
    for org in Organization.objects.filter(free_until=None):
        org.free_until = credit_month(org.created_at, now)[1]
        intention(partial(org.save, update_fields=["free_until"]))


def _begin() -> datetime:
    """Go back to the first full minute of the demo's weeks."""
    now = clock.begin(timedelta(weeks=story.WEEKS))
    begun = now.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    clock.advance(begun - now)
    buyers.begin(begun)
    return begun


def _people() -> None:
    hashed = make_password(cast.PASSWORD)  # once: it is slow on purpose
    for person in cast.PEOPLE:
        if not User.objects.filter(email=person.email).exists():
            operator = person.email == cast.OPERATOR
            make = User.objects.create_superuser if operator else User.objects.create_user
            user = make(person.email, name=person.name)
            User.objects.filter(pk=user.pk).update(password=hashed)
    agency, _ = Agency.objects.get_or_create(name=cast.AGENCY)
    agency.staff.set(User.objects.filter(email__in=cast.STAFF))


def _key_anew() -> str:
    """Make the key that is printed at each start; the one of the start before opens nothing any more."""
    acme, alice = Organization.objects.get(slug="acme"), User.objects.get(email=cast.ACME.people[0])
    name = "The demo's oxygen command"
    for key in ApiKey.objects.filter(org=acme, name=name, revoked_at=None):
        keys.revoke(key, alice)
    return keys.make(acme, alice, name, [scope for scope in Scope.values if scope != Scope.ADMIN])[1]


# ------------------------------------------------------------------ the providers of the demo's past


@contextmanager
def _providers() -> Iterator[None]:
    """Sandbox providers of our own that answer at once."""
    command = [sys.executable, "-m", "sandbox.providers", "--port", "0", "--with-parent"]
    usual = settings.PROVIDERS_URL
    with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            settings.PROVIDERS_URL = server.stdout.readline().strip()
            if not settings.PROVIDERS_URL:
                raise CommandError("The sandbox providers did not start; the reason is above.")
            _script(AT_ONCE)
            yield
        finally:
            settings.PROVIDERS_URL = usual
            server.terminate()


def _script(wishes: dict[str, Any]) -> None:
    request = Request(f"{settings.PROVIDERS_URL}/control", json.dumps(wishes).encode(), method="POST")  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()


# ------------------------------------------------------------------ acts


def _perform(act: Act) -> None:
    """Do what the act says, at its time. Orgs and grants are looked up first; what moves on is not made up for."""
    ahead = act.at - clock.clock()
    if ahead > timedelta():
        clock.advance(ahead)
    match act:
        case Opened():
            _open(act)
        case Given():
            _give(act)
        case Subscribed():
            buyers.buy(act.org.name)
        case Taken() if ahead > LATE:
            _take(act)
        case Started() if ahead > LATE:
            _start(act)


def _org(act: Act) -> Organization:
    return Organization.objects.get(name=act.org.name)


def _open(act: Opened) -> None:
    if Organization.objects.filter(name=act.org.name).exists():
        _connect(act)
        return
    agency = Agency.objects.get(name=cast.AGENCY) if act.org.agency else None
    org = orgs.create(act.org.name, act.org.zone, agency=agency)
    for email, role in cast.MEMBERS.get(act.org.name, {}).items():
        orgs.add_member(org, User.objects.get(email=email), Role(role))
    _connect(act)


def _connect(act: Opened) -> None:
    """Connect the accounts without which the organization could not use its CRM or send anything."""
    for provider in Provider.objects.all():
        if not provider.may_be_managed:
            accounts.connect(_org(act), provider, f"demo-{provider.pk}-key")


def _give(act: Given) -> None:
    org, operator = _org(act).pk, User.objects.get(email=cast.OPERATOR)
    intention(
        partial(
            ledger.grant,
            org,
            key=f"demo:{act.source}:{act.at:%Y-%m-%dT%H:%M}",
            source=act.source,
            amount=Decimal(act.credits),
            expires_at=act.at + timedelta(days=act.days),
            effective_at=act.at,
            actor=f"user:{operator.pk}",
            reason=act.reason,
        )
    )


def _take(act: Taken) -> None:
    org, operator = _org(act).pk, User.objects.get(email=cast.OPERATOR)
    taken = partial(ledger.adjust, org, clock.new_id(), amount=Decimal(act.credits), reason=act.reason)
    intention(partial(taken, actor=f"user:{operator.pk}"))


def _start(act: Started) -> None:
    table = _table(_org(act), act.list)
    fill = _fill(table, act.filling)
    by = User.objects.get(email=act.by)
    most = today.estimated(today.column_of(table, fill), act.rows).max
    cap = (most * act.cap / 100).quantize(PLACES) if most else None
    try:
        run = lifecycle.create(table, fill, cap=cap, by=by, limit=act.rows)
        if "halfway" in act.then:
            _drive_halfway(run, by)
        elif "badly" in act.then:
            _drive_badly(run)
        else:
            run = worker.drive_to_rest(run)
        if run.status == Run.Status.PAUSED and act.then == "continue":
            worker.drive_to_rest(lifecycle.continue_remaining(run, cap=most, by=by))
        elif act.then.endswith("cancel"):
            lifecycle.cancel(run, by=by)
    except Refused:
        return  # no rows left to fill, not enough credits, or it ended before it could be stopped: as it happens


def _drive_halfway(run: Run, by: User) -> None:
    """Let a few calls go out, and pause."""
    _script({"latency": 1})
    worker.drive_slice(run.id, 1)
    _script(AT_ONCE)
    lifecycle.pause(run, by=by)


def _drive_badly(run: Run) -> None:
    """Let calls go out while the providers are at their worst; what is lost then waits for its answer."""
    _script(AT_THEIR_WORST)
    worker.drive_slice(run.id, 2)
    _script(AT_ONCE | {"cost_times": "1"})


def _table(org: Organization, source: cast.List) -> Table:
    if table := Table.objects.filter(org=org, name=source.name).first():
        return table
    with (DATA / source.file).open("rb") as file:
        return tables.import_csv(org, source.name, file)


def _fill(table: Table, filling: cast.Filling | str) -> Fill:
    if isinstance(filling, cast.Filling):
        return _column(table, filling)
    return Capability.objects.filter(pk=filling).first() or WorkflowTemplate.objects.get(pk=filling)


def _column(table: Table, filling: cast.Filling) -> Column:
    if column := Column.objects.filter(table=table, key=filling.key).first():
        return column
    return tables.add_column(table, filling.key, filling.name, filling.cascade)


# ------------------------------------------------------------------ the present


def _keep_one_live(acme: Organization) -> None:
    """Start a run that takes its time where none is live, with credits to go on if they have run out."""
    if Run.objects.filter(org=acme, status__in=Run.LIVE).exists():
        return
    table = _table(acme, cast.WORLDWIDE)
    by = User.objects.get(email=cast.ACME.people[0])
    for again in range(1, 1000):
        column = _column(table, _again(cast.RESEARCH, again))
        if today.rows_to_fill(column).exists():
            break
    most = today.estimated(column).max
    assert most is not None
    cap = (most * 3 / 4).quantize(PLACES)
    try:
        lifecycle.create(table, column, cap=cap, by=by)
    except Refused as refusal:
        if refusal.code != "insufficient_credits":
            raise
        _give(Given(clock.clock(), cast.ACME, int(most), 365, "top_up", "Paid by bank transfer"))
        lifecycle.create(table, column, cap=cap, by=by)


def _again(filling: cast.Filling, number: int) -> cast.Filling:
    return filling if number == 1 else filling._replace(key=f"{filling.key}_{number}", name=f"{filling.name} {number}")
