"""`make lighthouse`: what Google's Lighthouse says of the demo's pages to somebody who is signed in.

A demo on data of its own; a browser in which a person signs in; Lighthouse in the same browser, since with their cookie
alone it would meet the sign-in page sooner or later. Which page it saw is checked each time, by address and by size.
The cache is emptied each time; figures are medians. Run it alone.
Lighthouse comes from npm as npm/package-lock.json has it, each package with its checksum, into a folder of the run, and
needs Node 18.16 or newer.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import BrowserContext, sync_playwright

from benchmarks.bars import Bar, judge
from benchmarks.cluster import answers, free_port
from oxygen_site import postgres

RUNS = 5
TRIES = 3  # of one run
PASSWORD = "oxygen-demo"
LOOKS = {"desktop": 98, "mobile": 95}  # the least performance
LEAST_ELEMENTS = 150  # fewer, and it saw another page


class Page(NamedTuple):
    address: str
    person: str  # who looks at it
    elements: int  # the most


ALICE, HARRIET = "alice@acme.example", "harriet@harbor.example"
PAGES = {
    "overview": Page("/orgs/acme/billing/", ALICE, 900),
    "runs": Page("/orgs/acme/runs/", ALICE, 1800),
    "agency": Page("/agency/", HARRIET, 1800),
}
MARKS = ("performance", "accessibility", "best-practices")


class Weight(NamedTuple):
    """What a page needs before anybody touches it; sizes in bytes as they come over the wire."""

    size: float
    requests: float
    script: float
    elements: float
    shift: float


class Seen(NamedTuple):
    """What one run of Lighthouse found; times in milliseconds."""

    performance: float
    accessibility: float
    best_practices: float
    weight: Weight
    painted: float
    blocked: float
    machine: float


# ---------------------------------------------------------------- what it takes


@contextmanager
def demo() -> Iterator[str]:
    """The demo, lived through and served; its address. Its data are gone afterwards."""
    data, port = postgres.home() / f"lighthouse-{os.getpid()}", free_port()
    environment = os.environ | {"OXYGEN_ENV": "demo", "OXYGEN_DATA": str(data)}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "manage.py", "up", "--demo", "--port", str(port)]
    child = subprocess.Popen(command, cwd=postgres.CLONE, env=environment, stdout=subprocess.DEVNULL)
    try:
        answers(port, child, seconds=600)
        yield f"http://localhost:{port}"
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)
        postgres.throw_away(data)


def fetched(folder: Path) -> list[str]:
    """Have npm fetch Lighthouse and all it needs; answer the command."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "npm" / name, folder)
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=folder, check=True)
    return ["node", str(folder / "node_modules/lighthouse/cli/index.js")]


@contextmanager
def signed_in(site: str, person: str, port: int) -> Iterator[BrowserContext]:
    """A browser that Lighthouse can reach on a port, with a person of the demo signed in."""
    quiet = ["--disable-gpu", "--disable-extensions", "--disable-background-networking", "--no-first-run"]
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            args=[f"--remote-debugging-port={port}", *quiet, *as_root],
        )
        page = browser.pages[0]
        page.goto(f"{site}/accounts/login/")
        page.get_by_label("Email").fill(person)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/accounts/" not in url)
        page.goto("about:blank")
        yield browser
        browser.close()


# ---------------------------------------------------------------- one look


def look(command: list[str], browser: BrowserContext, port: int, url: str, form: str) -> Seen:
    """Run Lighthouse on a page as a visitor with an empty cache."""
    session = browser.new_cdp_session(browser.pages[0])
    session.send("Network.clearBrowserCache")
    session.detach()
    options = [f"--port={port}", "--disable-storage-reset", "--output=json", "--quiet", "--no-enable-error-reporting"]
    options += [f"--only-categories={','.join(MARKS)}", *(["--preset=desktop"] if form == "desktop" else [])]
    for _ in range(TRIES):  # now and then it loses the browser
        ran = subprocess.run([*command, url, *options], check=False, capture_output=True, text=True)
        if ran.returncode == 0:
            break
        print(f"Lighthouse failed: {ran.stderr.strip()[-500:]}", file=sys.stderr)
    else:
        sys.exit(f"Lighthouse failed {TRIES} times.")
    report = json.loads(ran.stdout)
    seen = read(report)
    at = report["finalDisplayedUrl"]
    if at != url or seen.weight.elements < LEAST_ELEMENTS:
        sys.exit(f"Lighthouse was sent to {url} and saw {at}, a page of {seen.weight.elements:.0f} elements.")
    for name in MARKS[1:]:
        _tell(report, name)
    return seen


def read(report: dict[str, Any]) -> Seen:
    """Take the figures out of a report."""
    audits = report["audits"]
    asked = [(each["url"], each["resourceType"], each["transferSize"]) for each in _items(audits["network-requests"])]
    elements, shift = (audits[name]["numericValue"] for name in ("dom-size", "cumulative-layout-shift"))
    performance, accessibility, best_practices = (round(report["categories"][name]["score"] * 100) for name in MARKS)
    return Seen(
        performance,
        accessibility,
        best_practices,
        weight(asked, elements, shift),
        painted=audits["largest-contentful-paint"]["numericValue"],
        blocked=audits["total-blocking-time"]["numericValue"],
        machine=report["environment"]["benchmarkIndex"],
    )


def weight(asked: list[tuple[str, str, float]], elements: float, shift: float) -> Weight:
    """Add up what was asked for. What a page asks again and again, as for live runs, counts once."""
    once = {url.partition("?")[0]: (kind, size) for url, kind, size in asked}
    script = sum(size for kind, size in once.values() if kind == "Script")
    return Weight(sum(size for _, size in once.values()), len(once), script, elements, shift)


def _items(audit: dict[str, Any]) -> list[dict[str, Any]]:
    return list(audit.get("details", {}).get("items", []))


def _tell(report: dict[str, Any], category: str) -> None:
    """Say what costs a mark."""
    for each in report["categories"][category]["auditRefs"]:
        audit = report["audits"][each["id"]]
        if each["weight"] and audit["score"] is not None and audit["score"] < 1:
            places = [item.get("node", {}).get("snippet", item) for item in _items(audit)]
            print(f"  {category}: {audit['title']}: {places}", file=sys.stderr)


# ---------------------------------------------------------------- the bars


def bars(name: str, form: str, seen: list[Seen]) -> Iterator[Bar]:
    """Hold a page's figures, a run each, against what docs/operations.md promises."""

    def of(figure: str, per: float = 1) -> list[float]:
        return [getattr(each, figure) / per for each in seen]

    told = f"{name}, {form}"
    weights = [each.weight for each in seen]
    yield Bar(f"{told}: performance", of("performance"), least=LOOKS[form])
    yield Bar(f"{told}: accessibility", of("accessibility"), least=100)
    yield Bar(f"{told}: best practices", of("best_practices"), least=100)
    yield from hard_bars(told, weights, PAGES[name].elements)
    yield Bar(f"{told}: largest paint, seconds", of("painted", 1000))
    yield Bar(f"{told}: blocked, milliseconds", of("blocked"))
    yield Bar(f"{told}: the machine's benchmarkIndex", of("machine"))


def hard_bars(told: str, weights: list[Weight], elements: int) -> Iterator[Bar]:
    yield Bar(f"{told}: KB", [each.size / 1000 for each in weights], most=80)
    yield Bar(f"{told}: requests", [each.requests for each in weights], most=9)
    yield Bar(f"{told}: KB of JavaScript", [each.script / 1000 for each in weights], most=22)
    yield Bar(f"{told}: elements", [each.elements for each in weights], most=elements)
    yield Bar(f"{told}: layout shift", [each.shift for each in weights], most=0.01)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lighthouse", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each page in each form ({RUNS})")
    parser.add_argument("--page", choices=PAGES, action="append", help="only this one; may be given again")
    asked = parser.parse_args(arguments)
    missed = 0
    with tempfile.TemporaryDirectory() as folder, demo() as site:
        command = fetched(Path(folder))
        for name in [name for name in PAGES if name in (asked.page or PAGES)]:
            page, port = PAGES[name], free_port()
            with signed_in(site, page.person, port) as browser:
                for form in LOOKS:
                    seen = [look(command, browser, port, site + page.address, form) for _ in range(asked.runs)]
                    missed |= judge(bars(name, form, seen))
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
