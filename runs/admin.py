"""Oxygen's operators at /admin: the catalog they keep, and the runs they may look at.

Prices change here or by `sync_catalog`, and only for runs that start later. Nothing here moves a run or a credit.
"""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from runs import doubts
from runs.models import Capability, Integration, Provider, Run, Table, Tool, WorkflowTemplate

EVERY = "None: every call was answered."


class ToolInline(admin.TabularInline):
    model = Tool
    extra = 0
    can_delete = False  # runs and columns name tools for good
    show_change_link = True


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    list_display = ("name", "category", "takes_keys", "looks_up", "calls_per_second", "left_alone")
    list_filter = ("category",)
    search_fields = ("name",)
    inlines = (ToolInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        left_alone = Count("limits", filter=Q(limits__open_until__isnull=False))
        return super().get_queryset(request).annotate(left_alone=left_alone)

    @admin.display(description="accounts that fail and are left alone")
    def left_alone(self, provider: Any) -> int:
        return int(provider.left_alone)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Tool)
class ToolAdmin(admin.ModelAdmin):
    list_display = ("id", "name", "provider", "price", "maximum", "success_rate")
    list_filter = ("provider",)
    list_select_related = ("provider",)
    search_fields = ("id", "name")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Capability, WorkflowTemplate)
class MadeOfToolsAdmin(admin.ModelAdmin):
    list_display = ("pk", "name", "cascade")
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [obj._meta.pk.name] if obj else []  # columns are named after it

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Integration)
class IntegrationAdmin(admin.ModelAdmin):
    list_display = ("org", "provider", "mode")
    list_filter = ("mode", "provider")
    list_select_related = ("org", "provider")
    autocomplete_fields = ("org", "provider")


class ReadOnly:
    """May be looked at; whoever wants more goes the way everybody goes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Table)
class TableAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "org", "row_count", "created_at")
    list_select_related = ("org",)
    search_fields = ("name", "org__name")


@admin.register(Run)
class RunAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "org", "status", "pause_reason", "cap", "rows", "member", "created_at")
    list_select_related = ("org", "member")
    list_filter = ("status", "pause_reason", "kind")
    search_fields = ("id", "name", "org__name")
    ordering = ("-id",)

    def get_urls(self) -> list[URLPattern]:
        own = path("doubts/", self.admin_site.admin_view(self.doubts_page), name="runs_run_doubts")
        return [own, *super().get_urls()]

    def doubts_page(self, request: HttpRequest) -> HttpResponse:
        """Show what is in doubt, list by list; nothing can be changed here."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown = doubts.SHOWN
        lists = [
            {"name": name, "caption": caption, "rows": found[:shown], "more": len(found) > shown, "none": none}
            for name, caption, found, none in (
                ("waiting", "Calls without a usable answer, still held for", doubts.unanswered(), EVERY),
                ("unknown", "Calls given up as unknown, nothing was charged", doubts.given_up(), "None."),
                ("absorbed", "Calls of which Oxygen absorbed something", doubts.absorbed(), "None."),
                ("unreadable", "Calls whose cost could not be read, result kept", doubts.unreadable(), "None."),
                ("odd", "Runs with something absorbed, in conflict or late", doubts.oddities(), "None."),
            )
        ]
        facts = {"title": "In doubt", "lists": lists, "shown": shown}
        return TemplateResponse(request, "admin/runs/run/doubts.html", self.admin_site.each_context(request) | facts)
