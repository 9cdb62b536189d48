"""The addresses that only a demo with a local Stripe has."""

from django.urls import path

from oxygen_site.demo import views

urlpatterns = [
    path("orgs/<slug:slug>/move-time/", views.move_time, name="move_time"),
    path("move-time/", views.move_all_time, name="move_all_time"),
]
