"""The ground floor's addresses. Names are those of the views."""

from django.urls import path

from billing.views.orgs import home, index, new_org
from billing.views.overview import overview
from billing.views.theme import theme

app_name = "billing"
urlpatterns = [
    path("", home, name="home"),
    path("billing/", home, name="billing"),
    path("billing", home),
    path("runs/", home, {"to": "runs:index"}, name="runs"),
    path("runs", home, {"to": "runs:index"}),
    path("theme/", theme, name="theme"),
    path("orgs/", index, name="orgs"),
    path("orgs/new/", new_org, name="new_org"),
    path("orgs/<slug:slug>/billing/", overview, name="overview"),
]
