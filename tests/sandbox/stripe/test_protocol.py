"""How this Stripe is talked to: keys, versions, idempotency, refusals, lists, expansion, and what it does not know."""

import threading
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe.local import Sandbox

HEADERS = {"Authorization": "Bearer sk_test_oxygen"}


def test_the_sdk_is_answered_with_objects_and_a_request_id(sandbox: Sandbox) -> None:
    made = sandbox.stripe.customers.create(params={"email": "ada@acme.example", "metadata": {"org_id": "7"}})
    assert made.id.startswith("cus_")
    assert made.metadata.to_dict() == {"org_id": "7"}  # type: ignore[union-attr]
    assert made.last_response.request_id.startswith("req_")  # type: ignore[union-attr]
    assert made.last_response.headers["Stripe-Version"] == "2026-10-28.endive"  # type: ignore[union-attr]
    assert sandbox.stripe.customers.retrieve(made.id).to_dict() == made.to_dict()


@pytest.mark.parametrize("key", ["", "Bearer sk_live_1234", "Bearer rk_test", "Basic !!!"])
def test_only_a_test_key_is_let_in(sandbox: Sandbox, key: str) -> None:
    answer = sandbox.http.get("/v1/customers", headers={"Authorization": key})
    assert answer.status_code == 401
    assert "API" in answer.json()["error"]["message"]


def test_the_key_may_come_as_a_user_name(sandbox: Sandbox) -> None:
    assert sandbox.http.get("/v1/customers", auth=("sk_test_oxygen", "")).status_code == 200


def test_another_api_version_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=r"2020-01-01"):
        sandbox.client(stripe_version="2020-01-01").v1.customers.list()


def test_what_stripe_would_not_know_is_an_error_and_never_a_success(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as refused:
        sandbox.stripe.coupons.list()
    assert refused.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: flavour") as refused:
        sandbox.stripe.customers.create(params={"flavour": "sweet"})  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "flavour")
    with pytest.raises(stripe.InvalidRequestError, match=r"line_items\[0\]\[colour\]"):
        sandbox.stripe.checkout.sessions.create(
            params={"mode": "payment", "success_url": "https://x.example", "line_items": [{"colour": "red"}]}  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("path", "form", "code"),
    [
        ("/v1/prices", {"unit_amount": "5"}, "parameter_missing"),
        ("/v1/prices", {"currency": "usd", "unit_amount": "5.5", "product": "x"}, "parameter_invalid_integer"),
        ("/v1/products", {"name": ""}, "parameter_invalid_empty"),
        ("/v1/subscriptions", {"customer": "cus_none", "items[0][price]": "p"}, "resource_missing"),
        ("/v1/checkout/sessions", {"mode": "barter", "success_url": "x"}, ""),
        ("/v1/customers", {"metadata": "text"}, ""),
        ("/v1/invoiceitems", {"customer": "cus_1", "quantity": "-1"}, "parameter_invalid_integer"),
        ("/v1/payment_intents", {"amount": "49", "currency": "usd"}, "amount_too_small"),
        ("/v1/customers", {"name[first]": "Ada"}, ""),
        ("/v1/customers", {"preferred_locales[x]": "de"}, ""),
    ],
)
def test_what_does_not_fit_is_refused_in_stripes_words(
    sandbox: Sandbox, path: str, form: dict[str, str], code: str
) -> None:
    answer = sandbox.http.post(path, data=form, headers=HEADERS)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error.get("code", "") == code


def test_a_body_that_is_no_form_is_refused(sandbox: Sandbox) -> None:
    assert sandbox.http.post("/v1/customers", json={"name": "Ada"}, headers=HEADERS).status_code == 400
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert sandbox.http.post("/v1/customers", content=b"name=\xff", headers=HEADERS | form).status_code == 400


def test_only_a_caller_that_pins_no_version_may_still_name_method_types(sandbox: Sandbox) -> None:
    form = {"amount": "500", "currency": "usd", "payment_method_types[]": "card"}
    pinned = HEADERS | {"Stripe-Version": "2026-10-28.endive"}
    refused = sandbox.http.post("/v1/payment_intents", data=form, headers=pinned)
    assert refused.json()["error"]["code"] == "payment_method_types_no_longer_supported"
    assert sandbox.http.post("/v1/payment_intents", data=form, headers=HEADERS).status_code == 200


def test_what_is_not_there_is_missing(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_none'") as refused:
        sandbox.stripe.customers.retrieve("cus_none")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_the_same_key_twice_does_it_once(sandbox: Sandbox) -> None:
    first = sandbox.stripe.customers.create(params={"name": "Acme"}, options={"idempotency_key": "customer:acme"})
    again = sandbox.stripe.customers.create(params={"name": "Acme"}, options={"idempotency_key": "customer:acme"})
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"  # type: ignore[union-attr]
    assert len(sandbox.stripe.customers.list().data) == 1
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        sandbox.stripe.customers.create(params={"name": "Globex"}, options={"idempotency_key": "customer:acme"})


def test_a_refusal_is_kept_for_its_key_but_not_one_of_the_form(sandbox: Sandbox) -> None:
    key: Any = {"idempotency_key": "sub:1"}
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        sandbox.stripe.customers.create(params={"flavour": "sweet"}, options=key)  # type: ignore[arg-type]
    assert sandbox.stripe.customers.create(params={"name": "Acme"}, options=key).name == "Acme"
    decline: Any = {"idempotency_key": "attach:1"}
    customer = sandbox.stripe.customers.create(params={})
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            sandbox.stripe.payment_methods.attach(
                "pm_card_chargeDeclined", params={"customer": customer.id}, options=decline
            )
    replayed = [each["idempotency_key"] for each in sandbox.http.get("/_emu/requests").json()["requests"]]
    assert replayed.count("attach:1") == 2


def test_a_key_in_use_is_409_until_its_answer_is_there(sandbox: Sandbox) -> None:
    sandbox.order("faults", kind="slow", seconds=0.6, path="/v1/customers")
    key: Any = {"idempotency_key": "slow:1"}
    first = threading.Thread(target=lambda: sandbox.stripe.customers.create(params={"name": "A"}, options=key))
    first.start()
    while not sandbox.http.get("/_emu/requests").json()["requests"]:
        pass
    with pytest.raises(stripe.APIError) as refused:
        sandbox.client(http_client=None).v1.customers.create(params={"name": "A"}, options=key)
    assert refused.value.http_status == 409
    first.join()
    assert sandbox.stripe.customers.create(params={"name": "A"}, options=key).name == "A"
    assert len(sandbox.stripe.customers.list().data) == 1


def test_a_server_error_is_made_good_by_the_sdks_own_retry(sandbox: Sandbox) -> None:
    sandbox.order("faults", kind="error")
    retrying = sandbox.client(http_client=None, max_network_retries=1)
    made = retrying.v1.customers.create(params={"name": "Acme"}, options={"idempotency_key": "c:1"})
    assert [each.id for each in sandbox.stripe.customers.list().data] == [made.id]


def test_an_answer_that_is_lost_half_way_is_given_again_for_the_same_key(sandbox: Sandbox) -> None:
    sandbox.order("faults", kind="lost")
    key: Any = {"idempotency_key": "c:1"}
    with pytest.raises(stripe.APIConnectionError):  # the SDK itself does not try again after half an answer
        sandbox.client(http_client=None, max_network_retries=1).v1.customers.create(params={"name": "A"}, options=key)
    made = sandbox.stripe.customers.create(params={"name": "A"}, options=key)
    assert [each.id for each in sandbox.stripe.customers.list().data] == [made.id]


def test_too_many_requests_are_429(sandbox: Sandbox) -> None:
    sandbox.order("faults", kind="rate_limit")
    with pytest.raises(stripe.RateLimitError):
        sandbox.stripe.customers.create(params={"name": "Acme"})
    assert sandbox.stripe.customers.list().data == []


def test_a_long_list_comes_page_by_page_newest_first(sandbox: Sandbox) -> None:
    made = [sandbox.stripe.customers.create(params={"name": str(n)}).id for n in range(7)]
    first = sandbox.stripe.customers.list(params={"limit": 3})
    assert first.has_more
    assert [each.id for each in first.data] == made[:3:-1]
    assert [each.id for each in first.auto_paging_iter()] == made[::-1]
    before = sandbox.stripe.customers.list(params={"ending_before": made[0], "limit": 2})
    assert ([each.id for each in before.data], before.has_more) == ([made[2], made[1]], True)
    with pytest.raises(stripe.InvalidRequestError, match="No such object"):
        sandbox.stripe.customers.list(params={"starting_after": "cus_none"})
    with pytest.raises(stripe.InvalidRequestError, match="limit"):
        sandbox.stripe.customers.list(params={"limit": 101})


def test_prices_are_found_by_lookup_key_with_their_product(sandbox: Sandbox, prices: Any) -> None:
    starter, _, yearly = prices("starter", 2000), prices("pro", 5000), prices("starter-yearly", 20000, "year")
    found = sandbox.stripe.prices.list(
        params={"lookup_keys": ["starter", "starter-yearly"], "active": True, "expand": ["data.product"]}
    )
    assert {each.id for each in found.data} == {starter.id, yearly.id}
    assert {each.product.name for each in found.data} == {"Starter", "Starter-Yearly"}  # type: ignore[union-attr]
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        prices("starter", 1)


def test_a_property_that_cannot_be_expanded_is_refused(sandbox: Sandbox) -> None:
    sandbox.stripe.customers.create(params={})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        sandbox.stripe.customers.list(params={"expand": ["data.soul"]})
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        sandbox.stripe.customers.list(params={"expand": ["data.a.b.c.d.e"]})


def test_every_request_stands_in_the_log_with_its_key(sandbox: Sandbox) -> None:
    sandbox.stripe.customers.create(params={}, options={"idempotency_key": "customer:7"})
    (entry,) = sandbox.http.get("/_emu/requests").json()["requests"]
    assert (entry["method"], entry["path"], entry["idempotency_key"]) == ("POST", "/v1/customers", "customer:7")
