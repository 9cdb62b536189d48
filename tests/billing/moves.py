"""The ledger's verbs with a test's defaults: credits may be written as plain numbers, and nobody names an actor.

For tests of the ledger and the books. Each joins the caller's transaction, as the verbs do.
"""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from billing import books, ledger
from billing.ledger import Settled
from billing.models import Draw, Entry, Grant, Reservation
from oxygen_site.clock import clock, new_id

type Credits = int | str | Decimal

MEMBER = uuid4()
ACTOR = "user:test"


def grant(org: UUID, amount: Credits, days: float = 30, key: str | None = None) -> UUID:
    """Give credits that expire in so many days."""
    return ledger.grant(
        org,
        key=key or f"test:{uuid4()}",
        source="top_up",
        amount=Decimal(amount),
        expires_at=clock() + timedelta(days=days),
        actor=ACTOR,
    )


def reserve(org: UUID, run: UUID, cap: Credits, upto: Credits | None = None) -> Decimal:
    """Ask for the hold of a run whose rows cost at most `upto`, or its cap."""
    return ledger.reserve(
        org,
        run,
        cap=Decimal(cap),
        estimated_max=Decimal(cap if upto is None else upto),
        run_kind="column",
        member=MEMBER,
        actor=ACTOR,
    )


def open_run(org: UUID, cap: Credits, upto: Credits | None = None, begin: int = 0, unit: Credits = 1) -> UUID:
    """Open a run and begin so many of its items; answer its id."""
    run = new_id()
    assert reserve(org, run, cap, upto) == 0
    if begin:
        assert ledger.admit(org, run, begin, Decimal(unit)) == begin
    return run


def attempt(
    item: int,
    cost: Credits = 1,
    maximum: Credits = 1,
    held: Credits | None = None,
    *,
    number: int = 0,
    outcome: str = "succeeded",
    byok: bool = False,
    tool: str = "hunter.email_finder",
) -> Settled:
    """One settled attempt; it sets its maximum free unless said."""
    most = Decimal(0) if byok else Decimal(maximum)
    free = most if held is None else Decimal(held)
    return Settled(item, number, tool.partition(".")[0], tool, byok, outcome, Decimal(cost), most, free)


def settle(org: UUID, run: UUID, *attempts: Settled) -> Decimal:
    return ledger.settle(org, run, attempts)


def give_back(org: UUID, run: UUID) -> Decimal:
    return ledger.give_back(org, run, actor=ACTOR)


def close(org: UUID, run: UUID) -> Decimal:
    return ledger.close(org, run, actor=ACTOR)


def owe(org: UUID, grant: UUID, owed: Credits) -> None:
    ledger.claw_back(org, grant, owed=Decimal(owed), actor="stripe:re_1")


def adjust(org: UUID, amount: Credits, id: UUID | None = None, reason: str = "given by mistake") -> Decimal:
    return ledger.adjust(org, id or new_id(), amount=Decimal(amount), actor="user:operator", reason=reason)


# ------------------------------------------------------------------ what is there afterwards


def balance(org: UUID) -> tuple[Decimal, Decimal, Decimal]:
    """Available, reserved, captured."""
    tie = books.tie_out(org)
    return tie.available, tie.reserved, tie.captured


def left(org: UUID, grant: UUID) -> Decimal:
    """What remains undrawn of a grant."""
    return Grant.objects.get(org=org, id=grant).remaining


def drawn(org: UUID, run: UUID) -> dict[UUID, Decimal]:
    """What a run has drawn from which grant."""
    return {draw.grant_id: draw.amount for draw in Draw.objects.filter(org=org, run=run) if draw.amount}


def reservation(org: UUID, run: UUID) -> Reservation:
    return Reservation.objects.get(org=org, run=run)


def entries(org: UUID, source: UUID | None = None) -> list[tuple[str, Decimal]]:
    """The moves of an account, in order: (kind, amount); of one run or grant where it is named."""
    moves = Entry.objects.filter(org=org, account_seq__isnull=False).order_by("account_seq")
    if source:
        moves = moves.filter(source=source)
    return list(moves.values_list("kind", "amount"))
