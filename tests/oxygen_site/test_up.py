"""One process tree: it serves, heals itself, drains, and leaves no process behind however it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from oxygen_site import postgres
from runs.management.demo.story import PACES
from tests.effort import SOAK
from tests.sandbox.stripe.local import Sandbox

HOST = "127.0.0.1"


class Tree:
    """`manage.py up` on data of its own, and every process it began."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        with socket.create_server((HOST, 0)) as listener:
            self.port = listener.getsockname()[1]
        environment = os.environ | {"OXYGEN_ENV": "demo", "OXYGEN_DATA": str(data)}
        environment |= {"OXYGEN_DRAIN_SECONDS": "1"}  # so long it waits for the slow calls of the demo's run
        del environment["DATABASE_URL"]
        command = [sys.executable, "manage.py", "up", *arguments, "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=postgres.CLONE, env=environment)

    @property
    def hook(self) -> str:
        return f"http://{HOST}:{self.port}/stripe/webhook/"

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/accounts/login/", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def processes(self, name: str = "") -> list[int]:
        """Everything that was given this data directory, in its environment or among its arguments."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                given = arguments + (folder / "environ").read_bytes()
            except OSError:
                continue
            if str(self.data).encode() in given and name.encode() in arguments:
                found.append(int(folder.name))
        return found

    def children(self) -> set[int]:
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def until(self, what: str, old: Collection[int] = ()) -> None:
        conditions: dict[str, Callable[[], bool]] = {
            "serving": lambda: self.answers() and bool(self.processes("manage.py work")),
            "gone": lambda: not self.processes(),
            "renewed": lambda: len(self.children().difference(old)) == len(old),
            "caught up": lambda: read(self.data, "SELECT ahead > '2 days' FROM ledger.clock_offset") == [(True,)],
        }
        deadline = time.monotonic() + 120
        while not conditions[what]():
            assert time.monotonic() < deadline, f"not {what}: {self.processes()}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    place = postgres.home() / f"up-{os.getpid()}"
    yield place
    postgres.throw_away(place)


@contextmanager
def up(data: Path, *arguments: str) -> Iterator[Tree]:
    tree = Tree(data, *arguments)
    try:
        tree.until("serving")
        yield tree
    finally:
        tree.process.terminate()
        tree.process.wait()


def test_what_is_killed_comes_back_and_told_to_stop_all_drain_and_leave_no_process_behind(data: Path) -> None:
    with up(data) as tree:
        parts = tree.children()
        assert len(parts) == 3
        for part in parts:
            os.kill(part, signal.SIGKILL)
        tree.until("renewed", parts)
        tree.until("serving")

        tree.process.send_signal(signal.SIGINT)
        assert tree.process.wait(30) == 0
        assert tree.processes() == []


@pytest.mark.skipif(not SOAK, reason="a worker in the middle of a job waits half a minute for its database")
def test_killed_itself_it_takes_the_others_along(data: Path) -> None:
    with up(data) as tree:
        tree.process.kill()
        tree.process.wait()

        tree.until("gone")


# ---------------------------------------------------------------- the demo's Stripe

LIVED = f"""
import django; django.setup()
from django.core.management import call_command
from runs.management.demo import story
story.WEEKS, story.PACES = 1, {dict.fromkeys(PACES, ((0, 0), (1, 1)))}
story._open_ends = lambda until: []
call_command("migrate", verbosity=0)
call_command("seed_demo")
"""


@pytest.fixture(scope="module")
def lived(data: Path) -> Path:
    """A demo whose past is a short one, from before there was a Stripe beside it."""
    with postgres.reachable(data) as url:
        lives = os.environ | {"OXYGEN_ENV": "demo", "DATABASE_URL": url}
        subprocess.run([sys.executable, "-c", LIVED], cwd=postgres.CLONE, env=lives, check=True, capture_output=True)
    return data


@contextmanager
def stripe(data: Path) -> Iterator[Sandbox]:
    kept = json.loads(data.with_name(f"{data.name}.stripe.json").read_text())
    seen = Sandbox(kept["base"])
    yield seen
    seen.http.close()
    seen.judge.close()  # type: ignore[no-untyped-call]  # of the SDK


def read(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.url(data)) as connection:
        return connection.execute(sql.encode()).fetchall()


BOUGHT = "SELECT org_id, stripe_id FROM billing_subscription ORDER BY stripe_id"
THREE_DAYS = 3 * 24 * 3600


@pytest.mark.skipif(not SOAK, reason="it lives a demo and starts it twice")
def test_the_demos_stripe_ends_with_it_is_kept_at_its_address_and_missed_where_its_file_is_lost(lived: Path) -> None:
    with up(lived, "--demo") as tree, stripe(lived) as before:
        before.delivered()
        assert [each.url for each in before.stripe.webhook_endpoints.list().data] == [tree.hook]
        bought = read(lived, BOUGHT)
        assert len(bought) == 5
        before.order("clock", by=THREE_DAYS)
        tree.process.send_signal(signal.SIGTERM)
        assert tree.process.wait(30) == 0
        assert tree.processes() == []
    with up(lived, "--demo") as tree, stripe(lived) as again:
        assert again.url == before.url
        assert [each.url for each in again.stripe.webhook_endpoints.list().data] == [tree.hook]
        assert len(again.stripe.subscriptions.list(params={"status": "all"}).data) == 5
        assert read(lived, BOUGHT) == bought
        tree.until("caught up")
    lived.with_name(f"{lived.name}.stripe.json").unlink()
    refused = refusal("--demo", data=lived)
    assert refused.splitlines()[-1].startswith("CommandError: The database knows cus_")


def refusal(*arguments: str, data: Path | None = None) -> str:
    environment = os.environ | {"OXYGEN_ENV": "demo"}
    if data:
        environment["OXYGEN_DATA"] = str(data)
        del environment["DATABASE_URL"]
    refused = subprocess.run(
        [sys.executable, "manage.py", "up", *arguments],
        cwd=postgres.CLONE,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    return refused.stderr


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]

        assert refusal("--port", str(port)) == (
            f"CommandError: Port {port} is taken: choose another, as in `make demo PORT=8001`.\n"
        )


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_what_is_no_port_is_said_in_one_sentence(port: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("up", port=port)
    assert str(refused.value) == f"{port} is not a port: choose one from 1 to 65535."
