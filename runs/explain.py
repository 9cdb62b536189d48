"""Why am I blocked: every limit that applies to an org, a run, or a run that nobody has started, and which one binds.

For the API and the command. Reads only. Laws: no rule is written here, only what it counts; at most one limit binds,
the one that has to give way first; and one action makes it, or none where only waiting does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db.models import FETCH_RAISE
from django.urls import reverse

from billing.models import Account, Organization
from oxygen_site.clock import clock
from runs import accounts, lifecycle, queries, smoke_tests, today
from runs.cascade import ZERO, plain
from runs.models import Fill, Limit, Run
from runs.models.limits import OXYGENS
from runs.preflight import Preflight
from runs.providers import limits as providers
from runs.queries import RunCard

WAITS_FOR_APPROVAL = "It waits for approval by an admin or owner of the organization. It holds nothing so far."
OUTSIDE = "An execution plane works on it, and takes what it may."
AT_WORK = {
    Run.Status.QUEUED: "It waits for a worker.",
    Run.Status.RUNNING: "It is running.",
    Run.Status.CANCELLING: "It is being cancelled: calls in flight settle.",
}


@dataclass(frozen=True)
class Bound:
    """One limit: how much of it is used, and when it gives way by itself, where it does."""

    code: str
    name: str
    used: Decimal | None
    limit: Decimal | None
    unit: str
    resets_at: datetime | None = None
    binds: bool = False


@dataclass(frozen=True)
class Action:
    """What unblocks: a line of the command, or a page."""

    label: str
    command: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Explanation:
    can: bool
    sentence: str
    binding: str | None
    limits: list[Bound]
    action: Action | None


def of_org(org: Organization) -> Explanation:
    """Explain what limits an org's new runs, whatever they fill. Five queries."""
    available = _available(org)
    limits = [_balance(available), *_threshold(org), _smoke_tests(org), *_providers(org, None)]
    if available > 0:
        return Explanation(True, f"{plain(available)} credits are available to new runs.", None, limits, None)
    sentence = "No credits are available. Runs on your own accounts alone still start."
    return _blocked("insufficient_credits", sentence, limits, _add_credits(org))


# ------------------------------------------------------------------ a run that is there


def of_run(run: Run) -> Explanation:
    """Explain why a run of `queries.run_of` does not go on, or that it does. A dozen queries at most."""
    card, org = queries.receipt(run), run.org
    available = _available(org)
    limits = [
        *([_balance(available, run.to_hold), *_threshold(org, run.to_hold)] if card.can_approve else []),
        *_cap(card),
        *_providers(org, providers.accounts(run)),
    ]
    if card.can_approve:
        return _unapproved(card, available, limits)
    if run.status == Run.Status.PAUSED:
        return _paused(card, limits)
    if not run.is_open:
        sentence = f"It has ended: {run.get_status_display().lower()}."
        return Explanation(False, sentence, None, limits, None)
    sentence = OUTSIDE if run.is_outside and run.status in Run.PAUSABLE else AT_WORK[Run.Status(run.status)]
    return Explanation(run.status in Run.PAUSABLE, sentence, None, limits, None)


def _unapproved(card: RunCard, available: Decimal, limits: list[Bound]) -> Explanation:
    run = card.run
    if (missing := run.to_hold - available) > 0:
        sentence = today.short(missing, run.to_hold).message
        return _blocked("insufficient_credits", sentence, limits, _add_credits(run.org))
    approve = Action("Approve it", f"oxygen runs approve {run.id}", _page(run))
    return _blocked("approval_required", WAITS_FOR_APPROVAL, limits, approve)


def _paused(card: RunCard, limits: list[Bound]) -> Explanation:
    run = card.run
    if card.at_cap:
        rest = today.expected(card.pending, today.tools(today.filled_by(run))).suggested_cap or ZERO
        line = f"oxygen table-runs continue {run.id} --max-credits {plain(rest)}"
        return _blocked("cap_reached", card.why, limits, Action("Continue with a new cap", line, _page(run)))
    resume = Action("Resume it", f"oxygen table-runs resume {run.id}", _page(run))
    if run.pause_reason == Run.PauseReason.PROVIDER_UNAVAILABLE:
        names = " and ".join(providers.unavailable(run)) or "Its provider"
        sentence = f"{names} did not answer several times in a row. It goes on by itself once there is an answer."
        return _blocked("provider_unavailable", sentence, limits, replace(resume, label="Ask at once"))
    return _blocked("paused", "It is paused, and has room to go on.", limits, resume)


# ------------------------------------------------------------------ a run that nobody has started


def of_start(read: Preflight, fill: Fill, limit: int | None) -> Explanation:
    """Explain what would stop a live run that was foreseen. Three queries besides."""
    org, costs = read.table.org, read.terms
    whose = {tool.provider: org.pk if tool.byok else OXYGENS for tool in read.tools}
    limits = [
        _balance(read.available, read.holds),
        *_threshold(org, read.holds),
        _smoke_tests(org),
        *_providers(org, whose),
        Bound("nothing_to_run", "Rows left to fill", None, Decimal(costs.rows), "rows"),
        Bound("price_unknown", "Calls with a known price", None, costs.coverage, "share of calls"),
    ]
    if read.unit != ZERO:
        code = "cap_too_small" if read.cap is not None else "cap_required"
        limits.append(Bound(code, "One row within the cap", read.unit, read.cap, "credits"))
    missing = accounts.missing(org.pk, {tool.provider for tool in read.tools if tool.byok})
    limits += [Bound("integration_required", f"Own account at {name}", ZERO, None, "accounts") for name in missing]
    line = _line(read, fill, limit)
    if read.blockers:
        first = read.blockers[0]
        return _blocked(first.code, first.message, limits, _way_out(first.code, read, line))
    if away := [each for each in limits if each.code == "provider_unavailable" and each.resets_at]:
        sentence = f"It may start, and waits: {away[0].name}. It goes on by itself once there is an answer."
        return _blocked("provider_unavailable", sentence, limits, None)
    if read.approval:
        return _blocked("approval_required", read.approval, limits, Action("Start it approved", f"{line} --approved"))
    return Explanation(True, f"It may start, and would hold {plain(read.holds or ZERO)} credits.", None, limits, None)


def _way_out(code: str, read: Preflight, line: str) -> Action | None:
    slug = read.table.org.slug
    match code:
        case "insufficient_credits":
            return _add_credits(read.table.org)
        case "integration_required":
            return Action("Connect the account", url=reverse("runs:accounts", args=[slug]))
        case "cap_required" | "cap_too_small":
            return Action("Name a cap that is enough", line)
        case "nothing_to_run":
            return Action("Import more rows", "oxygen tables import FILE.csv")
        case "price_unknown":
            return Action("Add a column of other tools", f"oxygen columns add {read.table.pk} KEY --tool TOOL")
    return None


def _line(read: Preflight, fill: Fill, limit: int | None) -> str:
    """The line of the command that starts it, under a cap that is enough."""
    if lifecycle.kind_of(fill) == Run.Kind.ENRICHMENT:
        line = f"oxygen enrich-column run {read.table.pk} --capability {fill.pk}"
    else:
        line = f"oxygen columns run {read.table.pk} {read.column.key}"
    enough = max(read.unit or ZERO, read.cap or read.terms.suggested_cap or ZERO)
    return line + (f" --limit {limit}" if limit else "") + (f" --max-credits {plain(enough)}" if enough else "")


# ------------------------------------------------------------------ the limits


def _blocked(code: str, sentence: str, limits: list[Bound], action: Action | None) -> Explanation:
    first = next((each for each in limits if each.code == code), None)
    return Explanation(False, sentence, code, [replace(each, binds=each is first) for each in limits], action)


def _available(org: Organization) -> Decimal:
    return Account.objects.get(org=org.pk).available


def _balance(available: Decimal, holds: Decimal | None = None) -> Bound:
    return Bound("insufficient_credits", "Available credits", holds, available, "credits")


def _threshold(org: Organization, holds: Decimal | None = None) -> Iterator[Bound]:
    if org.approval_threshold is not None:
        yield Bound("approval_required", "Held without approval", holds, org.approval_threshold, "credits")


def _smoke_tests(org: Organization) -> Bound:
    now = smoke_tests.quota(org, clock())
    used, most = Decimal(now.used), Decimal(smoke_tests.CALLS)
    return Bound("smoke_test_limit", "Calls of smoke tests today", used, most, "calls", now.resets_at)


def _cap(card: RunCard) -> Iterator[Bound]:
    if card.run.cap is not None:
        spent = card.captured + card.held
        yield Bound("cap_reached", "The run's cap", spent, card.run.cap, "credits")


def _providers(org: Organization, whose: Mapping[str, UUID] | None) -> Iterator[Bound]:
    """Accounts that failed lately or are limited: these, or all that the org may use. Resets are of the real clock."""
    rows = Limit.objects.filter(account__in=(OXYGENS, org.pk)).select_related("provider").order_by("provider")
    for row in rows.fetch_mode(FETCH_RAISE):
        if whose is not None and whose.get(row.provider_id) != row.account:
            continue
        name = row.provider.name if row.account == OXYGENS else f"{row.provider.name} on your own account"
        if row.failures:
            most, until = Decimal(settings.BREAKER_FAILURES), row.open_until
            unit = "failures in a row"
            yield Bound("provider_unavailable", f"{name} does not answer", Decimal(row.failures), most, unit, until)
        if (rate := row.provider.calls_per_second) is not None:
            yield Bound("provider_busy", f"Calls to {name}", None, rate, "calls a second", row.blocked_until)


def _add_credits(org: Organization) -> Action:
    return Action("Add credits", url=reverse("billing:subscribe", args=[org.slug]))


def _page(run: Run) -> str:
    return reverse("runs:detail", args=[run.org.slug, run.id])
