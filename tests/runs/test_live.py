"""What a live page asks again and again: 304 while nothing of it moved, all of it once something did.

And what an action answers: whatever it changed of the page it was said on, at once, whether it was done or refused.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import Organization, User
from runs import dispatch, lifecycle, standing
from runs.models import Run
from tests.conftest import give
from tests.runs.conftest import start
from tests.runs.test_views import FOUND, IN_VAIN, at, say, settle, signed_in, words

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER = "hunter.email_finder"
PAGES = ("billing", "runs", "receipt")
GATE = 4  # session, user, org and role


@pytest.fixture
def run(acme: Organization, alice: User) -> Run:
    """Five rows under a cap of five credits, one of them settled."""
    run = start(acme, alice, HUNTER, rows=5, cap=5)
    settle(run, FOUND)
    return run


def page_of(name: str, run: Run) -> str:
    if name == "receipt":
        return at("detail", run)
    return reverse("billing:overview" if name == "billing" else "runs:index", args=[run.org.slug])


def poll_of(name: str, run: Run, user: User) -> str:
    """Where that page of a live run asks again."""
    html = signed_in(user).get(page_of(name, run)).content.decode()
    found = re.search(r'hx-get="([^"]+)"[^>]* hx-trigger="every 2s"', html)
    assert found, name
    return found[1].replace("&amp;", "&")


def asked(user: User, name: str, address: str, mark: str = "") -> Any:
    headers = {"HX-Request": "true"} | ({"HX-Target": "receipt"} if name == "receipt" else {})
    return signed_in(user).get(address, headers=headers | ({"If-None-Match": mark} if mark else {}))


@pytest.mark.parametrize("name", PAGES)
def test_over_http_it_is_200_then_304_without_a_body_then_200_after_a_settle(
    site: str, run: Run, alice: User, name: str
) -> None:
    address, cookie = poll_of(name, run, alice), signed_in(alice).cookies[settings.SESSION_COOKIE_NAME].value
    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}", "HX-Request": "true"}
    headers |= {"HX-Target": "receipt"} if name == "receipt" else {}

    def ask(mark: str = "") -> tuple[int, str, bytes]:
        wire = HTTPConnection(urlsplit(site).netloc, timeout=30)
        wire.request("GET", address, headers=headers | ({"If-None-Match": mark} if mark else {}))
        answer = wire.getresponse()
        assert answer.headers["Cache-Control"] == "private, no-cache"
        told = answer.status, answer.headers["ETag"], answer.read()
        wire.close()
        return told

    status, mark, body = ask()
    assert (status, b"1 <span" in body or b">1 " in body) == (200, True)
    assert ask(mark) == (304, mark, b"")
    settle(run, FOUND)
    status, after, body = ask(mark)
    assert (status, after != mark) == (200, True)
    assert ask(after)[0] == 304


@pytest.mark.parametrize(("name", "queries"), [("billing", GATE + 3), ("runs", GATE), ("receipt", GATE)])
def test_a_304_costs_as_few_queries_however_much_is_open(
    acme: Organization, alice: User, run: Run, name: str, queries: int
) -> None:
    """The one that reads the versions goes past Django's count."""
    give(acme, 500)
    client, costs = signed_in(alice), []
    client.get(page_of("runs", run))  # notes the org as visited last
    for rows in (3, 50):
        settle(start(acme, alice, HUNTER, rows=rows, cap=rows), FOUND, FOUND)
        address = poll_of(name, run, alice)
        mark = asked(alice, name, address)["ETag"]
        headers = {"HX-Request": "true", "HX-Target": name, "If-None-Match": mark}
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address, headers=headers).status_code == 304
        costs.append(len(captured))
    assert costs == [queries, queries]


MOVES: dict[str, Callable[[Run], Any]] = {
    "a claim": lambda run: dispatch.claim(run, uuid4(), 1),
    "a settle": lambda run: settle(run, FOUND),
    "a charge in vain": lambda run: settle(run, IN_VAIN),
    "an answer that cost nothing": lambda run: settle(run, FOUND._replace(outcome="no_result", cost=Decimal(0))),
    "a call of which nobody knows": lambda run: dispatch.unanswered(run, me := uuid4(), dispatch.claim(run, me, 1)[0]),
    "a pause": lambda run: lifecycle.pause(run, by=run.member),
    "a cancel": lambda run: lifecycle.cancel(run, by=run.member),
}


@pytest.mark.parametrize("own", [False, True], ids=["managed", "own account"])
@pytest.mark.parametrize("move", MOVES)
def test_whatever_moves_a_run_makes_it_another_version(acme: Organization, alice: User, move: str, own: bool) -> None:
    tool = "hubspot.contact_upsert" if own else HUNTER
    run = start(acme, alice, tool, rows=5, cap=None if own else 5)
    before = standing.versions(acme.pk, run.id)
    assert standing.versions(acme.pk, run.id) == before
    MOVES[move](run)
    assert standing.versions(acme.pk, run.id) != before


def test_an_answer_that_came_too_late_makes_it_another_version_too(run: Run, acme: Organization) -> None:
    me = uuid4()
    answers = [dispatch.Answer(call, FOUND, 9) for call in dispatch.claim(run, me, 1)]
    dispatch.settle(run, me, answers)
    before = standing.versions(acme.pk)
    dispatch.settle(run, me, answers)
    assert standing.versions(acme.pk) != before


def test_what_moves_the_balance_alone_is_told_too(acme: Organization, alice: User, run: Run) -> None:
    billing, runs = (poll_of(name, run, alice) for name in ("billing", "runs"))
    marks = [asked(alice, "", address)["ETag"] for address in (billing, runs)]
    give(acme, 7)
    assert asked(alice, "", billing, marks[0]).status_code == 200
    assert asked(alice, "", runs, marks[1]).status_code == 304


@pytest.mark.parametrize("name", PAGES)
def test_what_is_brought_with_its_forms_has_no_mark(run: Run, alice: User, name: str) -> None:
    address = poll_of(name, run, alice)
    lifecycle.pause(run, by=alice)
    answer = asked(alice, name, address)
    assert "HX-Retarget" in answer
    assert "ETag" not in answer


# ------------------------------------------------------------------ an action, all in one answer

BESIDE = {
    "billing": ("balance", "outlook", "tie-out", "notices"),
    "runs": ("list",),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("action", ["resume", "cancel", "pause", "continue_run"])
@pytest.mark.parametrize("refused", [False, True], ids=["done", "refused"])
def test_it_answers_the_card_and_whatever_stands_beside_it(
    run: Run, alice: User, name: str, action: str, refused: bool
) -> None:
    if (action in ("resume", "continue_run")) is not refused:
        lifecycle.pause(run, by=alice)
    if action == "cancel" and refused:
        lifecycle.cancel(run, by=alice)
    answer = say(alice, action, run, target="runs", back=page_of(name, run), cap="9")
    html = answer.content.decode()
    assert answer.status_code == (409 if refused else 200)
    assert html.strip().startswith('<section id="runs"')
    assert ('role="alert"' in html) is refused
    for part in BESIDE[name]:
        assert re.search(rf'<\w+ id="{part}"[^>]*hx-swap-oob="true"', html), part


def test_the_figures_of_one_answer_are_of_one_instant(run: Run, alice: User) -> None:
    lifecycle.pause(run, by=alice)
    said = words(say(alice, "cancel", run, target="runs", back=page_of("billing", run)))
    assert "No run is open" in said
    assert "Reserved 0 Available 99" in said
    assert "100 granted = 99 available + 0 reserved + 1 captured. It ties out." in said


def test_the_list_in_it_is_filtered_as_the_page_is(run: Run, alice: User, acme: Organization) -> None:
    lifecycle.cancel(start(acme, alice, HUNTER, rows=2, cap=2), by=alice)
    shown = f"http://testserver{page_of('runs', run)}?status=cancelled"
    headers = {"HX-Request": "true", "HX-Target": "runs", "HX-Current-URL": shown}
    facts = {"back": page_of("runs", run)}
    html = signed_in(alice).post(at("pause", run), facts, headers=headers).content.decode()
    listed = html[html.index('<section id="list"') :]
    assert listed.count('<td class="what">') == 1
    assert '<option value="cancelled" selected>' in listed


def test_on_the_runs_own_page_the_status_the_receipt_and_what_is_next_come_at_once(run: Run, alice: User) -> None:
    lifecycle.pause(run, by=alice)
    said = words(say(alice, "cancel", run, target="run"))
    assert "Receipt Cancelled" in said
    assert "5 reserved at the start = 1 captured + 0 still reserved + 4 released" in said
    assert "Paused: what next?" not in said


# ------------------------------------------------------------------ what moves though it does not run


@pytest.mark.parametrize("name", PAGES)
def test_a_run_stopped_with_calls_in_flight_is_watched_until_they_are_done(run: Run, alice: User, name: str) -> None:
    me = uuid4()
    calls = dispatch.claim(run, me, 2)
    lifecycle.pause(run, by=alice)
    address = poll_of(name, run, alice)
    first, second = ([dispatch.Answer(call, FOUND, 9)] for call in calls)
    dispatch.settle(run, me, first)
    answer = asked(alice, name, address)
    assert "HX-Retarget" not in answer
    assert "1 row still finishes" in words(answer) or name == "receipt"
    dispatch.settle(run, me, second)
    answer = asked(alice, name, address)
    assert answer["HX-Retarget"] == ("#run" if name == "receipt" else "#runs")
    assert "Continue with a new cap" in words(answer)
    assert "data-poll" not in answer.content.decode()


def test_the_one_live_run_behind_many_that_wait_is_watched_to_its_end(acme: Organization, alice: User) -> None:
    for _ in range(11):
        lifecycle.pause(start(acme, alice, HUNTER, rows=1, cap=1), by=alice)
    live = start(acme, alice, HUNTER, rows=1, cap=1)
    address = poll_of("runs", live, alice)
    settle(live, FOUND)
    standing.rest(live)
    answer = asked(alice, "runs", address)
    assert answer["HX-Retarget"] == "#runs"
    assert "data-poll" not in answer.content.decode()


def test_one_more_that_waits_is_told_where_it_is_not_shown(acme: Organization, alice: User, run: Run) -> None:
    for _ in range(6):
        lifecycle.pause(start(acme, alice, HUNTER, rows=1, cap=1), by=alice)
    hidden = Run.objects.filter(status="paused").earliest("id")
    address = poll_of("runs", run, alice)
    lifecycle.cancel(hidden, by=alice)
    assert "5 runs need a decision" in words(asked(alice, "runs", address))
