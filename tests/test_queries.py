"""What every page asks of the database: as many queries for one of each thing as for more than a page lists."""

from typing import NamedTuple

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from billing import invitations, keys, ledger, orgs
from billing.models import Agency, ApiKey, Organization, Role, User
from runs import lifecycle
from runs.models import Run
from tests.billing.moves import attempt, open_run, settle
from tests.billing.test_invoices import many as invoices
from tests.conftest import give, person
from tests.runs.conftest import _catalog_file, catalog, column_of, start, table_of
from tests.runs.test_queries import answer
from tests.test_every_url import ANYBODY, OF_AN_AGENCY, OF_AN_ORG, SIGNED_IN

__all__ = ["_catalog_file", "catalog"]  # fixtures

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER = "hunter.email_finder"
ORG, BOARD_KEY = "/orgs/acme", "/agency/keys/{board}"
RUN, KEY = "/orgs/acme/runs/{run}", "/orgs/acme/settings/keys/{key}"
# As who is signed in, each address with its queries.
OF_ALICE = {
    f"{ORG}/billing/": 37,
    f"{ORG}/billing/?range=90d": 33,
    f"{ORG}/billing/?range=90d&group=run&measure=calls": 39,
    f"{ORG}/billing/?range=90d&group=member&provider=hunter&filters=1&daily=1&course=1": 46,
    f"{ORG}/billing/usage.csv?range=90d": 7,
    f"{ORG}/billing/holds/": 8,
    f"{ORG}/billing/invoices/": 6,
    f"{ORG}/billing/statement/": 12,
    f"{ORG}/billing/statement.csv": 12,
    f"{ORG}/billing/ledger/": 13,
    f"{ORG}/billing/ledger/?range=90d&kind=captured&provider=hunter": 12,
    f"{ORG}/billing/ledger/csv/": 8,
    f"{ORG}/billing/ledger/{{run}}:1:0/": 7,
    f"{ORG}/billing/grants/": 8,
    f"{ORG}/billing/settings/": 8,
    f"{ORG}/billing/settings/zone/": 4,
    f"{ORG}/subscribe/": 13,
    f"{ORG}/subscribe/cancel/": 5,
    f"{ORG}/subscribe/automatic/": 15,
    f"{ORG}/settings/keys/": 7,
    f"{KEY}/rotate/": 5,
    f"{KEY}/revoke/": 5,
    f"{ORG}/runs/": 10,
    f"{ORG}/runs/attention/": 10,
    f"{ORG}/runs/new/": 7,
    f"{ORG}/runs/accounts/": 6,
    f"{RUN}/": 12,
    f"{RUN}/cancel/": 21,
    f"{RUN}/continue/": 21,
    "/": 3,
    "/orgs/": 7,
    "/orgs/new/": 2,
    "/join/{link}/": 5,
    "/accounts/email/": 4,
}
OF_HARRIET = {
    "/agency/": 10,
    "/agency/clients.csv": 10,
    "/agency/keys/": 6,
    f"{BOARD_KEY}/rotate/": 4,
    f"{BOARD_KEY}/revoke/": 4,
    "/orgs/": 7,
    "/orgs/bluefin/billing/": 34,
}
OF_ANYBODY = {
    "/api/docs": 0,
    "/api/docs/start_run": 0,
    "/accounts/login/": 0,
    "/join/{link}/": 2,
}
# The same as home, but where they lead to; what answers no GET with a page; and what needs a purchase at Stripe.
NOT_ASKED = {
    *("billing:billing", "billing:runs", "billing:plan", "billing:theme", "healthz", "readyz", "billing:returned"),
}


class Cast(NamedTuple):
    acme: Organization
    alice: User
    harbor: Agency
    harriet: User


@pytest.fixture
def cast(acme: Organization, alice: User, harbor: Agency, harriet: User) -> Cast:
    """Acme and Harbor with one of each thing."""
    give(acme, 10_000)
    whole = Cast(acme, alice, harbor, harriet)
    add(whole, 1)
    return whole


def add(cast: Cast, count: int) -> None:
    """So many more runs, rows of a run, charges, holds, grants, invoices, members, invitations, keys and clients."""
    org, alice = cast.acme, cast.alice
    invoices(org, count)
    table = table_of(org, count, f"{count} people")
    for n in range(count):
        give(org, 1, days=40 + n)
        lifecycle.create(table, column_of(table, HUNTER, key=f"found_{n}"), cap="1", by=alice)
        member = person(f"Person.{count}.{n}")
        orgs.add_member(org, member, Role.ADMIN)
        if n < 40:  # fifty may be open
            invitations.invite(org, f"guest.{count}.{n}@oxygen.example", Role.MEMBER, by=alice)
        keys.make(org, alice, f"Key {n}", ["read"])
        keys.make(cast.harbor, cast.harriet, f"Key {n}", ["read"])
        client = orgs.create(f"Client {n}", "UTC", agency=cast.harbor)
        give(client, 30)
        ledger.pause(client.pk, open_run(client.pk, 4), True)
        orgs.add_member(client, alice, Role.VIEWER)
        settle(client.pk, open_run(client.pk, 2, begin=1), attempt(1))
    paused = start(org, alice, HUNTER, rows=count + 1, cap=count + 1)
    answer(paused, count)
    lifecycle.pause(paused, by=alice)
    give(org, 1)


def things(cast: Cast) -> dict[str, object]:
    """What stands for itself in an address: the newest of each."""
    link = invitations.invite(cast.acme, "nadia@oxygen.example", Role.MEMBER, by=cast.alice)
    return {
        "run": Run.objects.filter(status="paused").latest("id").id,
        "key": ApiKey.objects.filter(org=cast.acme).latest("created_at").pk,
        "board": ApiKey.objects.filter(agency=cast.harbor).latest("created_at").pk,
        "link": link.token,
    }


def asked(who: User | None, addresses: dict[str, int], of: dict[str, object]) -> dict[str, int]:
    """Count the queries of each address, read as whoever was there before."""
    client = Client()
    if who:
        client.force_login(who)
        client.get(f"{ORG}/billing/")
    return {address: _queries(client, address.format(**of)) for address in addresses}


def _queries(client: Client, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
        whole = answer.getvalue()
    assert (answer.status_code, bool(whole)) in ((200, True), (302, False)), address
    return len(queries)


@pytest.mark.parametrize("more", [0, 55])
def test_every_page_asks_as_much_for_one_as_for_many(cast: Cast, more: int) -> None:
    if more:
        add(cast, more)
    of = things(cast)
    assert asked(cast.alice, OF_ALICE, of) == OF_ALICE
    assert asked(cast.harriet, OF_HARRIET, of) == OF_HARRIET
    assert asked(None, OF_ANYBODY, of) == OF_ANYBODY


def test_no_page_is_left_out() -> None:
    known = dict.fromkeys(("run", "key", "board"), "0" * 8 + "-0000-7000-8000-" + "0" * 12) | {"link": "x"}
    listed = {address.format(**known).partition("?")[0] for address in (*OF_ALICE, *OF_HARRIET, *OF_ANYBODY)}
    pages = {name for name, address in OF_AN_ORG.items() if "GET" in address.methods}
    every = pages | OF_AN_AGENCY | SIGNED_IN | ANYBODY
    assert every - NOT_ASKED == every & {resolve(address).view_name for address in listed}
