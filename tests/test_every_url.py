"""Every address × every role × one's own and another's organization, against PRODUCT.md's table of who may do what.

An address that is not declared here fails the walk, so that none goes out ungated.
"""

import re
from collections.abc import Iterator
from io import StringIO
from itertools import product
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.converters import IntConverter

from billing import keys, orgs
from billing.models import Agency, Organization, Role, User
from runs.models import Run
from tests.conftest import give, person
from tests.runs.conftest import column_of, start, table_of

METHODS = ("GET", "POST")
HUNTER = "hunter.email_finder"


class Address(NamedTuple):
    needs: str  # a right; `steer`: one's own run with steer_own, any with steer_runs
    methods: tuple[str, ...]


GET, POST, BOTH = ("GET",), ("POST",), METHODS

# Under /orgs/<slug>/.
OF_AN_ORG = {
    "billing:overview": Address("read", GET),
    "billing:usage_csv": Address("read", GET),
    "billing:holds": Address("read", GET),
    "billing:invoices": Address("read", GET),
    "billing:statement": Address("read", GET),
    "billing:statement_csv": Address("read", GET),
    "billing:ledger": Address("read", GET),
    "billing:ledger_csv": Address("read", GET),
    "billing:entry": Address("read", GET),
    "billing:grants": Address("read", GET),
    "billing:settings": Address("settings", BOTH),
    "billing:change_zone": Address("settings", BOTH),
    "billing:change_member": Address("members", POST),
    "billing:invite": Address("members", POST),
    "billing:revoke_invitation": Address("members", POST),
    "billing:subscribe": Address("read", GET),
    "billing:preview": Address("plan", POST),
    "billing:checkout": Address("plan", POST),
    "billing:confirm": Address("plan", POST),
    "billing:undo": Address("plan", POST),
    "billing:top_up": Address("plan", POST),
    "billing:auto_top_up": Address("plan", BOTH),
    "billing:portal": Address("plan", POST),
    "billing:returned": Address("plan", BOTH),
    "billing:cancel_plan": Address("cancel_subscription", BOTH),
    "billing:keys": Address("settings", BOTH),
    "billing:revoke_key": Address("settings", BOTH),
    "billing:rotate_key": Address("settings", BOTH),
    "runs:index": Address("read", GET),
    "runs:accounts": Address("settings", BOTH),
    "runs:attention": Address("read", GET),
    "runs:new": Address("start_runs", BOTH),
    "runs:detail": Address("read", GET),
    "runs:approve": Address("approve", POST),
    "runs:pause": Address("steer", POST),
    "runs:resume": Address("steer", POST),
    "runs:cancel": Address("steer", BOTH),
    "runs:continue_run": Address("steer", BOTH),
}
# For whoever is signed in; they show only what is that person's.
SIGNED_IN = {"billing:home", "billing:billing", "billing:runs", "billing:plan", "billing:orgs", "billing:new_org"}
# Under /agency/, for its staff; there is nothing there for anybody else.
OF_AN_AGENCY = {
    *("billing:agency", "billing:agency_csv"),
    *("billing:agency_keys", "billing:agency_revoke_key", "billing:agency_rotate_key"),
}
ANYBODY = {  # an invitation's link is its own gate
    *("billing:theme", "billing:join", "healthz", "readyz", "api_docs", "api_operation"),
}
WITH_THE_TOKEN = {"metrics"}
SIGNED_BY_STRIPE = {"billing:stripe_webhook"}
OWNERS_ALONE = {"cancel_subscription", "members"}
# Django's and allauth's own, each behind a gate of its own; the API's operations are walked in test_every_operation.py.
OPERATORS, ACCOUNTS, API = "admin:", "account_", "api:"

ALL = {"read", "start_runs", "steer_own", "steer_runs", "approve", "settings", "plan", "members", "cancel_subscription"}
MAY: dict[str, set[str] | None] = {  # None: no member, so there is nothing here
    "anonymous": None,
    "stranger": None,
    "other agency": None,
    "viewer": {"read"},
    "member": {"read", "start_runs", "steer_own"},
    "other member": {"read", "start_runs", "steer_own"},
    "admin": ALL - {"members", "cancel_subscription"},
    "owner": ALL,
    "agency": ALL - {"members", "cancel_subscription"},
}


class World(NamedTuple):
    org: Organization
    run: Run  # started by the member
    foreign: Run
    clients: dict[str, Client]


@pytest.fixture
def world(harbor: Agency, harriet: User, globex: Organization, mallory: User) -> World:
    """Bluefin, a client of Harbor's, with a person in every role; Globex, which is none of their business."""
    call_command("sync_catalog", stdout=StringIO())
    org = harbor.clients.get()
    people = {"stranger": mallory, "agency": harriet, "other agency": person("Otto")}
    Agency.objects.create(name="Elsewhere").staff.add(people["other agency"])
    for name, role in [(role.value, role) for role in Role] + [("other member", Role.MEMBER)]:
        people[name] = person(name.replace(" ", "."))
        orgs.add_member(org, people[name], role)
    give(org, 100)
    run = start(org, people["member"], HUNTER, rows=5, cap=3)
    for owned, maker in ((org, people["owner"]), (globex, mallory)):
        keys.make(owned, maker, "A key", ["read"])
    clients = {"anonymous": Client()} | {name: Client() for name in people}
    for name, who in people.items():
        clients[name].force_login(who)
    return World(org, run, start(globex, mallory, HUNTER, rows=5, cap=3), clients)


def walk(resolver: URLResolver, space: str = "", route: str = "") -> Iterator[tuple[str, str, URLPattern]]:
    """Read (name, route, pattern) of every address of the site."""
    for each in resolver.url_patterns:
        here = f"{route}{each.pattern}"
        if isinstance(each, URLResolver):
            yield from walk(each, f"{space}{each.namespace}:" if each.namespace else space, here)
        else:
            yield f"{space}{each.name}", here, each


SITE = list(walk(get_resolver()))


def address(name: str, org: Organization, run: Run) -> str:
    pattern = next(pattern for named, _, pattern in SITE if named == name)
    known = {
        "slug": org.slug,
        "run_id": run.id,
        "entry_id": f"{run.id}:0:0",
        "key_id": org.keys.values_list("pk", flat=True)[0],
    }
    return reverse(name, kwargs={key: known[key] for key in ("slug", *pattern.pattern.converters) if key in known})


def may(role: str, needs: str) -> bool:
    rights = MAY[role] or set()
    return "steer_runs" in rights or role == "member" if needs == "steer" else needs in rights


def is_login(location: str) -> bool:
    return location.startswith(reverse("account_login"))


# ------------------------------------------------------------------ declared


def test_every_address_is_declared() -> None:
    declared = OF_AN_ORG.keys() | OF_AN_AGENCY | SIGNED_IN | ANYBODY | WITH_THE_TOKEN | SIGNED_BY_STRIPE
    named = {name for name, route, _ in SITE if not name.startswith((OPERATORS, ACCOUNTS, API))}
    # /billing, /runs and /subscribe also answer without their slash, under no name of their own.
    assert named - {"billing:None"} == declared


def test_every_page_of_an_org_stands_behind_the_gate_with_its_right() -> None:
    gated = {
        name: vars(pattern.callback)["right"] for name, route, pattern in SITE if route.startswith("orgs/<slug:slug>/")
    }
    assert gated == {
        name: "steer_own" if address.needs == "steer" else address.needs for name, address in OF_AN_ORG.items()
    }


# ------------------------------------------------------------------ an org's pages


def test_a_page_of_an_org_opens_to_who_may_and_to_nobody_else(world: World) -> None:
    for (name, (needs, methods)), role, method in product(OF_AN_ORG.items(), MAY, METHODS):
        url = address(name, world.org, world.run)
        answer = world.clients[role].generic(method, url)
        says = f"{method} {url} by {role}: {answer.status_code}"
        if method not in methods:
            assert answer.status_code == 405, says
        elif role == "anonymous":
            assert answer.status_code == 302, says
            assert is_login(answer["Location"]), says
        elif MAY[role] is None:
            assert answer.status_code == 404, says
        elif may(role, needs):
            assert answer.status_code in (200, 302, 409, 422), says
            assert answer.status_code != 302 or not is_login(answer["Location"]), says
        else:
            assert answer.status_code == 403, says
            asks = "Ask an owner" if needs in OWNERS_ALONE else "an admin or (an )?owner"
            assert re.search(asks, answer.content.decode()), says


def test_nobody_enters_another_org(world: World) -> None:
    globex = Organization.objects.get(slug="globex")
    for (name, (_, methods)), role in product(OF_AN_ORG.items(), MAY.keys() - {"anonymous", "stranger"}):
        url = address(name, globex, world.foreign)
        for method in methods:
            assert world.clients[role].generic(method, url).status_code == 404, f"{method} {url} by {role}"


def test_anothers_run_is_not_to_be_found_under_ones_own_org(world: World) -> None:
    for (name, (needs, methods)), role in product(OF_AN_ORG.items(), ("member", "admin", "owner", "agency")):
        url = address(name, world.org, world.foreign)
        status = 404 if may(role, needs) else 403
        for method in methods if str(world.foreign.id) in url else ():
            assert world.clients[role].generic(method, url).status_code == status, f"{method} {url} by {role}"
    world.foreign.refresh_from_db()
    assert world.foreign.status == Run.Status.QUEUED


def test_a_run_is_never_started_on_anothers_column(world: World) -> None:
    column = column_of(table_of(Organization.objects.get(slug="globex"), 3, name="Theirs"), HUNTER, key="theirs")
    url = reverse("runs:new", args=[world.org.slug])
    mine = table_of(world.org, 3, name="Ours")
    for table in (column.table, mine):
        asked = {"table": table.pk, "fill": f"column:{column.pk}", "cap": "3", "do": "start"}
        assert world.clients["owner"].post(url, asked).status_code == 422
    assert Run.objects.filter(column=column).count() == 0


def test_a_run_of_one_of_ones_orgs_is_not_found_under_another(world: World) -> None:
    owner = world.clients["owner"]
    other = orgs.create("Second", "UTC", owner=User.objects.get(email="owner@oxygen.example"))
    assert owner.get(reverse("runs:detail", args=[other.slug, world.run.id])).status_code == 404
    assert owner.post(reverse("runs:cancel", args=[other.slug, world.run.id])).status_code == 404
    assert owner.get(reverse("runs:detail", args=[world.org.slug, world.run.id])).status_code == 200


# ------------------------------------------------------------------ the rest of the site


@pytest.mark.parametrize("name", sorted(SIGNED_IN))
def test_who_is_not_signed_in_is_asked_to(name: str, client: Client) -> None:
    answer = client.get(reverse(name))
    assert answer.status_code == 302
    assert is_login(answer["Location"])


def test_only_staff_enter_their_agencys_pages(world: World, harbor: Agency, harriet: User) -> None:
    key, _ = keys.make(harbor, harriet, "The board", ["read"])
    for name, role in product(sorted(OF_AN_AGENCY), world.clients):
        url = reverse(name, args=[key.pk] if name.endswith("_key") else [])
        answer = world.clients[role].get(url)
        says = f"{url} by {role}: {answer.status_code}"
        if role == "anonymous":
            assert is_login(answer["Location"]), says
        elif role == "other agency":  # its own page, and no key of others
            assert answer.status_code == (404 if name.endswith("_key") else 200), says
            assert "Bluefin" not in shown(answer), says
        else:
            assert answer.status_code == (200 if role == "agency" else 404), says
    for name in ("billing:agency", "billing:agency_csv"):
        assert "Bluefin" in shown(world.clients["agency"].get(reverse(name)))
        assert world.clients["other agency"].get(reverse(name), {"agency": str(harbor.pk)}).status_code == 404


def shown(answer: Any) -> str:
    return (b"".join(answer) if answer.streaming else answer.content).decode()


@pytest.mark.parametrize("name", sorted(WITH_THE_TOKEN))
def test_no_role_opens_what_needs_the_token(name: str, world: World, settings: Any) -> None:
    settings.METRICS_TOKEN = "a token nobody was told"
    for role, client in world.clients.items():
        assert client.get(reverse(name)).status_code == 404, f"{name} by {role}"


@pytest.mark.parametrize("name", sorted(SIGNED_BY_STRIPE))
def test_no_role_speaks_for_stripe(name: str, world: World) -> None:
    for role, client in world.clients.items():
        assert client.get(reverse(name)).status_code == 405, f"{name} by {role}"
        assert client.post(reverse(name)).status_code == 400, f"{name} by {role}"


def test_the_list_of_orgs_shows_ones_own_only(world: World) -> None:
    for role, names in {
        "viewer": {"Bluefin"},
        "agency": {"Bluefin"},
        "stranger": {"Globex"},
        "other agency": set(),
    }.items():
        text = world.clients[role].get(reverse("billing:orgs")).content.decode()
        assert {name for name in ("Bluefin", "Globex") if name in text} == names


def test_only_operators_enter_the_admin(world: World) -> None:
    open_to_all = ("admin:login", "admin:logout", "admin:None")  # None: whatever is not there
    inside = [(name, pattern) for name, _, pattern in SITE if name.startswith(OPERATORS) and name not in open_to_all]
    assert len(inside) > 20
    for name, pattern in inside:
        kinds = pattern.pattern.converters.items()
        something: dict[str, object] = {key: 1 if isinstance(kind, IntConverter) else uuid4() for key, kind in kinds}
        if name == "admin:app_list":
            something["app_label"] = "billing"
        for role in ("anonymous", "stranger", "owner", "agency"):
            answer = world.clients[role].get(reverse(name, kwargs=something))
            assert answer.status_code == 302, f"{name} by {role}"
            assert "/login/" in answer["Location"], f"{name} by {role}"
