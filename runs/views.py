"""The runs' pages: the list, a new run, one run's receipt, and what a person may say to it.

Every action is one form: with htmx it answers at once whatever it changed of the page it was said on, without it leads
back there. A refusal stands in place, beside the run it is about, with its status. What a live page asks again and
again is answered with 304 while nothing of it moved.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget, trigger_client_event

from billing import access, balance
from billing.access import OrgRequest, org_page
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused, one_snapshot
from runs import accounts as own_accounts
from runs import approval, lifecycle, queries, standing, today
from runs.cascade import ZERO, plain
from runs.estimates import estimate
from runs.forms import AccountForm, ApproveForm, CapForm, ItemsFilter, RunForm, RunsFilter
from runs.models import Provider, Run
from runs.templatetags.runs import attended

PIECES = ("run", "receipt", "items")  # of a run's page


@require_safe
@org_page(may="read")
@one_snapshot()
def index(request: OrgRequest) -> HttpResponse:
    context = {
        "section": "runs",
        "may_start": access.may(request.role, "start_runs"),
        "may_connect": access.may(request.role, "settings"),
    }
    return page(request, "runs/index.html", context | _list(request, request.GET), fragment="list")


def _list(request: OrgRequest, query: QueryDict) -> dict[str, Any]:
    asked = _filters(RunsFilter(query))
    listed = queries.runs_page(request.org, before=asked["before"], status=asked["status"])
    return {"query": query, "asked": asked, "statuses": Run.Status, "listed": listed}


@require_safe
@org_page(may="read")
@one_snapshot()
def attention(request: OrgRequest) -> HttpResponse:
    """The live runs' figures, for a page that watches them; the whole card once a run began, stopped or ended."""
    back = _back(request.GET.get("back", ""), request)
    money = balance.version(request.org, clock()) if back == _billing(request) else ()
    return _poll(request, lambda: _live(request, back), standing.versions(request.org.pk), money)


def _live(request: OrgRequest, back: str) -> HttpResponse:
    state = attended(queries.attention(request.org))
    if state["seen"] != request.GET.get("seen"):
        return reswap(retarget(_attention(request, back), "#runs"), "outerHTML")
    return render(request, "runs/_live.html", state | _balance(request, back))


def _poll(request: OrgRequest, answer: Callable[[], HttpResponse], *versions: object) -> HttpResponse:
    """Answer what is asked again and again, or only that it stands as it did: 304.

    A mark tells how it stands, read before anything else is. What is swapped in elsewhere, with its forms, has none.
    """
    mark = f'"{sha256(repr(versions).encode()).hexdigest()[:24]}"'
    answered = get_conditional_response(request, etag=mark) or answer()
    if "HX-Retarget" not in answered:
        answered["ETag"] = mark
    return answered


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="start_runs")
def new(request: OrgRequest) -> HttpResponse:
    do = request.POST.get("do")
    if request.method != "POST" or do == "choose":  # another table, so far nothing to judge
        return _plan(request, RunForm(request.org, initial=(request.POST or request.GET).dict() | {"cap": ""}))
    form = RunForm(request.org, request.POST)
    if not form.is_valid():
        return _plan(request, form, status=422)
    if do not in ("start", "approve"):
        return _plan(request, form)
    facts, approved = form.cleaned_data, do == "approve"
    if approved:
        access.require(request, "approve")
    try:
        run = lifecycle.create(
            facts["table"], facts["fill"], cap=facts["cap"], limit=facts["limit"], by=request.user, approved=approved
        )
    except Refused as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        return _plan(request, form, status=refusal.status)
    return redirect("runs:detail", request.org.slug, run.id)


def _plan(request: OrgRequest, form: RunForm, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {"section": "runs", "form": form}
    facts = getattr(form, "cleaned_data", {})
    if fill := facts.get("fill"):
        column = today.column_of(facts["table"], fill)
        terms = today.estimated(column, facts.get("limit"))
        cap = _credits(facts.get("cap")) or terms.suggested_cap
        holds = min(cap, terms.max) if cap is not None and terms.max is not None else None
        available = balance.read(request.org, clock()).available
        context["plan"] = {
            "fill": fill,
            "tools": today.tools(column),
            "terms": terms,
            "holds": holds,
            "available": available,
            "after": available - holds if holds is not None else None,
            "approval": approval.reason(request.org, lifecycle.kind_of(fill), holds or ZERO),
            "may_approve": access.may(request.role, "approve"),
            "column": [
                value for value in (terms.min, terms.likely, terms.max, terms.suggested_cap, available) if value
            ],
        }
        if not request.POST.get("cap") and terms.suggested_cap:
            form.data = request.POST.copy()
            form.data["cap"] = plain(terms.suggested_cap)
    return page(request, "runs/new.html", context, fragment="plan", status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="settings")
def accounts(request: OrgRequest) -> HttpResponse:
    if request.method != "POST":
        return _accounts(request)
    form = AccountForm(request.POST)
    if not form.is_valid():
        return _accounts(request, refusal=Refused("unknown_provider", "There is no such provider.", 422))
    provider = form.cleaned_data["provider"]
    if request.POST.get("do") == "disconnect":
        own_accounts.disconnect(request.org, provider)
        return redirect("runs:accounts", request.org.slug)
    try:
        own_accounts.connect(request.org, provider, form.cleaned_data["credential"])
    except Refused as refusal:
        return _accounts(request, provider, refusal)
    return redirect("runs:accounts", request.org.slug)


def _accounts(request: OrgRequest, refused: Provider | None = None, refusal: Refused | None = None) -> HttpResponse:
    context = {
        "section": "runs",
        "accounts": own_accounts.listed(request.org),
        "refused": refused,
        "refusal": refusal,
    }
    return page(request, "runs/accounts.html", context, status=refusal.status if refusal else 200)


@require_safe
@org_page(may="read")
def detail(request: OrgRequest, run_id: UUID) -> HttpResponse:
    if _target(request) != "receipt":
        return _show(request, _run(request, run_id))
    return _poll(request, lambda: _show(request, _run(request, run_id)), standing.versions(request.org.pk, run_id))


@require_POST
@org_page(may="approve")
def approve(request: OrgRequest, run_id: UUID) -> HttpResponse:
    form = ApproveForm(request.POST)
    plan = form.cleaned_data["plan"] if form.is_valid() else ""
    return _act(request, run_id, lambda run: lifecycle.approve(run, by=request.user, plan=plan))


@require_POST
@org_page(may="steer_own")
def pause(request: OrgRequest, run_id: UUID) -> HttpResponse:
    return _act(request, run_id, lambda run: lifecycle.pause(run, by=request.user))


@require_POST
@org_page(may="steer_own")
def resume(request: OrgRequest, run_id: UUID) -> HttpResponse:
    return _act(request, run_id, lambda run: lifecycle.resume(run, by=request.user))


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="steer_own")
def cancel(request: OrgRequest, run_id: UUID) -> HttpResponse:
    if request.method == "POST":
        return _act(request, run_id, lambda run: lifecycle.cancel(run, by=request.user))
    return _confirm(request, _run(request, run_id), "runs/cancel.html")


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="steer_own")
def continue_run(request: OrgRequest, run_id: UUID) -> HttpResponse:
    run = _run(request, run_id)
    if request.method != "POST":
        return _confirm(request, run, "runs/continue_run.html")
    access.require_steering(request, run)
    form = CapForm(request.POST)
    cap = form.cleaned_data["cap"] if form.is_valid() else None
    try:
        continued = lifecycle.continue_remaining(run, cap=cap, by=request.user)
    except Refused as refusal:
        if refusal.code == "not_allowed":
            raise PermissionDenied(refusal.message) from refusal
        if refusal.code in ("wrong_state", "in_flight"):
            return _answer(request, _run(request, run_id), refusal)
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        return _confirm(request, run, "runs/continue_run.html", form=form, status=refusal.status)
    return _answer(request, continued)


# ------------------------------------------------------------------ how an action answers


def _act(request: OrgRequest, run_id: UUID, verb: Callable[[Run], Run]) -> HttpResponse:
    run = _run(request, run_id)
    access.require_steering(request, run)
    try:
        verb(run)
    except Refused as refusal:
        return _answer(request, _run(request, run_id), refusal)
    return _answer(request, _run(request, run_id))


def _answer(request: OrgRequest, run: Run, refusal: Refused | None = None) -> HttpResponse:
    """Whatever it changed of where it was said: the runs' card and what stands beside it, or the run's own page."""
    back = _back(request.POST.get("back", ""), request)
    own = reverse("runs:detail", args=[request.org.slug, run.id])
    if not request.htmx:  # type: ignore[attr-defined]
        return _show(request, run, refusal) if refusal else redirect(back or own)
    if back:
        answer = _attention(request, back, run, refusal)
    elif request.resolver_match and run.id != request.resolver_match.kwargs["run_id"]:
        return HttpResponseClientRedirect(own)  # continued: another run, another page
    else:
        answer = render(request, "runs/detail.html#run", _context(request, run, refusal))
    answer.status_code = refusal.status if refusal else 200
    return trigger_client_event(answer, "done", {})


def _attention(request: OrgRequest, back: str, run: Run | None = None, refusal: Refused | None = None) -> HttpResponse:
    context = {"back": back, "refusal": refusal, "refused": run} | _balance(request, back)
    if back == reverse("runs:index", args=[request.org.slug]):
        context |= _list(request, _shown(request)) | {"oob": True}
    return render(request, "runs/_attended.html", context)


def _balance(request: OrgRequest, back: str) -> dict[str, Any]:
    """The billing page shows the balance beside the runs, so an answer to it brings both."""
    return {"balance": balance.read(request.org, clock()), "oob": True} if back == _billing(request) else {}


def _billing(request: OrgRequest) -> str:
    return reverse("billing:overview", args=[request.org.slug])


def _confirm(
    request: OrgRequest, run: Run, template: str, form: CapForm | None = None, status: int = 200
) -> HttpResponse:
    """The figures before a decision: in the dialog with htmx, else as a page of its own."""
    access.require_steering(request, run)
    card = queries.receipt(run)
    rest = estimate(card.pending, today.tools(today.filled_by(run)))
    to_hold = min(rest.suggested_cap or ZERO, rest.max or ZERO)
    may_approve = access.may(request.role, "approve")
    facts = {
        "section": "runs",
        "run": run,
        "approval": approval.reason(request.org, run.kind, to_hold),
        "may_approve": may_approve,
        "may_continue": may_approve or not approval.reason(request.org, run.kind, ZERO),
        "card": card,
        "rest": rest,
        "form": form or CapForm(initial={"cap": rest.suggested_cap and plain(rest.suggested_cap)}),
        "available": balance.read(request.org, clock()).available,
        "back": _back((request.POST or request.GET).get("back", ""), request),
    }
    if not request.htmx:  # type: ignore[attr-defined]
        return render(request, template, facts, status=status)
    answer = render(request, f"{template}#confirm", facts | {"in_dialog": True}, status=status)
    return reswap(retarget(answer, "#dialog-body"), "innerHTML")


def _show(request: OrgRequest, run: Run, refusal: Refused | None = None) -> HttpResponse:
    context, target = _context(request, run, refusal), _target(request)
    if target == "receipt" and request.GET.get("seen") != context["card"].stands:
        return reswap(retarget(render(request, "runs/detail.html#run", context), "#run"), "outerHTML")
    status = refusal.status if refusal else 200
    return page(request, "runs/detail.html", context, fragment=target if target in PIECES else None, status=status)


def _context(request: OrgRequest, run: Run, refusal: Refused | None) -> dict[str, Any]:
    query = _shown(request) if _target(request) in ("run", "receipt") else request.GET
    asked = _filters(ItemsFilter(query))
    after, status, calls, number = asked["after"] or 0, asked["status"], asked["calls"], asked["row"]
    with one_snapshot():
        receipt = queries.itemized_receipt(run)
        items = queries.items_page(run, after=after, status=status, calls=calls, number=number)
    return {
        "section": "runs",
        "run": run,
        "receipt": receipt,
        "card": receipt.card,
        "refusal": refusal,
        "query": query,
        "asked": asked,
        "items": items,
    }


def _shown(request: OrgRequest) -> QueryDict:
    """The page's filters: a poll or an action has an address of its own, and answers the page as it stands."""
    return QueryDict(urlsplit(request.htmx.current_url or "").query)  # type: ignore[attr-defined]


def _target(request: OrgRequest) -> str:
    return (request.htmx.target or "").rpartition("#")[2]  # type: ignore[attr-defined]


def _run(request: OrgRequest, run_id: UUID) -> Run:
    runs = Run.objects.filter(org=request.org).select_related("table", "column", "member", "continues", "approved_by")
    return get_object_or_404(runs, id=run_id)


def _filters(form: Any) -> dict[str, Any]:
    if not form.is_valid():
        raise Http404("There is no such status, kind of call, row or place in the list.")
    return dict(form.cleaned_data)


def _back(text: str, request: OrgRequest) -> str:
    return text if url_has_allowed_host_and_scheme(text, {request.get_host()}) else ""


def _credits(text: str | None) -> Decimal | None:
    """What a cap field says, as far as it says something; what is wrong with it is `lifecycle`'s to say."""
    try:
        cap = Decimal(text or "")
    except InvalidOperation:
        return None
    return cap if cap.is_finite() and cap > 0 else None
