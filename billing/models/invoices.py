"""The invoices of an org, as last read at Stripe. Only `payments/effects.py` writes them, by `invoices.keep`."""

from django.db import models

from .orgs import Organization


class Invoice(models.Model):
    """One invoice. `reading` is the number of the look that brought it: one begun earlier changes nothing."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        OPEN = "open"
        PAID = "paid"
        VOID = "void"
        UNCOLLECTIBLE = "uncollectible"

    stripe_id = models.CharField(primary_key=True, max_length=255)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invoices")
    reading = models.BigIntegerField()
    number = models.CharField(max_length=100, blank=True, help_text="Empty while it is a draft.")
    status = models.CharField(max_length=20, choices=Status.choices)
    what = models.CharField(max_length=200, blank=True, help_text="What it is for, as “Growth, 1 Dec to 1 Jan”.")
    total = models.IntegerField(help_text="Minor units, tax included; below 0 where it gives something back.")
    tax = models.IntegerField(default=0)
    amount_paid = models.IntegerField(default=0)
    amount_due = models.IntegerField(default=0)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True)
    url = models.URLField(max_length=2000, blank=True, help_text="Its page at Stripe, where it can be paid.")
    pdf = models.URLField(max_length=2000, blank=True)

    class Meta:
        indexes = (models.Index(fields=("org", "-created_at", "-stripe_id"), name="invoices_of_an_org"),)

    def __str__(self) -> str:
        return self.number or self.stripe_id

    @property
    def can_be_paid(self) -> bool:
        return self.status == self.Status.OPEN and self.amount_due > 0 and bool(self.url)
