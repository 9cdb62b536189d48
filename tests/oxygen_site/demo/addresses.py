"""The addresses of a site beside a local Stripe."""

from django.urls import include, path

from oxygen_site import urls

urlpatterns = [path("", include("oxygen_site.demo.urls")), *urls.urlpatterns]
