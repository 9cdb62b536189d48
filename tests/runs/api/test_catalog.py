"""Integrations with their modes and own accounts, and tools on the org's terms, as a script with a key sees them."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from billing import keys, orgs
from billing.models import Organization, Role, Scope, User
from runs import dispatch, worker
from runs.models import Integration
from runs.providers import limits
from runs.providers.outcomes import Outcome
from tests.contract import ask
from tests.runs.conftest import ME, Providers, settle, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER, JOB_CHANGES = "hunter.email_finder", "apollo.job_changes"
CREDENTIAL = "pat-eu1-3f9c-never-to-be-seen"


@pytest.fixture
def secret(acme: Organization, alice: User) -> str:
    return keys.make(acme, alice, "A script", Scope.values)[1]


def connect(secret: str, provider: str = "hunter", credential: str = CREDENTIAL, **headers: str) -> Any:
    path = f"/integrations/{provider}/account"
    return ask(path, secret, "PUT", {"credential": credential}, **headers)


# ------------------------------------------------------------------ integrations


def test_every_provider_is_listed_with_who_pays_it(secret: str) -> None:
    listed = ask("/integrations", secret).data
    modes = {each["provider"]: each["mode"] for each in listed["integrations"]}
    assert (modes["hunter"], modes["openai"], modes["hubspot"]) == ("managed", "managed", "byok")
    assert [each["name"] for each in listed["integrations"]] == sorted(each["name"] for each in listed["integrations"])
    assert not any(each["connected"] for each in listed["integrations"])
    assert listed["next_cursor"] is None


def test_an_own_account_changes_who_pays_until_it_is_disconnected(secret: str) -> None:
    connected = connect(secret).data
    assert (connected["mode"], connected["default_mode"], connected["connected"]) == ("byok", "managed", True)
    assert ask("/integrations/hunter", secret).data == connected
    gone = ask("/integrations/hunter/account", secret, "DELETE").data
    assert (gone["mode"], gone["connected"], gone["connected_at"]) == ("managed", False, None)
    assert ask("/integrations/hunter/account", secret, "DELETE").data == gone


def test_a_credential_is_shown_to_nobody_again(secret: str, written: Any) -> None:
    answers = [connect(secret, idempotency_key="once"), connect(secret, idempotency_key="once")]
    answers += [connect(secret, credential="too short"), connect(secret, credential=CREDENTIAL + " \n" + CREDENTIAL)]
    assert [answer.status for answer in answers] == [200, 200, 422, 422]
    answers += [ask("/integrations", secret), ask("/integrations/hunter", secret)]
    assert all(CREDENTIAL not in answer.text for answer in answers)
    assert CREDENTIAL not in written.getvalue()
    assert CREDENTIAL.encode() not in bytes(Integration.objects.get(provider="hunter").credential or b"")


def test_what_is_no_credential_is_refused_at_its_field(secret: str) -> None:
    answer = connect(secret, credential="a b")
    assert (answer.status, answer.code) == (422, "invalid_credential")
    assert answer.body["errors"][0]["pointer"] == "#/credential"
    assert ask("/integrations/hunter/account", secret, "PUT", {"credential": 12}).code == "invalid"


def test_only_who_may_change_settings_connects(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.MEMBER)
    member = keys.make(acme, mallory, "A script", Scope.values)[1]
    assert connect(member).status == 403
    assert ask("/integrations/hunter/account", member, "DELETE").status == 403
    assert ask("/integrations/hunter", member).status == 200


def test_an_account_is_its_orgs_alone(secret: str, globex: Organization, mallory: User) -> None:
    connect(secret)
    other = keys.make(globex, mallory, "A script", ["read"])[1]
    assert ask("/integrations/hunter", other).data["connected"] is False
    assert ask(f"/tools/{HUNTER}", other).data["estimated_credits_per_call"] == 1


def test_who_is_left_alone_is_not_available_but_to_another_account(
    secret: str, acme: Organization, alice: User, settings: Any
) -> None:
    settings.BREAKER_FAILURES = 2
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    for call in dispatch.claim(run, ME, 2):
        limits.no_answer(run, call)
    shown = ask("/integrations/hunter", secret).data
    assert (shown["available"], shown["left_alone_until"] is None) == (False, False)
    listed = ask("/integrations", secret).data["integrations"]
    assert [each["provider"] for each in listed if not each["available"]] == ["hunter"]
    assert connect(secret).data["available"] is True


@pytest.mark.parametrize("path", ["/integrations/nobody", "/integrations/a.b", "/tools/hunter.mind_reader", "/tools/x"])
def test_what_is_not_there_is_not_found(secret: str, path: str) -> None:
    assert ask(path, secret).status == 404
    assert ask("/integrations/nobody/account", secret, "DELETE").status == 404


# ------------------------------------------------------------------ tools


def test_a_tool_has_its_price_and_none_where_none_is_known(secret: str) -> None:
    hunter, unknown = ask(f"/tools/{HUNTER}", secret).data, ask(f"/tools/{JOB_CHANGES}", secret).data
    assert (hunter["estimated_credits_per_call"], hunter["maximum_credits_per_call"]) == (1, 1)
    assert (hunter["provider"], hunter["provider_name"], hunter["category"]) == ("hunter", "Hunter", "enrichment")
    assert (unknown["estimated_credits_per_call"], unknown["maximum_credits_per_call"]) == (None, None)


def test_on_an_own_account_a_call_costs_no_credits(secret: str) -> None:
    connect(secret), connect(secret, "apollo")
    for tool in (HUNTER, JOB_CHANGES, "hubspot.contact_upsert"):
        shown = ask(f"/tools/{tool}", secret).data
        assert (shown["mode"], shown["estimated_credits_per_call"], shown["maximum_credits_per_call"]) == ("byok", 0, 0)


def test_success_is_what_the_org_saw_once_it_saw_enough(secret: str, acme: Organization, alice: User) -> None:
    stated = ask(f"/tools/{HUNTER}", secret).data
    assert (stated["success_rate_observed"], stated["calls_observed"]) == (None, 0)
    run = start(acme, alice, HUNTER, rows=60, cap=60)
    found, none = (Outcome(name, Decimal(1), "Why.", {"a": 1}) for name in ("succeeded", "no_result"))
    refused = Outcome("failed_before_billing", Decimal(0), "Why.")
    settle(run, dispatch.claim(run, ME, 33), [found] * 11 + [none] * 12 + [refused] * 10)
    few = ask(f"/tools/{HUNTER}", secret).data
    assert (few["success_rate"], few["calls_observed"]) == (stated["success_rate"], 23)
    assert few["success_rate_observed"] == Decimal("0.4783")
    settle(run, dispatch.claim(run, ME, 27), [found] * 27)
    assert ask(f"/tools/{HUNTER}", secret).data["success_rate"] == Decimal("0.76")


@pytest.mark.usefixtures("fresh_database")
def test_a_tool_says_how_well_its_estimates_foretold(
    secret: str, acme: Organization, alice: User, providers: Providers
) -> None:
    assert ask(f"/tools/{HUNTER}", secret).data["calibration"] is None
    worker.drive_to_rest(start(acme, alice, HUNTER, rows=4, cap=4))
    known = ask(f"/tools/{HUNTER}", secret).data["calibration"]
    assert known == {"runs": 1, "estimated": 4, "captured": 4, "ratio": 1}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("mail", ["hunter.email_finder", "icypeas.email_finder", "prospeo.email_finder"]),
        ("HUNTER work", ["hunter.email_finder"]),
        ("crm", ["hubspot.contact_upsert"]),
        ("write gpt", ["openai.ai_column"]),
        ("hunter gpt", []),
        ("100%", []),
    ],
)
def test_a_search_finds_what_has_every_word(secret: str, query: str, found: list[str]) -> None:
    listed = Client().get("/api/v1/tools", {"query": query}, headers={"Authorization": f"Bearer {secret}"}).json()
    assert [tool["id"] for tool in listed["data"]["tools"]] == found


def test_tools_come_in_pages_and_of_one_provider(secret: str) -> None:
    every = [tool["id"] for tool in ask("/tools", secret).data["tools"]]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = ask(f"/tools?limit=3{cursor and f'&cursor={cursor}'}", secret).data
        seen, cursor = seen + [tool["id"] for tool in page["tools"]], page["next_cursor"]
    assert seen == every == sorted(every)
    assert [tool["id"] for tool in ask("/tools?provider=hunter", secret).data["tools"]] == [HUNTER]
    assert ask("/tools?provider=nobody", secret).data["tools"] == []
    assert ask("/tools?cursor=garbage", secret).code == "invalid_cursor"


def test_reading_the_catalog_costs_the_same_however_much_of_it_there_is(
    secret: str, django_assert_max_num_queries: Any
) -> None:
    connect(secret, idempotency_key=uuid4().hex)
    for path, queries in (("/integrations", 3), ("/tools", 5), ("/tools?limit=1", 5)):
        with django_assert_max_num_queries(5 + queries):  # the gate's and the operation's
            ask(path, secret)
