"""Every address, room by room."""

from django.contrib import admin
from django.urls import include, path

from billing.api import routers as billing_operations
from oxygen_site.api import api
from oxygen_site.api.manual import docs, operation
from oxygen_site.demo import sandbox
from oxygen_site.health import healthz, readyz
from oxygen_site.metrics import metrics
from runs.api import routers as runs_operations

for operations in (*billing_operations, *runs_operations):
    api.add_router("", operations)

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("", include("billing.urls")),
    path("api/docs", docs, name="api_docs"),
    path("api/docs/<slug:name>", operation, name="api_operation"),
    path("api/v1/", api.urls),
    path("orgs/<slug:slug>/runs/", include("runs.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
]
if sandbox.in_use():
    urlpatterns.append(path("", include("oxygen_site.demo.urls")))
