"""The command as somebody runs it, and a small server that says what a test tells it to.

`make test` runs most lines in this process, over the same HTTP, and spares their start; what is about the process (a
terminal, a signal, a pipe, what is loaded) has one of its own. The soak gives each line one.
"""

import contextlib
import fcntl
import gc
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from oxygen_cli import shown
from oxygen_cli.__main__ import main
from tests.effort import SOAK

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = f"oxy_live_k3v0Qx7a_{'a' * 43}9fQ2xY"
BALANCE = {
    "organization": {"slug": "acme", "name": "Acme"},
    "available": 99.5,
    "reserved": 0,
    "captured": 0.5,
    "as_of": "2026-11-25T09:30:00Z",
}


class Asked(NamedTuple):
    """A request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


def data(what: Any, status: int = 200, **headers: str) -> Answer:
    text = what if isinstance(what, str) else json.dumps(what)
    return Answer(status, f'{{"data": {text}}}'.encode(), {"Content-Type": "application/json"} | _names(headers))


def no(
    status: int, code: str, detail: str = "That cannot be.", errors: list[Any] | None = None, **headers: str
) -> Answer:
    body = {"type": "about:blank", "title": "No", "status": status, "code": code, "detail": detail}
    body |= {"request_id": "953c70563de340ac902527a8eb3f097c", "errors": errors or []}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/problem+json"} | _names(headers))


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


class Server:
    """Answers each operation with what it was given for it, in turn, and the last one again and again."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.told: dict[str, list[Answer]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = parts.path.removeprefix("/api/v1")
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append(Asked(self.command, path, dict(parse_qsl(parts.query)), headers, body))
                answers = server.told.get(f"{self.command} {path}", [no(404, "not_found", f"No {path}.")])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer is SILENT:
                    time.sleep(10)
                if answer.status == 0:  # hang up without a word
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(answer.status)
                for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - as http.server calls them

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, operation: str, *answers: Answer) -> None:
        self.told[operation] = list(answers)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


HANGS_UP = Answer(0, b"", {})
SILENT = Answer(0, b"", {"Never": "answered"})


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Given(io.BytesIO):
    """What is given on standard input, under the name that this has in a process."""

    name = "<stdin>"


def exit_code(arguments: Sequence[str]) -> int:
    try:
        main(arguments)
    except SystemExit as left:
        return int(left.code or 0)


@contextlib.contextmanager
def left_behind() -> Iterator[None]:
    """Take away what the command leaves to the end of its process: its connections, and a console on its streams."""
    gc.freeze()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        yield
        shown.console.cache_clear()
        gc.collect()
    gc.unfreeze()


class Oxygen:
    """The command, as somebody's shell would start it: signed in to the test's server."""

    command = (sys.executable, "-m", "oxygen_cli")

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.config = home / "config" / "oxygen" / "config.toml"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "OXYGEN_API_URL": url,
            "OXYGEN_API_KEY": KEY,
        }

    def __call__(
        self,
        *arguments: str,
        input: str = "",  # noqa: A002 - as subprocess calls it
        env: Mapping[str, str | None] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        whole = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        return (self.started if SOAK else self.called)(arguments, input, whole)

    def started(self, arguments: Sequence[str], given: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run it in a process of its own."""
        line, home = [*self.command, *arguments], self.home
        return subprocess.run(line, cwd=home, env=env, input=given, capture_output=True, text=True, timeout=60)

    def called(self, arguments: Sequence[str], given: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run it here, with streams, a directory and an environment like those of a process of its own."""
        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for name in ("stdout", "stderr")}
        with pytest.MonkeyPatch.context() as here, contextlib.chdir(self.home), left_behind():
            here.setattr(os, "environ", env)
            here.setattr(sys, "stdin", io.TextIOWrapper(Given(given.encode()), "utf-8"))
            for name, stream in streams.items():
                here.setattr(sys, name, stream)
            code = exit_code(arguments)
        out, err = (stream.buffer.getvalue().decode().replace("\r\n", "\n") for stream in streams.values())
        return subprocess.CompletedProcess(arguments, code, out, err)

    def json(self, *arguments: str) -> Any:
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def on_a_terminal(
        self, *arguments: str, columns: int = 60, env: Mapping[str, str] = MappingProxyType({})
    ) -> "Terminal":
        return Terminal([*self.command, *arguments], self.home, {**self.env, **env}, columns)


def heeds_ctrl_c() -> None:
    """Give a new process the signal back that a suite in the background goes without."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _at_the_terminal() -> None:
    heeds_ctrl_c()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """The command with a terminal as its stdin, stdout and stderr."""

    def __init__(self, command: list[str], home: Path, env: dict[str, str], columns: int) -> None:
        self.master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            command, cwd=home, env=env, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            preexec_fn=_at_the_terminal,
        )  # fmt: skip
        os.close(inner)
        self.shown = ""

    def until(self, words: str, seconds: float = 20) -> "Terminal":
        """Read until these words are shown."""
        deadline = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not self._read():
                break
        assert words in self.shown, self.shown
        return self

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Read to the end; answer the exit code."""
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(20)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 20)
        try:
            piece = os.read(self.master, 65536) if ready else b""
        except OSError:  # the other end is closed
            piece = b""
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


@pytest.fixture
def oxygen(tmp_path: Path, server: Server) -> Oxygen:
    return Oxygen(tmp_path, server.url)


def a_run(status: str = "running", **more: Any) -> dict[str, Any]:
    """A run as the API shows it."""
    items = {"total": 50, "pending": 30, "running": 5, "succeeded": 15, "failed": 0, "cancelled": 0, "unknown": 0}
    return {
        "id": "01990000-0000-7000-8000-000000000001",
        "name": "Work e-mail",
        "kind": "column",
        "mode": "live",
        "status": status,
        "pause_reason": None,
        "table": "01990000-0000-7000-8000-0000000000aa",
        "table_name": "People",
        "column": "email",
        "max_credits": 50,
        "estimated_min": 50,
        "estimated": 62.5,
        "estimated_max": 75,
        "reserved": 50,
        "captured": 15,
        "held": 7.5,
        "released": 0,
        "absorbed": 0,
        "items": items,
        "success_rate": 1,
        "calibration": None,
        "continues": None,
        "continued_by": None,
        "approval": {"needed": False, "reason": None, "approved_by": None},
        "plan": None,
        "started_by": {"id": "a1", "name": "Alice"},
        "created_at": "2026-11-25T09:30:00Z",
        "started_at": "2026-11-25T09:30:01Z",
        "paused_at": None,
        "ended_at": None,
        "next": ["pause", "cancel"],
        "why": None,
    } | more
