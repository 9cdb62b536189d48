"""What people send to the runs' pages. Caps and limits are judged by `lifecycle`, so that every door says the same."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.urls import reverse

from billing.models import Organization
from runs.models import Capability, Column, Fill, Item, Provider, Run, Table, WorkflowTemplate
from runs.models.runs import OUTCOMES

FOLLOW = {"hx-trigger": "change", "hx-target": "#plan", "hx-swap": "outerHTML", "hx-disabled-elt": "#id_fill"}


class RunsFilter(forms.Form):
    status = forms.ChoiceField(required=False, choices=[("open", "Open"), *Run.Status.choices])
    before = forms.UUIDField(required=False)


class ItemsFilter(forms.Form):
    status = forms.ChoiceField(required=False, choices=Item.Status.choices)
    calls = forms.ChoiceField(required=False, choices=[(name, name) for name in (*OUTCOMES, "absorbed")])
    row = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    after = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)


class RunForm(forms.Form):
    """What to fill in which table of the org, with how many rows to fill and what that may cost at most."""

    table = forms.ModelChoiceField(Table.objects.none(), empty_label="Choose a table")
    fill = forms.ChoiceField(
        label="Fill",
        help_text="A capability or template fills the column named after it, made if it is missing.",
    )
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
        table = self.fields["table"]
        table.queryset = Table.objects.filter(org=org)  # type: ignore[attr-defined]
        # Another table has other columns: with scripts the form follows at once, without them when it is sent.
        table.widget.attrs = {"hx-post": reverse("runs:new", args=[org.slug]), "hx-vals": '{"do": "choose"}'} | FOLLOW
        self.fills: dict[str, Fill] = {}
        self.fields["fill"].choices = [  # type: ignore[attr-defined]
            ("", "Choose what to fill"),
            *(group for group in self._groups() if group[1]),
        ]

    def _groups(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Offer each key once: a template's column as the template, a capability's, once it is there, as a column."""
        capabilities, templates = Capability.objects.in_bulk(), WorkflowTemplate.objects.in_bulk()
        columns = [column for column in self._columns() if column.key not in templates]
        made = {column.key for column in columns}
        yield "Columns of this table", self._offer((column, capabilities.get(column.key, column)) for column in columns)
        yield "Capabilities", self._offer((fill, fill) for key, fill in capabilities.items() if key not in made)
        yield "Workflow templates", self._offer((fill, fill) for fill in templates.values())

    def _offer(self, fills: Iterable[tuple[Fill, Fill]]) -> list[tuple[str, str]]:
        offered = [(f"{fill._meta.model_name}:{fill.pk}", shown.name, fill) for shown, fill in fills]
        self.fills |= {value: fill for value, _, fill in offered}
        return sorted(((value, name) for value, name, _ in offered), key=itemgetter(1))

    def _columns(self) -> QuerySet[Column]:
        try:
            table = self.fields["table"].clean(self["table"].value())
        except forms.ValidationError:
            return Column.objects.none()
        return table.columns.select_related("table")

    def clean_fill(self) -> Fill:
        return self.fills[self.cleaned_data["fill"]]


class AccountForm(forms.Form):
    """An own account at a provider; `do` says whether to connect or to disconnect it."""

    provider = forms.ModelChoiceField(Provider.objects.all(), widget=forms.HiddenInput)
    credential = forms.CharField(
        required=False,
        label="API key",
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        strip=True,
    )


class ApproveForm(forms.Form):
    """The mark of the plan that was looked at."""

    plan = forms.CharField(max_length=64)


class CapForm(forms.Form):
    cap = forms.CharField(
        required=False,
        max_length=40,
        label="New cap, in credits",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
