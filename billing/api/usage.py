"""Where credits went: every settled call, sums of them, and the ledger itself."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from ninja import Router
from pydantic import WithJsonSchema

from billing import statements
from billing import usage as rollups
from billing.access import OrgRequest
from billing.api.shown import DayIn, InstantIn, Mode, Name, Outcome, mode_shown, own_account
from billing.models import Entry
from billing.wanted import Keyset, Wanted
from oxygen_site.api import Credits, Cursor, Data, Instant, Limit, Shown, may, read_cursor, write_cursor
from oxygen_site.clock import clock
from oxygen_site.transactions import one_snapshot

router = Router(tags=["usage"])
RUNS = (Entry.Kind.RESERVED, Entry.Kind.CAPTURED, Entry.Kind.RELEASED)  # kinds of which the source is a run
Share = Annotated[
    Decimal, WithJsonSchema({"type": "number", "description": "Of the total's credits, to four decimals."})
]
Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
Kind = Literal["granted", "reserved", "captured", "released", "expired", "clawed_back", "restored", "adjusted"]


class UsageEntry(Shown):
    """One call that settled. `credits` is what it was charged, `cost` what the provider billed, in credits."""

    id: str
    run: UUID
    item: int
    attempt: int
    provider: str
    tool: str
    mode: Mode
    outcome: Outcome
    credits: Credits
    cost: Credits
    kind: Literal["captured", "released"]
    timestamp: Instant


class UsageEntries(Shown):
    entries: list[UsageEntry]
    next_cursor: str | None


@router.get("/usage", auth=may("read"), response=Data[UsageEntries], summary="List the calls that settled")
@one_snapshot()
def list_usage(
    request: OrgRequest,
    start: InstantIn | None = None,
    end: InstantIn | None = None,
    provider: Name | None = None,
    tool: Name | None = None,
    run: UUID | None = None,
    member: UUID | None = None,
    mode: Mode | None = None,
    outcome: Outcome | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Data[UsageEntries]:
    """Every call that settled, charged or not, newest first, from `start` up to, but not including, `end`."""
    # Four queries at most; the page is read from the feed, where the filters can match at all.
    wanted = Wanted(
        start=start,
        end=end,
        provider=provider,
        tool=tool,
        run=run,
        member=member,
        byok=own_account(mode),
        outcome=outcome,
    )
    place = read_cursor(request, "usage", cursor)
    after = Keyset.read(place[0]) if place else None
    listed = statements.attempts(request.org, wanted, after=after, limit=limit)
    return Data(
        data=UsageEntries(
            entries=list(map(_usage, listed.rows)),
            next_cursor=write_cursor(request, "usage", [listed.next.text]) if listed.next else None,
        )
    )


def _usage(entry: Entry) -> UsageEntry:
    return UsageEntry.model_validate(
        {
            "id": entry.id,
            "run": entry.source,
            "item": entry.item,
            "attempt": entry.attempt,
            "provider": entry.provider,
            "tool": entry.tool,
            "mode": mode_shown(entry.byok),
            "outcome": entry.outcome,
            "credits": entry.amount,
            "cost": entry.cost,
            "kind": entry.kind,
            "timestamp": entry.at,
        }
    )


# ------------------------------------------------------------------ sums


class Sum(Shown):
    credits: Credits
    calls: int
    results: int


class UsageGroup(Shown):
    """One day's, provider's, tool's, run's or member's part. `key` is null of all further runs together."""

    key: str | None
    name: str | None
    credits: Credits
    calls: int
    results: int
    share: Share


class UsageAggregates(Shown):
    by: Literal["day", "provider", "tool", "run", "member"]
    first: Day
    last: Day
    time_zone: str
    total: Sum
    groups: list[UsageGroup]


@router.get("/usage/aggregates", auth=may("read"), response=Data[UsageAggregates], summary="Sum the usage")
@one_snapshot()
def sum_usage(
    request: OrgRequest,
    by: Literal["day", "provider", "tool", "run", "member"],
    first: DayIn | None = None,
    last: DayIn | None = None,
    provider: Name | None = None,
    tool: Name | None = None,
    mode: Mode | None = None,
    outcome: Outcome | None = None,
) -> Data[UsageAggregates]:
    """Credits, calls and results of whole days of the organization's own time zone, in groups that add up to `total`.

    Without `first` and `last`: since this credit month began. At most 400 days. By day every day is there, in order;
    else what captured most comes first. By run or member no filter can be had: 422 `invalid_filter`. By run, the first
    1,000 are named and all further ones are one group with the key null.
    """
    # Four queries at most, of rollups; their cost follows the days, not the calls behind them.
    days = rollups.days(request.org, first, last, clock())
    wanted = Wanted(provider=provider, tool=tool, byok=own_account(mode), outcome=outcome)
    summed = rollups.summed(request.org, by, days, wanted)
    return Data(
        data=UsageAggregates(
            by=by,
            first=_day(days.first),
            last=_day(days.last),
            time_zone=request.org.zone,
            total=Sum.model_validate(summed.total, from_attributes=True),
            groups=[
                UsageGroup.model_validate(
                    {name: getattr(group, name) for name in ("key", "name", "credits", "calls", "results")}
                    | {"share": summed.share(group)}
                )
                for group in summed.groups
            ],
        )
    )


def _day(day: date) -> str:
    return day.isoformat()


# ------------------------------------------------------------------ ledger


class LedgerEntry(Shown):
    """One immutable row of the ledger. Balances after it stand on entries that move the account, else they are null."""

    id: str
    kind: Kind
    amount: Credits
    held: Credits
    available_after: Credits | None
    reserved_after: Credits | None
    account_seq: int | None
    run: UUID | None
    item: int | None
    attempt: int | None
    grant: UUID | None
    provider: str | None
    tool: str | None
    outcome: Outcome | None
    actor: str
    reason: str | None
    timestamp: Instant


class LedgerEntries(Shown):
    entries: list[LedgerEntry]
    next_cursor: str | None


@router.get("/ledger", auth=may("read"), response=Data[LedgerEntries], summary="List the ledger")
@one_snapshot()
def list_ledger(
    request: OrgRequest,
    start: InstantIn | None = None,
    end: InstantIn | None = None,
    kind: Kind | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Data[LedgerEntries]:
    """Every entry of the ledger, newest first, from `start` up to, but not including, `end`.

    `held` is the part of an item's hold that a settled call set free. Where one `kind` is asked for, what lies between
    its entries is not read, and `reserved_after` is null.
    """
    # Three queries at most.
    place = read_cursor(request, "ledger", cursor)
    after = statements.Place.read(place) if place else None
    listed = statements.ledger(request.org, start=start, end=end, kind=kind, after=after, limit=limit)
    return Data(
        data=LedgerEntries(
            entries=list(map(_ledger, listed.rows)),
            next_cursor=write_cursor(request, "ledger", listed.next.words) if listed.next else None,
        )
    )


def _ledger(line: statements.Line) -> LedgerEntry:
    entry = line.entry
    of_run, is_attempt = entry.kind in RUNS, entry.account_seq is None
    return LedgerEntry.model_validate(
        {
            "id": entry.id,
            "kind": entry.kind,
            "amount": entry.amount,
            "held": entry.held,
            "available_after": entry.available_after,
            "reserved_after": line.reserved_after,
            "account_seq": entry.account_seq,
            "run": entry.source if of_run else None,
            "item": entry.item if is_attempt else None,
            "attempt": entry.attempt if is_attempt else None,
            "grant": entry.source if not of_run and entry.kind != Entry.Kind.ADJUSTED else None,
            "provider": entry.provider,
            "tool": entry.tool,
            "outcome": entry.outcome,
            "actor": entry.actor or f"run:{entry.source}",
            "reason": entry.reason,
            "timestamp": entry.at,
        }
    )
