"""Many admins at once, each at a pace of their own: does everybody get an answer, and how long do the unlucky wait?

For pages.py. The site is served as `manage.py up` and docs/operations.md serve it. Each admin has a session of their
own and walks the pages by what these show: the next page of the feed, a run of the list, the live runs as often as the
page says to ask. Between two pages they think for about a second. Nothing is pinned: web server, database and admins
share the machine's cores. The law: each answer is a 200 or a 304, and none is missing.
"""

import asyncio
import html
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import median, quantiles
from typing import NamedTuple

import httpx2

from benchmarks import cluster
from benchmarks.bars import Bar

MANY, FEW = {"admins": 30, "walks": 5}, {"admins": 10, "walks": 1}
THINK = (0.5, 1.5)  # seconds
POLL = 2  # seconds, as runs/_attention.html has it
HOME = "/orgs/benchmark"
LIVE = r'hx-get="([^"]*/attention/[^"]*)"'
OLDER = r'hx-get="([^"]*before=[^"]*)"'
RUN = rf'href="({HOME}/runs/[0-9a-f-]+/)"'


class Asked(NamedTuple):
    """One request of one walk; `said` is the status, or what went wrong."""

    page: str
    walk: int
    seconds: float
    said: str

    @property
    def answered(self) -> bool:
        return self.said in ("200", "304")


def walked(url: str, *, admins: int, walks: int) -> Iterator[Bar]:
    """Let admins walk the pages of a database of history.py's."""
    cluster.speak_to(url)
    cookies = _signed_in(admins)
    with cluster.web_server() as site:
        began = time.monotonic()
        asked = asyncio.run(_all(site, cookies, walks))
        seconds = time.monotonic() - began
    of: dict[str, list[float]] = defaultdict(list)
    for each in asked:
        of[each.page].append(each.seconds * 1000)
    print(f"{admins} admins: {len(asked)} requests, {len(asked) / seconds:.1f} a second", file=sys.stderr)
    for page, took in of.items():
        print(f"  {page:<26} p50 {median(took):.0f} ms, p95 {_p95(took):.0f} ms", file=sys.stderr)
    wrong = Counter((each.page, each.said) for each in asked if not each.answered)
    for (page, said), count in wrong.items():
        print(f"  {page}: {count} × {said}", file=sys.stderr)
    by_walk = [[each.seconds for each in asked if each.walk == walk] for walk in range(walks)]
    yield Bar(f"{admins} admins at once, requests without an answer", [wrong.total()], most=0)
    yield Bar(f"{admins} admins at once, p95 ÷ p50, walk by walk", [_p95(took) / median(took) for took in by_walk])


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def _signed_in(admins: int) -> list[str]:
    """Make admins of the org; answer the cookie of each."""
    from django.conf import settings
    from django.db import connection
    from django.test import Client

    from billing import orgs
    from billing.models import Organization, Role, User

    org, cookies = Organization.objects.get(slug=HOME.rpartition("/")[2]), []
    for n in range(admins):
        admin = User.objects.create_user(f"admin{n}@oxygen.example", name=f"Admin {n}")
        orgs.add_member(org, admin, Role.ADMIN)
        client = Client()
        client.force_login(admin)
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}")
    connection.close()
    return cookies


# ---------------------------------------------------------------- the admins


async def _all(site: str, cookies: list[str], walks: int) -> list[Asked]:
    asked: list[Asked] = []
    begun = [Admin(site, cookie, n, []) for n, cookie in enumerate(cookies)]  # so that no process answers its first
    await asyncio.gather(*(admin.ask(0, "overview", f"{HOME}/billing/") for admin in begun))
    await asyncio.gather(*(admin.http.aclose() for admin in begun))
    async with asyncio.TaskGroup() as group:
        for n, cookie in enumerate(cookies):
            group.create_task(Admin(site, cookie, n, asked).walk(walks))
    return asked


class Admin:
    """A person at a browser, who remembers the ETag of what they have seen."""

    def __init__(self, site: str, cookie: str, number: int, asked: list[Asked]) -> None:
        self.chance = random.Random(number)
        self.asked = asked
        self.seen: dict[str, tuple[str, str]] = {}  # ETag and body
        self.http = httpx2.AsyncClient(
            base_url=site,
            headers={"Cookie": cookie},
            timeout=30,
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=0),  # as a proxy asks that keeps none
        )

    async def walk(self, times: int) -> None:
        async with self.http:
            await asyncio.sleep(self.chance.uniform(*THINK))  # nobody begins at the same time
            for number in range(times):
                overview = await self.get(number, "overview", f"{HOME}/billing/")
                live = _link(LIVE, overview)
                for _ in range(3):
                    await asyncio.sleep(POLL)
                    await self.ask(number, "live poll", live, "live")
                await self.get(number, "30 days", f"{HOME}/billing/?range=30d", "usage")
                await self.get(number, "feed", f"{HOME}/billing/{_link(OLDER, overview)}", "charges")
                await self.get(number, "ledger", f"{HOME}/billing/ledger/")
                runs = await self.get(number, "runs", f"{HOME}/runs/")
                await self.get(number, "run", _link(RUN, runs))
                await self.get(number, "grants", f"{HOME}/billing/grants/")

    async def get(self, walk: int, page: str, address: str, fragment: str = "") -> str:
        """Open a page, or a piece of the one at hand, and think about it."""
        answer = await self.ask(walk, page, address, fragment)
        await asyncio.sleep(self.chance.uniform(*THINK))
        return answer

    async def ask(self, walk: int, page: str, address: str, fragment: str = "") -> str:
        headers = {"HX-Request": "true", "HX-Target": fragment} if fragment else {}
        etag, text = self.seen.get(address + fragment, ("", ""))
        if etag:
            headers["If-None-Match"] = etag
        began = time.perf_counter()
        try:
            answer = await self.http.get(address, headers=headers)
            said, text = str(answer.status_code), answer.text or text
            self.seen[address + fragment] = answer.headers.get("ETag", ""), text
        except httpx2.HTTPError as wrong:
            said = repr(wrong)
        self.asked.append(Asked(page, walk, time.perf_counter() - began, said))
        return text


def _link(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    return html.unescape(found[1]) if found else "/what-the-page-does-not-show/"
