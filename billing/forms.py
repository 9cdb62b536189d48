"""What people send: the filters in the overview's URL, and the form of a new organization."""

from typing import Any
from zoneinfo import available_timezones

from django import forms

from billing.usage import RANGES, Keyset


class KeysetField(forms.Field):
    def to_python(self, value: Any) -> Keyset | None:
        try:
            return Keyset.read(value) if value else None
        except ValueError as wrong:
            raise forms.ValidationError("This is no place in the list.") from wrong


class OverviewFilter(forms.Form):
    range = forms.ChoiceField(choices=list(RANGES.items()), required=False)
    provider = forms.SlugField(required=False)
    day = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    run = forms.UUIDField(required=False)
    before = KeysetField(required=False)
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
