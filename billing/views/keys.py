"""The pages of API keys, an organization's and an agency's: what there is, a new one, another in its place, an end.

The law: a key itself stands on one page only, the answer to the POST that made it, which nobody keeps.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from billing import keyring
from billing import keys as api_keys
from billing.access import AgencyRequest, OrgRequest, agency_page, org_page
from billing.forms import KeyForm, KeysFilter, RotateForm
from billing.models import Agency, ApiKey, Organization
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused

type Request = OrgRequest | AgencyRequest
type Owner = Organization | Agency
METHODS = ["GET", "HEAD", "POST"]


@dataclass(frozen=True)
class Made:
    """A key with its secret, which not even a log of what a template was given would show."""

    key: ApiKey
    secret: str = field(repr=False)


@require_http_methods(METHODS)
@org_page(may="settings")
def keys(request: OrgRequest) -> HttpResponse:
    return _keys(request, request.org)


@require_http_methods(METHODS)
@org_page(may="settings")
def revoke_key(request: OrgRequest, key_id: UUID) -> HttpResponse:
    return _revoke(request, _key(key_id, org=request.org))


@require_http_methods(METHODS)
@org_page(may="settings")
def rotate_key(request: OrgRequest, key_id: UUID) -> HttpResponse:
    return _rotate(request, _key(key_id, org=request.org))


@require_http_methods(METHODS)
@agency_page
def agency_keys(request: AgencyRequest) -> HttpResponse:
    """The keys of the agency that `agency` names, else of the first by name."""
    asked = request.POST.get("agency") or request.GET.get("agency") or str(request.agencies[0].pk)
    named = [agency for agency in request.agencies if str(agency.pk) == asked]
    if not named:
        raise Http404("There is no such agency, or you are not on its staff.")
    return _keys(request, named[0])


@require_http_methods(METHODS)
@agency_page
def agency_revoke_key(request: AgencyRequest, key_id: UUID) -> HttpResponse:
    return _revoke(request, _key(key_id, agency__in=request.agencies))


@require_http_methods(METHODS)
@agency_page
def agency_rotate_key(request: AgencyRequest, key_id: UUID) -> HttpResponse:
    return _rotate(request, _key(key_id, agency__in=request.agencies))


# ------------------------------------------------------------------ what both do


def _keys(request: Request, of: Owner) -> HttpResponse:
    if request.method != "POST":
        return _show(request, of, KeyForm())
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _show(request, of, form, status=422)
    sent = form.cleaned_data
    try:
        made = api_keys.make(of, request.user, sent["name"], sent["scopes"], form.expires_at(clock()))
    except Refused as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        return _show(request, of, form, status=refusal.status)
    return _show(request, of, KeyForm(), made=made)


def _revoke(request: Request, key: ApiKey) -> HttpResponse:
    """Asked on a page of its own, or in the dialog."""
    if request.method == "POST":
        api_keys.revoke(key, by=request.user)
        return redirect(_list_url(_owner(key)))
    return _ask(request, "billing/revoke_key.html", key)


def _rotate(request: Request, key: ApiKey) -> HttpResponse:
    form = RotateForm(request.POST or None)
    if not form.is_valid():
        return _ask(request, "billing/rotate_key.html", key, form=form, status=422 if form.errors else 200)
    try:
        made = api_keys.rotate(key, request.user, form.length())
    except Refused as refusal:
        return _ask(request, "billing/rotate_key.html", key, form=form, refusal=refusal, status=refusal.status)
    return _show(request, _owner(key), KeyForm(), made=made)


def _key(key_id: UUID, **of: Any) -> ApiKey:
    return get_object_or_404(ApiKey.objects.select_related("org", "agency", "made_by", "replaced_by"), pk=key_id, **of)


def _owner(key: ApiKey) -> Owner:
    owner = key.org or key.agency
    assert owner is not None
    return owner


def _list_url(of: Owner, **query: Any) -> str:
    if isinstance(of, Organization):
        return reverse("billing:keys", args=[of.slug], query=query)
    return reverse("billing:agency_keys", query={"agency": of.pk} | query)


def _ask(request: Request, template: str, key: ApiKey, status: int = 200, **facts: Any) -> HttpResponse:
    context = facts | {"section": "keys", "key": key, "keys_url": _list_url(_owner(key))}
    part = "#confirm" if request.htmx else ""  # type: ignore[union-attr]
    return render(request, f"{template}{part}", context, status=status)


def _show(
    request: Request, of: Owner, form: KeyForm, made: tuple[ApiKey, str] | None = None, status: int = 200
) -> HttpResponse:
    asked = KeysFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such place in the list.")
    listed = keyring.listed(of, clock(), asked.cleaned_data["before"])
    context = {
        "section": "keys",
        "of": of,
        "agencies": getattr(request, "agencies", []),
        "keys_url": _list_url(of),
        "form": form,
        "asked": asked.cleaned_data,
        "listed": listed,
        "older_url": listed.older and _list_url(of, before=listed.older),
        "made": made and Made(*made),
        "api_url": request.build_absolute_uri("/").rstrip("/"),
    }
    answer = page(request, "billing/keys.html", context, fragment="list", status=status)
    if made:
        answer["Cache-Control"] = "no-store"
    return answer
