"""Fixtures of the whole suite: databases first, then the people and places."""

import gc
import json
import logging.config
import os
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from pytest_django.live_server_helper import LiveServer

from billing import ledger, orgs
from billing.models import Agency, Organization, User
from oxygen_site import logs
from oxygen_site.clock import clock
from oxygen_site.transactions import intention
from tests import cluster

# A test makes much and leaves little: the default looks for cycles so often that it takes a twentieth of the suite.
gc.set_threshold(100_000, 50, 100)

_numbers = count()
# Whole files are dealt out in this order, so that no worker is left with the longest at the end. By what they take in
# make test and in the soak; whoever adds seconds by the dozen moves the file up.
LONG = tuple(
    f"tests/{path}"
    for path in (
        *("chaos/", "browser/test_paying.py", "browser/", "test_damage.py", "oxygen_site/test_up.py"),
        *("billing/payments/lives/", "billing/payments/scenarios/", "billing/payments/test_changes.py"),
        *("billing/test_ledger_model.py", "runs/test_failure_billing.py", "stories/", "test_every_", "oxygen_cli/"),
        *("runs/test_worker.py", "runs/test_seed_demo.py", "sandbox/stripe/", "billing/payments/"),
    )
)


def _place(item: pytest.Item) -> int:
    return next((place for place, path in enumerate(LONG) if item.nodeid.startswith(path)), len(LONG))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """Give each worker a clone of the migrated template for its tests that roll back."""
    with django_db_blocker.unblock():
        database = cluster.clone(os.environ.get("PYTEST_XDIST_WORKER", "main"))
        with cluster.pointed_at(database):
            yield
        cluster.drop(database)


@pytest.fixture
def fresh_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A database of this test's own, for what commits: threads, processes, races. Returns its URL."""
    database = cluster.clone(f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}")
    with django_db_blocker.unblock(), cluster.pointed_at(database):
        yield cluster.address(database)
    cluster.drop(database)


@pytest.fixture(scope="session")
def _served() -> Iterator[LiveServer]:
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def site(fresh_database: str, _served: LiveServer) -> str:
    """The whole site over HTTP, on a database of this test's own. Returns its address."""
    return str(_served.url)


@pytest.fixture
def written(settings: Any) -> Iterator[StringIO]:
    """The log as production writes it, down to its debug lines."""
    config = logs.config(as_json=True)
    stream = config["handlers"]["console"]["stream"] = StringIO()
    for logger in (config["root"], *config["loggers"].values()):
        logger["level"] = "DEBUG"
    levels = {name: logging.getLogger(name).level for name in config["loggers"]}
    logging.config.dictConfig(config)
    yield stream
    logging.config.dictConfig(settings.LOGGING)
    for name, level in levels.items():  # which the settings leave as they are
        logging.getLogger(name).setLevel(level)


def lines(written: StringIO, logger: str) -> list[dict[str, Any]]:
    """Read what one logger has written."""
    return [line for line in map(json.loads, written.getvalue().splitlines()) if line["logger"] == logger]


# ---------------------------------------------------------------- people and places
# Made through public verbs. On the database of whoever asks: a test's rollback, or its `fresh_database`.


@pytest.fixture
def ground(request: pytest.FixtureRequest) -> None:
    """The database the cast lives in: the test's own where it has one, else the one that rolls back."""
    own = {"fresh_database", "site"} & set(request.fixturenames)
    request.getfixturevalue(own.pop() if own else "db")


def person(name: str) -> User:
    return User.objects.create_user(f"{name.lower()}@oxygen.example", "a long enough password", name=name)


@pytest.fixture
def alice(ground: None) -> User:
    return person("Alice")


@pytest.fixture
def mallory(ground: None) -> User:
    return person("Mallory")


@pytest.fixture
def harriet(ground: None) -> User:
    return person("Harriet")


@pytest.fixture
def acme(alice: User) -> Organization:
    """Alice's organization: 100 credits that expire in 30 days."""
    org = orgs.create("Acme", "Europe/Lisbon", owner=alice)
    give(org, 100)
    return org


@pytest.fixture
def globex(mallory: User) -> Organization:
    """Somebody else's organization, with 100 credits of its own."""
    org = orgs.create("Globex", "America/New_York", owner=mallory)
    give(org, 100)
    return org


@pytest.fixture
def harbor(harriet: User) -> Agency:
    """An agency, where Harriet works, and one client of it, Bluefin."""
    agency = Agency.objects.create(name="Harbor")
    agency.staff.add(harriet)
    orgs.create("Bluefin", "Asia/Tokyo", agency=agency)
    return agency


def give(org: Organization, credits: int | str | Decimal, days: int = 30, key: str | None = None) -> UUID:
    """Grant an org credits that expire in so many days; answer the grant's id."""
    return intention(
        lambda: ledger.grant(
            org.pk,
            key=key or f"test:{next(_numbers)}",
            source="promo",
            amount=Decimal(credits),
            expires_at=clock() + timedelta(days=days),
            actor="system:test",
        )
    )
