"""A write happens once for each Idempotency-Key; lists have cursors, reads have tags, and keys call only so often."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from ninja import Router

from billing import jobs, keys
from billing.models import Entry, Grant, KeptAnswer, Organization, User
from oxygen_site import api
from oxygen_site.api import Count, CreditsIn, Cursor, Data, Shown, Taken, answers, bodies, version1
from oxygen_site.clock import advance
from oxygen_site.transactions import Refused, intention
from tests.conftest import give

INNER = Router()


class Gift(Taken):
    credits: CreditsIn
    times: Count = 1


class Given(Shown):
    available: api.Credits
    text: str = ""


@INNER.post("/gifts", auth=api.may("read"), response={201: Data[Given]})
@api.write(201)
def give_credits(request: Any, body: Gift) -> Data[Given]:
    for _ in range(body.times):
        give(request.org, body.credits)
    if body.credits == 13:
        raise Refused("unlucky", "Not thirteen.", 409)
    if body.credits == 14:
        intention(lambda: Refused("booked", "What was given stays given.", 402))
    left = sum(grant.remaining for grant in Grant.objects.filter(org=request.org.pk))
    return Data(data=Given(available=left))


@INNER.get("/places", auth=api.may("read"), response=Data[Given])
def places(request: Any, cursor: Cursor = None) -> Data[Given]:
    place = api.read_cursor(request, "places", cursor)
    return Data(data=Given(available=Decimal(0), text=",".join(place or [api.write_cursor(request, "places", [7])])))


type Ask = Callable[..., HttpResponse]


@pytest.fixture
def send(acme: Organization, alice: User) -> Ask:
    """Call an operation of this test's own with a key of Alice's."""
    made = version1.Version1(
        docs_url=None, openapi_url=None, urls_namespace="w", renderer=answers.Renderer(), parser=bodies.ExactParser()
    )
    made._exception_handlers = api.api._exception_handlers
    made.add_router("", INNER)
    views: Any = {str(pattern.pattern): pattern.callback for pattern in made.urls[0]}
    secret = keys.make(acme, alice, "A script", ["read"])[1]

    def sent(path: str, body: str | None = None, key: str = "", **headers: str) -> HttpResponse:
        told = {"Authorization": f"Bearer {secret}"} | ({"Idempotency-Key": key} if key else {}) | headers
        method = "GET" if body is None else "POST"
        request = RequestFactory().generic(method, f"/{path}", (body or "").encode(), "application/json", headers=told)
        return views[path.partition("?")[0]](request)

    return sent


def said(response: HttpResponse) -> dict[str, Any]:
    return json.loads(response.content, parse_float=Decimal)


# ------------------------------------------------------------------ once


def test_a_write_happens_and_answers_once_a_key(send: Ask, acme: Organization) -> None:
    first = send("gifts", '{"credits": 5.0001}', "k1")
    again = send("gifts", '{"credits": 5.0001}', "k1")
    assert (first.status_code, said(first)["data"]["available"]) == (201, Decimal("105.0001"))
    assert (again.status_code, again.content) == (201, first.content)
    assert (again["Idempotent-Replayed"], "Idempotent-Replayed" in first) == ("true", False)
    assert Entry.objects.filter(org=acme.pk).count() == 2


def test_another_key_is_another_write(send: Ask, acme: Organization) -> None:
    for key in ("k1", "k2"):
        assert send("gifts", '{"credits": 5}', key).status_code == 201
    assert Entry.objects.filter(org=acme.pk).count() == 3


@pytest.mark.parametrize(("key", "code"), [("", "idempotency_key_required"), ("a key", "invalid_idempotency_key")])
def test_a_write_without_a_key_is_refused(send: Ask, acme: Organization, key: str, code: str) -> None:
    refused = send("gifts", '{"credits": 5}', key)
    assert (refused.status_code, said(refused)["code"]) == (400, code)
    assert Entry.objects.filter(org=acme.pk).count() == 1


def test_a_key_with_another_body_is_refused(send: Ask, acme: Organization) -> None:
    send("gifts", '{"credits": 5}', "k1")
    refused = send("gifts", '{"credits": 6}', "k1")
    assert (refused.status_code, said(refused)["code"]) == (422, "idempotency_key_reused")
    assert Entry.objects.filter(org=acme.pk).count() == 2


def test_what_was_refused_keeps_nothing_and_may_be_sent_again(send: Ask, acme: Organization) -> None:
    assert said(send("gifts", '{"credits": 13}', "k1"))["code"] == "unlucky"
    assert Entry.objects.filter(org=acme.pk).count() == 1
    assert send("gifts", '{"credits": 5}', "k1").status_code == 201


def test_what_a_refusal_booked_stays_booked_and_its_key_is_free(send: Ask, acme: Organization) -> None:
    refused = send("gifts", '{"credits": 14}', "k1")
    assert (refused.status_code, said(refused)["code"]) == (402, "booked")
    assert Entry.objects.filter(org=acme.pk).count() == 2
    assert not KeptAnswer.objects.exists()


def test_all_of_a_write_happens_or_nothing(send: Ask, acme: Organization) -> None:
    send("gifts", '{"credits": 13, "times": 3}', "k1")
    assert Entry.objects.filter(org=acme.pk).count() == 1


def test_answers_are_forgotten_after_a_month(send: Ask) -> None:
    send("gifts", '{"credits": 5}', "k1")
    jobs.forget_answers()
    assert KeptAnswer.objects.count() == 1
    advance(jobs.KEPT)
    jobs.forget_answers()
    assert not KeptAnswer.objects.exists()


# ------------------------------------------------------------------ what is sent


@pytest.mark.parametrize(
    "body",
    [
        *('{"credits": "5"}', '{"credits": true}', '{"credits": 0}', '{"credits": -1}', '{"credits": 0.00001}'),
        *('{"credits": 1e12}', '{"credits": null}', "{}", "[]", '"5"', '{"credits": 5, "credit": 5}'),
        *('{"credits": 5, "times": "1"}', '{"credits": 5, "times": 1.5}', '{"credits": 5, "times": 0}'),
    ],
)
def test_what_is_no_number_of_credits_is_refused(send: Ask, acme: Organization, body: str) -> None:
    refused = send("gifts", body, "k1")
    assert (refused.status_code, said(refused)["code"]) == (422, "invalid"), said(refused)
    assert Entry.objects.filter(org=acme.pk).count() == 1


@pytest.mark.parametrize(
    "body", ["", "{", '{"credits": NaN}', '{"credits": 5, "a": "\\u0000"}', '{"a\\ud800": 5}', "[" * 100_000, "\xff"]
)
def test_what_is_no_json_or_no_text_is_unreadable(send: Ask, body: str) -> None:
    assert said(send("gifts", body, "k1"))["code"] in ("bad_request", "invalid")


def test_an_escaped_backslash_is_a_text_like_any_other() -> None:
    request = RequestFactory().post("/", b'{"a": "\\\\u0000", "b": "\\ud83d\\ude00"}', "application/json")
    assert bodies.ExactParser().parse_body(request) == {"a": "\\u0000", "b": "😀"}


# ------------------------------------------------------------------ lists, tags, rates


def test_a_cursor_leads_back_to_its_place(send: Ask) -> None:
    first = said(send("places"))["data"]["text"]
    assert said(send(f"places?cursor={first}"))["data"]["text"] == "7"


@pytest.mark.parametrize("cursor", ["", "x", "a:b:c", "é", "ImEi:1:x"])
def test_a_made_up_cursor_is_refused(send: Ask, cursor: str) -> None:
    refused = send(f"places?cursor={cursor}")
    assert (refused.status_code, said(refused)["code"]) == (400, "invalid_cursor")


def test_a_cursor_is_of_one_list_of_one_org(send: Ask, globex: Organization) -> None:
    elsewhere = RequestFactory().get("/")
    elsewhere.org = globex  # type: ignore[attr-defined]
    made_up = api.write_cursor(elsewhere, "places", [7])  # type: ignore[arg-type]
    assert said(send(f"places?cursor={made_up}"))["code"] == "invalid_cursor"


def test_who_has_seen_an_answer_is_told_that_nothing_changed(send: Ask) -> None:
    at = f"places?cursor={said(send('places'))['data']['text']}"
    first = send(at)
    again = send(at, **{"If-None-Match": first["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert send(at, **{"If-None-Match": '"another"'}).status_code == 200


def test_a_key_calls_only_so_often_a_minute(send: Ask, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 3
    statuses = [send("places").status_code for _ in range(8)]
    assert 429 in statuses  # a new minute may begin meanwhile, and then three more pass
    assert statuses.count(200) <= 6
