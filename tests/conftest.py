"""Fixtures of the whole suite: databases first, then the people and places."""

import os
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from tests import cluster

_numbers = count()


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


# ---------------------------------------------------------------- people and places
