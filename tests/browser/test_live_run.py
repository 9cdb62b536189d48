"""A live run seen from its own page and from /billing while its worker is killed: no figure is ever impossible.

Both pages poll. Whatever they show is read many times a second and must add up each time; at the end they show, without
having been loaded again, what the ledger says. Providers throttle, err after the charge and lose answers meanwhile.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple

import pytest
from playwright.sync_api import Page

from billing import books
from billing.models import Organization, User
from oxygen_site.postgres import CLONE
from runs.models import Run
from tests.browser.conftest import Open
from tests.conftest import give
from tests.runs.conftest import Providers, booked, start

GRANTED, ROWS, CAP = 300, 150, 200
SOON = {
    "OXYGEN_LEASE_SECONDS": "1",
    "OXYGEN_RESCUE_SECONDS": "1",
    "OXYGEN_SLICE_SECONDS": "1",
    "OXYGEN_WORKER_CONCURRENCY": "8",
}
ROUGH = {"throttled": 0.05, "failed_after": 0.06, "lost_after": 0.03}

# What stands on the page now, as words; a `dd` without what is written small below its figure.
TEXTS = r"""
() => {
  const text = (element) => element ? element.textContent.replace(/\s+/g, " ").trim() : "";
  const all = (selector) => [...document.querySelectorAll(selector)];
  const figure = (dd) => { const own = dd.cloneNode(true); own.querySelector(".sub2")?.remove(); return text(own); };
  return {
    terms: Object.fromEntries(all("#receipt dt, #balance dt").map((dt) => [text(dt), figure(dt.nextElementSibling)])),
    available: text(document.querySelector("#balance .figure")),
    count: text(document.querySelector("#receipt .run-count, #runs .run-count")),
    why: text(document.querySelector("#runs .run-why")),
    sum: text(document.querySelector("#receipt > .table-foot")),
    tie: text(document.querySelector("#tie-out p")),
    outcomes: all(".outcomes tbody tr, .outcomes tfoot tr").map((row) => [...row.children].map(text)),
    status: text(document.querySelector("#receipt .pill")),
  };
}"""


class Receipt(NamedTuple):
    """What the run's page shows."""

    status: str
    done: Decimal
    captured: Decimal
    reserved: Decimal
    released: Decimal


class Bill(NamedTuple):
    """What the billing page shows. `done`: of the run on it; None once it is there no more."""

    available: Decimal
    reserved: Decimal
    captured: Decimal
    done: Decimal | None


def numbers(text: str) -> list[Decimal]:
    return [Decimal(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


def receipt(page: Page) -> Receipt:
    """Read the run's page, and see that it adds up."""
    texts = page.evaluate(TEXTS)
    shown = {name: numbers(text)[0] for name, text in texts["terms"].items()}
    captured, reserved, released = shown["Captured"], shown["Reserved"], shown["Released"]
    done, rows = numbers(texts["count"])
    assert texts["sum"].startswith(f"{min(ROWS, CAP)} reserved at the start"), texts
    drawn, *parts = numbers(texts["sum"])
    assert parts == [captured, reserved, released], texts
    assert drawn == captured + reserved + released, texts
    assert captured <= shown["Cap"] == CAP, texts
    assert done <= rows == ROWS, texts
    lines = [(Decimal(calls), Decimal(credits)) for _, calls, credits in texts["outcomes"]]
    if captured or lines:
        *outcomes, total = lines
        assert total == (sum(calls for calls, _ in outcomes), sum(credits for _, credits in outcomes)), texts
        assert total[1] == captured, texts
        assert total[0] >= done, texts
    return Receipt(texts["status"], done, captured, reserved, released)


def bill(page: Page) -> Bill:
    """Read the billing page, and see that it adds up: balance, runs and tie-out say the same."""
    texts = page.evaluate(TEXTS)
    shown = {name: numbers(text)[0] for name, text in texts["terms"].items()}
    available, reserved, captured = (shown[name] for name in ("Available", "Reserved", "Captured"))
    assert numbers(texts["available"]) == [available], texts
    assert numbers(texts["tie"])[:4] == [GRANTED, available, reserved, captured], texts
    assert available + reserved + captured == GRANTED, texts
    assert "It ties out." in texts["tie"], texts
    if not texts["count"]:
        return Bill(available, reserved, captured, None)
    done, rows = numbers(texts["count"])
    assert done <= rows == ROWS, texts
    of_run = re.search(r"([\d.,]+) credits captured, ([\d.,]+) reserved", texts["why"])
    assert of_run, texts
    assert [numbers(text)[0] for text in of_run.groups()] == [captured, reserved], texts
    return Bill(available, reserved, captured, done)


class Watch:
    """Both pages of a run, open at once and never loaded again, and a third window without scripts."""

    def __init__(self, window: Open, alice: User, run: Run) -> None:
        own, billing = f"/orgs/acme/runs/{run.id}/", "/orgs/acme/billing/?range=7d"
        self.run, self.billing = window(alice), window(alice)
        self.plain = window(alice, java_script_enabled=False)
        self.run.goto(own)
        self.billing.goto(billing)
        for page in (self.run, self.billing):
            page.evaluate("() => { window.first = true }")
        self.addresses = [(own, receipt), (billing, bill)]
        self.receipts, self.bills, self.reloads = [receipt(self.run)], [bill(self.billing)], 0

    def look(self) -> None:
        """Read both pages; they add up, and nothing that only grows has shrunk."""
        receipts, bills = [*self.receipts, receipt(self.run)], [*self.bills, bill(self.billing)]
        for before, after in zip(receipts[-2:], receipts[-1:], strict=False):
            assert (before.done, before.captured, before.released) <= (after.done, after.captured, after.released)
        assert bills[-2].captured <= bills[-1].captured
        self.receipts, self.bills = receipts, bills

    def reload(self) -> None:
        """Load the pages as a browser without scripts does."""
        for address, read in self.addresses:
            self.plain.goto(address)
            read(self.plain)
        self.reloads += 1

    def until(self, happened: Callable[[], bool], seconds: int = 90) -> None:
        deadline, again = time.monotonic() + seconds, time.monotonic()
        while not happened():
            assert time.monotonic() < deadline, (self.receipts[-1], self.bills[-1])
            self.run.wait_for_timeout(100)
            self.look()
            if time.monotonic() > again:
                self.reload()
                again = time.monotonic() + 1.5


@contextmanager
def at_work() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=os.environ | SOON)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("catalog")
def test_pages_stay_right_while_a_run_is_live_and_its_worker_is_killed(
    window: Open, acme: Organization, alice: User, providers: Providers
) -> None:
    give(acme, GRANTED - 100)
    providers.script(latency=0.4, finds=0.7, rates=ROUGH)
    run = start(acme, alice, "hunter.email_finder", rows=ROWS, cap=CAP)
    watch = Watch(window, alice, run)

    with at_work() as victim:
        watch.until(lambda: watch.receipts[-1].done >= 30 and (watch.bills[-1].done or 0) >= 30)
        providers.script(hold=True)  # calls are charged and not answered: they are in flight at the kill
        held = time.monotonic() + 1
        watch.until(lambda: time.monotonic() > held)
        victim.kill()
        victim.wait()
        providers.script(hold=False)
        assert run.items.filter(status="running").exists()
        stood = time.monotonic() + 4
        watch.until(lambda: time.monotonic() > stood)  # nobody works: the pages stay as they are, and right
    with at_work():
        watch.until(lambda: watch.receipts[-1].status in ("Succeeded", "Completed with errors"))
        watch.until(lambda: watch.bills[-1].done is None)

    assert len({each.captured for each in watch.receipts}) > 3, "the run's page hardly moved: nothing was seen"
    assert len({each.captured for each in watch.bills}) > 3, "the billing page hardly moved: nothing was seen"
    assert watch.reloads > 3
    assert all(page.evaluate("() => window.first") for page in (watch.run, watch.billing)), "a page was loaded again"
    reservation, ties = booked(run), books.tie_out(acme.pk)
    assert watch.receipts[-1][1:] == (ROWS, reservation.captured, 0, ROWS - reservation.captured)
    assert watch.bills[-1] == (ties.available, ties.reserved, ties.captured, None)
    assert Decimal(providers.charges(run)["total"]) == reservation.captured
    assert books.drifts(acme.pk) == []
