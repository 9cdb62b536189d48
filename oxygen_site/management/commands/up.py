"""Everything in one process tree: PostgreSQL where none is named, migrations, web server, worker; with `--demo` also
the sandbox providers, a local Stripe unless a key of Stripe's is given, and the seed.

A child that dies is started again, after longer and longer pauses. SIGTERM and Ctrl-C let requests and slices finish
and leave no process behind; neither does a kill -9 of this one. In production the same parts run as services of their
own (`docs/operations.md`); this command is for one machine and for trying things out.
"""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from oxygen_site import postgres
from oxygen_site.demo import moving, sandbox

HOST = "127.0.0.1"
DRAIN = 20  # seconds for the requests, slices and calls in flight
CALM = 30  # seconds of life after which a death is the first again
LONGEST_PAUSE = 30
PROVIDERS, STRIPE = SANDBOXES = "sandbox providers", "local Stripe"


class Child:
    """A process of the tree, started again when it dies."""

    def __init__(self, name: str, command: list[str], say: Callable[[str], object]) -> None:
        self.name = name
        self.command = command
        self.say = say
        self.deaths = 0
        self.due = 0.0
        self.start()

    def start(self) -> None:
        self.started = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = subprocess.Popen(
            self.command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if self.name in SANDBOXES else None,  # they only say where they are
            start_new_session=True,  # the terminal's Ctrl-C comes to us, and from us in order
            preexec_fn=postgres.end_with_owner(signal.SIGTERM),
        )

    def tend(self) -> None:
        """Notice a death; start again once the pause is over."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                self.start()
        elif self.process.poll() is not None:
            self.deaths = 1 if now - self.started > CALM else self.deaths + 1
            pause = min(LONGEST_PAUSE, 0.25 * 2**self.deaths)
            self.say(f"The {self.name} ended (exit code {self.process.returncode}); again in {pause:g} seconds.")
            self.process, self.due = None, now + pause

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Command(BaseCommand):
    help = "Run the whole of Oxygen Billing in one process tree."
    requires_system_checks = []  # before the database is there

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="seed the demo, and stand in for the providers")
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000", help="where to serve (8000)")

    def handle(self, *args: Any, demo: bool, port: str, **options: Any) -> None:
        if demo and not settings.PLAYING:
            raise CommandError("The demo needs OXYGEN_ENV=demo: its data and passwords are known to everybody.")
        _check_port(port)
        self.children: list[Child] = []
        self.server: postgres.Server | None = None
        self.asked_to_stop = False
        for reason in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(reason, self._stop)
        try:
            self._start(demo, port)
            while not self.asked_to_stop:
                if self.server is not None and not self.server.alive():
                    self._say("PostgreSQL ended; starting it again.")
                    self.server.start()
                for child in self.children:
                    child.tend()
                time.sleep(0.2)
        except KeyboardInterrupt:
            pass
        except (postgres.Unavailable, sandbox.Apart) as reason:
            raise CommandError(str(reason)) from None
        finally:
            self._stop_all()

    def _start(self, demo: bool, port: str) -> None:
        os.environ.setdefault("OXYGEN_SITE_URL", f"http://localhost:{port}")
        if "DATABASE_URL" not in os.environ:
            self._say("Starting PostgreSQL.")
            self.server = postgres.start(postgres.demo())
            os.environ["DATABASE_URL"] = self.server.url
        call_command("migrate", verbosity=0)
        _let_go_of_the_database()
        _collect_static()
        told = stripe = ""
        if demo:
            if "OXYGEN_PROVIDERS_URL" not in os.environ:
                providers = _free_port()
                os.environ["OXYGEN_PROVIDERS_URL"] = f"http://{HOST}:{providers}"
                self._wait_for(providers, self._child(PROVIDERS, "-m", "sandbox.providers", "--port", str(providers)))
            if not os.environ.get("STRIPE_SECRET_KEY"):
                stripe = self._stripe()
            self._manage("sync_plans")
            told = self._manage("seed_demo", "--url", f"http://localhost:{port}")
        if stripe:
            sandbox.register(stripe, f"http://{HOST}:{port}")
            if behind := moving.bring_together(stripe):
                self._say(behind)
        _let_go_of_the_database()
        self._child("worker", "manage.py", "work")
        web = self._child("web server", "-m", "gunicorn", "oxygen_site.wsgi", f"--bind={HOST}:{port}", *GUNICORN)
        self._wait_for(int(port), web)
        self._say(f"\nOxygen Billing is at http://localhost:{port}/ (Ctrl-C stops it).\n{told}")

    def _child(self, name: str, *arguments: str) -> Child:
        self.children.append(Child(name, [sys.executable, *arguments], self._say))
        return self.children[-1]

    def _stripe(self) -> str:
        """Start the local Stripe that belongs to this database, for every process from now on; answer its address."""
        sandbox.begin()
        number = sandbox.port()
        base = f"http://{HOST}:{number}"
        arguments = ("-m", "sandbox.stripe", "--port", str(number), "--keep", str(sandbox.file()))
        self._wait_for(number, self._child(STRIPE, *arguments))
        sandbox.check(base)
        _let_go_of_the_database()
        os.environ |= {
            "STRIPE_API_BASE": base,
            "STRIPE_ALLOW_SANDBOX": "1",
            "STRIPE_SECRET_KEY": sandbox.KEY,
            "STRIPE_WEBHOOK_SECRETS": sandbox.SECRET,
        }
        return base

    def _manage(self, command: str, *arguments: str) -> str:
        """Run in a process of its own, so that Ctrl-C can end it anywhere; answer what it says on stdout."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", command, *arguments],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=postgres.end_with_owner(signal.SIGKILL),
        )
        told, _ = process.communicate()
        if process.returncode:
            raise CommandError(f"{command} failed; the reason is above.")
        return told

    def _stop(self, number: int, frame: object) -> NoReturn:
        for reason in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(reason, signal.SIG_IGN)  # asked once is enough; nothing may cut the stopping short
        self.asked_to_stop = True  # what is raised is lost where it meets a callback, such as that of a fork
        raise KeyboardInterrupt

    def _stop_all(self) -> None:
        if self.asked_to_stop:
            self._say("Stopping.")
        for reason in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(reason, signal.SIG_IGN)
        # Last started, first asked: the worker's calls in flight still find who answers, everybody the database.
        deadline = time.monotonic() + DRAIN
        working = [child for child in self.children if child.name not in SANDBOXES]
        for group in (working, [child for child in self.children if child not in working]):
            for child in group:
                child.ask_to_stop()
            for child in group:
                child.wait(deadline)
        if self.server is not None:
            self.server.stop()

    def _wait_for(self, port: int, child: Child, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if child.process is None or child.process.poll() is not None:
                raise CommandError(f"The {child.name} did not start; the reason is above.")
            try:
                socket.create_connection((HOST, port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise CommandError(f"Nothing answers on port {port} after {seconds:g} seconds; the reason is above.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


GUNICORN = [
    "--worker-class=gthread",
    "--workers=2",
    "--threads=4",
    "--graceful-timeout=10",
    "--log-level=warning",
    "--no-control-socket",
]


def _check_port(port: str) -> None:
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise CommandError(f"{port} is not a port: choose one from 1 to 65535.")
    try:
        socket.create_server((HOST, int(port))).close()
    except OSError as wrong:
        why = "is taken" if wrong.errno == errno.EADDRINUSE else f"cannot be used ({wrong.strerror})"
        raise CommandError(f"Port {port} {why}: choose another, as in `make demo PORT=8001`.") from None


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _let_go_of_the_database() -> None:
    """Before the children begin: this process watches them and asks nothing more."""
    for connection in connections.all():
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]


def _collect_static() -> None:
    """Hash and compress the static files where one is newer than the last time; that takes seconds."""
    root = Path(settings.STATIC_ROOT)
    root.mkdir(exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        manifest = root / "staticfiles.json"
        collected = manifest.stat().st_mtime if manifest.exists() else 0
        files = (storage.path(path) for finder in get_finders() for path, storage in finder.list([]))
        if any(Path(file).stat().st_mtime > collected for file in files):
            call_command("collectstatic", interactive=False, verbosity=0)
