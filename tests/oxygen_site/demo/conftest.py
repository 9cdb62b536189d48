"""A local Stripe in real time for each of these tests, and a site set up with it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oxygen_site.urls  # noqa: F401 - before any test names a local Stripe
from tests.sandbox.stripe.local import Sandbox


@pytest.fixture
def local(settings: Any, tmp_path: Path) -> Iterator[Sandbox]:
    command = [sys.executable, "-m", "sandbox.stripe", "--port", "0", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = Sandbox(process.stdout.readline().strip())
        settings.STRIPE_API_BASE, settings.STRIPE_ALLOW_SANDBOX = seen.url, True
        yield seen
        seen.http.close()
        process.terminate()


@pytest.fixture
def there(settings: Any) -> None:
    """The addresses of a site that has the page, as a process of the demo has them from its start."""
    settings.ROOT_URLCONF = "tests.oxygen_site.demo.addresses"
