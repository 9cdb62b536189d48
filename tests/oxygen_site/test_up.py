"""One process tree: it serves, heals itself, drains, and leaves no process behind however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oxygen_site import postgres

HOST = "127.0.0.1"


class Tree:
    """`manage.py up` on data of its own, and every process it began."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.create_server((HOST, 0)) as listener:
            self.port = listener.getsockname()[1]
        environment = os.environ | {"OXYGEN_ENV": "demo", "OXYGEN_DATA": str(data)}
        del environment["DATABASE_URL"]
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(self.port)], cwd=postgres.CLONE, env=environment
        )

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

    def until(self, what: str) -> None:
        conditions: dict[str, Callable[[], bool]] = {
            "serving": lambda: self.answers() and bool(self.processes("manage.py work")),
            "gone": lambda: not self.processes(),
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
def up(data: Path) -> Iterator[Tree]:
    tree = Tree(data)
    try:
        tree.until("serving")
        yield tree
    finally:
        tree.process.terminate()
        tree.process.wait()


@pytest.mark.parametrize("reason", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_drains_and_leaves_no_process_behind(data: Path, reason: signal.Signals) -> None:
    with up(data) as tree:
        tree.process.send_signal(reason)

        assert tree.process.wait(30) == 0
        assert tree.processes() == []


def test_what_is_killed_comes_back(data: Path) -> None:
    with up(data) as tree:
        for name in ("manage.py work", "gunicorn", "postgres -D"):
            eldest = min(tree.processes(name))
            os.kill(eldest, signal.SIGKILL)
        time.sleep(0.5)

        tree.until("serving")


def test_killed_itself_it_takes_the_others_along(data: Path) -> None:
    with up(data) as tree:
        tree.process.kill()
        tree.process.wait()

        tree.until("gone")


def refusal(*arguments: str) -> str:
    environment = os.environ | {"OXYGEN_ENV": "demo"}
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
    assert refusal("--port", port) == f"CommandError: {port} is not a port: choose one from 1 to 65535.\n"
