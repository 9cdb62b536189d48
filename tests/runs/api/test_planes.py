"""Reservations, holds and settles, as an execution plane with a key sees them."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from billing import keys, orgs
from billing.models import Account, Entry, Organization, Role, User
from runs import jobs, lifecycle, planes
from runs.models import Run
from tests.conftest import person
from tests.contract import Answer, ask
from tests.runs.conftest import assert_books_hold, booked, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, OPENAI = "hunter.email_finder", "openai.ai_column"
OPEN = {"tools": [HUNTER, OPENAI], "items": 10, "max_credits": 20}


@pytest.fixture
def secret(acme: Organization, alice: User) -> str:
    return keys.make(acme, alice, "A plane", ["read", "run"])[1]


def post(path: str, secret: str, body: Any = None, **headers: str) -> Answer:
    return ask(f"/reservations{path}", secret, "POST", {} if body is None else body, **headers)


@pytest.fixture
def at(secret: str) -> str:
    """The address of an open reservation, of ten items for at most 20 credits."""
    return f"/{post('', secret, OPEN).data['id']}"


def found(item: int, **how: Any) -> dict[str, Any]:
    return {"item": item, "tool": HUNTER, "outcome": "succeeded", "cost": 1} | how


def settle(at: str, secret: str, *outcomes: dict[str, Any]) -> list[dict[str, Any]]:
    answer = post(f"{at}/settle", secret, {"outcomes": outcomes})
    assert answer.status == 200, answer.text
    return answer.data["outcomes"]


def test_from_opening_to_closing(secret: str, acme: Organization) -> None:
    opened = post("", secret, OPEN | {"name": "Night shift"})
    assert (opened.status, opened.data["status"], opened.data["reserved"]) == (201, "queued", 20)
    at = f"/{opened.data['id']}"
    held = post(f"{at}/holds", secret, {"items": 2, "refs": ["Ada", "Grace"]})
    assert (held.status, held.data["items"], held.data["room"], held.data["left"]) == (201, [1, 2], 11, 8)
    nothing = found(2, outcome="no_result", cost=0)
    first, second = settle(at, secret, found(1), nothing)
    assert first == {"item": 1, "verdict": "settled", "credits": 1, "next": None, "code": None}
    assert second["next"] == {"tool": OPENAI, "try": 0}
    settle(at, secret, found(2, tool=OPENAI, cost=Decimal("2.25"), reference="gpt_1", latency_ms=900))
    closed = post(f"{at}/close", secret)
    assert (closed.data["status"], closed.data["captured"], closed.data["released"]) == (
        "succeeded",
        Decimal("3.25"),
        Decimal("16.75"),
    )
    assert Account.objects.get(org=acme.pk).available == Decimal("96.75")
    assert_books_hold(acme)


def test_what_is_read_is_what_stands(at: str, secret: str) -> None:
    post(f"{at}/holds", secret, {"items": 3})
    settle(at, secret, found(1, cost=5), found(2, outcome="failed_before_billing", cost=0, last=True))
    shown = ask(f"/reservations{at}", secret).data
    assert shown["items"] == {"most": 10, "taken": 3, "out": 1, "succeeded": 1, "failed": 1}
    assert [shown[name] for name in ("captured", "held", "room", "absorbed", "late")] == [1, 4.5, 14.5, 4, 0]
    assert shown["tools"][0] == {
        "tool": HUNTER,
        "provider": "hunter",
        "mode": "managed",
        "estimated_credits_per_call": 1,
        "maximum_credits_per_call": 1,
    }


def test_a_hold_sent_again_is_the_same_hold(at: str, secret: str) -> None:
    first = post(f"{at}/holds", secret, {"items": 2}, idempotency_key="a-hold")
    again = post(f"{at}/holds", secret, {"items": 2}, idempotency_key="a-hold")
    assert first.data == again.data
    assert post(f"{at}/holds", secret, {"items": 1}).data["items"] == [3]


def test_settling_takes_no_key_and_is_replayed(at: str, secret: str) -> None:
    post(f"{at}/holds", secret, {"items": 2})
    batch = [found(1), found(7)]
    for verdict in ("settled", "replayed"):
        told = post(f"{at}/settle", secret, {"outcomes": batch}, idempotency_key="")
        assert [each["verdict"] for each in told.data["outcomes"]] == [verdict, "refused"]
    assert settle(at, secret, found(1, cost=0))[0]["verdict"] == "conflict"
    assert Entry.objects.filter(item__gt=0).count() == 1


def test_a_renewed_hold_is_kept_and_a_lapsed_one_is_refused_and_counted(at: str, secret: str) -> None:
    post(f"{at}/holds", secret, {"items": 2})
    planes.renew(Run.objects.get(), [1, 2], 0)
    renewed = post(f"{at}/renew", secret, {"items": [2, 9], "lease_seconds": 60})
    assert renewed.data["items"] == [2]
    jobs.look_after_planes()
    assert [each["code"] for each in settle(at, secret, found(1), found(2))] == ["given_up", None]
    assert ask(f"/reservations{at}", secret).data["late"] == 1


def test_a_thousand_outcomes_settle_in_one_call_and_no_more(secret: str, acme: Organization) -> None:
    at = f"/{post('', secret, OPEN | {'items': 1000, 'tools': [HUNTER], 'max_credits': 100}).data['id']}"
    assert len(post(f"{at}/holds", secret, {"items": 1000}).data["items"]) == 100
    told = settle(at, secret, *[found(n) for n in range(1, 1001)])
    assert [each["verdict"] for each in told] == ["settled"] * 100 + ["refused"] * 900
    assert post(f"{at}/settle", secret, {"outcomes": [found(1)] * 1001}).code == "invalid"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (OPEN | {"tools": []}, 422, "invalid"),
        (OPEN | {"tools": ["nobody.knows"]}, 422, "unknown_tool"),
        (OPEN | {"tools": [HUNTER, HUNTER]}, 422, "invalid_cascade"),
        (OPEN | {"max_credits": None}, 422, "cap_required"),
        (OPEN | {"max_credits": 4}, 422, "cap_too_small"),
        (OPEN | {"max_credits": 101, "items": 100}, 402, "insufficient_credits"),
        (OPEN | {"items": 0}, 422, "invalid"),
        (OPEN | {"approved": True}, 403, "not_allowed"),
    ],
)
def test_what_cannot_be_opened_says_why(secret: str, body: dict[str, Any], status: int, code: str) -> None:
    refused = post("", secret, body)
    assert (refused.status, refused.code) == (status, code)
    assert Run.objects.count() == 0


def test_what_cannot_be_held_or_closed_says_why(at: str, secret: str) -> None:
    assert post(f"{at}/holds", secret, {"items": 2, "refs": ["Ada"]}).code == "invalid_refs"
    assert post(f"{at}/holds", secret, {"items": 9}).data["items"] == [1, 2, 3, 4]
    assert post(f"{at}/holds", secret, {"items": 1}).data["items"] == []
    assert post(f"{at}/close", secret).code == "in_flight"
    settle(at, secret, *[found(n, cost=1) for n in (1, 2)], *[found(n, tool=HUNTER) for n in (3, 4)])
    assert post(f"{at}/close", secret, {"give_up": True}).data["status"] == "succeeded"
    assert post(f"{at}/holds", secret, {"items": 1}).code == "wrong_state"


def test_a_spent_cap_says_so(secret: str) -> None:
    at = f"/{post('', secret, OPEN | {'max_credits': 5}).data['id']}"
    post(f"{at}/holds", secret, {"items": 1})
    settle(at, secret, found(1))
    refused = post(f"{at}/holds", secret, {"items": 1})
    assert (refused.status, refused.code) == (409, "cap_reached")


def test_only_its_own_org_finds_it_and_only_whoever_may_steer_it_uses_it(
    at: str, secret: str, acme: Organization, globex: Organization, mallory: User
) -> None:
    stranger = keys.make(globex, mallory, "A plane", ["read", "run"])[1]
    assert ask(f"/reservations{at}", stranger).status == 404
    assert post(f"{at}/settle", stranger, {"outcomes": [found(1)]}).status == 404
    bob = person("Bob")
    orgs.add_member(acme, bob, Role.MEMBER)
    other = keys.make(acme, bob, "Bob's", ["read", "run"])[1]
    assert ask(f"/reservations{at}", other).status == 200
    assert post(f"{at}/holds", other, {"items": 1}).status == 403
    assert post(f"{at}/settle", other, {"outcomes": [found(1)]}).status == 403


def test_a_run_of_our_own_is_no_reservation(secret: str, acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    assert ask(f"/reservations/{run.id}", secret).status == 404
    assert post(f"/{uuid4()}/close", secret).status == 404


def test_the_ledger_says_which_key_opened_and_closed_it(at: str, secret: str) -> None:
    run = Run.objects.get()
    post(f"{at}/close", secret)
    actors = set(Entry.objects.filter(source=run.id).values_list("actor", flat=True))
    assert [actor.partition(":")[0] for actor in actors if actor] == ["key"]


def test_one_that_waits_for_approval_takes_no_holds(secret: str, acme: Organization, alice: User) -> None:
    acme.approval_threshold = Decimal(5)
    acme.save()
    opened = post("", secret, OPEN)
    assert (opened.data["status"], opened.data["reserved"], opened.data["room"]) == ("awaiting_approval", 0, 0)
    assert post(f"/{opened.data['id']}/holds", secret, {"items": 1}).code == "wrong_state"
    lifecycle.approve(Run.objects.get(), by=alice)
    assert booked(Run.objects.get()).reserved == 20
