"""Each command asks the operation it stands for, with what it was given, and ends with its exit code."""

import json
from typing import Any

import pytest

from tests.oxygen_cli.conftest import Oxygen, Server, a_run, data, no

PREFLIGHT = {"rows": 1, "credits": {"estimated_max": 1.5}, "tools": [], "blockers": []}
TARGET = {"table": "t1", "column": "email"}
LIVE = {"mode": "live", "max_credits": 50, "approved": False}
INPUT = '{"table_id": "t1", "limit": 2.50}'
GIVEN = {"table_id": "t1", "limit": 2.5}


def one(**what: Any) -> dict[str, Any]:
    return {"id": "x1", "key": "email", "name": "X", "sentence": "It can run."} | what


# The command, the operation it asks, its query and its body.
READS: list[tuple[str, str, dict[str, str]]] = [
    ("billing balance --at 2026-11-01", "/balance/at", {"instant": "2026-11-01T00:00:00Z"}),
    ("billing usage --provider hunter --mode byok", "/usage", {"limit": "50", "provider": "hunter", "mode": "byok"}),
    ("billing usage --start 2026-11-01 --limit 2", "/usage", {"limit": "2", "start": "2026-11-01T00:00:00Z"}),
    ("billing usage --by tool --first 2026-11-01", "/usage/aggregates", {"by": "tool", "first": "2026-11-01"}),
    ("billing ledger --kind granted", "/ledger", {"limit": "50", "kind": "granted"}),
    ("billing grants --open", "/grants", {"limit": "50", "open": "true"}),
    ("billing plans", "/plans", {}),
    ("billing subscription", "/subscription", {}),
    ("integrations list", "/integrations", {}),
    ("tools search mail", "/tools", {"limit": "50", "query": "mail"}),
    ("tools get hunter.email_finder", "/tools/hunter.email_finder", {}),
    ("tables list", "/tables", {"limit": "50"}),
    ("tables describe t1", "/tables/t1", {}),
    ("tables query t1 --limit 5 --cursor c", "/tables/t1/rows", {"limit": "5", "cursor": "c"}),
    ("enrich-column list", "/capabilities", {}),
    ("workflows templates list", "/templates", {}),
    ("workflows templates get w1", "/templates/w1", {}),
    ("runs list --status paused --table t1", "/runs", {"limit": "50", "status": "paused", "table": "t1"}),
    ("runs get r/../1", "/runs/r%2F..%2F1", {}),
    ("runs items r1 --status failed", "/runs/r1/items", {"limit": "50", "status": "failed"}),
    ("runs items r1 --calls absorbed", "/runs/r1/items", {"limit": "50", "calls": "absorbed"}),
    ("explain", "/explain", {}),
    ("rows history t1 w1", "/tables/t1/rows/w1/history", {"limit": "50"}),
    ("cells inspect t1 w1 email", "/tables/t1/rows/w1/cells/email", {}),
    ("explain --run r1", "/explain", {"run": "r1"}),
    ("explain --table t1 --column email --max-credits 2.5", "/explain", TARGET | {"max_credits": "2.5"}),
]  # fmt: skip

CAPPED = "--max-credits 50"
COLUMN, CAPABILITY = {"table": "t1", "column": "email"}, {"table": "t1", "capability": "work_email"}
CASCADE = {"key": "email", "tools": ["a.b", "c.d"]}
TEMPLATE = {"input": GIVEN} | LIVE | {"approved": True}
WRITES: list[tuple[str, str, Any]] = [
    ("tables rename t1 New", "PATCH /tables/t1", {"name": "New"}),
    ("columns add t1 email --tool a.b --tool c.d", "POST /tables/t1/columns", CASCADE),
    (f"columns run t1 email {CAPPED} --background", "POST /runs", COLUMN | LIVE),
    ("columns run t1 email --mode live --background", "POST /runs", COLUMN | {"mode": "live", "approved": False}),
    ("columns run t1 email --mode dry_run", "POST /runs", COLUMN | {"mode": "dry_run", "approved": False}),
    (f"table-runs create t1 --column email {CAPPED}", "POST /runs", COLUMN | LIVE),
    (f"enrich-column run t1 --capability work_email {CAPPED} --background", "POST /runs", CAPABILITY | LIVE),
    ("table-runs pause r1", "POST /runs/r1/pause", {}),
    ("table-runs resume r1", "POST /runs/r1/resume", {}),
    ("table-runs cancel r1", "POST /runs/r1/cancel", {}),
    ("table-runs continue r1 --max-credits 30", "POST /runs/r1/continue", {"max_credits": 30}),
    ("runs approve r1 --plan p", "POST /runs/r1/approve", {"plan": "p"}),
    (f"workflows templates run w1 {CAPPED} --approved --background --input-json", "POST /templates/w1/run", TEMPLATE),
    ("tools test a.b --background --input-json", "POST /tools/a.b/test", {"input": GIVEN, "mode": "smoke_test"}),
]


@pytest.mark.parametrize(("command", "path", "query"), READS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_read_asks_its_operation(
    oxygen: Oxygen, server: Server, command: str, path: str, query: dict[str, str]
) -> None:
    plural = {"usage": "entries", "ledger": "entries", "history": "events"}.get(
        path.split("/")[-1], path.split("/")[-1]
    )
    lists: dict[str, Any] = {plural: []} if plural.isalpha() else {}
    run = a_run() if "/runs/" in path else {}
    shape = run | one(groups=[], by="tool", available=1, reserved=0, captured=0) | lists
    server.says(f"GET {path}", data(shape))
    for more in ([], ["--json"]):
        done = oxygen(*command.split(), *more)
        assert (done.returncode, done.stderr if more else "") == (0, "")
        assert server.asked[-1].query == query
        assert "idempotency-key" not in server.asked[-1].headers


@pytest.mark.parametrize(("command", "operation", "body"), WRITES, ids=lambda value: value if " " in value else "")
def test_a_write_asks_its_operation(oxygen: Oxygen, server: Server, command: str, operation: str, body: Any) -> None:
    given = [*command.split(), *([INPUT] if command.endswith("--input-json") else [])]
    about_runs = "/runs" in operation or operation.endswith(("/run", "/test"))
    server.says(operation, data(PREFLIGHT if "dry_run" in command else a_run() if about_runs else one()))
    for more in ([], ["--json"]):
        done = oxygen(*given, *more)
        assert (done.returncode, done.stderr if more else "") == (0, "")
        assert server.asked[-1].json == body
        assert server.asked[-1].headers["idempotency-key"]


def test_neither_mode_nor_cap_is_an_estimate(oxygen: Oxygen, server: Server) -> None:
    server.says("POST /runs/estimate", data(PREFLIGHT))
    assert oxygen.json("columns", "run", "t1", "email", "--limit", "1")["credits"]["estimated_max"] == 1.5
    assert server.asked[0].json == TARGET | {"limit": 1}
    assert "idempotency-key" not in server.asked[0].headers
    assert "Nothing was called" in oxygen("columns", "run", "t1", "email").stderr


def test_preflight_asks_and_starts_nothing(oxygen: Oxygen, server: Server) -> None:
    server.says("POST /templates/w1/preflight", data(PREFLIGHT))
    command = ["workflows", "templates", "preflight", "w1", "--mode", "dry_run", "--input-json"]
    assert oxygen.json(*command, INPUT)["data"]["credits"]["estimated_max"] == 1.5
    assert server.asked[0].json == {"input": GIVEN, "mode": "dry_run"}
    (oxygen.home / "input.json").write_text(INPUT)
    assert oxygen(*command, "@input.json").returncode == 0
    assert oxygen(*command, "-", input=INPUT).returncode == 0
    assert [asked.json["input"] for asked in server.asked] == [GIVEN] * 3


def test_a_csv_file_is_sent_as_it_is(oxygen: Oxygen, server: Server) -> None:
    server.says("POST /tables", data(one(row_count=1), 201))
    content = "name\r\nÅsa\r\n".encode()
    (oxygen.home / "Leads of May.csv").write_bytes(content)
    assert oxygen.json("tables", "import", "Leads of May.csv")["row_count"] == 1
    assert oxygen("tables", "import", "-", "--name", "Typed", input="name\nÅsa\n").returncode == 0
    first, second = server.asked
    assert (first.headers["content-type"], first.body) == ("text/csv", content)
    assert (first.query, second.query) == ({"name": "Leads of May"}, {"name": "Typed"})
    assert oxygen("tables", "import", "-", input="name\n").returncode == 2


def test_a_json_file_is_sent_as_rows(oxygen: Oxygen, server: Server) -> None:
    server.says("POST /tables", data(one(row_count=1), 201))
    (oxygen.home / "people.json").write_text('[{"name": "Åsa"}]')
    assert oxygen("tables", "import", "people.json").returncode == 0
    assert server.asked[0].json == {"name": "people", "rows": [{"name": "Åsa"}]}


def test_an_export_is_written_as_it_comes_and_a_refusal_leaves_the_file_alone(oxygen: Oxygen, server: Server) -> None:
    content = "name,email\r\nÅsa,asa@example.com\r\n"
    server.says("GET /tables/t1/export", data("")._replace(body=content.encode()))
    assert oxygen("tables", "export", "t1").stdout == content.replace("\r\n", "\n")
    assert oxygen("tables", "export", "t1", "--output", "out.csv").returncode == 0
    assert oxygen("tables", "export", "gone", "--output", "out.csv").returncode == 4
    assert (oxygen.home / "out.csv").read_bytes() == content.encode()


def test_an_own_account_is_connected_by_a_key_from_standard_input(oxygen: Oxygen, server: Server) -> None:
    server.says("PUT /integrations/hubspot/account", data({"provider": "hubspot", "mode": "byok", "connected": True}))
    server.says("DELETE /integrations/hubspot/account", data({"provider": "hubspot", "mode": None, "connected": False}))
    assert oxygen("integrations", "connect", "hubspot", input="secret\n").returncode == 0
    assert server.asked[0].json == {"credential": "secret"}
    assert oxygen.json("integrations", "disconnect", "hubspot")["connected"] is False


# ------------------------------------------------------------------ envelopes and exit codes


def test_an_object_stands_under_data_and_at_the_top(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /tables/t1", data(one(row_count=3)))
    assert oxygen.json("tables", "describe", "t1") == one(row_count=3, data=one(row_count=3))


def test_a_list_stands_under_data_with_its_cursor(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /tools", data({"tools": [one()]}))
    assert oxygen.json("tools", "search", "mail") == {"data": {"tools": [one()], "next_cursor": None}}


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "bad_request", 1),
        (401, "revoked_key", 3),
        (402, "insufficient_credits", 5),
        (403, "not_allowed", 4),
        (404, "not_found", 4),
        (405, "method_not_allowed", 1),
        (409, "cap_reached", 5),
        (422, "cap_required", 5),
        (422, "cap_too_small", 5),
        (422, "invalid", 1),
        (422, "invalid_cap", 1),
        (500, "server_error", 6),
    ],
)
def test_each_refusal_has_its_exit_code_and_is_told_on_standard_error(
    oxygen: Oxygen, server: Server, status: int, code: str, exit_code: int
) -> None:
    server.says("POST /runs/r1/resume", no(status, code, "That cannot be."))
    told, programmed = oxygen("table-runs", "resume", "r1"), oxygen("table-runs", "resume", "r1", "--json")
    assert (told.returncode, told.stdout) == (exit_code, "")
    assert told.stderr.startswith("That cannot be.\n")
    assert (programmed.returncode, programmed.stdout) == (exit_code, "")
    problem = json.loads(programmed.stderr)
    assert (problem["code"], problem["status"], problem["detail"]) == (code, status, "That cannot be.")


def test_a_wrong_field_is_named(oxygen: Oxygen, server: Server) -> None:
    errors = [{"pointer": "#/max_credits", "detail": "At most 8 digits before the point."}]
    server.says("POST /runs/r1/continue", no(422, "invalid", "The body is not what this takes.", errors))
    done = oxygen("table-runs", "continue", "r1", "--max-credits", "999999999")
    assert "max_credits: At most 8 digits before the point." in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["no-such-command"],
        ["billing", "usage", "--limit", "0"],
        ["billing", "usage", "--by", "tool", "--run", "r1"],
        ["billing", "usage", "--first", "2026-11-01"],
        ["columns", "run", "t1"],
        ["columns", "run", "t1", "email", "--max-credits", "-1"],
        ["columns", "run", "t1", "email", "--max-credits", "0.00001"],
        ["columns", "run", "t1", "email", "--max-credits", "NaN"],
        ["columns", "run", "t1", "email", "--mode", "wild"],
        ["table-runs", "create", "t1"],
        ["explain", "--table", "t1"],
        ["tools", "test", "a.b", "--input-json", "{"],
        ["tools", "test", "a.b", "--input-json", "[1]"],
        ["tools", "test", "a.b", "--input-json", "@no-such-file"],
        ["tables", "import", "no-such-file.csv"],
    ],
)
def test_wrong_usage_ends_with_2_and_asks_nothing(oxygen: Oxygen, server: Server, command: list[str]) -> None:
    told, programmed = oxygen(*command), oxygen(*command, "--json")
    assert (told.returncode, told.stdout, programmed.returncode, programmed.stdout) == (2, "", 2, "")
    assert json.loads(programmed.stderr)["code"] == "usage"
    assert "Traceback" not in told.stderr
    assert server.asked == []
