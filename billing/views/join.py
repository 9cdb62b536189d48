"""Where an invitation's link leads: whoever reads the mail signs up or in, and joins. Its signature is its gate."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from billing import invitations
from billing.models import User
from oxygen_site.htmx import page
from oxygen_site.transactions import Refused


@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    try:
        invitation = invitations.read(token)
        if request.method == "POST" and isinstance(request.user, User):
            org = invitations.accept(token, request.user)
            messages.success(request, f"You belong to {org} now.")
            return redirect("billing:overview", org.slug)
    except Refused as refusal:
        if refusal.code != "for_another":
            return page(request, "billing/join.html", {"refusal": refusal}, status=refusal.status)
        return _show(request, invitation, status=refusal.status)
    if request.method == "POST":
        return redirect_to_login(request.path)
    return _show(request, invitation)


def _show(request: HttpRequest, invitation: Any, status: int = 200) -> HttpResponse:
    user = request.user
    mine = isinstance(user, User) and invitations.is_for(invitation, user)
    return page(request, "billing/join.html", {"invitation": invitation, "mine": mine}, status=status)
