"""A shell with `oxygen` and jq in it, the real site, a worker and the sandbox providers."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from billing import keys
from billing.models import Organization, Scope, User
from oxygen_cli import exact
from oxygen_site.postgres import CLONE
from tests.runs.conftest import _catalog_file, _providers, catalog, providers  # noqa: F401  (fixtures)

SOON = {"OXYGEN_LEASE_SECONDS": "2", "OXYGEN_RESCUE_SECONDS": "2", "OXYGEN_SLICE_SECONDS": "1"}


class Done:
    """How a line ended, and what it printed."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def json(self) -> Any:
        return exact.read(self.out)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def refusal(self) -> str:
        """The code of the one problem that a line with --json prints when it is refused."""
        assert self.out == ""
        return str(exact.read(self.err)["code"])


class Shell:
    """A shell of somebody who is signed in: runs lines as they are written."""

    def __init__(self, home: Path, url: str, key: str) -> None:
        self.home = home
        (home / "bin").mkdir()
        command = home / "bin" / "oxygen"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m oxygen_cli "$@"\n')
        command.chmod(0o755)
        self.env = {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "PYTHONPATH": str(CLONE),
            "LANG": "C.UTF-8",
            "OXYGEN_API_URL": url,
            "OXYGEN_API_KEY": key,
        }

    def run(self, line: str) -> Done:
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.home, env=self.env, capture_output=True, text=True, timeout=120
        )
        return Done(done)

    def __call__(self, line: str) -> Done:
        """Run a line that has to work."""
        done = self.run(line)
        assert (done.code, done.err) == (0, ""), (line, done.err)
        return done

    def until(self, line: str, happened: Callable[[Any], bool], seconds: float = 60) -> Any:
        """Run a line again and again, until what it prints is so."""
        deadline = time.monotonic() + seconds
        while not happened(read := self(line).data):
            assert time.monotonic() < deadline, read
            time.sleep(0.2)
        return read


@pytest.fixture
def shell(tmp_path: Path, site: str, acme: Organization, alice: User) -> Shell:
    """Alice's shell; her key may all but administer."""
    assert shutil.which("jq"), "the documented lines need jq: make jq"
    scopes = [Scope.READ, Scope.RUN, Scope.STEER, Scope.APPROVE]
    return Shell(tmp_path, site, keys.make(acme, alice, "Alice's shell", scopes)[1])


@pytest.fixture
def worker(shell: Shell, providers: Any, settings: Any) -> Iterator[None]:  # noqa: F811
    """A worker that has twenty calls of a run in flight, and no more."""
    settings.RUN_SHARDS = 1  # of the server, which runs in this process
    env = os.environ | SOON | {"OXYGEN_RUN_SHARDS": "1", "OXYGEN_WORKER_CONCURRENCY": "20"}
    process = subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=env)
    yield
    process.kill()
    process.wait()
