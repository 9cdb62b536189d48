"""The ledger's pages: every entry with what is available after it, one entry whole, and all that is filtered as CSV."""

import csv
from collections.abc import Iterator

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.timezone import localtime
from django.views.decorators.http import require_safe

from billing import actors, spans, statements
from billing.access import OrgRequest, org_page
from billing.forms import LedgerFilter
from billing.models import Entry, Organization
from billing.spans import Span
from billing.wanted import Wanted
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot

COLUMNS = (
    *("id", "timestamp", "day", "kind", "amount", "held", "available_after", "account_seq", "run", "row", "grant"),
    *("provider", "tool", "mode", "outcome", "cost", "actor", "reason"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@require_safe
@org_page(may="read")
@one_snapshot()
def ledger(request: OrgRequest) -> HttpResponse:
    asked, span = _asked(request)
    org, wanted = request.org, asked.wanted(span)
    listed = statements.entries(org, wanted, after=asked.cleaned_data["before"], limit=statements.PAGE)
    used = {tool: provider for provider, tool in statements.tools_used(org, span)}
    context = {
        "section": "ledger",
        "asked": asked.cleaned_data,
        "span": span,
        "kinds": Entry.Kind.choices,
        "kind": Entry.Kind(wanted.kind).label if wanted.kind else "",
        "ranges": spans.ALL_RANGES,
        "range": spans.ALL_RANGES[span.key],
        "entries": listed.rows,
        "older": listed.next and "~".join(listed.next.words),
        "moved": [entry.shown for entry in listed.rows],
        "after": [entry.available_after for entry in listed.rows if entry.available_after is not None],
        "grants": statements.grants_of(org, listed.rows),
        # What is asked for stays on offer, where these days have none of it.
        "providers": sorted({*used.values(), wanted.provider or ""} - {""}),
        "tools": sorted({*_tools(used, wanted.provider), wanted.tool or ""} - {""}),
        "captured": statements.captured(org, span, wanted) if wanted.kind in (None, Entry.Kind.CAPTURED) else None,
        "filtered": wanted.kind or wanted.provider or wanted.tool or wanted.run,
    }
    return page(request, "billing/ledger.html", context, fragment="list")


@require_safe
@org_page(may="read")
def ledger_csv(request: OrgRequest) -> StreamingHttpResponse:
    """All that the filters leave, page after page, however much it is."""
    asked, span = _asked(request)
    answer = StreamingHttpResponse(_lines(request.org, asked.wanted(span)), content_type="text/csv; charset=utf-8")
    name = f"ledger-{request.org.slug}-{span.first}-to-{span.last}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@require_safe
@org_page(may="read")
def entry(request: OrgRequest, entry_id: str) -> HttpResponse:
    org = request.org
    found = statements.entry(org, entry_id)
    if found is None:
        raise Http404("There is no such entry.")
    context = {
        "section": "ledger",
        "entry": found,
        "entries": [found],
        "grant": statements.grants_of(org, [found]).get(found.source),
        "actor": actors.in_words(org, found),
    }
    return page(request, "billing/entry.html", context)


def _asked(request: OrgRequest) -> tuple[LedgerFilter, Span]:
    asked = LedgerFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such kind, range, day, run or place in the ledger.")
    return asked, spans.span(asked.cleaned_data["range"], request.org, clock(), asked.chosen)


def _tools(used: dict[str, str], provider: str | None) -> list[str]:
    return [tool for tool, its in used.items() if provider in (None, its)]


# ------------------------------------------------------------------ CSV


class _Line:
    """What `csv` writes to: it hands back what it is given."""

    def write(self, line: str) -> str:
        return line


def _lines(org: Organization, wanted: Wanted) -> Iterator[str]:
    write = csv.writer(_Line()).writerow
    yield write(COLUMNS)
    for each in statements.every(org, wanted):
        yield write(_row(org, each))


def _row(org: Organization, entry: Entry) -> list[object]:
    is_call = entry.account_seq is None
    return [
        entry.id,
        entry.at.isoformat(),
        localtime(entry.at, org.tz).date(),
        entry.kind,
        *map(_exact, (entry.amount, entry.held, entry.available_after)),
        entry.account_seq,
        entry.source if entry.of_run else None,
        entry.item if is_call else None,
        None if entry.of_run or entry.kind == Entry.Kind.ADJUSTED else entry.source,
        entry.provider,
        entry.tool,
        ("byok" if entry.byok else "managed") if is_call else None,
        entry.outcome,
        _exact(entry.cost) if is_call else None,
        entry.actor or f"run:{entry.source}",
        _text(entry.reason or ""),
    ]


def _exact(credits: object) -> str:
    return "" if credits is None else f"{credits:f}"


def _text(words: str) -> str:
    """A spreadsheet takes some words for formulas; an apostrophe tells it that they are none."""
    return f"'{words}" if words.startswith(FORMULA) else words
