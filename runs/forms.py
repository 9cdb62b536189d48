"""What people send to the runs' pages. Caps and limits are judged by `lifecycle`, so that every door says the same."""

from typing import Any

from django import forms
from django.forms.models import ModelChoiceIterator

from billing.models import Organization
from runs.models import Column, Item, Run

ENDED = [status for status in Run.Status if status not in Run.OPEN]


class RunsFilter(forms.Form):
    status = forms.ChoiceField(required=False, choices=[("open", "Open"), *Run.Status.choices])
    before = forms.UUIDField(required=False)


class ItemsFilter(forms.Form):
    status = forms.ChoiceField(required=False, choices=Item.Status.choices)
    row = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    after = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)


class ColumnChoice(forms.ModelChoiceField):
    """Columns under the names of their tables."""

    def label_from_instance(self, column: Column) -> str:
        return column.name


class _ByTable(ModelChoiceIterator):
    def __iter__(self) -> Any:
        yield "", self.field.empty_label
        tables: dict[Any, list[Any]] = {}
        for column in self.queryset:
            tables.setdefault(column.table, []).append(self.choice(column))
        for table, choices in tables.items():
            yield f"{table.name}, {table.row_count:,} rows", choices


class RunForm(forms.Form):
    column = ColumnChoice(Column.objects.none(), empty_label="Choose a column", label="Fill this column")
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
        columns = Column.objects.filter(table__org=org).select_related("table").order_by("table__name", "name")
        self.fields["column"].queryset = columns  # type: ignore[attr-defined]


class CapForm(forms.Form):
    cap = forms.CharField(
        required=False,
        max_length=40,
        label="New cap, in credits",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


ColumnChoice.iterator = _ByTable
