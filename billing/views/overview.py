"""The billing page: what there is, what waits for a person, where it went, how the balance went."""

from typing import Any

from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from billing import access, balance, breakdown, charges, charts, course, spans, usage
from billing.access import OrgRequest, org_page
from billing.breakdown import Breakdown, Group
from billing.forms import OverviewFilter
from billing.models import Organization
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import one_snapshot

FRAGMENTS = ("usage", "charges")
lazy: Any = SimpleLazyObject  # it stands in for what it reads: each is read only where its piece is asked for


@require_safe
@org_page(may="read")
@one_snapshot()
def overview(request: OrgRequest) -> HttpResponse:
    query = _said(request.GET)
    if len(query) < len(request.GET):  # a form's empty fields: the address says what is asked, and no more
        return redirect(f"{request.path}?{query.urlencode()}")
    form = OverviewFilter(query)
    if not form.is_valid():
        raise Http404("There is no such range, day, filter or place in the list.")
    org, now, asked = request.org, clock(), form.cleaned_data
    span, wanted = form.span(org, now), form.wanted()
    stands = lazy(lambda: balance.read(org, now))
    used = lazy(lambda: breakdown.read(org, span, wanted, asked["group"], asked["measure"]))
    went = lazy(lambda: course.read(org, span, now, stands.tie_out))
    context = {
        "section": "billing",
        "may_start": access.may(request.role, "start_runs"),
        "may_buy": access.may(request.role, "plan"),
        "ranges": spans.RANGES,
        "groups": breakdown.GROUPS,
        "measures": breakdown.MEASURES,
        "outcomes": usage.OUTCOMES,
        "query": query,
        "asked": asked,
        "span": span,
        "filtered": any(asked[name] for name in form.FILTERS),
        "labels": lazy(lambda: _labels(org, asked, used)),
        "choices": lazy(lambda: usage.choices(org, span)),
        "balance": stands,
        "usage": used,
        "chart": lazy(lambda: charts.usage(used)),
        "sparks": lazy(lambda: _sparks(used, every=asked["all"])),
        "charges": lazy(lambda: charges.read(org, form.part(span), wanted, asked["before"])),
        "course": went,
        "course_chart": lazy(lambda: charts.course(went)),
    }
    return page(request, "billing/overview.html", context, fragment=_asked_for(request))


def _said(sent: QueryDict) -> QueryDict:
    query = sent.copy()
    for name in [name for name, value in sent.items() if not value]:
        del query[name]
    return query


def _sparks(used: Breakdown, *, every: bool) -> list[tuple[Group, str]]:
    return [(group, charts.spark(group.measured)) for group in (used.groups if every else used.named)]


def _labels(org: Organization, asked: dict[str, Any], used: Breakdown) -> dict[str, str]:
    """What groups and filters are called, where their ids do not say it; runs and providers name theirs themselves."""
    names = usage.members(used.keys) if used.by == "member" else {}
    if asked["member"]:  # whoever it is: only the org's own people are named
        names |= {user.pk: str(user) for user in access.people_of(org).filter(pk=asked["member"])}
    return usage.MODES | usage.OUTCOMES | {str(id): name for id, name in names.items()}


def _asked_for(request: OrgRequest) -> str | None:
    target = (request.htmx.target or "").rpartition("#")[2]  # type: ignore[attr-defined]
    return target if target in FRAGMENTS else None
