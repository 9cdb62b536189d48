"""A durable PostgreSQL of the benchmark's own: migrated, measured from outside, thrown away at the end.

For the benchmarks alone. The law: what is timed was written to disk. A server with fsync or synchronous_commit off is
refused, whoever turned it off.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

from oxygen_site import postgres

# A busy server's usual: else a checkpoint falls into whichever side is being timed.
ROOMY = {"max_wal_size": "16GB", "checkpoint_timeout": "1h", "shared_buffers": "2GB"}


@contextlib.contextmanager
def durable(name: str) -> Iterator[postgres.Server]:
    """Start a server for one benchmark and remove it after."""
    server = postgres.start(postgres.home() / f"benchmark-{name}-{os.getpid()}", durable=True)
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for setting, value in ROOMY.items():
                connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'".encode())
        server.stop()
        server = postgres.start(server.data, durable=True)
        with psycopg.connect(server.url) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                said = connection.execute(f"SHOW {setting}".encode()).fetchone()
                if said != ("on",):
                    sys.exit(f"{setting} is not on: nothing measured here would hold in production.")
        yield server
    finally:
        server.remove()


def migrated(server: postgres.Server, database: str) -> str:
    """Make a database with the product's schema; answer its URL."""
    url = server.create(database)
    migrate = [sys.executable, "manage.py", "migrate", "--skip-checks", "--verbosity=0"]
    subprocess.run(migrate, cwd=postgres.CLONE, env=_environment(url), check=True)
    return url


def speak_to(url: str) -> None:
    """Let this process's Django, and every process started from here, speak to a database."""
    os.environ.update(_environment(url))
    import django

    django.setup()


def _environment(url: str) -> dict[str, str]:
    return os.environ | {"DJANGO_SETTINGS_MODULE": "oxygen_site.settings", "OXYGEN_ENV": "test", "DATABASE_URL": url}


def processor_seconds(server: postgres.Server) -> float:
    """Sum what all of the server's processes have used so far, those that ended included. Ticks of 10 ms, on Linux."""
    postmaster = server.process.pid
    own = _stat(postmaster)
    ticks = sum(own)
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        with contextlib.suppress(OSError):  # ended just now: counted in its parent
            ticks += sum(_stat(int(child))[:2])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[int]:
    """The ticks of a process in user and system mode, and those of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]
