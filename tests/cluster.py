"""The tests' PostgreSQL: one throw-away cluster for all workers, one migrated template, clones of it for the asking.

Loaded with `-p`, before pytest-django reads the settings. The controller owns the cluster; xdist's workers inherit
DATABASE_URL. Where DATABASE_URL is given, its server is used, and only databases named `oxygen_test_…` are made there.
The law: a test that commits does so in a database of its own, so no ledger trigger is ever switched off.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import dj_database_url
import psycopg
import pytest

from oxygen_site import postgres
from tests import effort

MEMORY, PLENTY = Path("/dev/shm"), 4 << 30


def _space() -> Path:
    """Say where throw-away clusters lie: in memory where there is plenty, for they are copied hundreds of times."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > PLENTY:
        return MEMORY / f"oxygen-billing-{os.geteuid()}"
    return postgres.home()


SPACE = _space()
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
NAME = f"tests-{os.getpid()}"

os.environ["OXYGEN_ENV"] = "test"
OURS = postgres.url(SPACE / NAME)
os.environ.setdefault("DATABASE_URL", OURS)
if not IS_WORKER:
    os.environ["OXYGEN_TEST_RUN"] = str(os.getpid())

RUN = os.environ["OXYGEN_TEST_RUN"]
TEMPLATE = f"oxygen_test_{RUN}_template"
_server: postgres.Server | None = None


def pytest_configure(config: pytest.Config) -> None:
    global _server
    if IS_WORKER or config.option.collectonly or config.option.help:
        return
    if os.environ["DATABASE_URL"] == OURS:
        _sweep()
        _server = postgres.start(SPACE / NAME, durable=False)
    _make_template()


def pytest_report_header() -> str:
    return f"effort: {'the whole' if effort.SOAK else 'a tenth'}, SEED={effort.SEED}"


def pytest_unconfigure(config: pytest.Config) -> None:
    global _server
    if _server is not None:
        _server.remove()
        _server = None
    elif not IS_WORKER and os.environ["DATABASE_URL"] != OURS:
        drop(TEMPLATE)


def address(database: str) -> str:
    """Say the URL of a database on the tests' server."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}"))


def clone(name: str) -> str:
    """Make a database with the whole migrated schema and nothing in it; return its full name."""
    database = f"oxygen_test_{RUN}_{name}"
    _administer(f'CREATE DATABASE "{database}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')  # half the time here
    return database


def drop(database: str) -> None:
    """Drop a clone, whoever is still connected to it."""
    _administer(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


@contextlib.contextmanager
def pointed_at(database: str) -> Iterator[None]:
    """Let every thread's default connection, and every process started meanwhile, speak to this database."""
    with speaking_to(address(database)):
        yield


@contextlib.contextmanager
def speaking_to(url: str) -> Iterator[None]:
    """The same for a database on any server."""
    from django.db import connection

    parts = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    given = connection.settings_dict  # the one dict that all threads' connections share
    before, before_url = {part: given[part] for part in parts}, os.environ["DATABASE_URL"]
    connection.close()
    given.update({part: value for part, value in dj_database_url.parse(url).items() if part in parts})
    os.environ["DATABASE_URL"] = url
    try:
        yield
    finally:
        connection.close()
        given.update(before)
        os.environ["DATABASE_URL"] = before_url


@contextlib.contextmanager
def of_its_own() -> Iterator[postgres.Server]:
    """A server that may crash: it writes to disk, has the migrated schema, and is thrown away at the end."""
    server = postgres.start(postgres.home() / f"tests-own-{os.getpid()}", durable=False)
    try:
        _migrate(server.url)
        server.stop()
        server = postgres.start(server.data)
        yield server
    finally:
        server.remove()


def _sweep() -> None:
    """Throw away the clusters of runs that were killed."""
    for lock in [*SPACE.glob("tests-*.lock"), *postgres.home().glob("tests-*.lock")]:
        try:
            os.kill(int(lock.stem.rpartition("-")[2]), 0)
        except ProcessLookupError:
            postgres.throw_away(lock.with_suffix(""))
        except PermissionError:
            pass  # somebody else's, and alive


def _make_template() -> None:
    _administer(f'CREATE DATABASE "{TEMPLATE}"')
    _migrate(address(TEMPLATE))


def _migrate(url: str) -> None:
    migrated = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0", "--skip-checks"],
        cwd=postgres.CLONE,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if migrated.returncode:
        raise pytest.UsageError(f"The migrations do not run:\n{migrated.stderr}")


def _administer(statement: str) -> None:
    with psycopg.connect(address("postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())
