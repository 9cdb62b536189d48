"""What billing's pages show of runs. They join here, in the template, for `billing` imports nothing of `runs`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import template
from django.db.models import FETCH_RAISE

from billing import access
from billing.models import Account, Entry, Reservation
from runs import queries, standing
from runs.cascade import ZERO
from runs.models import Provider, Run
from runs.providers import limits

register = template.Library()
SHOWN = 5  # of a page with much besides


@register.inclusion_tag("runs/_attention.html", takes_context=True)
def attention(context: Any, refusal: Any = None, refused: Run | None = None) -> dict[str, Any]:
    """Show the paused and live runs of the request's org, and what this person may do with them. Three queries."""
    request = context["request"]
    cards = queries.attention(request.org)
    return {
        **attended(cards),
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "refusal": refusal,
        "refused": refused,
        "back": context.get("back") or request.path,
    }


def attended(cards: list[queries.RunCard]) -> dict[str, Any]:
    """Part the cards in those that wait for a person and those at work.

    `moving` are those whose figures a poll brings, and `seen` tells it whether anything but figures changed.
    """
    waiting, live = ([card for card in cards if card.run.is_live is at_work] for at_work in (False, True))
    first, then = waiting[:SHOWN], live[: max(1, SHOWN - len(waiting))]
    shown = [*first, *then]
    return {
        "waiting": first,
        "live": then,
        "moving": [card for card in shown if card.is_moving],
        "asked": any(card.can_approve for card in first),
        "more": len(cards) - len(shown),
        "waiting_count": len(waiting),
        "seen": "-".join(
            [*(f"{card.run.id.hex[-6:]}{card.stands}" for card in shown), f"{len(waiting)}of{len(cards)}"]
        ),
    }


@register.simple_tag(takes_context=True)
def may_steer(context: Any, run: Run) -> bool:
    """Say whether the person at the page may pause, resume, cancel or continue the run."""
    return access.may_steer(context["request"], run)


@register.simple_tag(takes_context=True)
def may_approve(context: Any) -> bool:
    """Say whether the person at the page may approve runs of the org."""
    return access.may(context["request"].role, "approve")


@register.simple_tag(takes_context=True)
def available(context: Any) -> Decimal:
    """Read what new work of the org may hold. One query."""
    return Account.objects.get(org=context["request"].org.pk).available


@register.filter
def planned(available: Decimal, run: Run) -> dict[str, Any]:
    """What is available after a run that waits for approval, and the figures that stand in one column with it."""
    after = available - run.to_hold
    return {"after": after, "column": [run.estimated, run.cap or ZERO, run.to_hold, after]}


@register.simple_tag
def unavailable(run: Run) -> list[str]:
    """Name the providers a run waits for. One query."""
    return limits.unavailable(run)


@register.simple_tag
def provider_names() -> dict[str, str]:
    """Read the providers' names by id. One query."""
    return dict(Provider.objects.values_list("id", "name"))


@register.simple_tag
def kind_names() -> dict[str, str]:
    """What the kinds of runs are called."""
    return {value: f"{label} runs".capitalize() for value, label in Run.Kind.choices}


@register.simple_tag(takes_context=True)
def run_of(context: Any, id: UUID | None) -> Run | None:
    """Read one run of the request's org, where one is asked for. One query."""
    return Run.objects.filter(org=context["request"].org, id=id).only("name").first() if id else None


@dataclass(frozen=True)
class Leased:
    """A run's items in flight, and until when whoever works at them has them for sure; business time."""

    items: int
    until: datetime


@register.simple_tag
def leases(reservations: Iterable[Reservation]) -> dict[UUID, Leased]:
    """Read the leases of the items in flight, by run. One query."""
    return {run: Leased(items, until) for run, items, until in standing.leases(held.run for held in reservations)}


@register.simple_tag(takes_context=True)
def runs_that(context: Any, reservations: Iterable[Reservation]) -> dict[UUID, Run]:
    """Read the runs that hold, by id. One query."""
    return _named_runs(context, {held.run for held in reservations})


@register.filter
def named(names: Mapping[str, str], provider: str) -> str:
    return names.get(provider, provider)


@register.simple_tag(takes_context=True)
def runs_of(context: Any, entries: Iterable[Entry], asked: UUID | None = None) -> dict[UUID, Run]:
    """Read the runs that these entries belong to, by id, and one asked for. One query."""
    return _named_runs(context, {entry.source for entry in entries} | ({asked} if asked else set()))


@register.simple_tag(takes_context=True)
def run_names(context: Any, ids: Iterable[UUID], asked: UUID | None = None) -> dict[str, str]:
    """Read what runs are called, by id, in their order; first one that is asked for. One query."""
    wanted = dict.fromkeys([*([asked] if asked else []), *ids])
    found = _named_runs(context, set(wanted))
    return {str(id): found[id].name if id in found else "A run" for id in wanted}


def _named_runs(context: Any, ids: set[UUID]) -> dict[UUID, Run]:
    runs = Run.objects.filter(org=context["request"].org, id__in=ids).select_related("table", "column")
    named = runs.only("name", "kind", "created_at", "ended_at", "table__name", "column__name").fetch_mode(FETCH_RAISE)
    return {run.id: run for run in named}


@register.filter
def of[T](by_run: Mapping[UUID, T], run: UUID) -> T | None:
    return by_run.get(run)
