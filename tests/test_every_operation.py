"""Every API operation × scope × role × one's own and another's organization, against PRODUCT.md §6.

An operation that is not declared here fails the walk, so that none goes out ungated. Each is called about things that
are there, mostly without what it would need besides: whoever may gets past the gate, to an answer or to what is wrong
with the call. `make test` goes through each scope alone and all of them, alone for an owner, a member and an agency;
the soak through all pairs, for everybody.
"""

import re
from collections.abc import Iterator
from io import StringIO
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command

from billing import keys, orgs
from billing.models import Agency, Organization, Role, Scope, User
from oxygen_site.api import ApiKey, api
from runs import lifecycle
from runs.models import WorkflowTemplate
from tests.conftest import give, person
from tests.contract import Answer, ask, served
from tests.effort import SOAK
from tests.runs.conftest import column_of, table_of
from tests.test_every_url import MAY

HUNTER = "hunter.email_finder"
CONVERTER = re.compile(r"\{\w+:")
API_PAGE = Path(__file__).resolve().parent.parent / "docs/api.md"
# Each with the right it takes; `steer`: one's own run with steer_own, any with steer_runs.
OPERATIONS = {
    ("GET", "/balance"): "read",
    ("GET", "/balance/at"): "read",
    ("GET", "/grants"): "read",
    ("GET", "/usage"): "read",
    ("GET", "/usage/aggregates"): "read",
    ("GET", "/ledger"): "read",
    ("GET", "/plans"): "read",
    ("GET", "/subscription"): "read",
    # runs
    ("POST", "/runs/estimate"): "read",
    ("POST", "/runs"): "start_runs",
    ("GET", "/runs"): "read",
    ("GET", "/runs/{run_id}"): "read",
    ("GET", "/runs/{run_id}/items"): "read",
    ("POST", "/runs/{run_id}/approve"): "approve",
    ("POST", "/runs/{run_id}/pause"): "steer",
    ("POST", "/runs/{run_id}/resume"): "steer",
    ("POST", "/runs/{run_id}/cancel"): "steer",
    ("POST", "/runs/{run_id}/continue"): "steer",
    ("GET", "/explain"): "read",
    # templates
    ("GET", "/capabilities"): "read",
    ("GET", "/templates"): "read",
    ("GET", "/templates/{template_id}"): "read",
    ("POST", "/templates/{template_id}/preflight"): "start_runs",
    ("POST", "/templates/{template_id}/run"): "start_runs",
    # tools
    ("POST", "/tools/{tool_id}/test"): "start_runs",
    ("GET", "/tools"): "read",
    ("GET", "/tools/{tool_id}"): "read",
    # integrations
    ("GET", "/integrations"): "read",
    ("GET", "/integrations/{provider}"): "read",
    ("PUT", "/integrations/{provider}/account"): "settings",
    ("DELETE", "/integrations/{provider}/account"): "settings",
    # tables
    ("GET", "/tables"): "read",
    ("POST", "/tables"): "start_runs",
    ("GET", "/tables/{table_id}"): "read",
    ("PATCH", "/tables/{table_id}"): "start_runs",
    ("POST", "/tables/{table_id}/columns"): "start_runs",
    ("GET", "/tables/{table_id}/rows"): "read",
    ("GET", "/tables/{table_id}/export"): "read",
    ("GET", "/tables/{table_id}/rows/{row_id}/history"): "read",
    ("GET", "/tables/{table_id}/rows/{row_id}/cells/{key}"): "read",
    # execution planes
    ("POST", "/reservations"): "start_runs",
    ("GET", "/reservations/{reservation_id}"): "read",
    ("POST", "/reservations/{reservation_id}/holds"): "start_runs",
    ("POST", "/reservations/{reservation_id}/renew"): "start_runs",
    ("POST", "/reservations/{reservation_id}/settle"): "start_runs",
    ("POST", "/reservations/{reservation_id}/close"): "start_runs",
}
# What those are sent that look at who steers only once the body is read.
BODIES: dict[str, dict[str, object]] = {"/runs/{run_id}/continue": {"max_credits": 5}}
# What the page names field by field.
SHOWN = (
    *("Balance", "BalanceAt", "Grant", "UsageEntry", "UsageAggregates", "UsageGroup", "LedgerEntry"),
    *("PlanOnSale", "TopUpOnSale", "Subscription"),
)
OPENS = {
    "read": {"read"},
    "run": {"read", "start_runs", "steer_own"},
    "steer": {"read", "steer_own", "steer_runs"},
    "approve": {"read", "approve"},
    "admin": {"read", "settings", "plan"},
}
ROLES = [role for role in MAY if role not in ("anonymous", "stranger", "other agency")]
BEYOND = ["stranger", "other agency", "nobody's member"]
SCOPES = [pick for n in ((1, 2, 5) if SOAK else (1, 5)) for pick in combinations(Scope.values, n)]


class World(NamedTuple):
    org: Organization
    people: dict[str, User]
    things: dict[str, object]  # what the parts of addresses stand for

    def at(self, path: str) -> str:
        return path.format(**self.things)


@pytest.fixture
def world(harbor: Agency, harriet: User, globex: Organization, mallory: User, settings: Any) -> World:
    """Bluefin, a client of Harbor's, with a person in every role, a run of its member's, and who does not belong."""
    settings.API_CALLS_PER_MINUTE = 10**6
    call_command("sync_catalog", stdout=StringIO())
    org = harbor.clients.get()
    people = {"stranger": mallory, "agency": harriet, "other agency": person("Otto"), "nobody's member": person("Olga")}
    Agency.objects.create(name="Elsewhere").staff.add(people["other agency"])
    for name, role in [(role.value, role) for role in Role] + [("other member", Role.MEMBER)]:
        people[name] = person(name.replace(" ", "."))
        orgs.add_member(org, people[name], role)
    give(org, 100)
    column = column_of(table_of(org, rows=40), HUNTER)
    run = lifecycle.create(column.table, column, cap="3", limit=3, by=people["member"])
    outside = lifecycle.create_outside(org, [HUNTER], items=3, cap="3", by=people["member"])
    row = column.table.rows.first()
    assert row is not None
    things = {
        "run_id": run.pk,
        "table_id": column.table_id,
        "row_id": row.pk,
        "key": column.key,
        "tool_id": HUNTER,
        "provider": "hunter",
        "template_id": WorkflowTemplate.objects.values_list("pk", flat=True)[0],
        "reservation_id": outside.pk,
    }
    return World(org, people, things)


def mounted() -> Iterator[tuple[str, str, list[object]]]:
    """Read (method, path, gates) of every operation that the API answers to."""
    for router in api._get_bound_routers():
        for path, view in router.path_operations.items():
            for operation in view.operations:
                for method in operation.methods:
                    yield (
                        method,
                        CONVERTER.sub("{", "/" + "/".join(filter(None, (router.prefix.strip("/"), path.strip("/"))))),
                        list(operation.auth_callbacks),
                    )


def may(role: str, scopes: tuple[str, ...], right: str) -> bool:
    if right == "steer":
        own = role == "member" and may(role, scopes, "steer_own")
        return own or may(role, scopes, "steer_runs")
    return right in (MAY[role] or set()) and any(right in OPENS[scope] for scope in scopes)


def called(world: World, operation: tuple[str, str], secret: str, **headers: str) -> Answer:
    method, path = operation
    return ask(world.at(path), secret, method, BODIES.get(path), **headers)


def test_every_operation_is_declared_with_the_right_it_takes() -> None:
    gates = {(method, path): auth for method, path, auth in mounted()}
    assert gates.keys() == OPERATIONS.keys()
    for operation, auth in gates.items():
        rights = [gate.right if isinstance(gate, ApiKey) else gate for gate in auth]
        assert rights == ["steer_own" if OPERATIONS[operation] == "steer" else OPERATIONS[operation]], operation


def test_every_operation_is_described() -> None:
    described = {(method.upper(), path) for path, methods in served()["paths"].items() for method in methods}
    assert described == {(method, f"/api/v1{path}") for method, path in OPERATIONS}


def test_the_page_about_the_api_names_every_operation_and_field() -> None:
    page, spec = API_PAGE.read_text("utf-8"), served()
    for method, path in OPERATIONS:
        assert f"`{method} /api/v1{path}`" in page
    for schema in SHOWN:
        shown = spec["components"]["schemas"][schema]["properties"].keys() - {"organization"}
        assert [field for field in shown if f"`{field}`" not in page] == []


def test_an_operation_opens_to_who_may_by_role_and_scope_and_to_nobody_else(world: World) -> None:
    for role, scopes in product(ROLES, SCOPES):
        if not SOAK and len(scopes) == 1 and role not in ("owner", "member"):
            continue
        _, secret = keys.make(world.org, world.people[role], "A key", scopes)
        for (method, path), right in OPERATIONS.items():
            answer = called(world, (method, path), secret)
            says = f"{method} {path} by {role} with {scopes}: {answer.status}"
            if may(role, scopes, right):
                assert answer.status in (200, 201, 400, 402, 404, 409, 422), says
                assert answer.status != 404 or "organization" not in answer.body["detail"], says
            else:
                assert (answer.status, answer.code) == (403, "not_allowed"), says
                assert re.search("an admin or (an )?owner|with the scope", answer.body["detail"]), says


def test_a_key_of_whoever_is_not_in_the_org_finds_nothing_there(world: World) -> None:
    for who in BEYOND:
        _, secret = keys.make(world.org, world.people[who], "A key", Scope.values)
        for method, path in OPERATIONS:
            assert called(world, (method, path), secret).status == 404, f"{method} {path} by {who}"


def test_no_key_reaches_another_org(world: World) -> None:
    globex = Organization.objects.get(slug="globex")
    for role, of in product(ROLES, (world.org, globex)):  # one's own, sent elsewhere; and one made in an org of others
        _, secret = keys.make(of, world.people[role], "A key", Scope.values)
        for method, path in OPERATIONS:
            answer = called(world, (method, path), secret, oxygen_organization="globex")
            assert answer.status == 404, f"{method} {path} by {role}"


def test_an_agencys_key_reaches_its_clients_as_far_as_staff_do(world: World, harbor: Agency) -> None:
    for scopes in SCOPES:
        _, secret = keys.make(harbor, world.people["agency"], "A key", scopes)
        for (method, path), right in OPERATIONS.items():
            status = called(world, (method, path), secret, oxygen_organization="bluefin").status
            assert (status == 403) == (not may("agency", scopes, right)), f"{method} {path} with {scopes}: {status}"
            if SOAK or len(scopes) == len(Scope):  # whose key may most
                assert called(world, (method, path), secret, oxygen_organization="globex").status == 404
                assert called(world, (method, path), secret).code == "organization_required"


def test_a_revoked_key_opens_no_operation(world: World) -> None:
    key, secret = keys.make(world.org, world.people["owner"], "A key", Scope.values)
    keys.revoke(key, by=world.people["owner"])
    for method, path in OPERATIONS:
        assert called(world, (method, path), secret).code == "revoked_key"


def test_who_presents_no_key_gets_in_nowhere(world: World) -> None:
    for method, path in OPERATIONS:
        assert called(world, (method, path), "").code == "not_signed_in"
