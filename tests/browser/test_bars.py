"""The hard bars of every page before anybody touches it: what it weighs, asks for, shifts and holds, and its policy.

Weight is what production sends: pages as they come over the wire, and static files, which the tests' server sends
plain, as WhiteNoise compresses them there. One walk over one list, from which no page of the site is missing.
"""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.contrib.staticfiles import finders
from django.urls import resolve
from playwright.sync_api import Page, Response, Route, expect
from whitenoise.compress import Compressor  # type: ignore[import-untyped]

from billing import invitations, keys, ledger, orgs
from billing.ledger import Settled
from billing.models import Agency, ApiKey, Organization, Purchase, Role, User
from oxygen_site import clock
from oxygen_site.transactions import intention
from runs import lifecycle
from runs.models import Run
from tests.billing.moves import attempt, open_run, settle
from tests.billing.payments.conftest import subscribed
from tests.billing.test_overview import spend
from tests.browser.conftest import Open
from tests.browser.test_pages import LARGEST, busy
from tests.conftest import give, person
from tests.contract import served
from tests.effort import SOAK
from tests.runs.conftest import column_of, table_of
from tests.sandbox.stripe.local import Sandbox
from tests.test_every_url import OF_AN_AGENCY, OF_AN_ORG, SIGNED_IN

__all__ = ["busy"]  # a fixture

# Which may hold twice as many elements: a run's page, and what lists fifty of anything.
LISTS = {"billing:ledger", "runs:index", "runs:detail", "billing:agency", "billing:keys", "billing:settings"}
NO_PAGES = {  # what leads elsewhere, is a file, or is a piece of a page
    *("billing:home", "billing:billing", "billing:runs", "billing:plan", "runs:attention"),
    *("billing:usage_csv", "billing:ledger_csv", "billing:statement_csv", "billing:agency_csv"),
}
# What the browser itself sees: what its policy forbids, and what moves that nobody has touched.
WATCH = """
window.seen = {violations: [], shift: 0, moved: []};
addEventListener("securitypolicyviolation", event => seen.violations.push(event.violatedDirective));
new PerformanceObserver(list => {
  const named = ({node}) => node?.id || node?.className || node?.nodeName;
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
    seen.shift += entry.value;
    seen.moved.push(...entry.sources.map(named));
  }
}).observe({type: "layout-shift", buffered: true});
"""
AT_REST = """async () => {
  await document.fonts.ready;
  for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
  return {...seen, elements: document.querySelectorAll("*").length};
}"""


@cache
def weight_of_file(path: str) -> int:
    """Weigh a static file as WhiteNoise compresses it."""
    found = finders.find(path)
    assert isinstance(found, str), path
    plain, compressor = Path(found).read_bytes(), Compressor(use_gzip=False, quiet=True)
    squeezed = compressor.compress_brotli(plain) if compressor.should_compress(path) else plain
    return min(len(plain), len(squeezed))


def weight(answer: Response) -> int:
    path = urlsplit(answer.url).path
    if path.startswith("/static/"):
        return weight_of_file(path.removeprefix("/static/"))
    return answer.request.sizes()["responseBodySize"]


class Visitor:
    """Somebody at a browser with nothing in its cache, who looks at pages and touches none."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.answers: list[Response] = []
        page.add_init_script(WATCH)
        page.on("response", lambda answer: self.answers.append(answer))
        page.route("**/*", lambda route: route.continue_())  # so that each page fetches all of its files

    def broken(self, address: str) -> Iterator[str]:
        """Open a page and say which bars it breaks, each with its figure."""
        self.answers.clear()
        answer = self.page.goto(address)
        assert answer
        assert answer.status == 200, address
        seen = self.page.evaluate(AT_REST)
        weights = {each.url: weight(each) for each in self.answers}
        policy = answer.headers.get("content-security-policy", "")
        is_list = resolve(urlsplit(address).path).view_name in LISTS
        bars = {
            "bytes": (sum(weights.values()), 80_000),
            "bytes of scripts": (sum(size for url, size in weights.items() if url.endswith(".js")), 22_000),
            "requests": (len(self.answers), 9),
            "requests of Plotly": (sum("plotly" in url for url in weights), 0),
            f"layout shift of {seen['moved']}": (seen["shift"], 0.01),
            "elements": (seen["elements"], 2 * LARGEST if is_list else LARGEST),
            "violations of its policy": (len(seen["violations"]), 0),
            "words that open its policy": (policy.count("'unsafe-") + ("script-src 'self';" not in policy), 0),
        }
        yield from (
            f"{address}: {figure} {bar}, at most {most}" for bar, (figure, most) in bars.items() if figure > most
        )


@pytest.fixture
def quarter(sold: Sandbox, acme: Organization, alice: User, busy: Run, mixed: Run) -> Organization:
    """Acme with charges of seven tools on each of 90 days, a plan since today, and more of all than a page lists."""
    give(acme, 10_000, days=400)
    run, tools = open_run(acme.pk, 2000), [f"{name}.tool" for name in ("hunter", "apollo", *"abcde")]
    for day in range(90):
        clock.advance(timedelta(days=1))
        calls = [attempt(day * len(tools) + n, n % 3, 3, tool=tool) for n, tool in enumerate(tools, 1)]
        intention(partial(settled, acme, run, calls))
    sold.order("clock", by=90 * 86_400)
    subscribed(sold, acme, alice, "growth")
    table = table_of(acme, 1, "Many runs")
    for n in range(60):
        lifecycle.create(table, column_of(table, "hunter.email_finder", key=f"found_{n}"), cap="4", by=alice)
        keys.make(acme, alice, f"Key {n}", ["read"])
        orgs.add_member(acme, person(f"Person.{n}"), Role.VIEWER)
    return acme


def settled(org: Organization, run: UUID, calls: list[Settled]) -> None:
    ledger.admit(org.pk, run, len(calls), Decimal(3))
    settle(org.pk, run, *calls)


@pytest.fixture
def board(quarter: Organization, harbor: Agency, harriet: User) -> Agency:
    """Harbor with more clients than a page lists, half of them out of credits."""
    for n in range(60):
        client = orgs.create(f"Client {n} of an agency that has so many", "Europe/London", agency=harbor)
        if n % 2:
            give(client, 30)
            intention(partial(spend, client, n % 5 + 1))
    keys.make(harbor, harriet, "The board", ["read"])
    return harbor


def of_alice(org: Organization, alice: User, busy: Run, mixed: Run) -> list[str]:
    home = f"/orgs/{org.slug}"
    runs = [busy, mixed, Run.objects.get(rows=60), Run.objects.get(status="awaiting_approval")]
    key = f"{home}/settings/keys/{org.keys.values_list('pk', flat=True)[0]}"
    session = Purchase.objects.get(org=org).session
    return [
        *(f"{home}/billing/", f"{home}/billing/?range=90d", f"{home}/billing/?range=90d&group=run"),
        *(f"{home}/billing/?range=90d&group=tool&filters=1", f"{home}/billing/holds/"),
        *(f"{home}/billing/invoices/", f"{home}/billing/statement/", f"{home}/billing/ledger/"),
        *(f"{home}/billing/ledger/?range=90d", f"{home}/billing/ledger/{busy.id}:1:0/", f"{home}/billing/grants/"),
        *(f"{home}/billing/grants/?show=ended", f"{home}/billing/settings/", f"{home}/billing/settings/zone/"),
        *(f"{home}/subscribe/", f"{home}/subscribe/cancel/", f"{home}/subscribe/automatic/"),
        *(f"{home}/subscribe/return/?session_id={session}", f"{home}/settings/keys/", f"{key}/rotate/"),
        *(f"{key}/revoke/", f"{home}/runs/", f"{home}/runs/new/", f"{home}/runs/accounts/"),
        *(f"{home}/runs/{run.id}/" for run in runs),
        *(f"{home}/runs/{busy.id}/cancel/", f"{home}/runs/{busy.id}/continue/"),
        *("/orgs/", "/orgs/new/", "/accounts/email/", "/accounts/password/change/"),
    ]


def of_harriet(agency: Agency) -> list[str]:
    key = f"/agency/keys/{ApiKey.objects.get(agency=agency).pk}"
    return [
        "/agency/?daily=1",
        "/agency/",
        "/agency/keys/",
        f"{key}/rotate/",
        f"{key}/revoke/",
        "/orgs/bluefin/billing/",
    ]


def of_anybody(org: Organization, alice: User) -> list[str]:
    link = invitations.invite(org, "nadia@oxygen.example", Role.MEMBER, by=alice).token
    operations = [each["operationId"] for path in served()["paths"].values() for each in path.values()]
    longest = ["start_run", "run_template", "test_tool", "list_tables"]  # and one of the shortest
    return [
        *(
            "/accounts/login/",
            "/accounts/signup/",
            "/accounts/password/reset/",
            "/accounts/inactive/",
            f"/join/{link}/",
        ),
        *("/api/docs", *(f"/api/docs/{name}" for name in (operations if SOAK else longest))),
    ]


def test_every_page_keeps_within_the_bars(
    window: Open, quarter: Organization, board: Agency, alice: User, harriet: User, busy: Run, mixed: Run
) -> None:
    walks = [
        (alice, of_alice(quarter, alice, busy, mixed)),
        (harriet, of_harriet(board)),
        (None, of_anybody(quarter, alice)),
    ]
    walked = {resolve(urlsplit(address).path).view_name for _, addresses in walks for address in addresses}
    pages = {name for name, address in OF_AN_ORG.items() if "GET" in address.methods} | OF_AN_AGENCY | SIGNED_IN
    assert pages - NO_PAGES - walked == set()
    broken: list[str] = []
    for who, addresses in walks:
        visitor = Visitor(window(who))
        broken += [each for address in addresses for each in visitor.broken(address)]
    assert broken == []


def test_a_font_that_comes_late_moves_nothing(window: Open, acme: Organization, alice: User, busy: Run) -> None:
    """The line of why a run is paused is wider in other letters, and breaks."""
    page = Visitor(window(alice)).page
    held_back: list[Route] = []
    page.route("**/*.woff2", lambda route: held_back.append(route))
    page.goto(f"/orgs/{acme.slug}/billing/", wait_until="domcontentloaded")
    expect(page.locator("#balance")).to_be_visible()
    page.wait_for_timeout(500)
    page.unroute("**/*.woff2")
    for route in held_back:
        route.continue_()
    assert page.evaluate("document.fonts.load('16px Geist').then(letters => letters.length)") > 0
    assert page.evaluate(AT_REST)["shift"] == 0


def test_the_watch_sees_what_moves_and_what_is_forbidden(window: Open, complaints: list[str]) -> None:
    visitor = Visitor(window())
    assert list(visitor.broken("/accounts/login/")) == []
    visitor.page.evaluate("document.querySelector('main').insertAdjacentHTML('beforebegin', '<h1>Late<br>news</h1>')")
    visitor.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">Inline</p>')")
    seen = visitor.page.evaluate(AT_REST)
    assert seen["shift"] > 0.01
    assert seen["violations"] == ["style-src-attr"]
    assert len(complaints) == 1
    complaints.clear()
