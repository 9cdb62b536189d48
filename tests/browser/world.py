"""The world that every page and state is seen in, made once through public verbs; and what its people stand before.

For `states.py`. An organization for each kind of trouble, so that states do not disturb each other: Acme is busy, the
others are named after what is the matter with them. Five weeks pass, here and at Stripe.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from uuid import UUID

from django.core.management import call_command

from billing import invitations, jobs, keys, ledger, orgs
from billing.models import Agency, Organization, PlanChange, Purchase, Role, User
from billing.payments import changes, purchases
from oxygen_site.clock import new_id
from oxygen_site.transactions import intention
from runs import accounts, dispatch, lifecycle, standing
from runs.management.commands.sync_catalog import CATALOG
from runs.models import Provider, Run, WorkflowTemplate
from runs.providers.outcomes import Outcome
from tests.billing.moves import Credits, adjust, attempt
from tests.billing.payments.conftest import URLS, another_card, hear, pass_time, subscribed
from tests.browser.conftest import driven
from tests.conftest import give, person
from tests.runs.conftest import ME, Providers, column_of, each_way, settle, start, table_of
from tests.sandbox.stripe.local import Sandbox

LONG = (  # 118 letters; and a word that has nowhere to break
    "Internationale Gesellschaft für Datenanreicherung und Vertriebsautomatisierung Süddeutschland"
    " mit beschränkter Haftung"
)
WORD = "Wolfeschlegelsteinhausenbergerdorff"
ARABIC, HEBREW = "واحة للخدمات اللوجستية", "נועה בן־דוד"
LONG_TOOL = ("a-provider-whose-id-takes-all-its-room", f"a-provider-whose-id-takes-all-its-room.{WORD.lower()}")
HUNTER, PROSPEO, OPENAI, ICYPEAS = (
    *("hunter.email_finder", "prospeo.email_finder"),
    *("openai.ai_column", "icypeas.email_finder"),
)


@dataclass(frozen=True)
class World:
    """Who looks, by name ("" is nobody), and what the addresses name."""

    people: dict[str, User | None]
    places: dict[str, str]


def made(stripe: Sandbox, providers: Providers, folder: Path) -> World:
    """Make it all, on an empty database with plans on sale. `folder` is for the catalog's file."""
    call_command("sync_catalog", str(_catalog(folder)), stdout=StringIO())
    people = {name: person(name) for name in ("Alice", "Bob", "Vera", "Mallory", "Harriet", "Quentin")}
    alice, bob, harriet = people["Alice"], people["Bob"], people["Harriet"]
    harbor, quiet = (Agency.objects.create(name=name) for name in ("Harbor", "Quiet Partners"))
    harbor.staff.add(harriet)
    quiet.staff.add(people["Quentin"])
    acme = orgs.create("Acme", "Europe/Lisbon", owner=alice)
    late = orgs.create("Late Payments", "Europe/London", owner=alice, agency=harbor)
    for who, role in ((bob, Role.MEMBER), (people["Vera"], Role.VIEWER)):
        orgs.add_member(acme, who, role)
    places = (
        _months(stripe, acme, late, alice, bob)
        | _at_the_till(stripe, alice)
        | _runs(acme, alice, providers)
        | _corners(acme, alice, people["Mallory"], harbor, harriet)
        | _names(harbor, alice)
    )
    _clients(harbor)
    operator = User.objects.create_superuser("ops@oxygen.example", "a long enough password", name="Olga")
    return World({"": None, "Olga": operator, **people}, places)


def use(org: Organization, by: User, *calls: tuple[str, Credits], most: Credits = 5) -> UUID:
    """Spend credits by so many calls, in a run of their own that is over afterwards."""

    def verb() -> UUID:
        run, unit = new_id(), Decimal(most)
        ledger.reserve(
            *(org.pk, run),
            cap=unit * len(calls),
            estimated_max=unit * len(calls),
            run_kind="column",
            member=by.pk,
            actor=f"user:{by.pk}",
        )
        ledger.admit(org.pk, run, len(calls), unit)
        outcomes = ("succeeded", "succeeded", "succeeded", "no_result")
        ledger.settle(
            org.pk,
            run,
            [
                attempt(number, credits, unit, tool=tool, outcome=outcomes[number % 4] if credits == 1 else "succeeded")
                for number, (tool, credits) in enumerate(calls, 1)
            ],
        )
        ledger.close(org.pk, run, actor=f"user:{by.pk}")
        return run

    return intention(verb)


def _catalog(folder: Path) -> Path:
    """The product's own catalog, with sixty more providers and one of a long name."""
    whole = json.loads(CATALOG.read_text("utf-8"))
    names = [(f"source-{n}", f"Source {n}", f"source-{n}.find", "Find") for n in range(1, 61)]
    names.append((LONG_TOOL[0], LONG[:80], LONG_TOOL[1], LONG))
    whole["providers"] += [
        {
            "id": id,
            "name": name,
            "category": "enrichment",
            "tools": [{"id": tool, "name": tool_name, "price": "1", "maximum": "2", "success_rate": "0.5"}],
        }
        for id, name, tool, tool_name in names
    ]
    file = folder / "catalog.json"
    file.write_text(json.dumps(whole))
    return file


def _months(stripe: Sandbox, acme: Organization, late: Organization, alice: User, bob: User) -> dict[str, str]:
    """Five weeks of use, in which Late's second payment fails; then Acme subscribes, and plans to take a smaller."""
    give(acme, 6000, days=90)
    give(acme, 200, days=12)
    subscribed(stripe, late, alice, "growth")
    use(late, alice, *[(HUNTER, 2)] * 40)
    another_card(stripe, late, "pm_card_chargeCustomerFail")
    tools = (HUNTER, PROSPEO, OPENAI, ICYPEAS, "apollo.job_changes", "leadmagic.mobile_finder", "datagma.enrich")
    for day in range(34):
        pass_time(stripe, days=1)
        if day % 7 not in (4, 5):
            calls = [(tool, 1 + (day + n) % 4) for n, tool in enumerate(tools) for _ in range(1 + (day * (n + 3)) % 7)]
            use(acme, (alice, bob)[day % 2], *calls)
    hear(late)
    jobs.expire_due()
    intention(lambda: adjust(acme.pk, "12.5", reason="The same voucher was entered twice"))
    subscribed(stripe, acme, alice, "growth")
    quoted = changes.quote(acme, alice, "starter", "month", PlanChange.When.RENEWAL)
    changes.confirm(acme, alice, quoted.pk)
    return {"paid": _session(acme), "scheduled": str(quoted.pk)}


def _at_the_till(stripe: Sandbox, alice: User) -> dict[str, str]:
    """Whose payment stands still: one left Checkout, the other's card was declined when it took a larger plan."""
    growing, waiting, unfinished, ended = (
        orgs.create(name, "America/New_York", owner=alice) for name in ("Growing", "Waiting", "Unfinished", "Leaving")
    )
    subscribed(stripe, growing, alice, "growth")
    purchases.subscribe(waiting, alice, "growth", "month", URLS)
    subscribed(stripe, ended, alice, "starter")
    changes.cancel(ended, alice)
    subscribed(stripe, unfinished, alice, "growth")
    another_card(stripe, unfinished, "pm_card_chargeCustomerFail")
    quoted = changes.quote(unfinished, alice, "scale", "month", PlanChange.When.NOW)
    changes.confirm(unfinished, alice, quoted.pk)
    return {"waiting": _session(waiting), "unpaid": str(quoted.pk)}


def _session(org: Organization) -> str:
    return Purchase.objects.get(org=org).session or ""


def _runs(acme: Organization, alice: User, providers: Providers) -> dict[str, str]:
    """Acme's runs: over, at its cap, paused by a person, held up by its provider, live, to be approved, odd."""
    odd = each_way(acme, alice)
    lifecycle.create(table_of(acme, 9, "Leads"), WorkflowTemplate.objects.get(id="opening_line"), cap="40", by=alice)
    asked = Run.objects.get(org=acme, status=Run.Status.AWAITING_APPROVAL)
    over = driven(start(acme, alice, HUNTER, PROSPEO, rows=60, cap=200))
    by_a_person = lifecycle.pause(start(acme, alice, OPENAI, rows=20, cap=100), by=alice)
    at_cap = driven(start(acme, alice, HUNTER, rows=10, cap=4))
    providers.script(tool=ICYPEAS, rates={"unavailable": 1.0})
    held_up = driven(start(acme, alice, ICYPEAS, rows=60, cap=120))
    assert held_up.pause_reason == Run.PauseReason.PROVIDER_UNAVAILABLE
    live = start(acme, alice, HUNTER, rows=40, cap=100)
    standing.begin(live)
    calls = dispatch.claim(live, ME, 14)
    settle(live, calls[:9], [_found(1)] * 9)
    runs = {"odd": odd, "asked": asked, "over": over, "stopped": by_a_person, "at_cap": at_cap, "held_up": held_up}
    return {name: str(run.id) for name, run in (runs | {"live": live}).items()}


def _found(credits: Credits) -> Outcome:
    return Outcome("succeeded", Decimal(credits), "Answered.", {"email": "ada@example.com"})


def _corners(acme: Organization, alice: User, mallory: User, harbor: Agency, harriet: User) -> dict[str, str]:
    """Acme's keys, invitations and own accounts; and an organization that has nothing yet."""
    orgs.create("Fresh Start", "Europe/Lisbon", owner=alice)
    accounts.connect(acme, Provider.objects.get(id="hubspot"), "an-api-key-of-its-own")
    old, _ = keys.make(acme, alice, "Nightly sync", ["run", "approve"])
    new, _ = keys.rotate(old, alice, timedelta(days=1))
    last, _ = keys.make(acme, alice, "Reports", ["read"])
    keys.revoke(last, by=alice)
    of_agency, _ = keys.make(harbor, harriet, "All clients", ["read"])
    invitation = invitations.invite(acme, mallory.email, Role.MEMBER, by=alice)
    return {"key": str(new.pk), "agency_key": str(of_agency.pk), "invitation": invitation.token}


def _names(harbor: Agency, alice: User) -> dict[str, str]:
    """What is long, written from right to left, very small, very large or very much."""
    places: dict[str, str] = {}
    long, arabic, small, many = (
        orgs.create(name, "Europe/Berlin", owner=alice, agency=agency)
        for name, agency in ((LONG, harbor), (ARABIC, harbor), ("Small and Large", None), ("Sixty Providers", None))
    )
    for org, credits in ((long, 900), (arabic, 900), (small, "99999999"), (many, 5000)):
        give(org, credits, days=60)
    wordy = User.objects.create_user(f"{WORD.lower()}@{WORD.lower()}.example", "a long enough password", name=WORD * 3)
    noa = User.objects.create_user("noa@oxygen.example", "a long enough password", name=HEBREW)
    for key, org, who, name in (("long", long, wordy, WORD * 4), ("arabic", arabic, noa, f"{HEBREW} {ARABIC}")):
        orgs.add_member(org, who, Role.ADMIN)
        use(org, who, *[(HUNTER, 2)] * 9, (LONG_TOOL[1], 3), (OPENAI, 4))
        column = column_of(table_of(org, 12, name[:120]), HUNTER)
        run = driven(lifecycle.create(column.table, column, cap="5", by=who, name=name))
        places |= {key: org.slug, f"{key}_run": f"/orgs/{org.slug}/runs/{run.id}/"}
        keys.make(org, who, WORD * 2, ["run", "steer", "approve", "read", "admin"])
        invitations.invite(org, f"{WORD.lower()}.{WORD.lower()}@{WORD.lower()}.example", Role.ADMIN, by=alice)
    use(small, alice, (HUNTER, Decimal("0.0001")), (OPENAI, Decimal("0.0001")))
    use(small, alice, (PROSPEO, 1234567), most=9999999)
    for n in range(1, 61):
        use(many, alice, *[(f"source-{n}.find", 1 + n % 5)] * (1 + n % 3))
    return places


def _clients(harbor: Agency) -> None:
    """Harbor's other clients: one with a paused run, one that runs low, one whose credits expire unused, one idle."""
    paused, low, expiring, _ = (
        orgs.create(name, "Europe/London", agency=harbor)
        for name in ("Northwind Labs", "Calder Studio", "Ørsund Marine", "Bluefin")
    )
    by = harbor.staff.get()
    for org, credits, days in ((paused, 400, 60), (low, 40, 60), (expiring, 5000, 5)):
        give(org, credits, days)
    driven(start(paused, by, HUNTER, rows=10, cap=4))
    use(low, by, *[(HUNTER, 3)] * 12, most=3)
    use(expiring, by, *[(PROSPEO, 1)] * 12)
