"""What runs are made of: the catalog, tables of invented people, and the sandbox providers on a port of their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from django.core.management import call_command

from billing import books
from billing.models import Organization, Reservation, User
from oxygen_site import clock
from runs import accounts, dispatch, jobs, lifecycle
from runs.dispatch import Answer, Call
from runs.management.commands.sync_catalog import CATALOG
from runs.models import Capability, Column, Provider, Run, Table, Tool, WorkflowTemplate
from runs.providers.outcomes import ABSORBED, Outcome
from runs.tables import add_column, import_csv

SURE = {"latency": 0, "rates": {}, "finds": 1}


class Providers:
    """The sandbox providers, seen from outside: their script and their own books."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx2.Client(base_url=url, timeout=20)

    def close(self) -> None:
        self._client.close()

    def script(self, **wishes: Any) -> None:
        self._client.post("/control", json=wishes).raise_for_status()

    def reset(self) -> None:
        self._client.delete("/control").raise_for_status()
        self.script(**SURE)

    def charges(self, run: Run) -> dict[str, Any]:
        """What they say they charged for a run: calls, charges, total, by_key."""
        statement: dict[str, Any] = self._client.get("/control/charges", params={"prefix": f"{run.id}:"}).json()
        return statement


@pytest.fixture(scope="session")
def _providers() -> Iterator[Providers]:
    command = [sys.executable, "-m", "sandbox.providers", "--port", "0", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = Providers(process.stdout.readline().strip())
        yield seen
        seen.close()
        process.terminate()


@pytest.fixture
def providers(_providers: Providers, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Providers:
    """Providers that answer at once, find something for every row and bill their tariff, until scripted otherwise."""
    settings.PROVIDERS_URL = _providers.url
    monkeypatch.setenv("OXYGEN_PROVIDERS_URL", _providers.url)
    _providers.reset()
    return _providers


ME = uuid4()  # a worker

TOOLS = {
    "apollo.job_changes",
    "hubspot.contact_upsert",
    "hunter.email_finder",
    "icypeas.email_finder",
    "leadmagic.mobile_finder",
    "openai.ai_column",
    "peopledatalabs.person_enrich",
    "prospeo.email_finder",
}


@pytest.fixture(scope="session")
def _catalog_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's own catalog, cut down to a handful of tools."""
    whole = json.loads(CATALOG.read_text("utf-8"))
    providers = [
        provider | {"tools": tools}
        for provider in whole["providers"]
        if (tools := [tool for tool in provider["tools"] if tool["id"] in TOOLS])
    ]
    made_of_tools = {
        kind: [
            fill | {"cascade": cascade}
            for fill in whole[kind]
            if (cascade := [tool for tool in fill["cascade"] if tool in TOOLS])
        ]
        for kind in ("capabilities", "templates")
    }
    file = tmp_path_factory.mktemp("catalog") / "catalog.json"
    file.write_text(json.dumps({"providers": providers} | made_of_tools))
    return file


# The rows of the catalog, once they were put in; to do so anew takes each test a seventh of a second.
IN_STOCK: list[list[Any]] = []


@pytest.fixture
def catalog(ground: None, _catalog_file: Path) -> None:
    if IN_STOCK:
        for rows in IN_STOCK:
            type(rows[0]).objects.bulk_create(rows)
    else:
        call_command("sync_catalog", str(_catalog_file), stdout=StringIO())
        IN_STOCK.extend(list(model.objects.all()) for model in (Provider, Tool, Capability, WorkflowTemplate))


def table_of(org: Organization, rows: int, name: str = "People") -> Table:
    """Import a table of so many invented people."""
    lines = [f"Given{n},Family{n},Company {n},company{n}.example" for n in range(rows)]
    header = "first_name,last_name,company,domain"
    return import_csv(org, name, BytesIO("\n".join([header, *lines]).encode()))


def column_of(table: Table, *tools: str, key: str = "found") -> Column:
    return add_column(table, key, "Found", tools)


def start(org: Organization, by: User, *tools: str, rows: int, cap: Decimal | str | int | None) -> Run:
    """Start a run of a cascade over a new table of so many rows, with the own accounts that it needs."""
    for provider in Provider.objects.filter(tools__in=tools, category="crm").distinct():
        accounts.connect(org, provider, "an-api-key-of-its-own")
    column = column_of(table_of(org, rows), *tools)
    return lifecycle.create(column.table, column, cap=None if cap is None else str(cap), by=by)


def booked(run: Run) -> Reservation:
    return Reservation.objects.get(org=run.org_id, run=run.id)


def assert_books_hold(*orgs: Organization) -> None:
    for org in orgs:
        assert books.drifts(org.id) == []


def settle(run: Run, calls: list[Call], outcomes: list[Outcome]) -> list[Call]:
    return dispatch.settle(run, ME, [Answer(call, each, 12) for call, each in zip(calls, outcomes, strict=True)])


def each_way(org: Organization, by: User) -> Run:
    """Make a run with one row for each way it can go: found, billed too much, empty, refused, charged in vain, given up
    and answered late, waiting for an answer, pending. An hour passes."""
    run = start(org, by, "openai.ai_column", "hunter.email_finder", rows=8, cap=40)
    found, none = Outcome("succeeded", Decimal(2), "Answered.", {"a": 1}), Outcome("no_result", Decimal(0), "Nothing.")
    dear = found._replace(cost=Decimal(5), reason=f"Billed 5; charged the tool's maximum of 3.5, {ABSORBED}")
    refused = Outcome("failed_before_billing", Decimal(0), "Refused.")
    in_vain = Outcome("failed_after_billing", Decimal(1), "Failed after the charge.")
    calls = dispatch.claim(run, ME, 6)
    first = [found, dear, none, refused, in_vain]
    second = settle(run, calls[:5], first)
    settle(run, second, [none, refused, in_vain])
    dispatch.unanswered(run, ME, calls[5])
    clock.advance(timedelta(hours=1))
    jobs.give_up_overdue()
    settle(run, calls[5:], [found])
    dispatch.unanswered(run, ME, dispatch.claim(run, ME, 1)[0])
    return run


@pytest.fixture
def mixed(acme: Organization, alice: User, catalog: None) -> Run:
    """A run of Acme's with one row for each way it can go."""
    return each_way(acme, alice)
