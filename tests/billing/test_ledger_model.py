"""Any verbs in any order: the ledger comes to what the oracle says, and its books prove themselves after each step."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID, uuid4

from django.db.models import Sum
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import books, ledger
from billing.ledger import LedgerError, Settled
from billing.models import Draw, Grant, Reservation, UsageByTool
from oxygen_site.clock import advance, clock, new_id
from oxygen_site.transactions import intention
from tests import effort
from tests.billing import moves
from tests.billing.oracle import ZERO, Oracle
from tests.tally import Tally

UNITS = [Decimal(0), Decimal("0.3333"), Decimal("0.5"), Decimal(1), Decimal("2.25")]
TOOLS = ["hunter.email_finder", "apollo.person", "openai.summary"]
ZONES = ["UTC", "Asia/Tokyo", "America/St_Johns", "Pacific/Kiritimati"]

# Grants are small beside what runs hold, so that a run draws on several; left alone, Hypothesis likes almost nothing.
gifts = st.sampled_from([Decimal(text) for text in ("0.0001", "0.3333", "1", "1.5", "2.75", "4")])
shares = st.sampled_from([Decimal(text) for text in ("0.3", "0.8", "1", "1.1")])  # of what is available
takings = st.sampled_from([Decimal(text) for text in ("0.0001", "0.5", "1")])
picks = st.integers(0, 5)
attempts = st.fixed_dictionaries(
    {
        "cost": st.decimals(min_value=0, max_value=7, places=4),
        "outcome": st.sampled_from(
            ["succeeded", "no_result", "failed_before_billing", "failed_after_billing", "unknown"]
        ),
        "tool": st.sampled_from(TOOLS),
        "byok": st.booleans(),
        "followed": st.booleans(),
    }
)
facts = st.lists(attempts, max_size=6)
type Facts = dict[str, object]


class Ledger(RuleBasedStateMachine):
    """One org, its verbs, and beside them the oracle's."""

    steps = 0
    grants = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.org = uuid4()
        self.oracle = Oracle()
        self.units: dict[UUID, Decimal] = {}
        self.flying: dict[UUID, dict[int, int]] = {}  # run: {item in flight: its next attempt}
        self.begun: dict[UUID, int] = {}
        self.settled: dict[UUID, list[Settled]] = {}
        self.past: list[tuple[datetime, books.TieOut]] = []

    @initialize(amounts=st.lists(gifts, min_size=4, max_size=8))
    def open(self, amounts: list[Decimal]) -> None:
        intention(lambda: ledger.open_account(self.org, "UTC"))
        self.began = clock()
        for n, amount in enumerate(amounts):
            self.grant(f"first:{n}", amount, 0, 6 * (n + 1))

    def same[T](self, product: Callable[[], T], oracle: Callable[[], T]) -> T | None:
        """Do it in both; the answers, or the refusals, must be the same, and a refusal leaves nothing behind."""
        before = deepcopy(self.oracle)
        try:
            expected: T | type[LedgerError] = oracle()
        except LedgerError as refusal:
            expected = type(refusal)
            self.oracle = before
        try:
            answer: T | type[LedgerError] = intention(product)
        except LedgerError as refusal:
            answer = type(refusal)
        assert answer == expected
        return None if isinstance(answer, type) else answer

    # -------------------------------------------------------------- the account

    @rule(target=grants, key=st.uuids().map(str), amount=gifts, since=st.integers(0, 2), hours=st.integers(0, 20))
    def grant(self, key: str, amount: Decimal, since: int, hours: int) -> str:
        """Some lapse before they are given."""
        self.give(key, amount, self.oracle.now - since, self.oracle.now + hours)
        return key

    @rule(key=grants, more=st.sampled_from([Decimal(0), Decimal(1)]))
    def grant_again(self, key: str, more: Decimal) -> None:
        known = self.oracle.grants[key]
        self.give(key, known.amount + more, known.effective, known.expires)

    def give(self, key: str, amount: Decimal, effective: int, expires: int) -> None:
        def verb() -> None:
            ledger.grant(
                self.org,
                key=key,
                source="top_up",
                amount=amount,
                effective_at=self.began + timedelta(hours=effective),
                expires_at=self.began + timedelta(hours=expires),
                actor="system:test",
            )

        self.same(verb, lambda: self.oracle.grant(key, amount, effective, expires))

    @rule(hours=st.integers(1, 6), job_runs=st.booleans(), zone=st.none() | st.sampled_from(ZONES))
    def time_goes_by(self, hours: int, job_runs: bool, zone: str | None) -> None:
        advance(timedelta(hours=hours))
        self.oracle.now += hours
        if job_runs:
            self.same(lambda: ledger.expire(self.org), self.oracle.expire)
        if zone:
            intention(lambda: ledger.change_zone(self.org, zone))

    @rule(key=grants, share=st.sampled_from([0, 1, 2, 3, 4]))
    def owe(self, key: str, share: int) -> None:
        amount = self.oracle.grants[key].amount
        owed = (amount * share / 4).quantize(Decimal("0.0001"))
        id = Grant.objects.get(org=self.org, key=key).id
        self.same(lambda: moves.owe(self.org, id, owed), lambda: self.oracle.claw_back(key, owed))

    @rule(amount=takings, again=st.lists(takings, max_size=2))
    def adjust(self, amount: Decimal, again: list[Decimal]) -> None:
        """The form may be sent again, changed or not."""
        id = new_id()
        for credits in (amount, *again):
            self.same(partial(moves.adjust, self.org, credits, id), partial(self.oracle.adjust, id, credits))

    # -------------------------------------------------------------- runs

    @rule(unit=st.sampled_from(UNITS), rows=st.integers(2, 12), share=shares, n=st.integers(0, 6), facts=facts)
    def reserve(self, unit: Decimal, rows: int, share: Decimal, n: int, facts: list[Facts]) -> None:
        run, most = new_id(), unit * rows
        cap = (self.oracle.available * share).quantize(Decimal("0.0001"))
        self.same(lambda: moves.reserve(self.org, run, cap, most), lambda: self.oracle.reserve(run, cap, most))
        if run in self.oracle.runs:
            self.units[run], self.begun[run], self.flying[run], self.settled[run] = unit, 0, {}, []
            self.begin(run, n)
            self.settle_both(run, self.next_attempts(run, facts))

    @precondition(lambda self: self.oracle.runs)
    @rule(pick=picks, more=st.sampled_from([Decimal(0), Decimal(1)]))
    def reserve_again(self, pick: int, more: Decimal) -> None:
        run = self.one_of(self.oracle.runs, pick)
        known = self.oracle.runs[run]
        cap, most = known.cap + more, known.estimated_max
        self.same(lambda: moves.reserve(self.org, run, cap, most), lambda: self.oracle.reserve(run, cap, most))

    @precondition(lambda self: self.oracle.runs)
    @rule(pick=picks, n=st.integers(1, 6), paused=st.booleans(), facts=facts)
    def admit(self, pick: int, n: int, paused: bool, facts: list[Facts]) -> None:
        run = self.one_of(self.oracle.runs, pick)
        intention(lambda: ledger.pause(self.org, run, paused))
        self.oracle.pause(run, paused)
        self.begin(run, n)
        self.settle_both(run, self.next_attempts(run, facts))

    @precondition(lambda self: any(self.flying.values()))
    @rule(pick=picks, facts=facts)
    def settle(self, pick: int, facts: list[Facts]) -> None:
        run = self.one_of([run for run in self.flying if self.flying[run]], pick)
        self.settle_both(run, self.next_attempts(run, facts))

    @precondition(lambda self: any(self.settled.values()))
    @rule(pick=picks, facts=facts, again=st.data())
    def settle_with_replays(self, pick: int, facts: list[Facts], again: st.DataObject) -> None:
        run = self.one_of([run for run in self.settled if self.settled[run]], pick)
        old = again.draw(st.lists(st.sampled_from(self.settled[run]), min_size=1, max_size=3))
        if again.draw(st.booleans()):
            old = [each._replace(cost=each.cost + 1) for each in old]
        self.settle_both(run, again.draw(st.permutations(self.next_attempts(run, facts) + old)))

    @precondition(lambda self: self.oracle.runs)
    @rule(pick=picks, item=st.integers(100, 200))
    def settle_on_an_own_account(self, pick: int, item: int) -> None:
        """Holds nothing, so it may come at any time; to a closed run too, which refuses it."""
        run = self.one_of(self.oracle.runs, pick)
        self.settle_both(run, [moves.attempt(item, 5, byok=True, number=len(self.settled[run]) % 100)])

    @precondition(lambda self: self.oracle.runs)
    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        run = self.one_of(self.oracle.runs, pick)
        self.same(lambda: moves.give_back(self.org, run), lambda: self.oracle.give_back(run))

    @precondition(lambda self: self.oracle.runs)
    @rule(pick=picks, landed=st.booleans())
    def close(self, pick: int, landed: bool) -> None:
        """Half the time all items have landed first; else what is in flight refuses it."""
        run = self.one_of(self.oracle.runs, pick)
        if landed:
            fact = {
                "cost": self.units[run],
                "outcome": "no_result",
                "tool": TOOLS[0],
                "byok": False,
                "followed": False,
            }
            self.settle_both(run, self.next_attempts(run, [fact] * len(self.flying[run])))
        self.same(lambda: moves.close(self.org, run), lambda: self.oracle.close(run))

    @staticmethod
    def one_of(runs: Iterable[UUID], pick: int) -> UUID:
        """One of the latest; they are the ones where most is still to happen."""
        latest = list(runs)[-6:]
        return latest[-1 - pick % len(latest)]

    def begin(self, run: UUID, n: int) -> None:
        unit = self.units[run]
        if unit:  # no more than the rows that have not begun
            n = min(n, int(self.oracle.runs[run].needed / unit))
        started = self.same(lambda: ledger.admit(self.org, run, n, unit), lambda: self.oracle.admit(run, n, unit))
        for _ in range(started or 0):
            self.begun[run] += 1
            self.flying[run][self.begun[run]] = 0

    def next_attempts(self, run: UUID, facts: list[Facts]) -> list[Settled]:
        """One attempt of as many items in flight; one that is followed by another try keeps its hold."""
        batch = []
        for item, fact in zip(sorted(self.flying[run]), facts, strict=False):
            followed = fact["followed"] and self.flying[run][item] < 3
            if followed:
                fact = fact | {"outcome": "failed_before_billing"}
            unit = self.units[run]
            batch.append(
                Settled(
                    item,
                    self.flying[run][item],
                    str(fact["tool"]).partition(".")[0],
                    str(fact["tool"]),
                    bool(fact["byok"]),
                    str(fact["outcome"]),
                    Decimal(str(fact["cost"])),
                    ZERO if fact["byok"] else unit,
                    ZERO if followed else unit,
                )
            )
        return batch

    def settle_both(self, run: UUID, batch: list[Settled]) -> None:
        """As dispatch does: at once, and where that is refused, the slow way."""
        if self.same(lambda: ledger.settle(self.org, run, batch), lambda: self.oracle.settle(run, batch)) is None:
            self.same(lambda: ledger.settle_slow(self.org, run, batch), lambda: self.oracle.settle_slow(run, batch))
        for each in batch:
            if self.oracle.runs[run].attempts.get((each.item, each.attempt)) is None or each in self.settled[run]:
                continue
            self.settled[run].append(each)
            if each.item in self.flying[run] and each.attempt == self.flying[run][each.item]:
                if each.held or not self.units[run]:
                    del self.flying[run][each.item]
                else:
                    self.flying[run][each.item] += 1

    # -------------------------------------------------------------- after each step

    @invariant()
    def the_books_prove_themselves(self) -> None:
        Ledger.steps += 1
        assert books.drifts(self.org) == []

    @invariant()
    def the_balance_is_the_oracles(self) -> None:
        tie, oracle = books.tie_out(self.org), self.oracle
        assert tie.ties
        assert (tie.available, tie.reserved, tie.captured) == (oracle.available, oracle.reserved, oracle.captured)
        for kind in ("granted", "expired", "clawed_back", "restored", "adjusted"):
            assert getattr(tie, kind) == oracle.total[kind]
        self.past.append((clock(), tie))

    @invariant()
    def every_grant_is_the_oracles(self) -> None:
        kinds = ("burned", "expired", "clawed_back", "restored", "adjusted")
        for grant in Grant.objects.filter(org=self.org):
            expected = self.oracle.grants[grant.key]
            assert (grant.remaining, grant.owed) == (expected.remaining, expected.owed)
            assert {kind: getattr(grant, kind) for kind in kinds} == {kind: expected.booked[kind] for kind in kinds}

    @invariant()
    def every_run_is_the_oracles(self) -> None:
        fields = ("reserved", "captured", "held", "needed", "absorbed", "conflicts", "paused")
        for run in Reservation.objects.filter(org=self.org):
            expected = self.oracle.runs[run.run]
            assert {name: getattr(run, name) for name in fields} == {name: getattr(expected, name) for name in fields}
            assert (run.closed_at is not None) == expected.closed
        keys = dict(Grant.objects.filter(org=self.org).values_list("id", "key"))
        booked = {(draw.run, keys[draw.grant_id]): draw.amount for draw in Draw.objects.filter(org=self.org)}
        assert booked == {(id, key): part for id, run in self.oracle.runs.items() for key, part in run.draws.items()}

    @invariant()
    def usage_is_the_oracles(self) -> None:
        usage = UsageByTool.objects.filter(org=self.org).values("tool", "byok", "outcome")
        sums = usage.annotate(sum_credits=Sum("credits"), sum_calls=Sum("calls")).order_by()
        booked = {
            (each["tool"], each["byok"], each["outcome"]): [each["sum_credits"], each["sum_calls"]] for each in sums
        }
        assert booked == self.oracle.usage

    def teardown(self) -> None:
        """Whatever came after, the balance at each of its instants is what it was then."""
        for at, was in self.past:
            assert books.tie_out_at(self.org, at) == was, at


def test_any_verbs_in_any_order_come_to_what_the_oracle_says(fresh_database: str, tally: Tally) -> None:
    Ledger.steps = rounds = 0
    while Ledger.steps < effort.effort(5000):
        run_state_machine_as_test(
            seed(effort.SEED + rounds)(Ledger),
            settings=settings(
                max_examples=10,
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        rounds += 1
    tally("model steps", Ledger.steps)
