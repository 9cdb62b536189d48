"""/orgs/<slug>/billing/ledger/: every entry with what is available after it, one whole, and all of them as CSV."""

import csv
import re
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from html import unescape
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing import breakdown, keys, ledger, spans, statements
from billing.models import Entry, Organization, Scope, User
from billing.wanted import Wanted
from oxygen_site import clock
from runs import lifecycle
from tests.billing.moves import adjust, attempt, close, grant, open_run, owe, settle
from tests.billing.test_overview import words
from tests.conftest import give, person
from tests.runs.conftest import _catalog_file, catalog, start

__all__ = ["_catalog_file", "catalog"]  # fixtures

pytestmark = pytest.mark.django_db

type Read = Callable[..., str]


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    """Read Acme's ledger as Alice, whole or the fragment that htmx asks for."""
    client.force_login(alice)

    def html(fragment: str = "", status: int = 200, name: str = "ledger", **query: Any) -> str:
        headers = {"HX-Request": "true", "HX-Target": fragment} if fragment else {}
        answer = client.get(reverse(f"billing:{name}", args=[acme.slug]), query, headers=headers)
        assert answer.status_code == status
        return answer.getvalue().decode()

    return html


@pytest.fixture
def lived(acme: Organization) -> UUID:
    """Acme after one of each: a run with a charge, a failure and a call of its own; expiry, clawback, correction."""
    give(acme, "30.5", days=1)
    owed = grant(acme.pk, 20)
    run = open_run(acme.pk, 8, begin=3)
    settle(acme.pk, run, attempt(1, "0.75"), attempt(2, 0, outcome="failed_before_billing"))
    settle(acme.pk, run, attempt(3, 0, byok=True, held=0, tool="hubspot.contact_upsert"))
    clock.advance(timedelta(days=2))
    ledger.expire(acme.pk)
    close(acme.pk, open_run(acme.pk, 2))
    owe(acme.pk, owed, 5)
    owe(acme.pk, owed, 3)
    adjust(acme.pk, "1.25", reason="=given by mistake")
    return run


def rows(html: str) -> list[str]:
    """The entries shown, in words."""
    return [words(row) for row in re.findall(r'<tr class="is-.*?</tr>', html, re.DOTALL)]


def sheet(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


# ------------------------------------------------------------------ the list


def test_each_entry_says_what_moved_and_what_is_available_after_it(read: Read, acme: Organization) -> None:
    close(acme.pk, open_run(acme.pk, "2.5"))
    adjust(acme.pk, "1.25", reason="given by mistake")
    said = [re.sub(r"^\d+ \w+, [\d:]+ ", "", row) for row in rows(read())]
    assert said == [
        "Correctiongiven by mistake Adjusted −1.25 98.75",
        "A runBack from the run Released +2.50 100.00",
        "A runThe run's reservation Reserved −2.50 97.50",
        "PromoA grant of 100 Granted +100.00 100.00",
    ]


def test_what_does_not_move_the_account_says_so(read: Read, lived: UUID) -> None:
    captured = next(row for row in rows(read()) if "Captured" in row and "0.75" in row)
    assert captured.endswith("0.75 –not moved")
    released = next(row for row in rows(read()) if "Failed before the charge" in row)
    assert "Released" in released


def test_after_each_move_the_balance_is_the_sum_so_far(read: Read, acme: Organization, lived: UUID) -> None:
    moves = Entry.objects.filter(org=acme.pk, account_seq__isnull=False).order_by("account_seq")
    available = Decimal(0)
    for entry in moves:
        available += Decimal(f"{'-' if entry.sign == '−' else ''}{entry.amount}")
        assert entry.available_after == available
        assert f"{available:,.4f}".rstrip("0").rstrip(".") in words(read())


def test_a_charge_and_a_returned_hold_lead_to_their_runs_receipt(read: Read, lived: UUID) -> None:
    html = read()
    assert f'/orgs/acme/runs/{lived}/?row=1#items"' in html
    back = Entry.objects.get(kind="released", account_seq__isnull=False)
    assert f'href="/orgs/acme/runs/{back.source}/"' in html


@pytest.mark.parametrize("kind", Entry.Kind.values)
def test_a_kind_is_a_filter(read: Read, lived: UUID, kind: str) -> None:
    html = read(kind=kind)
    assert len(rows(html)) == Entry.objects.filter(kind=kind).count() > 0
    assert html.count(f'<tr class="is-{kind}">') == len(rows(html))


def test_filters_combine_and_each_is_taken_off_by_itself(read: Read, lived: UUID) -> None:
    html = read("list", kind="captured", provider="hunter", tool="hunter.email_finder", run=lived, range="7d")
    assert len(rows(html)) == 1
    for name, rest in (("kind", "provider=hunter"), ("tool", "kind=captured"), ("run", "range=7d")):
        taken = [link for link in re.findall(r'href="\?([^"#]*)#list"', html) if f"{name}=" not in link]
        assert any(rest in link for link in taken), name


def test_one_run_has_its_reservation_its_calls_and_what_came_back(read: Read, acme: Organization) -> None:
    run = open_run(acme.pk, 5, begin=1)
    settle(acme.pk, run, attempt(1))
    close(acme.pk, run)
    open_run(acme.pk, 1)
    kinds = re.findall(r'<tr class="is-(\w+)"', read(run=run))
    assert kinds == ["released", "reserved", "captured"]


def test_a_long_run_pages_without_a_gap(acme: Organization) -> None:
    give(acme, 100)
    run = open_run(acme.pk, 119, begin=119)
    settle(acme.pk, run, *(attempt(item) for item in range(1, 120)))
    close(acme.pk, run)
    seen = [entry.id for entry in statements.every(acme, Wanted(run=run), chunk=7)]
    assert len(seen) == len(set(seen)) == Entry.objects.filter(source=run).count() == 121
    assert [id.split(":")[1] for id in seen[:3]] == ["-1", "0", "119"]


def test_a_run_that_never_was_has_no_entries(read: Read) -> None:
    assert "No entry of these days is like that." in words(read(run=uuid4()))


def test_days_are_the_orgs_own_and_may_be_chosen_in_either_order(read: Read, acme: Organization, lived: UUID) -> None:
    zone = acme.tz
    day = clock.clock().astimezone(zone).date() - timedelta(days=2)
    for first, last in ((day, day), (day, day - timedelta(days=1)), (day - timedelta(days=1), day)):
        said = rows(read(range="custom", first=first, last=last))
        of_that_day = [each for each in Entry.objects.filter(org=acme.pk) if each.at.astimezone(zone).date() == day]
        assert len(said) == len(of_that_day) > 0
    assert len(rows(read(range="custom", first="2020-01-01"))) == Entry.objects.filter(org=acme.pk).count()
    assert "Nothing happened in these days." in words(read(range="custom", last="2020-01-02"))


def test_the_last_cycle_ends_where_this_one_begins(acme: Organization) -> None:
    clock.advance(timedelta(days=40))
    now = clock.clock()
    this, last = (spans.span(key, acme, now) for key in ("cycle", "last"))
    assert last.last + timedelta(days=1) == this.first
    assert last.first == acme.created_at.astimezone(acme.tz).date()


def test_what_was_captured_is_summed_below_and_ties_out(read: Read, acme: Organization, lived: UUID) -> None:
    assert "0.75 credits captured in these days" in words(read())
    assert "0.75 credits captured by what is shown in these days" in words(read(run=lived))
    assert "captured in these days" not in words(read(kind="granted"))


def test_entries_page_at_fifty_without_a_gap(read: Read, acme: Organization) -> None:
    give(acme, 100)
    run = open_run(acme.pk, 119, begin=119)
    for first in (1, 61):  # each batch at one instant
        settle(acme.pk, run, *(attempt(item) for item in range(first, min(first + 60, 120))))
    seen: list[str] = []
    query: dict[str, str] = {}
    while True:
        html = read("list", **query)
        seen += re.findall(r"/ledger/([0-9a-f-]+:-?\d+:\d+)/", html)
        older = re.search(r'href="\?before=([^"#]+)#list"[^>]*>Older', html)
        if not older:
            break
        query = {"before": older[1].replace("%7E", "~")}
    assert len(seen) == len(set(seen)) == Entry.objects.filter(org=acme.pk).count() == 122


def test_htmx_gets_the_list_alone_and_everybody_else_the_page(read: Read) -> None:
    assert read("list").strip().startswith('<section id="list"')
    assert "<!doctype html>" in read()


@pytest.mark.parametrize(
    "query",
    [
        {"kind": "stolen"},
        {"range": "1y"},
        {"first": "yesterday"},
        {"last": "9999-12-31"},
        {"run": "7"},
        {"tool": "\0"},
        {"before": "x"},
        {"before": "1~2"},
    ],
)
@pytest.mark.parametrize("name", ["ledger", "ledger_csv"])
def test_a_filter_that_makes_no_sense_is_404(read: Read, name: str, query: dict[str, str]) -> None:
    read(name=name, status=404, **query)


def test_its_queries_do_not_grow(read: Read, acme: Organization) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            read(range="90d")
        return len(queries)

    settle(acme.pk, open_run(acme.pk, 1, begin=1), attempt(1))
    read()
    few = cost()
    for _ in range(20):
        give(acme, 5)
        settle(acme.pk, open_run(acme.pk, 5, begin=5), *(attempt(item) for item in range(1, 6)))
    assert cost() == few <= 18


def test_large_and_small_credits_stand_in_one_column(read: Read, acme: Organization) -> None:
    give(acme, 99_999_999)
    give(acme, "0.0001")
    html = words(read())
    assert "+99,999,999.0000 100,000,099.0000" in html
    assert "+0.0001 100,000,099.0001" in html


# ------------------------------------------------------------------ CSV


def test_csv_holds_exactly_what_the_filters_leave(read: Read, acme: Organization, lived: UUID) -> None:
    for query in ({}, {"kind": "captured"}, {"run": str(lived)}, {"provider": "hunter"}, {"range": "7d"}):
        shown = re.findall(r"/ledger/([0-9a-f-]+:-?\d+:\d+)/", read(**query))
        assert [line["id"] for line in sheet(read(name="ledger_csv", **query))] == shown


def test_csv_adds_up_to_the_pages_total_and_the_rollups(read: Read, acme: Organization, lived: UUID) -> None:
    lines = sheet(read(name="ledger_csv"))
    total = sum((Decimal(line["amount"]) for line in lines if line["kind"] == "captured"), Decimal(0))
    span = spans.span("cycle", acme, clock.clock())
    assert (
        total
        == statements.captured(acme, span, Wanted())
        == breakdown.read(acme, span, Wanted()).total.sum
        == Decimal("0.75")
    )


def test_a_line_has_all_of_an_entry(read: Read, acme: Organization, lived: UUID) -> None:
    line = next(line for line in sheet(read(name="ledger_csv")) if line["amount"] == "0.7500")
    assert line["day"] == (clock.clock() - timedelta(days=2)).astimezone(acme.tz).date().isoformat()
    assert (line["run"], line["row"], line["tool"]) == (str(lived), "1", "hunter.email_finder")
    assert (line["kind"], line["mode"], line["outcome"]) == ("captured", "managed", "succeeded")
    assert (line["cost"], line["held"], line["available_after"]) == ("0.7500", "1.0000", "")


def test_a_reason_is_no_formula(read: Read, lived: UUID) -> None:
    (line,) = sheet(read(name="ledger_csv", kind="adjusted"))
    assert line["reason"] == "'=given by mistake"


def test_csv_is_a_file_with_a_name_that_says_what_it_is(client: Client, read: Read, acme: Organization) -> None:
    days = {"range": "custom", "first": "2026-11-01", "last": "2026-11-01"}
    answer = client.get(reverse("billing:ledger_csv", args=[acme.slug]), days)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="ledger-acme-2026-11-01-to-2026-11-01.csv"'


def test_csv_takes_no_more_memory_for_more_of_it(acme: Organization) -> None:
    give(acme, 10_000)
    run = open_run(acme.pk, 6000, begin=6000)
    for first in range(1, 6001, 1000):
        settle(acme.pk, run, *(attempt(item) for item in range(first, first + 1000)))

    def most(of: int) -> int:
        every = statements.every(acme, Wanted(), chunk=200)
        tracemalloc.start()
        for _ in range(of):
            next(every)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few = most(500)
    assert most(6000) < 1.5 * few


# ------------------------------------------------------------------ one entry


def entry_page(client: Client, acme: Organization, entry: Entry) -> str:
    return words(client.get(reverse("billing:entry", args=[acme.slug, entry.id])).content.decode())


@pytest.mark.parametrize("kind", Entry.Kind.values)
def test_every_kind_of_entry_has_its_page(
    client: Client, read: Read, acme: Organization, lived: UUID, kind: str
) -> None:
    for entry in Entry.objects.filter(org=acme.pk, kind=kind):
        said = entry_page(client, acme, entry)
        assert f"Id {entry.id}" in said
        assert ("Available after it" in said) == (entry.account_seq is not None)


def test_a_calls_page_tells_what_became_of_its_hold(
    client: Client, read: Read, acme: Organization, lived: UUID
) -> None:
    said = entry_page(client, acme, Entry.objects.get(source=lived, item=1))
    assert "Captured 0.75 Set free of the hold 1" in said
    assert "By The run itself" in said
    assert "Outcome Found" in said


def test_what_a_provider_billed_too_much_is_said_to_be_absorbed(client: Client, read: Read, acme: Organization) -> None:
    run = open_run(acme.pk, 1, begin=1)
    settle(acme.pk, run, attempt(1, "1.5"))
    said = entry_page(client, acme, Entry.objects.get(source=run, item=1))
    assert "Billed by the provider 1.5 Absorbed by Oxygen 0.5" in said


def test_an_actor_is_told_in_words(client: Client, read: Read, acme: Organization, alice: User) -> None:
    operator = person("Olga")
    User.objects.filter(pk=operator.pk).update(is_staff=True)
    key, _ = keys.make(acme, alice, "CI", [Scope.RUN])
    told = {
        f"user:{alice.pk}": "By Alice",
        f"user:{operator.pk}": "By An operator of Oxygen",
        f"user:{uuid4()}": "By Somebody who is not here any more",
        f"key:{key.pk}": f"By The API key {key}, made by Alice",
        "stripe:in_1": "By Stripe, as it told of in_1",
        "system:expiry": "By Oxygen, when it expired",
        "user:test": "By Somebody",
    }
    for actor, said in told.items():
        id = clock.new_id()
        ledger.adjust(acme.pk, id, amount=Decimal(1), actor=actor, reason="a test")
        assert said in entry_page(client, acme, Entry.objects.get(source=id))


@pytest.mark.parametrize("id", ["x", "1:2", f"{UUID(int=7)}:0:0", f"{UUID(int=7)}:x:0", f"{UUID(int=7)}:{10**20}:0"])
def test_an_entry_that_is_not_there_is_404(client: Client, read: Read, acme: Organization, id: str) -> None:
    assert client.get(reverse("billing:entry", args=[acme.slug, id])).status_code == 404


def test_nobody_reads_anothers_entries(client: Client, read: Read, acme: Organization, globex: Organization) -> None:
    theirs = Entry.objects.get(org=globex.pk)
    for slug in (acme.slug, globex.slug):
        assert client.get(reverse("billing:entry", args=[slug, theirs.id])).status_code == 404
    assert client.get(reverse("billing:ledger_csv", args=[globex.slug])).status_code == 404


def test_an_old_entry_leads_to_the_others_of_its_run(
    client: Client, acme: Organization, alice: User, catalog: None
) -> None:
    client.force_login(alice)
    run = start(acme, alice, "hunter.email_finder", rows=2, cap=2)
    lifecycle.cancel(run, by=alice)
    clock.advance(timedelta(days=120))
    entry = Entry.objects.get(source=run.id, kind="reserved")
    html = client.get(reverse("billing:entry", args=[acme.slug, entry.id])).content.decode()
    others = re.search(r'href="([^"]+)">In the ledger', html)
    assert others
    listed = client.get(unescape(others[1])).content.decode()
    assert f"/billing/ledger/{entry.id}/" in listed
    assert len(rows(listed)) == 2
