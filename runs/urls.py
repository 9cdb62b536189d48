"""The upper floor's addresses, under `/orgs/<slug>/runs/`. Names are those of the views."""

from django.urls import path

from runs import views

app_name = "runs"
urlpatterns = [
    path("", views.index, name="index"),
    path("attention/", views.attention, name="attention"),
    path("accounts/", views.accounts, name="accounts"),
    path("new/", views.new, name="new"),
    path("<uuid:run_id>/", views.detail, name="detail"),
    path("<uuid:run_id>/approve/", views.approve, name="approve"),
    path("<uuid:run_id>/pause/", views.pause, name="pause"),
    path("<uuid:run_id>/resume/", views.resume, name="resume"),
    path("<uuid:run_id>/cancel/", views.cancel, name="cancel"),
    path("<uuid:run_id>/continue/", views.continue_run, name="continue_run"),
]
