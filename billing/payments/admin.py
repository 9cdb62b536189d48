"""Payments at /admin: what is sold, what stands at Stripe, what happened, what Stripe said and where it differs.

All of it may be looked at and none of it written: plans come from `sync_plans`, the rest from the inbox. Two buttons:
events are applied again (safe: applying only looks at Stripe), and the nightly comparison is made now.
"""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from billing import jobs
from billing.models import (
    AutoTopUp,
    Customer,
    Invoice,
    Pack,
    PaidPeriod,
    Payment,
    Plan,
    PlanChange,
    Price,
    Purchase,
    StripeCheck,
    StripeEvent,
    Subscription,
)
from billing.payments import gateway, inbox
from oxygen_site.jobs import defer
from oxygen_site.transactions import intention


class Shown(admin.ModelAdmin):
    """May be looked at and no more."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# ------------------------------------------------------------------ what is sold


@admin.register(Plan)
class PlanAdmin(Shown):
    list_display = ("name", "key", "version", "credits", "rollover_months", "on_sale")
    list_filter = ("on_sale",)
    search_fields = ("id", "name")


@admin.register(Pack)
class PackAdmin(Shown):
    list_display = ("id", "credits", "on_sale")
    list_filter = ("on_sale",)


@admin.register(Price)
class PriceAdmin(Shown):
    list_display = ("lookup_key", "plan", "pack", "interval", "amount", "currency", "stripe_id")
    list_select_related = ("plan", "pack")
    list_filter = ("interval",)
    search_fields = ("lookup_key", "stripe_id")


# ------------------------------------------------------------------ what stands at Stripe


@admin.register(Customer)
class CustomerAdmin(Shown):
    list_display = ("stripe_id", "org", "email", "card", "closed_at")
    list_select_related = ("org",)
    search_fields = ("stripe_id", "email", "org__name", "org__slug")


@admin.register(Subscription)
class SubscriptionAdmin(Shown):
    list_display = ("stripe_id", "org", "price", "status", "period_end", "cancel_at_period_end", "surplus")
    list_select_related = ("org", "price")
    list_filter = ("status", "surplus")
    search_fields = ("stripe_id", "item", "customer__stripe_id", "org__name", "org__slug")
    ordering = ("-started_at",)


@admin.register(Invoice)
class InvoiceAdmin(Shown):
    list_display = ("stripe_id", "number", "org", "status", "what", "total", "currency", "created_at")
    list_select_related = ("org",)
    list_filter = ("status",)
    search_fields = ("stripe_id", "number", "org__name", "org__slug")
    ordering = ("-created_at",)


@admin.register(Payment)
class PaymentAdmin(Shown):
    list_display = ("stripe_id", "org", "amount", "currency", "paid_at", "gone_back", "disputed")
    list_select_related = ("org",)
    list_filter = ("disputed",)
    search_fields = ("stripe_id", "org__name", "org__slug")
    ordering = ("-paid_at",)


# ------------------------------------------------------------------ what happened


@admin.register(PaidPeriod)
class PaidPeriodAdmin(Shown):
    list_display = ("key", "org", "price", "start", "end", "amount", "currency", "given_until")
    list_select_related = ("org", "price")
    list_filter = ("source",)
    search_fields = ("key", "invoice", "payment", "item", "org__name", "org__slug")
    ordering = ("-paid_at",)


@admin.register(PlanChange)
class PlanChangeAdmin(Shown):
    list_display = ("quoted_at", "org", "old", "new", "when", "state", "due", "currency", "why")
    list_select_related = ("org", "old", "new")
    list_filter = ("state", "when")
    search_fields = ("id", "invoice", "subscription__stripe_id", "org__name", "org__slug")
    ordering = ("-quoted_at",)


@admin.register(Purchase)
class PurchaseAdmin(Shown):
    list_display = ("asked_at", "org", "price", "automatic", "state", "why", "closed_at")
    list_select_related = ("org", "price")
    list_filter = ("state", "automatic", "is_plan")
    search_fields = ("id", "session", "invoice", "org__name", "org__slug")
    ordering = ("-asked_at",)


@admin.register(AutoTopUp)
class AutoTopUpAdmin(Shown):
    list_display = ("org", "on", "threshold", "pack", "monthly_max", "declines", "not_before", "why")
    list_select_related = ("org", "pack")
    list_filter = ("on",)
    search_fields = ("org__name", "org__slug")


# ------------------------------------------------------------------ what Stripe said


@admin.register(StripeEvent)
class StripeEventAdmin(Shown):
    list_display = ("type", "customer", "org", "state", "why", "received_at", "tries")
    list_filter = ("state", "type")
    search_fields = ("id__exact", "object__exact", "customer__exact")
    search_help_text = "The whole id of an event, of what it is about, or of a customer."
    fields = (
        "type",
        ("id", "object"),
        ("customer", "org"),
        ("created_at", "received_at", "closed_at"),
        ("state", "why", "tries"),
        "said",
    )
    readonly_fields = ("org", "said")
    ordering = ("-created_at",)
    show_full_result_count = False
    list_per_page = 50
    actions = ("replay",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StripeEvent]:
        whose = Customer.objects.filter(stripe_id=OuterRef("customer")).values("org__name")
        return super().get_queryset(request).annotate(org_name=Subquery(whose[:1]))

    @admin.display(description="organization")
    def org(self, event: Any) -> str | None:
        name: str | None = event.org_name
        return name

    @admin.display(description="payload")
    def said(self, event: StripeEvent) -> str:
        return format_html("<pre>{}</pre>", json.dumps(event.payload, indent=2, ensure_ascii=False))

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("billing.change_stripeevent"))

    @admin.action(description="Replay", permissions=["replay"])
    def replay(self, request: HttpRequest, chosen: QuerySet[StripeEvent]) -> None:
        """Have the chosen events applied again, by jobs."""
        replayed = [inbox.replay(event) for event in chosen]
        if done := sum(replayed):
            messages.success(request, f"Will be applied again: {done}.")
        if left := len(replayed) - done:
            messages.warning(request, f"Left as they are, parked or about nothing that is kept here: {left}.")


@admin.register(StripeCheck)
class StripeCheckAdmin(Shown):
    list_display = ("at", "caught_up", "drifts")
    fields = ("at", "caught_up", "differing")
    readonly_fields = ("differing",)

    @admin.display(description="stood differently")
    def drifts(self, check: StripeCheck) -> int:
        return len(check.drift)

    @admin.display(description="stood differently")
    def differing(self, check: StripeCheck) -> str:
        lines = (f"{what}: here {here}; at Stripe {there}" for what, here, there in check.drift)
        return "\n".join(lines) or "Nothing."

    def get_urls(self) -> list[URLPattern]:
        compare = self.admin_site.admin_view(require_POST(self.compare))
        return [path("compare/", compare, name="billing_stripecheck_compare"), *super().get_urls()]

    def compare(self, request: HttpRequest) -> HttpResponse:
        """Have the nightly comparison made now, by a job."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if gateway.configured():
            intention(lambda: defer(jobs.compare_now, key="compare_with_stripe"))
            messages.success(request, "Is being compared; load this page again in a moment.")
        else:
            messages.warning(request, "Payments are not set up here, so there is nothing to compare with.")
        return redirect("admin:billing_stripecheck_changelist")
