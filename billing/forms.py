"""What people send: the filters in a page's URL, the form of a new organization, what is ticked on the plan page."""

from collections.abc import Callable
from typing import Any
from zoneinfo import available_timezones

from django import forms

from billing import invoices, usage
from billing.models import PlanChange
from billing.offers import Choice
from billing.usage import RANGES


class KeysetField(forms.Field):
    """A place in a list, read by the list's own `read`."""

    def __init__(self, read: Callable[[str], Any], **facts: Any) -> None:
        super().__init__(**facts)
        self.read = read

    def to_python(self, value: Any) -> Any:
        try:
            return self.read(value) if value else None
        except ValueError as wrong:
            raise forms.ValidationError("This is no place in the list.") from wrong


class OverviewFilter(forms.Form):
    range = forms.ChoiceField(choices=list(RANGES.items()), required=False)
    provider = forms.SlugField(required=False)
    day = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    run = forms.UUIDField(required=False)
    before = KeysetField(usage.Keyset.read, required=False)
    daily = forms.BooleanField(required=False)

    def clean_range(self) -> str:
        return self.cleaned_data["range"] or "cycle"


class OrganizationForm(forms.Form):
    name = forms.CharField(max_length=120, label="Name")
    zone = forms.ChoiceField(
        choices=[(zone, zone) for zone in sorted(available_timezones())],
        initial="UTC",
        label="Time zone",
        help_text="Days on the billing page begin at midnight there.",
    )


class ChoiceForm(forms.Form):
    """What is ticked on the plan page. `shown`: the change whose preview `when` was ticked in."""

    plan = forms.SlugField()
    interval = forms.ChoiceField(choices=[("month", "Monthly"), ("year", "Yearly")])
    when = forms.ChoiceField(choices=PlanChange.When.choices, required=False)
    shown = forms.CharField(required=False, max_length=80)
    # The page sends neither: one of a plan, in the currency it is sold in, is all there is.
    quantity = forms.ChoiceField(choices=[("1", "One")], required=False)
    currency = forms.ChoiceField(choices=[], required=False)

    def choice(self) -> Choice:
        """A `when` ticked for another change is not meant for this one: at the renewal, as it is by default."""
        sent = self.cleaned_data
        plan, interval, when = sent["plan"], sent["interval"], sent["when"]
        meant = when if sent["shown"] in ("", f"{plan}:{interval}") else ""
        return Choice(plan, interval, meant or PlanChange.When.RENEWAL.value)


class ChangeForm(forms.Form):
    change = forms.UUIDField()


class ReturnedForm(forms.Form):
    """What the page that confirms is about: a Checkout session or a change. `looks`: how often it asked already."""

    session_id = forms.CharField(required=False, max_length=255)
    change = forms.UUIDField(required=False)
    looks = forms.IntegerField(required=False, min_value=0, max_value=10_000)

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = self.cleaned_data
        if not sent.get("session_id") and not sent.get("change"):
            raise forms.ValidationError("It is about nothing.")
        return sent


class PackForm(forms.Form):
    pack = forms.SlugField()


class PortalForm(forms.Form):
    """Which of the portal's pages, and which of ours to come back to."""

    flow = forms.ChoiceField(choices=[("payment_method_update", "The card")], required=False)
    back = forms.ChoiceField(choices=[("billing:invoices", "Invoices")], required=False)


class InvoicesFilter(forms.Form):
    before = KeysetField(invoices.Keyset.read, required=False)
