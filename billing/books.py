"""The proof: the ledger's invariants as queries, each of which must return no row.

Used by `manage.py reconcile`, the pages' tie-out line, the tests and the nightly job. Reads the ledger and writes only
`Proof`: when an org's books were last proved, and what was broken. The names I1 to I9 are those of docs/money.md.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import Account, Draw, Entry, Grant, Proof
from oxygen_site.clock import clock
from oxygen_site.transactions import one_snapshot

INVARIANTS: dict[str, str] = {
    "I1 conservation": """
        SELECT org, granted, available, drawn FROM account
        WHERE granted <> available + drawn + spent + expired + clawed_back - restored + adjusted
           OR available < 0 OR drawn < 0""",
    "I2 available is what is left in the grants": """
        SELECT a.org, a.available, g.remaining FROM account a
        LEFT JOIN (SELECT org, sum(remaining) AS remaining FROM credit_grant GROUP BY org) g USING (org)
        WHERE a.available <> coalesce(g.remaining, 0)""",
    "I3 drawn is what open runs reserve": """
        SELECT a.org, a.drawn, r.reserved FROM account a
        LEFT JOIN (SELECT org, sum(reserved) AS reserved FROM reservation WHERE closed_at IS NULL GROUP BY org) r USING (org)
        WHERE a.drawn <> coalesce(r.reserved, 0)""",
    "I3 a run reserves exactly its draws": """
        SELECT r.org, r.run, r.reserved, d.amount FROM reservation r
        LEFT JOIN (SELECT org, run, sum(amount) AS amount FROM draw GROUP BY org, run) d USING (org, run)
        WHERE r.reserved <> coalesce(d.amount, 0)""",
    "I4 a reservation is its entries, within its cap": """
        SELECT r.org, r.run, r.captured, e.captured AS entries, r.absorbed, e.absorbed AS entries_absorbed,
               r.reserved, e.reserved AS entries_reserved
        FROM reservation r
        LEFT JOIN (SELECT org, source AS run,
                     sum(amount) FILTER (WHERE kind = 'captured') AS captured,
                     sum(cost - amount) FILTER (WHERE account_seq IS NULL) AS absorbed,
                     sum(CASE kind WHEN 'reserved' THEN amount ELSE -amount END) FILTER (WHERE account_seq IS NOT NULL) AS reserved,
                     count(*) FILTER (WHERE account_seq IS NOT NULL AND item < -1) AS give_backs,
                     count(*) FILTER (WHERE item = -1) AS closes
                   FROM entry GROUP BY org, source) e USING (org, run)
        WHERE r.captured <> coalesce(e.captured, 0) OR r.absorbed <> coalesce(e.absorbed, 0)
           OR r.reserved IS DISTINCT FROM e.reserved OR r.give_backs <> e.give_backs
           OR (r.closed_at IS NOT NULL) <> (e.closes = 1)
           OR r.captured + r.held > r.reserved OR r.reserved > r.cap OR r.needed < 0""",
    "I5 usage by tool is the entries": """
        SELECT coalesce(e.org, u.org) AS org, coalesce(e.day, u.day) AS day, e.credits, e.calls, u.credits AS usage_credits, u.calls AS usage_calls
        FROM (SELECT e.org, ledger.local_day(e.at, a.zone) AS day, provider, tool, byok, outcome, sum(amount) AS credits, count(*) AS calls
              FROM entry e JOIN account a USING (org) WHERE e.account_seq IS NULL GROUP BY 1, 2, 3, 4, 5, 6) e
        FULL JOIN usage_by_tool u USING (org, day, provider, tool, byok, outcome)
        WHERE (e.credits, e.calls) IS DISTINCT FROM (u.credits, u.calls)""",
    "I5 usage by run is the entries": """
        SELECT coalesce(e.org, u.org) AS org, coalesce(e.run, u.run) AS run, e.credits, e.calls, u.credits AS usage_credits, u.calls AS usage_calls
        FROM (SELECT e.org, ledger.local_day(e.at, a.zone) AS day, r.run, r.run_kind, r.member, sum(amount) AS credits,
                     count(*) AS calls, count(*) FILTER (WHERE e.outcome = 'succeeded') AS results
              FROM entry e JOIN account a USING (org) JOIN reservation r ON r.org = e.org AND r.run = e.source
              WHERE e.account_seq IS NULL GROUP BY 1, 2, 3, 4, 5) e
        FULL JOIN usage_by_run u USING (org, day, run, run_kind, member)
        WHERE (e.credits, e.calls, e.results) IS DISTINCT FROM (u.credits, u.calls, u.results)""",
    "I6 spent is captured by closed runs and burned from grants": """
        SELECT a.org, a.spent, r.captured, g.burned FROM account a
        LEFT JOIN (SELECT org, sum(captured) AS captured FROM reservation WHERE closed_at IS NOT NULL GROUP BY org) r USING (org)
        LEFT JOIN (SELECT org, sum(burned) AS burned FROM credit_grant GROUP BY org) g USING (org)
        WHERE a.spent <> coalesce(r.captured, 0) OR a.spent <> coalesce(g.burned, 0)""",
    "I7 every balance after is the fold so far": """
        SELECT org, account_seq, kind, amount, available_after, available, drawn_after, drawn FROM (
          SELECT e.org, e.account_seq, e.at, e.kind, e.amount, e.available_after, e.drawn_after,
                 row_number() OVER o AS n, lag(e.at) OVER o AS before,
                 sum(CASE WHEN e.kind IN ('granted', 'released', 'restored') THEN e.amount ELSE -e.amount END) OVER o AS available,
                 sum(CASE e.kind WHEN 'reserved' THEN e.amount WHEN 'released' THEN -e.amount - coalesce(c.captured, 0) ELSE 0 END) OVER o AS drawn
          FROM entry e
          LEFT JOIN (SELECT org, run AS source, -1 AS item, captured FROM reservation WHERE closed_at IS NOT NULL) c
            ON c.org = e.org AND c.source = e.source AND c.item = e.item
          WHERE e.account_seq IS NOT NULL
          WINDOW o AS (PARTITION BY e.org ORDER BY e.account_seq)) AS moves
        WHERE account_seq <> n OR available_after <> available OR drawn_after <> drawn OR at < before""",
    "I7 the account is its entries": """
        SELECT a.org, a.account_seq, e.seq, a.available, l.available_after, a.drawn, l.drawn_after FROM account a
        LEFT JOIN (SELECT org, max(account_seq) AS seq,
                     sum(amount) FILTER (WHERE kind = 'granted') AS granted, sum(amount) FILTER (WHERE kind = 'expired') AS expired,
                     sum(amount) FILTER (WHERE kind = 'clawed_back') AS clawed_back, sum(amount) FILTER (WHERE kind = 'restored') AS restored,
                     sum(amount) FILTER (WHERE kind = 'adjusted') AS adjusted
                   FROM entry WHERE account_seq IS NOT NULL GROUP BY org) e USING (org)
        LEFT JOIN entry l ON l.org = a.org AND l.account_seq = a.account_seq
        WHERE (a.account_seq, a.granted, a.expired, a.clawed_back, a.restored, a.adjusted, a.available, a.drawn)
           IS DISTINCT FROM (coalesce(e.seq, 0), coalesce(e.granted, 0), coalesce(e.expired, 0), coalesce(e.clawed_back, 0),
                             coalesce(e.restored, 0), coalesce(e.adjusted, 0), coalesce(l.available_after, 0), coalesce(l.drawn_after, 0))""",
    "I8 a run that has ended holds nothing": """
        SELECT org, run, held, needed, reserved, captured FROM reservation
        WHERE closed_at IS NOT NULL AND (held <> 0 OR needed <> 0 OR reserved <> captured)""",
    "I9 every credit of a grant is somewhere": """
        SELECT g.org, g.id, g.amount, g.remaining, d.drawn, d.burned FROM credit_grant g
        LEFT JOIN (SELECT org, grant_id AS id, sum(amount) FILTER (WHERE r.closed_at IS NULL) AS drawn,
                          sum(amount) FILTER (WHERE r.closed_at IS NOT NULL) AS burned
                   FROM draw JOIN reservation r USING (org, run) GROUP BY org, grant_id) d USING (org, id)
        WHERE g.amount <> g.remaining + coalesce(d.drawn, 0) + g.burned + g.expired + g.clawed_back - g.restored + g.adjusted
           OR g.burned <> coalesce(d.burned, 0) OR g.clawed_back - g.restored > g.owed
           OR g.clawed_back - g.restored < g.owed AND g.remaining > 0""",
    "I9 a grant is its entries": """
        SELECT g.org, g.id, g.amount, e.granted, g.expired, e.expired AS entries_expired FROM credit_grant g
        LEFT JOIN (SELECT org, source AS id, count(*) - 1 AS entries, max(item) AS last,
                     coalesce(sum(amount) FILTER (WHERE kind = 'granted'), 0) AS granted,
                     coalesce(sum(amount) FILTER (WHERE kind = 'expired'), 0) AS expired,
                     coalesce(sum(amount) FILTER (WHERE kind = 'clawed_back'), 0) AS clawed_back,
                     coalesce(sum(amount) FILTER (WHERE kind = 'restored'), 0) AS restored
                   FROM entry WHERE account_seq IS NOT NULL GROUP BY org, source) e USING (org, id)
        WHERE (g.amount, g.expired, g.clawed_back, g.restored, g.entries, g.entries)
           IS DISTINCT FROM (e.granted, e.expired, e.clawed_back, e.restored, e.entries, e.last)""",
}

FOLDED = "I9 the fold gives every grant and draw"
ALL = (*INVARIANTS, FOLDED)
BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)  # before any ledger
HOURLY = tuple(name for name in INVARIANTS if name[:2] in ("I1", "I2", "I3", "I6", "I7", "I8"))

_TABLES = ("account", "credit_grant", "reservation", "draw", "entry", "usage_by_tool", "usage_by_run")
# One org's part of each table, under the table's own name, so that each invariant is written once.
_OF_ORG = "WITH " + ", ".join(
    f"{table} AS NOT MATERIALIZED (SELECT * FROM ledger.{table} WHERE org = %(org)s)" for table in _TABLES
)


@dataclass(frozen=True)
class Drift:
    """One row that contradicts an invariant."""

    invariant: str
    org: UUID
    facts: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        return f"{self.invariant}: " + ", ".join(f"{name} {value}" for name, value in self.facts.items())


def drifts(org: UUID | None = None, *, names: Collection[str] = ALL) -> list[Drift]:
    """Name all that is broken, in one org's books or in all, as of one instant. Empty: proved."""
    found = []
    with one_snapshot(patient=True):
        for name in names:
            if name == FOLDED:
                orgs = [org] if org else Account.objects.values_list("org", flat=True)
                found += [drift for each in orgs for drift in _fold(each)]
            else:
                found += _rows(name, org)
    return found


def prove(org: UUID | None = None, *, names: Collection[str] = ALL) -> list[Drift]:
    """Prove the books, note the time for each org, and what stands broken; what was not asked now stands as it stood."""
    found = drifts(org, names=names)
    stands: dict[UUID, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for proof in Proof.objects.filter(org=org) if org else Proof.objects.all():
        stands[proof.org].update({name: broken for name, broken in proof.broken.items() if name not in names})
    for drift in found:
        stands[drift.org][drift.invariant].append(str(drift))
    now = clock()
    accounts = Account.objects.filter(org=org) if org else Account.objects.all()
    Proof.objects.bulk_create(
        [Proof(org=each, at=now, broken=stands[each]) for each in accounts.values_list("org", flat=True)],
        update_conflicts=True,
        unique_fields=["org"],
        update_fields=["at", "broken"],
    )
    return found


@dataclass(frozen=True)
class TieOut:
    """Where every granted credit is, with the last proof. Credits."""

    granted: Decimal
    available: Decimal
    reserved: Decimal
    captured: Decimal
    expired: Decimal
    clawed_back: Decimal
    restored: Decimal
    adjusted: Decimal
    proven_at: datetime | None
    drifted: bool

    @property
    def ties(self) -> bool:
        spread = self.available + self.reserved + self.captured + self.expired
        return not self.drifted and self.granted == spread + self.clawed_back - self.restored + self.adjusted


def tie_out(org: UUID) -> TieOut:
    """Read where the org's credits are, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT a.granted, a.available, a.drawn - open.captured, a.spent + open.captured,
                   a.expired, a.clawed_back, a.restored, a.adjusted, p.at, coalesce(p.broken <> '{}', false)
            FROM ledger.account a
            LEFT JOIN ledger.proof p USING (org),
            LATERAL (SELECT coalesce(sum(captured), 0) AS captured FROM ledger.reservation r
                     WHERE r.org = a.org AND closed_at IS NULL) AS open
            WHERE a.org = %s""",
            [org],
        )
        row = cursor.fetchone()
    return TieOut(*row)


def tie_out_at(org: UUID, at: datetime) -> TieOut:
    """Fold back from the present to where the org's credits were at an instant, what was booked at it included.

    Two queries. They read the account's moves since, the rollups' rows since, and the calls of the rest of that day.
    """
    at = max(at, BEFORE_ALL)  # nothing was booked then either, and its day is one that Python knows
    with connection.cursor() as cursor:
        cursor.execute(_CUT, {"org": org, "at": at})
        zone, day, ends = cursor.fetchone()
        cursor.execute(_AT, {"org": org, "at": at, "zone": zone, "day": day, "ends": ends})
        row = cursor.fetchone()
    return TieOut(*row)


# The org's day at an instant, and when it is over for certain. Where a clock was put back over midnight, the next day may
# have begun by then, and is read by its entries too.
_CUT = """
    SELECT zone, CASE WHEN next_begins <= %(at)s THEN day + 1 ELSE day END,
           CASE WHEN next_begins <= %(at)s THEN %(at)s + interval '2 days' ELSE day_ends END
    FROM ledger.account, LATERAL (SELECT ledger.local_day(%(at)s, zone) AS day) AS today, LATERAL (
      SELECT min(near) FILTER (WHERE ledger.local_day(near, zone) > day) AS next_begins,
             max(near) FILTER (WHERE ledger.local_day(near, zone) <= day) + interval '30 minutes' AS day_ends
      FROM generate_series(-6, 6) AS halves,
        LATERAL (SELECT ((day + 1)::timestamp AT TIME ZONE zone) + halves * interval '30 minutes' AS near)) AS midnight
    WHERE org = %(org)s"""

# Reserved is what was drawn, less what the runs then open had captured by then: what they captured in all, less what
# they did since. Since then means the entries up to the end of that day, and the rollup's days after. The bounds come as
# plain values, and the runs as an array, for the planner cannot see how few entries lie between or how few runs ended, and
# would read the month, and all runs for each.
_AT = """
    WITH last AS (
      SELECT account_seq, available_after, drawn_after FROM ledger.entry
      WHERE org = %(org)s AND account_seq IS NOT NULL AND at <= %(at)s ORDER BY account_seq DESC LIMIT 1),
    moves AS MATERIALIZED (
      SELECT source, item, kind, amount FROM ledger.entry
      WHERE org = %(org)s AND account_seq > coalesce((SELECT account_seq FROM last), 0)),
    still AS (
      SELECT run, captured, opened_at FROM ledger.reservation WHERE org = %(org)s AND closed_at IS NULL),
    open AS (
      SELECT run, captured FROM still WHERE opened_at <= %(at)s
      UNION ALL
      SELECT run, captured FROM ledger.reservation
      WHERE org = %(org)s AND run = ANY(ARRAY(SELECT source FROM moves WHERE item = -1)) AND opened_at <= %(at)s),
    since AS MATERIALIZED (
      SELECT run, credits FROM ledger.usage_by_run WHERE org = %(org)s AND day > %(day)s
      UNION ALL
      SELECT source, amount FROM ledger.entry
      WHERE org = %(org)s AND account_seq IS NULL AND at > %(at)s AND at < %(ends)s
        AND ledger.local_day(at, %(zone)s) <= %(day)s),
    moved AS (
      SELECT coalesce(sum(amount) FILTER (WHERE kind = 'granted'), 0) AS granted,
             coalesce(sum(amount) FILTER (WHERE kind = 'expired'), 0) AS expired,
             coalesce(sum(amount) FILTER (WHERE kind = 'clawed_back'), 0) AS clawed_back,
             coalesce(sum(amount) FILTER (WHERE kind = 'restored'), 0) AS restored,
             coalesce(sum(amount) FILTER (WHERE kind = 'adjusted'), 0) AS adjusted FROM moves),
    captured AS (
      SELECT (SELECT coalesce(sum(captured), 0) FROM still) AS still,
             (SELECT coalesce(sum(captured), 0) FROM open) AS open,
             (SELECT coalesce(sum(credits), 0) FROM since) AS since,
             (SELECT coalesce(sum(credits), 0) FROM since WHERE run IN (SELECT run FROM open)) AS since_by_open)
    SELECT a.granted - moved.granted, coalesce(last.available_after, 0),
           coalesce(last.drawn_after, 0) - (captured.open - captured.since_by_open),
           a.spent + captured.still - captured.since,
           a.expired - moved.expired, a.clawed_back - moved.clawed_back, a.restored - moved.restored,
           a.adjusted - moved.adjusted, p.at, coalesce(p.broken <> '{}', false)
    FROM ledger.account a CROSS JOIN moved CROSS JOIN captured LEFT JOIN last ON true LEFT JOIN ledger.proof p USING (org)
    WHERE a.org = %(org)s"""


def _rows(name: str, org: UUID | None) -> list[Drift]:
    with connection.cursor() as cursor:
        if org:
            cursor.execute(f"{_OF_ORG} {INVARIANTS[name]}", {"org": org})
        else:
            cursor.execute(INVARIANTS[name])
        columns = [column.name for column in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return [Drift(name, row.pop("org"), row) for row in rows]


def _fold(org: UUID) -> list[Drift]:
    """Replay the account's entries alone, in their order, against the grants' dates: the same must be left in each."""
    grants = list(Grant.objects.filter(org=org).order_by("expires_at", "effective_at", "key"))
    place = {grant.id: n for n, grant in enumerate(grants)}
    left = dict.fromkeys(place, Decimal(0))
    drawn: dict[UUID, dict[UUID, Decimal]] = defaultdict(dict)  # run: {grant: credits}
    found = []

    def spread(amount: Decimal, stores: Iterable[tuple[Any, Decimal]]) -> list[tuple[Any, Decimal]]:
        parts = []
        for key, holds in stores:
            part = min(amount, holds)
            if part > 0:
                parts.append((key, part))
                amount -= part
        if amount:
            found.append(Drift(FOLDED, org, {"source": entry.source, "kind": entry.kind, "nowhere": amount}))
        return parts

    for entry in Entry.objects.filter(org=org, account_seq__isnull=False).order_by("account_seq"):
        if entry.kind in ("reserved", "adjusted"):
            for grant, part in spread(entry.amount, [(grant, left[grant]) for grant in place]):
                left[grant] -= part
                if entry.kind == "reserved":
                    drawn[entry.source][grant] = part
        elif entry.kind == "released":
            draws = drawn[entry.source]
            last_first = sorted(draws, key=place.__getitem__, reverse=True)
            for grant, part in spread(entry.amount, [(grant, draws[grant]) for grant in last_first]):
                draws[grant] -= part
                left[grant] += part
        else:
            left[entry.source] += entry.amount if entry.kind in ("granted", "restored") else -entry.amount

    folded = {(run, grant): amount for run, draws in drawn.items() for grant, amount in draws.items()}
    booked = {(draw.run, draw.grant_id): draw.amount for draw in Draw.objects.filter(org=org)}
    for run, grant in folded.keys() | booked.keys():
        was, is_now = folded.get((run, grant), Decimal(0)), booked.get((run, grant), Decimal(0))
        if was != is_now:
            found.append(Drift(FOLDED, org, {"run": run, "grant": grant, "folded": was, "booked": is_now}))
    return found + [
        Drift(FOLDED, org, {"grant": each.id, "folded": left[each.id], "booked": each.remaining})
        for each in grants
        if left[each.id] != each.remaining
    ]
