"""Keys of people, and tables to run over, for tests that ask the API as a script does."""

from collections.abc import Callable
from typing import Any

import pytest

from billing import keys, orgs
from billing.models import Agency, Organization, Role, User
from runs.models import Column, Table
from tests.conftest import person
from tests.contract import Answer, ask
from tests.runs.conftest import column_of, table_of

HUNTER, OPENAI, HUBSPOT = "hunter.email_finder", "openai.ai_column", "hubspot.contact_upsert"

type Say = Callable[..., Answer]


def secret(of: Organization | Agency, by: User, *scopes: str) -> str:
    """Make a key with these scopes, or with all of them."""
    return keys.make(of, by, "A script", scopes or ["read", "run", "steer", "approve", "admin"])[1]


def saying(key: str) -> Say:
    """Say something to the API with a key: `say("POST", "/runs", table=…)`."""
    return lambda method, path, **body: ask(path, key, method, body if method != "GET" else None)


@pytest.fixture
def say(acme: Organization, alice: User) -> Say:
    """Alice's script, which may all that keys may."""
    return saying(secret(acme, alice))


@pytest.fixture
def bob(acme: Organization) -> User:
    """A member of Acme: starts runs, approves none."""
    bob = person("Bob")
    orgs.add_member(acme, bob, Role.MEMBER)
    return bob


@pytest.fixture
def people(acme: Organization, catalog: None) -> Table:
    """A table of ten rows with the columns `found` (Hunter), `line` (a model) and `crm` (the own account)."""
    table = table_of(acme, 10)
    column_of(table, HUNTER)
    column_of(table, OPENAI, key="line")
    column_of(table, HUBSPOT, key="crm")
    return table


def found(table: Table, key: str = "found") -> Column:
    return table.columns.select_related("table__org").get(key=key)


def target(table: Table, **facts: Any) -> dict[str, Any]:
    return {"table": table.id, "column": "found"} | facts
