"""How runs and their estimates look to people."""

from collections.abc import Iterator
from typing import Any

from oxygen_cli.shown import Column, Part, credits, facts, heading, percent, plain, state, table, text, when

NEXT = {
    "approve": "oxygen runs approve {id}",
    "resume": "oxygen table-runs resume {id}",
    "continue": "oxygen table-runs continue {id} --max-credits N",
    "pause": "oxygen table-runs pause {id}",
    "cancel": "oxygen table-runs cancel {id}",
}


def run(data: dict[str, Any]) -> Iterator[Part]:
    """Draw the receipt of a run, or the preflight where none was made."""
    if "id" not in data:
        yield from preflight(data)
        return
    items = data.get("items") or {}
    yield facts(
        ("Run", data["id"]),
        ("Name", data.get("name")),
        ("Status", state(data.get("status"), data.get("pause_reason"))),
        ("Mode", state(data.get("mode"))),
        ("Table", data.get("table_name") or data.get("table")),
        ("Rows", _rows(items)),
        ("Estimate", _span(data)),
        ("Cap", data.get("max_credits")),
        ("Captured", data.get("captured")),
        ("Reserved", data.get("reserved")),
        ("Held", data.get("held")),
        ("Released", data.get("released")),
        *([("Absorbed", data["absorbed"])] if data.get("absorbed") else []),
        ("Started by", (data.get("started_by") or {}).get("name")),
        ("Started", when(data.get("started_at") or data.get("created_at"))),
        *([("Ended", when(data["ended_at"]))] if data.get("ended_at") else []),
        *([("Continues", data["continues"])] if data.get("continues") else []),
        *([("Continued by", data["continued_by"])] if data.get("continued_by") else []),
    )
    approval = data.get("approval") or {}
    if data.get("status") == "awaiting_approval":
        yield f"It waits to be approved. {approval.get('reason') or ''}".rstrip()
    if data.get("why"):
        yield str(data["why"])
    verbs = [NEXT[verb].format(id=data["id"]) for verb in data.get("next") or [] if verb in NEXT]
    if verbs:
        yield "\n".join(["", "Next:", *(f"  {verb}" for verb in verbs)])


def preflight(data: dict[str, Any]) -> Iterator[Part]:
    """Draw what a run would cost: nothing was called, and nothing was charged."""
    cost = data.get("credits") or {}
    yield facts(
        ("Rows", data.get("rows")),
        ("Estimate", _span(cost)),
        ("Suggested cap", cost.get("suggested_cap")),
        ("One row at most", cost.get("per_item_max")),
        ("Would hold", cost.get("would_hold")),
        ("Available", cost.get("available")),
        ("Available after", cost.get("available_after")),
    )
    yield heading("Tools")
    yield table(
        data.get("tools") or [],
        [
            Column("tool", "tool"),
            Column("mode", "mode"),
            Column("a call", "estimated_credits_per_call", number=True),
            Column("at most", "maximum_credits_per_call", number=True),
            Column("finds", lambda tool: percent(tool.get("success_rate")), number=True),
        ],
        "No tools.",
    )
    if cost.get("unpriced"):
        yield f"Not priced: {text(cost['unpriced']).plain}. {percent(cost.get('coverage'))} of the calls have a price."
    if (data.get("approval") or {}).get("needed"):
        yield f"It needs approval. {(data['approval'].get('reason') or '')}".rstrip()
    for blocker in data.get("blockers") or []:
        yield f"In the way: {blocker.get('detail') or blocker.get('code')}"
    yield "Nothing was called and nothing was charged."


def runs(data: dict[str, Any]) -> Iterator[Part]:
    yield table(
        data["runs"],
        [
            Column("run", "id"),
            Column("name", "name"),
            Column("status", lambda run: state(run.get("status"), run.get("pause_reason"))),
            Column("rows", lambda run: _rows(run.get("items") or {})),
            Column("captured", "captured", number=True),
            Column("cap", "max_credits", number=True),
            Column("created", lambda run: when(run.get("created_at"))),
        ],
        "No runs.",
    )


def attempts(rows: list[dict[str, Any]]) -> Part:
    return table(
        rows,
        [
            Column("call", "number", number=True),
            Column("tool", "tool"),
            Column("mode", "mode"),
            Column("outcome", lambda each: state(each.get("outcome"))),
            Column("credits", "credits", number=True),
            Column("reason", "reason"),
            Column("settled", lambda each: when(each.get("settled_at"))),
        ],
        "Nothing was called.",
    )


def progress(data: dict[str, Any]) -> str:
    """Say in a few words how far a run is."""
    items = data.get("items") or {}
    spent = credits(data.get("captured") or 0)
    if data.get("max_credits") is not None:
        spent += f" of {credits(data['max_credits'])}"
    words = state(data.get("status"), data.get("pause_reason")).plain
    return plain(f"{done(items):,} of {items.get('total') or 0:,} rows, {spent} credits, {words}")


def done(items: dict[str, Any]) -> int:
    return sum(items.get(status) or 0 for status in ("succeeded", "failed", "cancelled"))


def _rows(items: dict[str, Any]) -> str:
    parts = [f"{items[each]:,} {each}" for each in ("pending", "running", "failed", "cancelled") if items.get(each)]
    return f"{done(items):,} of {items.get('total') or 0:,}" + (f" ({', '.join(parts)})" if parts else "")


def _span(data: dict[str, Any]) -> str:
    """Write an estimate as likely, with its least and its most."""
    if data.get("estimated_max") is None:
        return "unknown"
    least, likely, most = (credits(data.get(name)) for name in ("estimated_min", "estimated", "estimated_max"))
    return f"{likely} ({least} to {most})"
