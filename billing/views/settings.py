"""The settings page: a section for each subject, each with forms of its own.

With htmx a form answers its section, without it leads back to the page; what is refused stands beside the field it was
typed in. Admins change what the org is like, owners alone who belongs to it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from billing import access, invitations, low_balance, members, orgs
from billing.access import OrgRequest, org_page
from billing.forms import (
    ApprovalForm,
    InviteForm,
    LowBalanceForm,
    MemberForm,
    NameForm,
    RevokeForm,
    SettingsFilter,
    ZoneForm,
)
from billing.models import Role
from oxygen_site.clock import clock
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused

SECTIONS: dict[str, tuple[type[Form], Callable[..., None]]] = {
    "organization": (NameForm, orgs.rename),
    "approval": (ApprovalForm, orgs.change_approval_threshold),
    "low-balance": (LowBalanceForm, low_balance.change),
}


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="settings")
def settings(request: OrgRequest) -> HttpResponse:
    if request.method != "POST":
        return _show(request)
    section = request.POST.get("section", "")
    if section not in SECTIONS:
        return _show(request, status=422)
    form, verb = SECTIONS[section]
    sent = form(request.POST, auto_id=f"{section}-%s")
    return _try(request, section, sent, lambda facts: verb(request.org, **facts), "Saved.")


@require_http_methods(["GET", "HEAD", "POST"])
@org_page(may="settings")
def change_zone(request: OrgRequest) -> HttpResponse:
    """The time zone, on a page of its own that says what changing it does."""
    form = ZoneForm(request.POST if request.method == "POST" else None, initial={"zone": request.org.zone})
    if form.is_valid():
        orgs.ask_for_zone(request.org, form.cleaned_data["zone"])
        return redirect("billing:settings", request.org.slug)
    context = {"section": "settings", "form": form}
    return page(request, "billing/change_zone.html", context, status=422 if form.errors else 200)


@require_POST
@org_page(may="members")
def change_member(request: OrgRequest) -> HttpResponse:
    """Give a member another role, or take them out of the org; whoever does so to themselves may have to leave."""
    form = MemberForm(request.POST)

    def verb(facts: dict[str, Any]) -> None:
        if facts["do"] == "remove":
            orgs.remove_member(request.org, facts["member"])
        else:
            orgs.change_role(request.org, facts["member"], Role(facts["role"]))

    answer = _try(request, "members", form, verb, "Saved.")
    facts = form.cleaned_data
    if answer.status_code >= 400 or facts["member"] != request.user.pk:
        return answer
    stays = facts["do"] == "role" and access.may(Role(facts["role"]), "settings")
    there = reverse("billing:settings", args=[request.org.slug]) if stays else reverse("billing:home")
    return HttpResponseClientRedirect(there) if request.htmx else redirect(there)  # type: ignore[attr-defined]


@require_POST
@org_page(may="members")
def invite(request: OrgRequest) -> HttpResponse:
    form = InviteForm(request.POST, auto_id="invitations-%s")

    def verb(facts: dict[str, Any]) -> None:
        invitations.invite(request.org, facts["email"], Role(facts["role"]), by=request.user)

    return _try(request, "invitations", form, verb, "The invitation is on its way.")


@require_POST
@org_page(may="members")
def revoke_invitation(request: OrgRequest) -> HttpResponse:
    form = RevokeForm(request.POST)
    return _try(request, "invitations", form, lambda facts: invitations.revoke(request.org, **facts), "Taken back.")


# ------------------------------------------------------------------ how an action answers


def _try(
    request: OrgRequest, section: str, form: Form, verb: Callable[[dict[str, Any]], None], done: str
) -> HttpResponse:
    if not form.is_valid():
        return _show(request, section, form, status=422)
    try:
        verb(form.cleaned_data)
    except Refused as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        return _show(request, section, form, status=refusal.status)
    if request.htmx:  # type: ignore[attr-defined]
        return trigger_client_event(_show(request, section), "toast", {"text": done})
    messages.success(request, done)
    return redirect(f"{reverse('billing:settings', args=[request.org.slug])}#{section}")


def _show(request: OrgRequest, section: str = "", form: Form | None = None, status: int = 200) -> HttpResponse:
    asked = SettingsFilter(request.GET)
    if not asked.is_valid():
        raise Http404("There is no such place in the list.")
    org, wish = request.org, low_balance.of(request.org)
    forms: dict[str, Form] = {
        "organization": NameForm(initial={"name": org.name}, auto_id="organization-%s"),
        "approval": ApprovalForm(initial={"approval_threshold": _plain(org.approval_threshold)}, auto_id="approval-%s"),
        "low_balance": LowBalanceForm(
            initial={"threshold": _plain(wish.threshold), "unit": wish.unit} if wish else None, auto_id="low-balance-%s"
        ),
        "invitations": InviteForm(auto_id="invitations-%s"),
    }
    if form is not None and not isinstance(form, RevokeForm):
        forms[section.replace("-", "_")] = form
    context = {
        "section": "settings",
        "forms": forms,
        "wish": wish,
        "now": clock(),
        "asked": asked.cleaned_data,
        "members": members.listed(org, asked.cleaned_data["after"]),
        "invited": members.invited(org),
        "roles": Role.choices,
        "may_change_members": access.may(request.role, "members"),
    }
    return page(request, "billing/settings.html", context, fragment=section or None, status=status)


def _plain(credits: Decimal | None) -> str:
    return "" if credits is None else f"{credits.normalize():f}"
