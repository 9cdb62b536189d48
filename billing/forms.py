"""What people send: the filters in a page's URL, an organization's settings, what is wished on the plan's page."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms

from billing import agencies, breakdown, charges, invoices, keyring, orgs, plans, spans, usage
from billing.models import AutoTopUp, Entry, Organization, Pack, PlanChange, Role, Scope
from billing.offers import Choice
from billing.statements import Place
from billing.templatetags.credits import credits, minor_digits, money
from billing.wanted import Keyset, Wanted


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


def _within_reach(day: date) -> None:
    if not 2000 <= day.year < 2100:
        raise forms.ValidationError("That day is out of reach.")


class OverviewFilter(forms.Form):
    """What the billing page is asked for: a range or two days, filters, how it is grouped, a part of it, a page."""

    range = forms.ChoiceField(choices=list(spans.RANGES.items()), required=False)
    first = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    last = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    provider = forms.SlugField(required=False)
    tool = forms.RegexField(r"^[\w.-]{1,80}$", required=False)
    run = forms.UUIDField(required=False)
    member = forms.UUIDField(required=False)
    kind = forms.SlugField(required=False)
    mode = forms.ChoiceField(choices=list(usage.MODES.items()), required=False)
    outcome = forms.ChoiceField(choices=list(usage.OUTCOMES.items()), required=False)
    group = forms.ChoiceField(choices=list(breakdown.GROUPS.items()), required=False)
    measure = forms.ChoiceField(choices=list(breakdown.MEASURES.items()), required=False)
    day = forms.DateField(required=False, input_formats=["%Y-%m-%d"], validators=[_within_reach])
    hour = forms.DateTimeField(required=False, input_formats=["%Y%m%dT%H%MZ"], validators=[_within_reach])
    before = KeysetField(Keyset.read, required=False)
    daily = forms.BooleanField(required=False)  # the chart's figures as a table
    course = forms.BooleanField(required=False)  # those of the balance
    all = forms.BooleanField(required=False)  # groups
    filters = forms.BooleanField(required=False)  # the form is open

    FILTERS = ("provider", "tool", "run", "member", "kind", "mode", "outcome")

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = self.cleaned_data
        defaults = {"range": "cycle", "group": "provider", "measure": "credits"}
        sent |= {name: sent.get(name) or value for name, value in defaults.items()}
        ends = sorted(day for day in (sent.get("first"), sent.get("last")) if day)
        if (day := sent.get("day")) and ends and not ends[0] <= day <= (ends[-1] if sent.get("last") else day):
            sent["day"] = None  # other days were chosen since
        return sent | {"all": sent["all"] and sent["group"] != "run"}  # of runs there may be any number

    def clean_hour(self) -> datetime | None:
        hour: datetime | None = self.cleaned_data["hour"]
        return hour and hour.replace(tzinfo=UTC)

    def span(self, org: Organization, now: datetime) -> spans.Span:
        asked = self.cleaned_data
        if asked["first"] or asked["last"]:
            return spans.custom(asked["first"], asked["last"], org, now)
        return spans.span(asked["range"], org, now)

    def part(self, span: spans.Span) -> charges.Part:
        """The part of a span that the charges are of: all of it, one day, or one hour."""
        day, hour = self.cleaned_data["day"], self.cleaned_data["hour"]
        if hour:
            _, over = span.instants(hour.astimezone(span.zone).date())
            return charges.Part(hour, min(hour + spans.AN_HOUR, over), None)
        days = replace(span, first=day, last=day) if day else span
        return charges.Part(*days.instants(), days)

    def wanted(self) -> Wanted:
        named = {name: self.cleaned_data[name] or None for name in self.FILTERS}
        mode, kind = named.pop("mode"), named.pop("kind")
        return Wanted(**named, run_kind=kind, byok=mode and mode == "byok")


class LedgerFilter(forms.Form):
    """What is asked of the ledger. Two days that are chosen may stand in either order."""

    kind = forms.ChoiceField(choices=Entry.Kind.choices, required=False)
    range = forms.ChoiceField(choices=list(spans.ALL_RANGES.items()), required=False)
    first = forms.DateField(required=False, input_formats=["%Y-%m-%d"], validators=[_within_reach])
    last = forms.DateField(required=False, input_formats=["%Y-%m-%d"], validators=[_within_reach])
    provider = forms.SlugField(required=False)
    tool = forms.CharField(required=False, max_length=80)
    run = forms.UUIDField(required=False)
    before = KeysetField(lambda text: Place.read(text.split("~")), required=False)

    def clean_range(self) -> str:
        return self.cleaned_data["range"] or "cycle"

    @property
    def chosen(self) -> tuple[date | None, date | None]:
        return self.cleaned_data["first"], self.cleaned_data["last"]

    def wanted(self, span: spans.Span) -> Wanted:
        """What `statements` takes."""
        sent = {name: self.cleaned_data[name] or None for name in ("kind", "provider", "tool", "run")}
        start, end = span.instants()
        return Wanted(start=start, end=end, **sent)


class NameForm(forms.Form):
    name = forms.CharField(max_length=120, label="Name")


class ZoneForm(forms.Form):
    zone = forms.ChoiceField(
        choices=[(zone, zone) for zone in sorted(orgs.ZONES)],
        initial="UTC",
        label="Time zone",
        help_text="Days on the billing page begin at midnight there.",
    )


class OrganizationForm(NameForm, ZoneForm):
    field_order = ("name", "zone")


def _number(**facts: Any) -> forms.DecimalField:
    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
    return forms.DecimalField(max_digits=18, decimal_places=4, widget=widget, **facts)


class ApprovalForm(forms.Form):
    approval_threshold = _number(
        required=False,
        label="Approve runs that would hold more than",
        help_text="In credits. Empty: no run waits for approval because of its size.",
    )

    def clean(self) -> dict[str, Any]:
        return {"credits": self.cleaned_data.get("approval_threshold")}


class LowBalanceForm(forms.Form):
    threshold = _number(
        required=False, label="Mail the admins when there are fewer than", help_text="Empty: nobody is mailed."
    )
    unit = forms.ChoiceField(
        choices=[("credits", "credits available"), ("days", "days of work left")], required=False, label="Counted in"
    )


class MemberForm(forms.Form):
    """What an owner says of a member: another role, or that they are to go."""

    do = forms.ChoiceField(choices=[("role", "Save"), ("remove", "Remove")])
    member = forms.UUIDField()
    role = forms.ChoiceField(choices=Role.choices, required=False)

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = self.cleaned_data
        if sent.get("do") == "role" and not sent.get("role"):
            raise forms.ValidationError("Choose a role.")
        return sent


class InviteForm(forms.Form):
    email = forms.CharField(
        max_length=254, label="E-mail address", widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER, label="Role")


class RevokeForm(forms.Form):
    invitation = forms.UUIDField()


class SettingsFilter(forms.Form):
    """Where the list of members goes on: after this address."""

    after = forms.CharField(required=False, max_length=254)


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


class PackField(forms.ModelChoiceField):  # type: ignore[type-arg]  # it takes none at run time
    def label_from_instance(self, pack: Any) -> str:
        return f"{credits(pack.credits)} credits for {money(pack.price.amount, pack.price.currency)}"


class AutoTopUpForm(forms.Form):
    """An org's wish to be topped up by itself. Whether it makes sense is judged by `top_ups.change`."""

    on = forms.BooleanField(required=False, label="Buy credits when they run low")
    threshold = forms.DecimalField(
        max_digits=18,
        decimal_places=4,
        label="When fewer credits are available than",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    pack = PackField(Pack.objects.none(), empty_label=None, label="Buy")
    maximum = forms.DecimalField(
        min_value=0,
        max_value=1_000_000,
        label="For at most, a credit month",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def __init__(self, wish: AutoTopUp | None, data: Any = None) -> None:
        super().__init__(data)
        self.wish = wish
        packs = plans.packs()
        self.fields["pack"].queryset = packs  # type: ignore[attr-defined]
        self.sells = first = packs.first()
        if wish:
            digits = minor_digits(wish.pack.price.currency)
            self.initial = {
                "on": wish.on,
                "threshold": f"{wish.threshold.normalize():f}",
                "pack": wish.pack_id,
                "maximum": f"{Decimal(wish.monthly_max).scaleb(-digits):.{digits}f}",
            }
        if first:
            currency = first.price.currency.upper()
            self.fields["maximum"].help_text = f"In {currency}, before tax. It is never exceeded."

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = self.cleaned_data
        if sent.get("pack") and sent.get("maximum") is not None:
            minor = sent["maximum"].scaleb(minor_digits(sent["pack"].price.currency))
            if minor != int(minor):
                self.add_error("maximum", "There is no coin as small as that.")
            sent["monthly_max"] = int(minor)
        return sent

    def wished(self) -> dict[str, Any]:
        """What `top_ups.change` takes."""
        return {name: self.cleaned_data[name] for name in ("on", "threshold", "pack", "monthly_max")}


class PortalForm(forms.Form):
    """Which of the portal's pages, and which of ours to come back to."""

    flow = forms.ChoiceField(choices=[("payment_method_update", "The card")], required=False)
    back = forms.ChoiceField(choices=[("billing:invoices", "Invoices")], required=False)


class GrantsFilter(forms.Form):
    show = forms.ChoiceField(choices=[("ended", "Ended")], required=False)
    after = forms.UUIDField(required=False)


class InvoicesFilter(forms.Form):
    before = KeysetField(invoices.Keyset.read, required=False)


class KeyForm(forms.Form):
    """A new API key. What a scope opens is PRODUCT.md §6, in `access.SCOPES`."""

    name = forms.CharField(max_length=80, label="Name", help_text="What will use it.")
    scopes = forms.MultipleChoiceField(
        choices=[
            (Scope.READ, "Balance, usage, runs and tables. The others include it."),
            (Scope.RUN, "Start runs; pause, resume, cancel and continue those of the key's maker."),
            (Scope.STEER, "Pause, resume, cancel and continue any run."),
            (Scope.APPROVE, "Approve runs that wait for it."),
            (Scope.ADMIN, "Settings, top-ups and the plan."),
        ],
        initial=[Scope.READ],
        widget=forms.CheckboxSelectMultiple,
        label="It may",
        error_messages={"required": "Tick at least one."},
    )
    expiry = forms.ChoiceField(
        choices=[("30", "30 days"), ("90", "90 days"), ("365", "365 days"), ("never", "Never")],
        initial="90",
        label="Expires after",
    )

    def expires_at(self, now: datetime) -> datetime | None:
        days = self.cleaned_data["expiry"]
        return None if days == "never" else now + timedelta(days=int(days))


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(
        choices=[("1", "1 hour"), ("24", "1 day"), ("168", "7 days")], initial="24", label="The old key ends after"
    )

    def length(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["overlap"]))


class KeysFilter(forms.Form):
    agency = forms.UUIDField(required=False)
    before = KeysetField(keyring.Keyset.read, required=False)


class HoldsFilter(forms.Form):
    before = forms.UUIDField(required=False)


class BoardFilter(forms.Form):
    """Which of an agency's clients, in which order. Text of any length is looked for by its beginning."""

    q = forms.CharField(required=False)
    show = forms.ChoiceField(choices=list(agencies.SHOWS.items()), required=False)
    sort = forms.ChoiceField(
        choices=[(f"{sign}{column}", column) for column in agencies.COLUMNS for sign in ("", "-")], required=False
    )
    page = forms.IntegerField(required=False, min_value=1, max_value=100_000)
    daily = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        sent: dict[str, Any] = self.cleaned_data
        defaults = {"show": "all", "sort": "runway", "page": 1}
        return sent | {name: sent.get(name) or value for name, value in defaults.items()} | {"q": _words(sent.get("q"))}


def _words(text: str | None) -> str:
    return " ".join((text or "").split())[:120]


class MonthFilter(forms.Form):
    month = forms.DateField(required=False, input_formats=["%Y-%m"])
