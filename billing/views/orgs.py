"""Which organization: the way to the current one, the switcher's list, and making a new one."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from billing import access, orgs, switcher
from billing.forms import OrganizationForm
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused

PAGE = 50


@require_safe
@login_required
def home(request: HttpRequest, to: str = "billing:overview") -> HttpResponse:
    """Lead to the org visited last, else the first by name, else to making one; an agency's staff to their clients."""
    mine = access.orgs_of(request.user)  # type: ignore[arg-type]
    org = mine.filter(slug=request.session.get("org", "")).first()
    if org is None and to == "billing:overview" and _is_only_staff(request.user):
        return redirect("billing:agency")
    org = org or mine.first()
    return redirect(to, org.slug) if org else redirect("billing:new_org")


def _is_only_staff(user: Any) -> bool:
    return user.agencies.exists() and not user.memberships.exists()


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """List one's organizations; for the palette, with the pages of the one that `here` names."""
    if _target(request) == "palette-list":
        palette = switcher.palette(request.user, _here(request))  # type: ignore[arg-type]
        return page(request, "billing/orgs.html", {"palette": palette}, fragment="palette-list")
    text = " ".join(request.GET.get("q", "").replace("\0", "").split())[:120]
    switching = request.htmx  # type: ignore[attr-defined]
    found = switcher.find(request.user, text, *([] if switching else [PAGE]))  # type: ignore[arg-type]
    context = {"found": found, "text": text, "agencies": request.user.agencies.all()}  # type: ignore[union-attr]
    return page(request, "billing/orgs.html", context, fragment="org-results")


def _here(request: HttpRequest) -> Any:
    """The request as one at the org that `here` names; None where it names none, or none of one's own."""
    try:
        access.enter(request, request.GET.get("here", "").replace("\0", ""))
    except Http404:
        return None
    return request


def _target(request: HttpRequest) -> str:
    return (request.htmx.target or "").rpartition("#")[2]  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def new_org(request: HttpRequest) -> HttpResponse:
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            org = orgs.create(**form.cleaned_data, owner=request.user)  # type: ignore[arg-type]
        except Refused as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            return redirect("billing:overview", org.slug)
    context: dict[str, Any] = {"form": form}
    return page(request, "billing/new_org.html", context, status=422 if form.errors else 200)
