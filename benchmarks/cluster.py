"""A durable PostgreSQL of the benchmark's own: migrated, measured from outside, thrown away at the end.

For the benchmarks alone. The law: what is timed was written to disk. A server with fsync or synchronous_commit off is
refused, whoever turned it off.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
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


def megabytes(url: str) -> int:
    """Say how much of the disk a database takes."""
    with psycopg.connect(url) as connection:
        said = connection.execute("SELECT pg_database_size(current_database()) / 1000000").fetchone()
    assert said
    return int(said[0])


@contextlib.contextmanager
def web_server(**settings: str) -> Iterator[str]:
    """Serve what this process speaks to as `manage.py up` and docs/operations.md do, on a free port; its address."""
    from oxygen_site.management.commands.up import GUNICORN

    environment = os.environ | {"OXYGEN_ENV": "demo"} | settings
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"]
    subprocess.run(collect, cwd=postgres.CLONE, env=environment, check=True)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "oxygen_site.wsgi", f"--bind=127.0.0.1:{port}", *GUNICORN]
    nowhere = subprocess.DEVNULL  # else a line a request
    child = subprocess.Popen(command, cwd=postgres.CLONE, env=environment, stdout=nowhere, stderr=nowhere)
    try:
        answers(port, child, seconds=20)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def answers(port: int, child: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait until a child listens on a port."""
    deadline = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < deadline:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"Nothing answers on port {port}, {seconds:g} seconds long or because it ended.")


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
