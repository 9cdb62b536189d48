"""Execution planes: whoever works on items elsewhere takes holds, settles what came of them, and closes.

For `api/planes.py` and `jobs.py`; `lifecycle.create_outside` opens the run. Each verb is one intention, and what it
writes is what `dispatch` writes. Laws: an item is made with its hold and its first open attempt, before anything is
called for it; (run, item, attempt) settles once, whoever sends it how often; one outcome that cannot be settled spoils
no other; a hold whose lease ran out is given up, and what comes later moves nothing and is counted. Settling never
locks the run's row. Lock order: run, account, items by number, attempts, entries, reservation.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing import ledger
from billing.access import actor
from billing.models import Account, ApiKey, Reservation, User
from oxygen_site.sql import array, query
from oxygen_site.transactions import Refused, intention
from runs import dispatch, standing
from runs.cascade import TRIES, ZERO, Move, Step, follow, place, plain
from runs.dispatch import Answer, Call
from runs.models import Item, Run
from runs.providers.outcomes import LAPSED, LEFT, UNCHARGED, Outcome, told

log = logging.getLogger("oxygen.runs")

MOST = 1_000  # items or outcomes at a time
LONGEST = 3_600  # seconds of a lease; it may be renewed


# ------------------------------------------------------------------ hold


class Held(NamedTuple):
    """Items that may be worked on now, until when, and what further ones may still take."""

    items: list[int]
    lease_until: datetime | None
    room: Decimal
    left: int


TAKEN = "SELECT coalesce(max(number), 0) FROM runs_item WHERE run_id = %(run)s"

HOLD = """
WITH held AS (
  INSERT INTO runs_item (run_id, number, ref, status, owner, lease_no, lease_until)
  SELECT %(run)s, %(taken)s + n, ref, 'running', %(run)s, 1, clock_timestamp() + %(lease)s * interval '1 second'
  FROM unnest(%(refs)s::text[]) WITH ORDINALITY AS r(ref, n)
  RETURNING number, lease_until),
sent AS (
  INSERT INTO runs_attempt (run_id, item, number, provider, tool, byok, sent_at, reference, reason)
  SELECT %(run)s, number, 0, %(provider)s, %(tool)s, %(byok)s, (SELECT ledger.clock()), '', '' FROM held)
SELECT number, lease_until FROM held ORDER BY number"""


def hold(run: Run, refs: Sequence[str], lease_seconds: int) -> Held:
    """Take a hold for each of these items, as far as the cap has room, under a lease; `refs` are the plane's own names.

    None, where only the settling of items that are out can make room. Refused (409): wrong_state; nothing_left;
    cap_reached, where no item fits and none is out.
    """

    def verb() -> Held:
        now = Run.objects.select_for_update(no_key=True).get(id=run.id)  # holds take turns: items are numbered on
        if now.status not in Run.PAUSABLE:
            raise _wrong_state(now, "no hold can be taken")
        ((taken,),) = query(TAKEN, run=now.id)
        wanted = min(len(refs), now.rows - taken)
        if not wanted:
            most = f"{now.rows} item{'' if now.rows == 1 else 's'}"
            raise Refused("nothing_left", f"This reservation is for {most}, and all are taken. Open another for more.")
        admitted = ledger.admit(now.org_id, now.id, wanted, now.unit)
        standing.begun(now)
        reserved = Reservation.objects.get(org=now.org_id, run=now.id)
        if not admitted and not reserved.held:
            raise Refused(
                "cap_reached",
                f"The cap of {plain(now.cap or ZERO)} credits has room for {plain(reserved.room)} more, and one item "
                f"may cost {plain(now.unit)}. Close this reservation, and open another for the rest.",
            )
        first = now.cascade[0]
        step = {"provider": first.provider, "tool": first.tool, "byok": first.byok}
        held = query(HOLD, run=now.id, taken=taken, refs=list(refs[:admitted]), lease=lease_seconds, **step)
        until = held[0][1] if held else None
        return Held([number for number, _ in held], until, reserved.room, now.rows - taken - admitted)

    return intention(verb, certain=True)


RENEW = """
WITH mine AS (
  SELECT number FROM runs_item WHERE run_id = %(run)s AND number = ANY(%(items)s::int[]) AND status = 'running'
  ORDER BY number FOR NO KEY UPDATE)
UPDATE runs_item AS i SET lease_until = clock_timestamp() + %(lease)s * interval '1 second'
FROM mine WHERE i.run_id = %(run)s AND i.number = mine.number
RETURNING i.number, i.lease_until"""


def renew(run: Run, items: Iterable[int], lease_seconds: int) -> tuple[list[int], datetime | None]:
    """Extend the leases of items that are still out; answer which, and until when. What is lost stays lost."""
    facts = {"run": run.id, "items": array(sorted(set(items))), "lease": lease_seconds}
    renewed = intention(lambda: query(RENEW, **facts))
    return sorted(number for number, _ in renewed), renewed[0][1] if renewed else None


# ------------------------------------------------------------------ settle


class Said(NamedTuple):
    """What a plane says came of one call: the `tries`-th try, from 0, of this tool for this item.

    `cost` None: the provider named none. `again`: the same tool will be asked once more, after a refusal that cost
    nothing. `last`: no other tool will be, whatever came.
    """

    item: int
    tool: str
    outcome: str
    cost: Decimal | None
    tries: int = 0
    again: bool = False
    last: bool = False
    reason: str = ""
    reference: str = ""
    latency_ms: int | None = None


class Verdict(NamedTuple):
    """What became of an outcome: settled, replayed, conflict or refused; `code` says why it was refused.

    `credits`: what stands captured for this attempt. `next`: the attempt that the item waits for now, by number.
    """

    verdict: str
    credits: Decimal = ZERO
    next: int | None = None
    code: str | None = None


class _Heard(NamedTuple):
    """An outcome that reads well: its place in the batch, what dispatch would make of it, and whether it is `last`."""

    n: int
    answer: Answer
    last: bool

    @property
    def item(self) -> int:
        return self.answer.call.item


class _Done(NamedTuple):
    verdicts: dict[int, Verdict]  # by place in the batch
    cancelling: bool


def settle(run: Run, outcomes: Sequence[Said]) -> list[Verdict]:
    """Settle a batch of outcomes, of one item as many as there are; answer what became of each, in this order.

    The same again is `replayed` and moves nothing; of a differing one, a `conflict`, the first stands. An outcome is
    refused as unknown_tool, cost_not_zero, unknown_item, ended, not_next or given_up.
    """
    steps = {step.tool: (n, step) for n, step in enumerate(run.cascade)}
    heard = [_heard(steps, n, said) for n, said in enumerate(outcomes)]
    batch = [each for each in heard if isinstance(each, _Heard)]
    try:  # where a commit's answer is lost, `replayed` says as much as `settled`
        done = intention(lambda: _settle(run, batch, slow=False))
    except (ledger.AlreadySettled, ledger.Closed):
        done = intention(lambda: _settle(run, batch, slow=True))
    if late := [each for each in batch if done.verdicts[each.n].code == "given_up"]:
        log.warning("run %s: dropped %s outcomes of items that had been given up", run.id, len(late))
        intention(lambda: _count(run, late), certain=True)
    if done.cancelling:
        standing.rest(run)
    return [done.verdicts[n] if isinstance(each, _Heard) else each for n, each in enumerate(heard)]


def _heard(steps: Mapping[str, tuple[int, Step]], n: int, said: Said) -> _Heard | Verdict:
    if said.tool not in steps:
        return Verdict("refused", code="unknown_tool")
    if said.cost and said.outcome in UNCHARGED:
        return Verdict("refused", code="cost_not_zero")
    at, step = steps[said.tool]
    meant = told(said.outcome, said.cost, said.reason, step, reference=said.reference, again=said.again)
    return _Heard(n, Answer(Call(said.item, 0, at * TRIES + said.tries, {}), meant, said.latency_ms), said.last)


MINE = """
SELECT number, (SELECT status FROM runs_run WHERE id = %(run)s) = 'cancelling' FROM runs_item
WHERE run_id = %(run)s AND number = ANY(%(items)s::int[]) AND status = 'running'
ORDER BY number FOR NO KEY UPDATE"""

# The lease stays: it is the item's, whatever is asked for it.
GO_ON = """
INSERT INTO runs_attempt (run_id, item, number, provider, tool, byok, sent_at, reference, reason)
SELECT %(run)s, item, number, provider, tool, byok, (SELECT ledger.clock()), '', ''
FROM unnest(%(items)s::int[], %(numbers)s::int[], %(providers)s::text[], %(tools)s::text[], %(byoks)s::boolean[])
  AS n(item, number, provider, tool, byok)"""


def _settle(run: Run, batch: Sequence[_Heard], *, slow: bool) -> _Done:
    mine = dict(query(MINE, run=run.id, items=array(sorted({each.item for each in batch}))))
    stopped = any(mine.values())
    kept: list[tuple[_Heard, Move]] = []
    rest: list[_Heard] = []
    for layer in _layers(batch):
        asked = [each for each in layer if each.item in mine]
        noted = dispatch.note(run, [each.answer for each in asked])
        moves = [(each, _move(run, each, stopped)) for each in asked if each.item in noted]
        dispatch.end_items(run, [each.answer for each, move in moves if move.next is None])
        _go_on(run, [(each.item, move.next) for each, move in moves if move.next is not None])
        kept += moves
        rest += [each for each in layer if each.item not in noted]
    after = {each.item: move.next for each, move in kept}
    verdicts = {each.n: Verdict("settled", _charged(run, each), after[each.item]) for each, _ in kept}
    verdicts |= _verdicts(run, rest)
    booked = [dispatch.booking(run, each.answer, move) for each, move in kept]
    differing = [each for each in rest if verdicts[each.n].verdict == "conflict"]
    if differing or (slow and booked):  # the ledger counts conflicts
        conflicts = [dispatch.booking(run, each.answer, _move(run, each, stopped)) for each in differing]
        ledger.settle_slow(run.org_id, run.id, booked + conflicts)
    else:
        ledger.settle(run.org_id, run.id, booked)
    return _Done(verdicts, stopped)


def _layers(batch: Sequence[_Heard]) -> Iterator[list[_Heard]]:
    """The first outcomes of all items, then the second ones, and so on, as if they had come one after the other."""
    by_item: defaultdict[int, list[_Heard]] = defaultdict(list)
    for each in batch:
        by_item[each.item].append(each)
    items = [sorted(by_item[item], key=lambda each: each.answer.call.number) for item in sorted(by_item)]
    for n in range(max(map(len, items), default=0)):
        yield [outcomes[n] for outcomes in items if n < len(outcomes)]


def _move(run: Run, heard: _Heard, stopped: bool) -> Move:
    outcome = heard.answer.outcome
    passing, over = outcome.wait is not None, stopped or heard.last
    return follow(run.cascade, heard.answer.call.number, outcome.outcome, passing=passing, stopped=over)


def _go_on(run: Run, further: Sequence[tuple[int, int]]) -> None:
    if further:
        items, numbers = zip(*further, strict=True)
        steps = [run.cascade[place(number)[0]] for number in numbers]
        facts = {"providers": [step.provider for step in steps], "tools": [step.tool for step in steps]}
        byoks = [step.byok for step in steps]
        query(GO_ON, run=run.id, items=array(items), numbers=array(numbers), byoks=byoks, **facts)


def _charged(run: Run, heard: _Heard) -> Decimal:
    return _captured(run.cascade[heard.answer.call.step], heard.answer.outcome.outcome, heard.answer.outcome.cost)


def _captured(step: Step, outcome: str, cost: Decimal) -> Decimal:
    """What stands captured for an attempt, as the ledger works it out."""
    return ZERO if step.byok or outcome in UNCHARGED else min(cost, step.maximum)


# ------------------------------------------------------------------ what does not settle now

STANDS = """
SELECT i.status, a.outcome, a.cost,
       (SELECT number FROM runs_attempt WHERE run_id = %(run)s AND item = w.item AND outcome IS NULL),
       EXISTS (SELECT FROM runs_attempt WHERE run_id = %(run)s AND item = w.item AND outcome = 'unknown')
FROM unnest(%(items)s::int[], %(numbers)s::int[]) WITH ORDINALITY AS w(item, number, n)
LEFT JOIN runs_item AS i ON i.run_id = %(run)s AND i.number = w.item
LEFT JOIN runs_attempt AS a ON a.run_id = %(run)s AND a.item = w.item AND a.number = w.number AND a.outcome IS NOT NULL
ORDER BY w.n"""


def _verdicts(run: Run, rest: Sequence[_Heard]) -> dict[int, Verdict]:
    if not rest:
        return {}
    calls = [each.answer.call for each in rest]
    numbers = array(call.number for call in calls)
    stands = query(STANDS, run=run.id, items=array(call.item for call in calls), numbers=numbers)
    return {each.n: _verdict(run, each, *facts) for each, facts in zip(rest, stands, strict=True)}


def _verdict(
    run: Run, heard: _Heard, status: str | None, outcome: str | None, cost: Decimal, open_now: int | None, unknown: bool
) -> Verdict:
    said = heard.answer.outcome
    if outcome is not None:
        captured = _captured(run.cascade[heard.answer.call.step], outcome, cost)
        if (outcome, cost) == (said.outcome, said.cost):
            return Verdict("replayed", captured, open_now)
        if outcome != "unknown":
            return Verdict("conflict", captured, open_now)
        return Verdict("refused", code="given_up")
    if status is None:
        return Verdict("refused", code="unknown_item")
    if open_now is not None:
        return Verdict("refused", next=open_now, code="not_next")
    return Verdict("refused", code="given_up" if unknown else "ended")


LATE = """
UPDATE runs_attempt AS a SET absorbed = l.cost, reference = l.reference
FROM unnest(%(items)s::int[], %(costs)s::numeric[], %(references)s::text[]) AS l(item, cost, reference)
WHERE a.run_id = %(run)s AND a.item = l.item AND a.outcome = 'unknown' AND a.absorbed IS NULL
RETURNING a.item"""


def _count(run: Run, late: Sequence[_Heard]) -> None:
    """Note once, on the attempt that was given up, what its item is said to have cost after all."""
    costs: defaultdict[int, Decimal] = defaultdict(Decimal)
    for each in late:
        costs[each.item] += each.answer.outcome.cost
    references = {each.item: each.answer.outcome.reference for each in late}
    now = Run.objects.select_for_update(no_key=True).get(id=run.id)
    facts = {"costs": array(costs.values()), "references": [references[item] for item in costs]}
    now.late_settles += len(query(LATE, run=run.id, items=array(costs), **facts))
    now.save(update_fields=["late_settles"])


# ------------------------------------------------------------------ give up and close

OUT = """
SELECT number FROM runs_item
WHERE run_id = %(run)s AND status = 'running' AND (%(all)s OR lease_until < clock_timestamp())
ORDER BY number LIMIT %(n)s FOR NO KEY UPDATE"""

# A statement of its own: it sees what the settle before us wrote.
OPEN = """
SELECT item, number FROM runs_attempt
WHERE run_id = %(run)s AND item = ANY(%(items)s::int[]) AND outcome IS NULL ORDER BY item"""


def return_lapsed(run: Run) -> None:
    """Give up the items whose leases have run out, and end a cancelled run of which nothing is out any more."""
    while intention(lambda: _give_up(run, LAPSED, n=MOST)) == MOST:
        pass
    if run.status == Run.Status.CANCELLING:
        standing.rest(run)


def close(run: Run, *, by: User, key: ApiKey | None = None, give_up: bool = False) -> Run:
    """End a reservation, and return what it has not captured; `give_up`: also of the items that are out.

    Refused (409): wrong_state; in_flight, with `items`, while some are out.
    """

    def verb() -> Run:
        now = Run.objects.select_for_update(no_key=True).get(id=run.id)
        if now.status not in (*Run.PAUSABLE, Run.Status.PAUSED, Run.Status.CANCELLING):
            raise _wrong_state(now, "it cannot be closed")
        Account.objects.select_for_update(no_key=True).get(org=now.org_id)
        out = now.items.filter(status=Item.Status.RUNNING).count()
        if out and not give_up:
            items = f"{out} item{' is' if out == 1 else 's are'}"
            sentence = f"{items} still out. Settle what came of them, or close with give_up to be charged nothing more."
            raise Refused("in_flight", sentence, items=out)
        _give_up(now, LEFT)
        states = set(now.items.order_by().values_list("status", flat=True).distinct())
        ending = standing.verdict(now, states) if states else Run.Status.CANCELLED
        standing.end(now, ending, actor=actor(by, key))
        return now

    return intention(verb, certain=True)


def _give_up(run: Run, why: Outcome, *, n: int | None = None) -> int:
    """Give up the items whose leases have run out, `n` at most; all that are out where no `n` is given. A step."""
    out = query(OUT, run=run.id, all=n is None, n=n)
    attempts = query(OPEN, run=run.id, items=array(item for (item,) in out))
    answers = [Answer(Call(item, 0, number, {}), why, None) for item, number in attempts]
    if answers:
        log.info("run %s: giving up %s items of its execution plane", run.id, len(answers))
        dispatch.let_go(run, answers)
    return len(answers)


def _wrong_state(run: Run, so: str) -> Refused:
    return Refused("wrong_state", f"This reservation is {run.get_status_display().lower()}; {so}.", state=run.status)
