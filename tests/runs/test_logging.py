"""What the log says of a run, and what it never says."""

import socketserver
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from billing.models import Organization, User
from runs import worker
from tests.conftest import lines
from tests.runs.conftest import Providers, start


@pytest.fixture
def silent() -> Iterator[str]:
    """A provider that takes every call and hangs up. Its address."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class HangsUp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(65536)


@pytest.mark.usefixtures("fresh_database", "catalog")
def test_a_run_tells_its_ids_and_nothing_of_its_rows(
    acme: Organization, alice: User, providers: Providers, silent: str, settings: Any, written: StringIO
) -> None:
    settings.LEASE_SECONDS = 1
    run = start(acme, alice, "hunter.email_finder", rows=5, cap=5)

    settings.PROVIDERS_URL = silent
    worker.drive_slice(run.id, 1)
    settings.PROVIDERS_URL = providers.url
    assert worker.drive_to_rest(run).status == "succeeded"

    told = lines(written, "oxygen.runs")
    assert {(line["org"], line["run"]) for line in told} == {(str(acme.pk), str(run.id))}
    assert {line["item"] for line in told if "item" in line} == {1, 2, 3, 4, 5}
    assert {line["attempt"] for line in told if "item" in line} == {0}
    rows = [item.row.data for item in run.items.select_related("row") if item.row]
    kept_quiet = {str(value) for row in rows for value in row.values()} | {settings.SECRET_KEY, f"{run.id}:1:0"}
    assert len(kept_quiet) > 15
    assert [secret for secret in kept_quiet if secret in written.getvalue()] == []
