"""A real browser, the real site, a worker and the sandbox providers. What the console complains of fails the test."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from billing.models import User
from oxygen_site.postgres import CLONE
from runs.models import Run
from runs.worker import drive_to_rest
from tests.billing.payments.conftest import _local, local, sold  # noqa: F401  (fixtures)
from tests.runs.conftest import _catalog_file, _providers, catalog, mixed, providers  # noqa: F401  (fixtures)

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's own loop runs in this thread

expect.set_options(timeout=15_000)  # of a machine that does three things at once
QUIET = ["--disable-gpu", "--disable-extensions", "--disable-background-networking", "--mute-audio", "--no-first-run"]
REFUSALS = ("status of 402", "status of 409", "status of 422")  # answers of ours, which the console calls errors


@pytest.fixture(scope="module")  # no longer: while Playwright's loop runs in this thread, no other can
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])],
        )
        yield browser
        browser.close()


type Open = Callable[..., Page]


@pytest.fixture
def complaints() -> list[str]:
    """What the console said; a test that provokes some takes them out itself."""
    return []


@pytest.fixture
def window(chromium: Browser, site: str, complaints: list[str]) -> Iterator[Open]:
    """Open a window on the site, signed in as `user` where one is given; `facts` are Playwright's."""
    contexts: list[BrowserContext] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(refusal in message.text for refusal in REFUSALS):
            complaints.append(message.text)

    def opened(user: User | None = None, **facts: Any) -> Page:
        context = chromium.new_context(base_url=site, reduced_motion="reduce", **facts)
        context.set_default_timeout(15_000)
        contexts.append(context)
        if user:
            client = Client()
            client.force_login(user)
            cookie = client.cookies[settings.SESSION_COOKIE_NAME]
            context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site}])
        context.on("console", note)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def driven(run: Run) -> Run:
    """Bring a run to rest in a thread of its own, for Playwright's event loop runs in this one."""

    def drive() -> None:
        drive_to_rest(run)
        connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(drive).result()
    return run


@pytest.fixture
def worker(providers: Any, fresh_database: str) -> Iterator[None]:  # noqa: F811
    with working(OXYGEN_SLICE_SECONDS="1"):
        yield


@contextmanager
def working(**more: str) -> Iterator[None]:
    """Have a worker at work on the test's database; `more` is for its environment.

    Every second it looks for what nothing woke it for, as a job that waited for another one's lock.
    """
    env = os.environ | {"OXYGEN_RESCUE_SECONDS": "1"} | more
    with subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=env) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
