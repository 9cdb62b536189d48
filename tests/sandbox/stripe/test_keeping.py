"""A Stripe that is told to keep what it knows: after a stop, and after a kill, it goes on where it was."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import stripe

from tests.effort import SEED, effort
from tests.sandbox.stripe.local import NEW_YEAR, Sandbox
from tests.sandbox.stripe.test_lives import VERBS, Life, books_tie_out
from tests.sandbox.stripe.test_subscriptions import DAY, subscribe
from tests.sandbox.stripe.test_webhooks import SECRET, Receiver, receiver

__all__ = ["receiver"]  # a fixture of the post's own tests

CLOSED = "http://127.0.0.1:9/stripe/webhook/"  # nobody is there


class Kept:
    """A Stripe of this test's own, with its file; it can be stopped, or killed, and started again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.start()

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "sandbox.stripe", "--port", str(port), "--keep", str(self.file)]
        self.process = subprocess.Popen([*command, "--with-parent"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.sandbox = Sandbox(self.process.stdout.readline().strip())

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.sandbox.http.close()
        self.process.send_signal(how)
        self.process.wait(20)
        assert self.process.stdout
        self.process.stdout.close()

    def again(self, how: signal.Signals = signal.SIGTERM) -> Sandbox:
        """End it, start it at the same address, and point whoever still holds it there."""
        before = self.sandbox
        self.end(how)
        self.start(int(before.url.rpartition(":")[2]))
        before.http = self.sandbox.http
        return before


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "stripe.json")
    yield kept
    kept.end()
    assert kept.sandbox.judge.faults == []


@pytest.fixture
def sandbox(kept: Kept) -> Sandbox:
    return kept.sandbox


def everything(sandbox: Sandbox) -> Any:
    state = sandbox.http.get("/_emu").json()
    del state["now"]
    return state, sandbox.http.get("/_emu/objects").json()


def test_stopped_and_started_everything_is_there(kept: Kept, buyer: Any, prices: Any, pass_time: Any) -> None:
    ada = buyer()
    subscription = subscribe(kept.sandbox, ada, prices("starter", 2000))
    kept.sandbox.order("settings", tax_percent="7.7", fail_next_payments=["expired_card"])
    kept.sandbox.order("faults", kind="error", path="/v1/refunds")
    before = everything(kept.sandbox)
    kept.again()
    assert everything(kept.sandbox) == before
    pass_time(ada, 31 * DAY + 3600)
    assert kept.sandbox.stripe.subscriptions.retrieve(subscription.id).status == "past_due"


def test_what_was_kept_is_come_back_to_and_what_came_after_is_gone(kept: Kept, buyer: Any, prices: Any) -> None:
    ada, price = buyer(), prices("starter", 2000)
    there, before = kept.sandbox.kept(), everything(kept.sandbox)
    subscribe(kept.sandbox, ada, price)
    kept.sandbox.order("clock", by=40 * DAY)
    kept.sandbox.order("reset", to=there)
    assert everything(kept.sandbox) == before
    assert kept.sandbox.http.get("/_emu").json()["now"] < time.time() + there["offset"] + DAY


def test_an_idempotency_key_still_gives_the_first_answer(kept: Kept) -> None:
    def make() -> stripe.Customer:
        return kept.sandbox.stripe.customers.create(params={"name": "Ada"}, options={"idempotency_key": "customer:ada"})

    first = make()
    kept.again()
    assert make() == first
    assert len(kept.sandbox.stripe.customers.list().data) == 1


def test_a_moved_clock_stays_ahead_and_what_came_due_meanwhile_is_done(kept: Kept, prices: Any) -> None:
    card = "pm_card_visa"
    wished: Any = {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
    ada = kept.sandbox.stripe.customers.create(params=wished)
    end = subscribe(kept.sandbox, ada, prices("starter", 2000))["items"].data[0].current_period_end
    kept.sandbox.order("clock", to=end - 1)
    kept.again()
    time.sleep(1)
    (subscription,) = kept.sandbox.stripe.subscriptions.list(params={"customer": ada.id}).data
    assert subscription["items"].data[0].current_period_start == end
    assert end <= kept.sandbox.http.get("/_emu").json()["now"] < end + 60


def test_it_may_begin_earlier_while_nobody_is_a_customer(kept: Kept) -> None:
    kept.sandbox.order("begin", at=NEW_YEAR)
    assert kept.sandbox.stripe.customers.create(params={"name": "Ada"}).created - NEW_YEAR < 60
    answer = kept.sandbox.http.post("/_emu/begin", json={"at": NEW_YEAR})
    assert answer.status_code == 400
    assert "only moves forwards" in answer.json()["error"]["message"]


def test_what_was_not_delivered_goes_out_after_the_start(kept: Kept, receiver: Receiver) -> None:
    kept.sandbox.order("post", hold=True)
    made = kept.sandbox.stripe.customers.create(params={"name": "Ada"})
    kept.again()
    assert receiver.received == []
    kept.sandbox.order("post", hold=False)
    kept.sandbox.delivered()
    (event,) = receiver.events(SECRET)
    assert event["data"]["object"]["id"] == made.id


def test_what_nobody_took_is_tried_again_after_the_start(kept: Kept) -> None:
    kept.sandbox.order("webhook", url=CLOSED, secret=SECRET)
    kept.sandbox.stripe.customers.create(params={"name": "Ada"})
    kept.again()
    (letter,) = kept.sandbox.http.get("/_emu/deliveries").json()["letters"]
    assert not letter["done"]


def test_killed_it_knows_what_was_done_a_moment_before(kept: Kept) -> None:
    made = kept.sandbox.stripe.customers.create(params={"name": "Ada"})
    time.sleep(0.5)
    kept.again(signal.SIGKILL)
    assert kept.sandbox.stripe.customers.retrieve(made.id).name == "Ada"


@pytest.mark.parametrize("number", range(effort(3)))
def test_killed_at_any_moment_its_file_can_be_read(kept: Kept, number: int) -> None:
    dice = Random(f"{SEED}:{number}")
    for _ in range(3):
        until = time.monotonic() + dice.uniform(0.05, 0.6)
        while time.monotonic() < until:
            kept.sandbox.stripe.customers.create(params={"name": "Ada"})
        kept.again(signal.SIGKILL)
        assert kept.sandbox.told("customer.created") == ["customer.created"] * len(made(kept))


def made(kept: Kept) -> list[Any]:
    objects = kept.sandbox.http.get("/_emu/objects").json()["objects"]
    return [each for each in objects if each["object"] == "customer"]


def test_at_another_address_its_pages_are_there(kept: Kept, prices: Any) -> None:
    ada = kept.sandbox.stripe.customers.create(params={"name": "Ada"})
    session = kept.sandbox.stripe.checkout.sessions.create(
        params={
            "mode": "subscription",
            "customer": ada.id,
            "line_items": [{"price": prices("starter", 2000).id, "quantity": 1}],
            "success_url": "http://127.0.0.1/",
        }
    )
    kept.end()
    kept.start()
    url = str(kept.sandbox.stripe.checkout.sessions.retrieve(session.id).url)
    assert url.startswith(f"{kept.sandbox.url}/c/pay/")
    assert kept.sandbox.http.get(url).status_code == 200


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"shape": "oxygen stripe sandbox 0"}', "no JSON", "old", "cut off"],
)
def test_a_file_of_another_shape_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "stripe.json"
    if text in ("old", "cut off"):
        kept = Kept(file)
        kept.end()
        whole = json.loads(file.read_text())
        del whole["letters"]
        text = json.dumps(whole) if text == "old" else file.read_text()[:-9]
    file.write_text(text)
    command = [sys.executable, "-m", "sandbox.stripe", "--port", "0", "--keep", str(file)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"{file} is not the state of a local Stripe of this version (")
    assert refused.stderr.count("\n") == 1
    assert file.read_text() == text


@pytest.mark.parametrize("number", range(effort(4)))
def test_a_life_that_is_stopped_again_and_again_keeps_the_books(
    kept: Kept, buyer: Callable[..., Any], prices: Any, number: int
) -> None:
    dice = Random(f"{SEED}:kept:{number}")
    life = Life(kept.sandbox, buyer(at=NEW_YEAR), [prices("starter", 2000), prices("pro", 4999)], dice)
    for step in range(16):
        with refusals():
            dice.choice(VERBS)(life)
        if step % 4 == 3:
            before = everything(kept.sandbox)
            life.sandbox = kept.again()
            assert everything(kept.sandbox) == before
        books_tie_out(life)


@contextmanager
def refusals() -> Iterator[None]:
    try:
        yield
    except (stripe.InvalidRequestError, stripe.CardError):
        return
