"""Every address, room by room."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("billing.urls")),
    path("orgs/<slug:slug>/runs/", include("runs.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
]
