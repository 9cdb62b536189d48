"""What people send to the runs' pages. Caps and limits are judged by `lifecycle`, so that every door says the same."""

from itertools import groupby
from typing import Any

from django import forms

from billing.models import Organization
from runs.models import Column, Item, Provider, Run
from runs.models.runs import OUTCOMES


class RunsFilter(forms.Form):
    status = forms.ChoiceField(required=False, choices=[("open", "Open"), *Run.Status.choices])
    before = forms.UUIDField(required=False)


class ItemsFilter(forms.Form):
    status = forms.ChoiceField(required=False, choices=Item.Status.choices)
    calls = forms.ChoiceField(required=False, choices=[(name, name) for name in (*OUTCOMES, "absorbed")])
    row = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    after = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)


class RunForm(forms.Form):
    """A column of the org, by table, with how many rows to fill and what that may cost at most."""

    column = forms.ChoiceField(label="Fill this column")
    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        label="Rows at most",
        help_text="The first rows that are not filled yet. Empty: all of them.",
    )
    cap = forms.CharField(
        required=False,
        max_length=40,
        label="Cap, in credits",
        help_text="The most this run may spend, all its rows together. It never spends more.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def __init__(self, org: Organization, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        listed = Column.objects.filter(table__org=org).select_related("table").order_by("table__name", "table", "name")
        self.columns = {str(column.pk): column for column in listed}
        tables = groupby(self.columns.items(), lambda choice: choice[1].table)
        by_table = [(table.name, [(key, column.name) for key, column in columns]) for table, columns in tables]
        self.fields["column"].choices = [("", "Choose a column"), *by_table]  # type: ignore[attr-defined]

    def clean_column(self) -> Column:
        return self.columns[self.cleaned_data["column"]]


class AccountForm(forms.Form):
    """An own account at a provider; `do` says whether to connect or to disconnect it."""

    provider = forms.ModelChoiceField(Provider.objects.all(), widget=forms.HiddenInput)
    credential = forms.CharField(
        required=False,
        label="API key",
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        strip=True,
    )


class CapForm(forms.Form):
    cap = forms.CharField(
        required=False,
        max_length=40,
        label="New cap, in credits",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
