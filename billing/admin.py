"""Oxygen's operators at /admin: people, agencies, organizations, and credits given or taken for a reason.

Credits move through the verbs of the ledger, on a page of their own; nothing here writes a balance. Orgs are made by
the people who own them, so operators only name them and hand them to an agency.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from billing import books, ledger, shortfalls
from billing.models import Agency, AgencyStaff, Grant, Membership, Organization, User
from billing.payments import admin as payments  # noqa: F401  # registers the pages of payments
from billing.templatetags.credits import credits as written
from oxygen_site.clock import clock, new_id
from oxygen_site.transactions import Refused, intention


class CreditsForm(forms.Form):
    """What giving and taking share. `id` is made with the form, so that sending it twice moves credits once."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    amount = forms.DecimalField(
        label="Credits", min_value=Decimal("0.0001"), max_value=Decimal(99999999), max_digits=18, decimal_places=4
    )
    reason = forms.CharField(max_length=200, help_text="The ledger keeps it. Ids only, no personal data.")


class GiveForm(CreditsForm):
    source = forms.ChoiceField(choices=[("promo", "promo"), ("adjustment", "adjustment, in the organization's favour")])
    days = forms.IntegerField(label="Expire in", min_value=1, max_value=3660, initial=365, help_text="Days from now.")
    field_order = ("amount", "source", "days", "reason")


class TakeForm(CreditsForm):
    field_order = ("amount", "reason")


@admin.register(User)
class PersonAdmin(UserAdmin):
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active", "date_joined")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    readonly_fields = ("date_joined", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "user_permissions")}),
        ("When", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)


class StaffInline(admin.TabularInline):
    model = AgencyStaff
    autocomplete_fields = ("user",)
    extra = 1


@admin.register(Agency)
class AgencyAdmin(admin.ModelAdmin):
    search_fields = ("name",)
    inlines = (StaffInline,)


class MembershipInline(admin.TabularInline):
    model = Membership
    autocomplete_fields = ("user",)
    extra = 0


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "agency", "zone", "created_at")
    list_select_related = ("agency",)
    list_filter = (("agency", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("name", "slug")
    autocomplete_fields = ("agency",)
    fields = ("name", "agency", "slug", "zone", "approval_threshold", "created_at", "balance")
    readonly_fields = ("slug", "zone", "created_at", "balance")
    inlines = (MembershipInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="credits")
    def balance(self, org: Organization) -> str:
        ties = books.tie_out(org.pk)
        address = reverse("admin:organization_credits", args=[org.pk])
        return format_html(
            '{} available, {} reserved · <a href="{}">give or take</a>',
            written(ties.available),
            written(ties.reserved),
            address,
        )

    def get_urls(self) -> list[URLPattern]:
        gate = self.admin_site.admin_view
        return [
            path("<uuid:org>/credits/", gate(self.credits_page), name="organization_credits"),
            path("shortfalls/", gate(self.shortfalls_page), name="organization_shortfalls"),
            *super().get_urls(),
        ]

    def shortfalls_page(self, request: HttpRequest) -> HttpResponse:
        """Show the grants whose money went back after their credits were captured."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found, shown = shortfalls.newest(), shortfalls.SHOWN
        facts = {"title": "Shortfalls", "shortfalls": found[:shown], "more": len(found) > shown, "shown": shown}
        context = self.admin_site.each_context(request) | facts
        return TemplateResponse(request, "admin/billing/organization/shortfalls.html", context)

    def credits_page(self, request: HttpRequest, org: UUID) -> HttpResponse:
        """Give credits to an org or take some away, each for a reason."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        organization = get_object_or_404(Organization, pk=org)
        verb = request.POST.get("verb") if request.method == "POST" else None
        give = GiveForm(request.POST if verb == "give" else None, initial={"id": new_id()}, prefix="give")
        take = TakeForm(request.POST if verb == "take" else None, initial={"id": new_id()}, prefix="take")
        for form, act in ((give, self._give), (take, self._take)):
            if form.is_bound and form.is_valid():
                try:
                    done = act(organization, form.cleaned_data, f"user:{request.user.pk}")
                except Refused as refusal:
                    form.add_error(refusal.field, refusal.message)
                else:
                    messages.success(request, done)
                    return redirect("admin:organization_credits", org=org)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Credits of {organization}",
            "organization": organization,
            "ties": books.tie_out(org),
            "grants": Grant.objects.filter(org=org, open=True).order_by("expires_at", "effective_at", "key"),
            "give": give,
            "take": take,
        }
        status = 422 if give.errors or take.errors else 200
        return TemplateResponse(request, "admin/billing/organization/credits.html", context, status=status)

    def _give(self, org: Organization, facts: dict[str, Any], actor: str) -> str:
        def verb() -> None:
            try:
                ledger.grant(
                    org.pk,
                    key=f"operator:{facts['id']}",
                    source=facts["source"],
                    amount=facts["amount"],
                    expires_at=_same_again(org, facts) or clock() + timedelta(days=facts["days"]),
                    actor=actor,
                    reason=facts["reason"],
                )
            except ledger.Conflict:
                raise Refused("already_given", "This form was used already; open the page anew.", 409) from None

        intention(verb)
        return f"Gave {written(facts['amount'])} credits to {org}."

    def _take(self, org: Organization, facts: dict[str, Any], actor: str) -> str:
        amount = facts["amount"]

        def verb() -> Refused | None:
            try:
                missing = ledger.adjust(org.pk, facts["id"], amount=amount, actor=actor, reason=facts["reason"])
            except ledger.Conflict:
                raise Refused("already_taken", "This form was used already; open the page anew.", 409) from None
            if missing:
                return Refused(
                    "insufficient_credits", f"Only {written(amount - missing)} credits are available.", 402, "amount"
                )
            return None

        intention(verb)
        return f"Took {written(facts['amount'])} credits from {org}."


def _same_again(org: Organization, facts: dict[str, Any]) -> Any:
    """A form sent twice repeats the first one's expiry, which it counted from its own now."""
    earlier = Grant.objects.filter(org=org.pk, key=f"operator:{facts['id']}").first()
    return earlier and earlier.expires_at
