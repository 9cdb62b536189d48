from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from billing import checks


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        if wrong := checks.stripe_settings():
            raise ImproperlyConfigured(wrong)
