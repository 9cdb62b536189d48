"""Every operation that moves credits, in a place of its own, and all that can be seen of the place afterwards.

For `test_statements.py`. An operation prepares its place from the place's dice alone, and answers the verb to be done
there; two places with the same dice are alike, so what became of them can be compared.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db.models import Model
from django.test import override_settings
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import books, jobs, ledger, orgs
from billing.models import Draw, Entry, Grant, Organization, Reservation, UsageByRun, UsageByTool, User
from oxygen_site.clock import clock, new_id
from oxygen_site.transactions import Refused, intention
from runs import dispatch, lifecycle, standing
from runs.cascade import place as place_of
from runs.dispatch import Answer, Call
from runs.jobs import give_up_overdue
from runs.models import Attempt, Item, Run
from runs.providers.outcomes import Outcome
from tests.billing import moves
from tests.conftest import give
from tests.runs.conftest import column_of, start, table_of

HUNTER, ICYPEAS, AI = "hunter.email_finder", "icypeas.email_finder", "openai.ai_column"
OWN, PROSPEO = "hubspot.contact_upsert", "prospeo.email_finder"
CASCADES = ((AI,), (HUNTER, ICYPEAS), (ICYPEAS, AI), (OWN, PROSPEO), (HUNTER, ICYPEAS, AI))
DAYS = 30
ME, GHOST = uuid4(), uuid4()

type Verb = Callable[[], object]


@dataclass
class Place:
    """An org with some credits, one lapsed grant that nobody has booked yet, and dice."""

    org: Organization
    alice: User
    dice: random.Random

    @classmethod
    def made(cls, name: str, alice: User, seed: str) -> "Place":
        dice = random.Random(seed)
        place = cls(orgs.create(name, dice.choice(("UTC", "Asia/Tokyo", "America/St_Johns")), owner=alice), alice, dice)
        for n in range(3):
            give(place.org, place.credits(100, 300), days=DAYS + n, key=f"grant:{n}")
        return place

    def credits(self, least: int, most: int) -> Decimal:
        return Decimal(self.dice.randint(least * 10_000, most * 10_000)) / 10_000

    def let_a_grant_lapse(self) -> None:
        """Expiry is then booked on the way, by whatever comes next."""
        if self.dice.random() < 0.5:
            give(self.org, self.credits(1, 9), days=-1, key="lapsed")

    def grant(self, n: int = 0) -> Grant:
        return Grant.objects.get(org=self.org.pk, key=f"grant:{n}")

    def run(self, *tools: str, rows: int = 5, cap: int = 60) -> Run:
        return start(self.org, self.alice, *(tools or self.dice.choice(CASCADES)), rows=rows, cap=cap)

    def answers(self, run: Run, calls: Sequence[Call], *outcomes: str) -> list[Answer]:
        """Answers of a provider; where the outcome is not said, any."""
        answers = []
        for call in calls:
            step = run.cascade[place_of(call.number)[0]]
            outcome = self.dice.choice(outcomes or ("succeeded", "no_result", "failed_after_billing"))
            cost = Decimal(0) if outcome == "failed_before_billing" else self.credits(0, 2) * step.maximum
            found = {"email": "a@b.example"} if outcome == "succeeded" else None
            answers.append(Answer(call, Outcome(outcome, cost.quantize(ledger.PLACES), "", found), 5))
        return answers

    def under_way(self, *tools: str, claimed: int = 3, rows: int = 5) -> tuple[Run, list[Call]]:
        run = self.run(*tools, rows=rows)
        standing.begin(run)
        return run, dispatch.claim(run, ME, claimed)

    def settle_all(self, run: Run, calls: Sequence[Call], *outcomes: str) -> None:
        while calls:
            calls = dispatch.settle(run, ME, self.answers(run, calls, *outcomes))

    # -------------------------------------------------------------- what is there afterwards

    def seen(self) -> dict[str, list[Any]]:
        """Everything there is, told without ids and times."""
        org = self.org.pk
        runs = {run.id: n for n, run in enumerate(Run.objects.filter(org=org).order_by("id"))}
        keys = dict(Grant.objects.filter(org=org).values_list("id", "key"))
        sources = {
            source: n
            for n, source in enumerate(
                Entry.objects.filter(org=org).order_by("source").values_list("source", flat=True)
            )
        }
        tie = books.tie_out(org)
        queued = ProcrastinateJob.objects.filter(
            task_name="runs.jobs.drive_run", args__run__in=[str(run) for run in runs]
        )
        return {
            "balance": [(tie.available, tie.reserved, tie.captured, tie.ties)],
            "entries": [(sources[e.source], *_facts(e, ENTRY)) for e in Entry.objects.filter(org=org).order_by(*KEY)],
            "grants": [_facts(grant, GRANT) for grant in Grant.objects.filter(org=org).order_by("key")],
            "reservations": [
                (*_facts(r, RESERVATION), r.closed_at is not None)
                for r in Reservation.objects.filter(org=org).order_by("run")
            ],
            "draws": sorted((runs.get(d.run), keys[d.grant_id], d.amount) for d in Draw.objects.filter(org=org)),
            "usage": sorted(
                (u.tool, u.byok, u.outcome, u.credits, u.calls) for u in UsageByTool.objects.filter(org=org)
            ),
            "usage by run": sorted((u.credits, u.calls, u.results) for u in UsageByRun.objects.filter(org=org)),
            "runs": [
                (*_facts(run, RUN), run.continues_id and runs[run.continues_id])
                for run in Run.objects.filter(org=org).order_by("id")
            ],
            "items": [
                (runs[i.run_id], *_facts(i, ITEM), i.owner == ME, i.unanswered_at is not None, i.ended_at is not None)
                for i in Item.objects.filter(run__in=runs).order_by("run", "number")
            ],
            "attempts": [
                (runs[a.run_id], *_facts(a, ATTEMPT), a.sent_at is not None, a.settled_at is not None)
                for a in Attempt.objects.filter(run__in=runs).order_by("run", "item", "number")
            ],
            "queued": sorted((runs[UUID(job.args["run"])], job.args["shard"]) for job in queued),
        }

    def told(self, answer: object) -> object:
        """What a verb answered, without ids."""
        match answer:
            case Run():
                return answer.status, answer.pause_reason
            case UUID():
                return Grant.objects.get(org=self.org.pk, id=answer).key
            case Organization():
                return answer.zone, Organization.objects.filter(name=answer.name).count()
            case Refused():
                return answer.code, answer.facts
        return answer


KEY = ("source", "item", "attempt")
ENTRY = (
    *("item", "attempt", "kind", "amount", "tool", "byok", "outcome", "cost", "maximum", "held"),
    *("account_seq", "available_after", "drawn_after", "reason"),
)
GRANT = ("key", "amount", "remaining", "burned", "expired", "owed", "clawed_back", "restored", "adjusted")
RESERVATION = (
    *("cap", "estimated_max", "reserved", "captured", "held", "needed", "absorbed", "paused", "conflicts"),
    "give_backs",
)
RUN = ("status", "pause_reason", "cap", "unit", "rows", "late_settles")
ITEM = ("number", "status", "lease_no", "result")
ATTEMPT = ("item", "number", "tool", "outcome", "cost", "absorbed")


def _facts(row: Model, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


OPERATIONS: dict[str, Callable[[Place], Verb]] = {}


def operation(prepare: Callable[[Place], Verb]) -> Callable[[Place], Verb]:
    OPERATIONS[prepare.__name__] = prepare
    return prepare


# ------------------------------------------------------------------ the account


@operation
def open_an_account(place: Place) -> Verb:
    name = f"Beside {place.org.name}"
    return lambda: orgs.create(name, "Asia/Tokyo", owner=place.alice)


@operation
def grant(place: Place) -> Verb:
    place.let_a_grant_lapse()
    verb = partial(
        ledger.grant,
        place.org.pk,
        key="top-up",
        source="top_up",
        amount=place.credits(1, 900),
        expires_at=clock() + timedelta(days=DAYS),
        actor="system:test",
    )
    return lambda: intention(verb)


@operation
def expire(place: Place) -> Verb:
    for n in range(place.dice.randint(1, 3)):
        give(place.org, place.credits(1, 9), days=-1 - n, key=f"lapsed:{n}")
    return jobs.expire_due


@operation
def claw_back(place: Place) -> Verb:
    place.let_a_grant_lapse()
    place.run(AI)
    owed = place.grant().amount * place.dice.randint(1, 4) / 4
    verb = partial(moves.owe, place.org.pk, place.grant().id, owed.quantize(ledger.PLACES))
    return lambda: intention(verb)


@operation
def restore(place: Place) -> Verb:
    intention(partial(moves.owe, place.org.pk, place.grant().id, place.grant().amount))
    owed = place.grant().amount * place.dice.randint(0, 3) / 4
    verb = partial(moves.owe, place.org.pk, place.grant().id, owed.quantize(ledger.PLACES))
    return lambda: intention(verb)


@operation
def adjust(place: Place) -> Verb:
    place.let_a_grant_lapse()
    verb = partial(moves.adjust, place.org.pk, place.credits(1, 500), new_id())  # some is more than is there
    return lambda: intention(verb)


# ------------------------------------------------------------------ what a person says to a run


@operation
def create(place: Place) -> Verb:
    place.let_a_grant_lapse()
    cascade = place.dice.choice(CASCADES[:3])
    column = column_of(table_of(place.org, 4), *cascade)
    cap, limit = place.dice.randint(10, 60), place.dice.choice((None, 3))
    return lambda: lifecycle.create(column.table, column, cap=str(cap), by=place.alice, limit=limit)


@operation
def create_beyond_what_is_there(place: Place) -> Verb:
    """A 402: nothing is held, but what lapsed is booked."""
    place.let_a_grant_lapse()
    intention(partial(moves.adjust, place.org.pk, moves.balance(place.org.pk)[0]))
    column = column_of(table_of(place.org, 4), AI)

    def verb() -> object:
        try:
            return lifecycle.create(column.table, column, cap="9", by=place.alice)
        except Refused as refusal:
            return refusal

    return verb


@operation
def pause(place: Place) -> Verb:
    run, _ = place.under_way(claimed=place.dice.randint(0, 3))
    return lambda: lifecycle.pause(run, by=place.alice)


@operation
def resume(place: Place) -> Verb:
    run, _ = place.under_way(claimed=place.dice.randint(0, 3))
    lifecycle.pause(run, by=place.alice)
    return lambda: lifecycle.resume(run, by=place.alice)


@operation
def continue_remaining(place: Place) -> Verb:
    run, calls = place.under_way()
    place.settle_all(run, calls)
    lifecycle.pause(run, by=place.alice)
    place.let_a_grant_lapse()
    cap = str(place.dice.randint(10, 60))
    return lambda: lifecycle.continue_remaining(run, cap=cap, by=place.alice)


@operation
def cancel(place: Place) -> Verb:
    run, calls = place.under_way()
    place.settle_all(run, calls)
    place.let_a_grant_lapse()
    return lambda: lifecycle.cancel(run, by=place.alice)


@operation
def cancel_with_calls_in_flight(place: Place) -> Verb:
    """What has no answer is settled as unknown at once, by `settle_slow`; what is on its way is waited for."""
    run, calls = place.under_way()
    for call in calls[: place.dice.randint(1, 3)]:
        dispatch.unanswered(run, ME, call)
    return lambda: lifecycle.cancel(run, by=place.alice)


# ------------------------------------------------------------------ the hot path


@operation
def claim(place: Place) -> Verb:
    run = place.run(rows=6)
    standing.begin(run)
    n = place.dice.randint(1, 4)
    return lambda: dispatch.claim(run, ME, n)


@operation
def claim_what_a_dead_worker_left(place: Place) -> Verb:
    """Some of it is replayed, some waits for an hour where its provider takes no keys; the rest is new."""
    run = place.run(rows=6)
    standing.begin(run)
    left = dispatch.claim(run, GHOST, 3)
    _let_leases_lapse(run, left)
    return lambda: dispatch.claim(run, ME, 5)


def _let_leases_lapse(run: Run, calls: Sequence[Call]) -> None:
    with override_settings(LEASE_SECONDS=0):
        dispatch.renew(run, GHOST, calls)


@operation
def settle_results(place: Place) -> Verb:
    run, calls = place.under_way()
    answers = place.answers(run, calls, "succeeded")
    return lambda: dispatch.settle(run, ME, answers)


@operation
def settle_paid_failures(place: Place) -> Verb:
    """At a cascade's only tool, where the item fails, though it was paid for."""
    run, calls = place.under_way(AI)
    answers = place.answers(run, calls, "failed_after_billing")
    return lambda: dispatch.settle(run, ME, answers)


@operation
def settle_steps_of_a_cascade(place: Place) -> Verb:
    """The calls that follow are the answer: lost, they would wait for a lease, or for an hour."""
    run, calls = place.under_way(*place.dice.choice(CASCADES[1:]))
    answers = place.answers(run, calls, "no_result", "failed_after_billing", "failed_before_billing")
    return lambda: dispatch.settle(run, ME, answers)


@operation
def settle_anything(place: Place) -> Verb:
    run, calls = place.under_way(*place.dice.choice(CASCADES[1:]), rows=8, claimed=8)
    answers = place.answers(run, calls, "succeeded", "no_result", "failed_after_billing", "failed_before_billing")
    return lambda: dispatch.settle(run, ME, answers)


@operation
def settle_too_late(place: Place) -> Verb:
    """A zombie's answers: fenced, and counted once each."""
    run = place.run(AI, rows=4)
    standing.begin(run)
    calls = dispatch.claim(run, GHOST, 3)
    _let_leases_lapse(run, calls)
    dispatch.claim(run, ME, 3)
    answers = place.answers(run, calls, "succeeded")
    return lambda: dispatch.settle(run, GHOST, answers)


@operation
def give_up_what_is_overdue(place: Place) -> Verb:
    """Holds of calls without an answer come back after their time, by `settle_slow`."""
    run, calls = place.under_way()
    for call in calls:
        dispatch.unanswered(run, ME, call)
    return override_settings(UNKNOWN_SECONDS=0)(give_up_overdue)


# ------------------------------------------------------------------ a run's end


@operation
def give_back(place: Place) -> Verb:
    run, calls = place.under_way(HUNTER, ICYPEAS, rows=3)
    place.settle_all(run, calls, "succeeded")
    place.let_a_grant_lapse()
    return lambda: standing.give_back(run)


@operation
def finish(place: Place) -> Verb:
    run, calls = place.under_way(rows=3)
    place.settle_all(run, calls)
    place.let_a_grant_lapse()
    return lambda: standing.rest(run)


@operation
def reach_the_cap(place: Place) -> Verb:
    run = place.run(AI, rows=12, cap=20)
    standing.begin(run)
    while calls := dispatch.claim(run, ME, 12):
        place.settle_all(run, calls, "failed_after_billing")
    return lambda: standing.rest(run)
