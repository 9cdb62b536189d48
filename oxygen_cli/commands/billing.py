"""`oxygen billing`: what an organization has, spends and is on."""

from collections.abc import Iterator
from typing import Any

import click

from oxygen_cli.command import CURSOR, LIMIT, Group, Session, refuse_usage
from oxygen_cli.shown import Column, Part, credits, facts, heading, percent, state, table, when


@click.group(cls=Group)
def billing() -> None:
    """Balance, usage, ledger, grants and plan."""


def _instant(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Let a bare date stand for its first instant, in UTC."""
    return f"{value}T00:00:00Z" if value and "T" not in value else value


START = click.option("--start", callback=_instant, metavar="INSTANT", help="From this instant or UTC date on.")
END = click.option("--end", callback=_instant, metavar="INSTANT", help="Up to, but not including, this one.")

SORTS = click.Choice(["day", "provider", "tool", "run", "member"])

# ------------------------------------------------------------------ balance


@billing.command(example="oxygen billing balance\noxygen billing balance --at 2026-11-01T00:00:00Z --json")
@click.option("--at", callback=_instant, metavar="INSTANT", help="As it was at this instant or UTC date.")
def balance(session: Session, at: str | None) -> None:
    """Show what is available, reserved and captured."""
    data = session.api.get("/balance/at", instant=at) if at else session.api.get("/balance")
    session.show(data, _balance)


def _balance(data: dict[str, Any]) -> Iterator[Part]:
    expiry = data.get("next_expiry")
    yield facts(
        ("Organization", (data.get("organization") or {}).get("name")),
        ("Available", data["available"]),
        ("Reserved", data["reserved"]),
        ("Captured", data["captured"]),
        *([("Next refill", when(data["next_refill_at"]))] if data.get("next_refill_at") else []),
        *([("Next expiry", f"{credits(expiry['credits'])} on {when(expiry['at'])}")] if expiry else []),
        ("As of", when(data.get("as_of"))),
    )


# ------------------------------------------------------------------ usage


@billing.command(
    example="oxygen billing usage --limit 50\n"
    "oxygen billing usage --provider hunter --start 2026-11-01 --json\n"
    "oxygen billing usage --by provider"
)
@LIMIT
@CURSOR
@click.option("--provider", metavar="PROVIDER", help="Of one provider.")
@click.option("--tool", metavar="TOOL", help="Of one tool.")
@click.option("--run", metavar="RUN", help="Of one run.")
@click.option("--member", metavar="MEMBER", help="Of the runs that one member started.")
@click.option("--mode", type=click.Choice(["managed", "byok"]), help="Paid by Oxygen, or on the own account.")
@click.option("--outcome", metavar="OUTCOME", help="Of one outcome, as no_result.")
@START
@END
@click.option("--by", type=SORTS, help="Add up instead of listing.")
@click.option("--first", metavar="DATE", help="With --by: the first of its days, in the organization's time zone.")
@click.option("--last", metavar="DATE", help="With --by: the last of its days.")
def usage(
    session: Session,
    limit: int,
    cursor: str | None,
    by: str | None,
    first: str | None,
    last: str | None,
    **filters: str | None,
) -> None:
    """List what was charged, newest first; with --by, add it up."""
    if by:
        if cursor or any(filters[name] for name in ("start", "end", "run", "member")):
            raise refuse_usage("--by goes with --first, --last, --provider, --tool, --mode and --outcome.")
        wanted = {name: filters.get(name) for name in ("provider", "tool", "mode", "outcome")}
        session.show(session.api.get("/usage/aggregates", by=by, first=first, last=last, **wanted), _sums)
    elif first or last:
        raise refuse_usage("--first and --last go with --by; a list takes --start and --end.")
    else:
        session.show_list("/usage", "entries", _usage, limit, cursor, **filters)


def _usage(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["entries"],
        [
            Column("when", lambda each: when(each.get("timestamp"))),
            Column("tool", "tool"),
            Column("mode", "mode"),
            Column("outcome", lambda each: state(each.get("outcome"))),
            Column("credits", "credits", number=True),
            Column("run", "run"),
        ],
        "Nothing was charged.",
    )


def _sums(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["groups"],
        [
            Column(data["by"], lambda each: each.get("name") or each.get("key")),
            Column("credits", "credits", number=True),
            Column("calls", "calls", number=True),
            Column("results", "results", number=True),
            Column("share", lambda each: percent(each.get("share")), number=True),
        ],
        "Nothing was charged.",
    )
    total = data.get("total") or {}
    yield (
        f"{credits(total.get('credits'))} credits for {credits(total.get('calls'))} calls"
        f" from {data.get('first')} to {data.get('last')}, days of {data.get('time_zone')}."
    )


# ------------------------------------------------------------------ the books


@billing.command(example="oxygen billing ledger --kind granted")
@LIMIT
@CURSOR
@click.option("--kind", metavar="KIND", help="Of one kind: granted, reserved, captured, released, expired, ….")
@START
@END
def ledger(session: Session, limit: int, cursor: str | None, **filters: str | None) -> None:
    """List every entry of the ledger, newest first."""
    session.show_list("/ledger", "entries", _ledger, limit, cursor, **filters)


def _ledger(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["entries"],
        [
            Column("when", lambda each: when(each.get("timestamp"))),
            Column("kind", lambda each: state(each.get("kind"))),
            Column("amount", "amount", number=True),
            Column("available", "available_after", number=True),
            Column("reserved", "reserved_after", number=True),
            Column("actor", "actor"),
            Column("reason", "reason"),
        ],
        "No entries.",
    )


@billing.command(example="oxygen billing grants --open")
@LIMIT
@CURSOR
@click.option("--open/--closed", default=None, help="Those with something left, or those without. Else all.")
def grants(session: Session, limit: int, cursor: str | None, open: bool | None) -> None:  # noqa: A002 - as the API says
    """List the grants, newest first."""
    session.show_list("/grants", "grants", _grants, limit, cursor, open=open)


def _grants(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["grants"],
        [
            Column("source", lambda each: state(each.get("source"))),
            Column("amount", "amount", number=True),
            Column("left", "remaining", number=True),
            Column("used", "burned", number=True),
            Column("from", lambda each: when(each.get("effective_at"))),
            Column("expires", lambda each: when(each.get("expires_at"))),
        ],
        "No grants.",
    )


# ------------------------------------------------------------------ the plan


@billing.command(example="oxygen billing plans")
def plans(session: Session) -> None:
    """List the plans and what they cost."""
    session.show_list("/plans", "plans", _plans)


def _plans(data: dict[str, Any]) -> Iterator[Part]:
    def prices(plan: dict[str, Any]) -> str:
        return ", ".join(f"{_money(each)} a {each['interval']}" for each in plan["prices"]) or "free"

    plans = [
        Column("plan", "key"),
        Column("name", "name"),
        Column("credits a month", "credits_per_month", number=True),
        Column("price", prices),
    ]
    yield table(data["plans"], plans, "No plans.")
    if packs := data.get("top_ups"):
        yield heading("Top-ups")
        columns = [Column("pack", "key"), Column("credits", "credits", number=True), Column("price", _money)]
        yield table(packs, columns, "")


@billing.command(example="oxygen billing subscription")
def subscription(session: Session) -> None:
    """Show which plan the organization is on."""
    session.show(session.api.get("/subscription"), _subscription)


def _subscription(data: dict[str, Any]) -> Iterator[Part]:
    plan, period, change = data.get("plan") or {}, data.get("period") or {}, data.get("pending_change")
    yield facts(
        ("Plan", _name(data.get("plan"))),
        ("Status", state(data.get("status"))),
        ("Credits a month", plan.get("credits_per_month")),
        ("Price", f"{_money(data)} a {data['interval']}" if data.get("amount") is not None else "free"),
        *([("Paid until", when(period.get("end")))] if period.get("end") else []),
        *(
            [("Will change", f"to {(change['plan'] or {}).get('name', 'no plan')}, {when(change['at'])}")]
            if change
            else []
        ),
        *([("Ends", "with this period")] if data.get("cancel_at_period_end") else []),
    )


def _name(plan: dict[str, Any] | None) -> str:
    return str(plan["name"]) if plan else "no plan"


def _money(price: dict[str, Any]) -> str:
    """Write minor units as people pay them."""
    minor = int(price.get("amount") or 0)
    return f"{str(price.get('currency') or '').upper()} {minor // 100:,}.{minor % 100:02}"
