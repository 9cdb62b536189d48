"""What the storms blow over: the catalog, the sandbox providers, and the minutes of production made seconds."""

import os
from typing import Any

import pytest

from tests.chaos.processes import SOON
from tests.runs.conftest import _catalog_file, _providers, catalog, providers  # noqa: F401  (fixtures)


@pytest.fixture
def soon(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases, rescues and slices of a second, for the processes started here and for this one."""
    for name, value in SOON.items():
        monkeypatch.setitem(os.environ, name, str(value))
        setattr(settings, name.removeprefix("OXYGEN_"), value)
