"""Business time and the local Stripe's move together, forwards, and what comes due on the way is done in its order."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from billing.models import Entry, Organization
from oxygen_site import clock, jobs
from oxygen_site.demo import moving, sandbox
from oxygen_site.demo.moving import move_time
from oxygen_site.transactions import Refused
from tests.conftest import give
from tests.sandbox.stripe.local import Sandbox
from tests.sandbox.stripe.test_subscriptions import subscribe

DAY = timedelta(days=1)
NEAR = timedelta(seconds=20)


def move(by: timedelta) -> datetime:
    """Move time at once, as the job does; answer where it was to get to."""
    to = clock.clock() + by
    move_time(clock.clock().isoformat(), to.isoformat())
    return to


def clocks(local: Sandbox) -> tuple[datetime, datetime]:
    return clock.clock(), sandbox.read(local.url).now


def subscribed(local: Sandbox, prices: Any) -> Any:
    card = "pm_card_visa"
    wished: Any = {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
    return subscribe(local, local.stripe.customers.create(params=wished), prices("starter", 2000))


@pytest.fixture
def prices(local: Sandbox) -> Any:
    def price(key: str, amount: int) -> Any:
        product = local.stripe.products.create(params={"name": key.title()})
        wished: Any = {"product": product.id, "currency": "usd", "unit_amount": amount}
        return local.stripe.prices.create(params=wished | {"recurring": {"interval": "month"}})

    return price


class Watch(ThreadingHTTPServer):
    """An endpoint that notes how late each event is by business time."""

    def __init__(self, database: str) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.database = database
        self.seen: list[tuple[str, timedelta]] = []


class Hook(BaseHTTPRequestHandler):
    server: Watch

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with psycopg.connect(self.server.database) as connection:
            ((now,),) = connection.execute("SELECT ledger.clock()")
        late = now - datetime.fromtimestamp(event["created"], UTC)
        self.server.seen.append((event["type"], late))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def watch(fresh_database: str, local: Sandbox) -> Iterator[Watch]:
    with Watch(fresh_database) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        local.order("webhook", url=f"http://127.0.0.1:{server.server_port}/stripe/webhook/")
        yield server
        local.order("post", hold=True)
        server.shutdown()


def test_both_clocks_arrive_together(fresh_database: str, local: Sandbox) -> None:
    to = move(31 * DAY)
    ours, theirs = clocks(local)
    assert to <= ours < to + NEAR
    assert abs(ours - theirs) < moving.SAME


def test_what_stripe_does_on_the_way_is_heard_when_it_happens(watch: Watch, local: Sandbox, prices: Any) -> None:
    subscribed(local, prices)
    move(65 * DAY)
    heard = [name for name, _ in watch.seen]
    assert heard.count("invoice.paid") == 3
    assert max(late for _, late in watch.seen) < NEAR


def test_grants_expire_on_the_way(fresh_database: str, local: Sandbox, acme: Organization) -> None:
    give(acme, 10, days=3)
    begun = clock.clock()
    move(20 * DAY)
    expired = Entry.objects.get(org=acme.pk, kind="expired")
    assert begun + 3 * DAY <= expired.at < begun + 4 * DAY + NEAR


def step_and_be_told_to_stop(base: str, now: datetime, at: datetime) -> None:
    clock.advance(DAY)
    jobs.stopping.set()


def test_a_nightly_round_is_made_once_a_night(
    fresh_database: str, local: Sandbox, prices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights: list[datetime] = []
    monkeypatch.setitem(jobs._rounds, "billing.jobs.prove_nightly", lambda: nights.append(clock.clock()))
    for _ in range(3):
        subscribed(local, prices)
    move(40 * DAY)
    assert len(nights) == 40


def test_one_that_was_cut_short_goes_on(fresh_database: str, local: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = clock.clock()
    to = (begun + 9 * DAY).isoformat()
    with monkeypatch.context() as told_to_stop:
        told_to_stop.setattr(moving, "_step", step_and_be_told_to_stop)
        move_time(begun.isoformat(), to)
    jobs.stopping.clear()
    assert clock.clock() < begun + 2 * DAY
    waits = moving.under_way()
    assert waits is not None
    move_time(waits.begun.isoformat(), waits.to.isoformat())
    assert clock.clock() >= begun + 9 * DAY


@pytest.mark.parametrize("ahead", ["business", "stripe"])
def test_the_clock_that_is_behind_follows(fresh_database: str, local: Sandbox, ahead: str) -> None:
    if ahead == "business":
        clock.advance(3 * DAY)
    else:
        local.order("clock", by=3 * 24 * 3600)
    said = moving.bring_together(local.url)
    assert said.startswith("The sandbox's Stripe is 3 days" if ahead == "business" else "Business time is ")
    assert moving.bring_together(local.url) == ""  # it is on its way
    asked = moving.under_way()
    assert asked is not None
    move_time(asked.begun.isoformat(), asked.to.isoformat())
    ours, theirs = clocks(local)
    assert abs(ours - theirs) < moving.SAME


def test_clocks_that_are_together_are_left_alone(fresh_database: str, local: Sandbox) -> None:
    assert moving.bring_together(local.url) == ""
    assert moving.under_way() is None


def test_time_moves_once_at_a_time(fresh_database: str, local: Sandbox) -> None:
    to = clock.clock() + DAY
    moving.ask(to)
    with pytest.raises(Refused, match="moving already"):
        moving.ask(to)
    on_its_way = moving.under_way()
    assert on_its_way is not None
    assert to <= on_its_way.to < to + timedelta(seconds=1)
    assert on_its_way.share(to - DAY / 2) == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))


def test_where_webhooks_do_not_arrive_time_goes_no_further(
    fresh_database: str, local: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "PATIENCE", 1)
    local.order("webhook", url="http://127.0.0.1:9/stripe/webhook/")
    local.stripe.customers.create(params={"name": "Ada"})
    begun = clock.clock()
    with pytest.raises(moving.Stuck, match="1 webhooks wait"):
        move(9 * DAY)
    assert clock.clock() < begun + 2 * DAY
