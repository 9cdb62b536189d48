"""Each line that the documents show, verbatim but for ids, capitals and {…}, in a shell with jq, against the real site.

Values are compared, not shapes. `LINES` holds them as they are documented; `fill` puts in what stands for something.
"""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from billing import books
from billing.models import Organization
from runs.models import Tool
from tests.conftest import give
from tests.runs.conftest import Providers
from tests.stories.conftest import Shell

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER = "hunter.email_finder"
GROUPED = "jq '.data.entries | group_by(.provider) | map({provider: .[0].provider, total: (map(.credits) | add)})'"
LINES = {
    "balance": "oxygen billing balance --json",
    "usage": "oxygen billing usage --limit 50 --json",
    "usage by provider": f"oxygen billing usage --limit 200 --json | {GROUPED}",
    "integrations": "oxygen integrations list --json",
    "search": "oxygen tools search QUERY --json",
    "tool's price": "oxygen tools get <tool-id> --json | jq '.estimated_credits_per_call'",
    "rows of a table": "oxygen tables describe <table-id> --json | jq '.row_count'",
    "estimate": "oxygen columns run <table-id> <column-key> --limit 1 --json",
    "background": "oxygen columns run <table-id> <column-key> --background --limit 50 --max-credits 50 --json",
    "create": "oxygen table-runs create <table-id> --column <column-key> --limit 100 --max-credits 100 --json",
    "enrich": "oxygen enrich-column run <table-id> --capability work_email --limit 100 --max-credits 100 --json",
    "preflight": "oxygen workflows templates preflight <template-id> --input-json '{...}' --mode dry_run --json",
    "template": "oxygen workflows templates run <template-id> --input-json '{...}' --mode live --max-credits 100"
    " --approved --json",
    "run": "oxygen runs get <run-id> --json",
    "runs": "oxygen runs list --json",
    "resume": "oxygen table-runs resume <run-id> --json",
    "cancel": "oxygen table-runs cancel <run-id> --json",
    "continue": "oxygen table-runs continue <run-id> --max-credits N --json",
    "approve": "oxygen runs approve <run-id> --json",
    "pause": "oxygen table-runs pause <run-id> --json",
    "test": "oxygen tools test <tool-id> --input-json '{...}' --mode smoke_test --json",
    "import": "oxygen tables import FILE.csv --json",
    "query": "oxygen tables query <table-id> --limit 50 --json",
    "rename": "oxygen tables rename <table-id> NAME --json",
    "add": "oxygen columns add <table-id> KEY --tool <tool-id> --json",
    "history": "oxygen rows history <table-id> <row-id> --json",
    "inspect": "oxygen cells inspect <table-id> <row-id> <column-key> --json",
}


def fill(name: str, **values: str) -> str:
    """Write a documented line with its ids, capitals and {…} filled in."""
    line = LINES[name]
    for what, value in values.items():
        word = {"input": "{...}", "column": "<column-key>"}.get(what) or (
            what if what.isupper() else f"<{what.replace('_', '-')}-id>"
        )
        assert word in line, (line, word)
        line = line.replace(word, value)
    assert not re.search(r"<[a-z-]+>|\.\.\.|\b(QUERY|FILE|NAME|KEY|N)\b", line), line
    return line


def test_every_documented_line_is_run_here() -> None:
    calls = re.findall(r"""fill\(\s*(["'])(.+?)\1""", Path(__file__).read_text("utf-8"))
    assert {name for _, name in calls} == LINES.keys()


def people(shell: Shell, rows: int, column: str = "email", name: str = "People") -> str:
    """Import a table of invented people and add a column that Hunter fills; answer the table's id."""
    lines = [f"Given{n},Family{n},company{n}.example" for n in range(rows)]
    (shell.home / f"{name}.csv").write_text("\n".join(["first_name,last_name,domain", *lines]))
    table = shell(fill("import", FILE=name))
    assert table.data["row_count"] == table.json["row_count"] == rows
    assert table.data["name"] == name
    added = shell(fill("add", table=table.data["id"], KEY=column, tool=HUNTER)).data
    assert added == {"key": column, "name": column, "tools": [HUNTER], "filled": 0}
    return str(table.data["id"])


def balance(shell: Shell) -> tuple[Decimal, Decimal]:
    read = shell(fill("balance"))
    assert read.json == read.data | {"data": read.data}
    return read.data["available"], read.data["reserved"]


# ------------------------------------------------------------------ the run under a cap


@pytest.mark.usefixtures("worker")
def test_a_run_pauses_at_its_cap_is_continued_paused_and_cancelled(
    shell: Shell, acme: Organization, providers: Providers
) -> None:
    table = people(shell, 500)
    assert balance(shell) == (100, 0)

    started = shell(f"oxygen table-runs create {table} --column email --max-credits 50 --json").data
    assert (started["items"]["total"], started["reserved"]) == (500, 50)
    run = started["id"]
    paused = shell.until(fill("run", run=run), lambda read: read["status"] == "paused")
    facts = '.data.status == "paused", .data.pause_reason == "cap_reached"'
    assert shell(f"{fill('run', run=run)} | jq '{facts}'").out.split() == ["true", "true"]
    assert (paused["captured"], paused["reserved"], paused["items"]["succeeded"]) == (50, 0, 50)
    assert paused["items"]["pending"] == 450
    assert balance(shell) == (50, 0)

    refused = shell.run(fill("resume", run=run))
    assert (refused.code, refused.refusal) == (5, "cap_reached")

    providers.script(hold=True)  # twenty calls go out, and are not answered yet
    new = shell(fill("continue", run=run, N="30")).data
    assert (new["continues"], new["items"]["total"], new["max_credits"]) == (run, 450, 30)
    old = shell(fill("run", run=run)).data
    assert (old["status"], old["captured"], old["continued_by"]) == ("cancelled", 50, new["id"])
    shell.until(fill("run", run=new["id"]), lambda read: read["items"]["running"] == 20)
    assert shell(fill("pause", run=new["id"])).data["pause_reason"] == "by_user"
    providers.script(hold=False)
    paused = shell.until(fill("run", run=new["id"]), lambda read: read["items"]["running"] == 0)
    assert (paused["status"], paused["captured"], paused["reserved"]) == ("paused", 20, 10)
    assert balance(shell) == (20, 10)

    cancelled = shell(fill("cancel", run=new["id"])).data
    assert (cancelled["status"], cancelled["captured"], cancelled["released"]) == ("cancelled", 20, 10)
    assert balance(shell) == (30, 0)
    assert books.drifts(acme.pk) == []

    listed = shell(fill("runs"))
    assert [each["id"] for each in listed.data["runs"]] == [new["id"], run]
    assert listed.data["next_cursor"] is None


@pytest.mark.usefixtures("worker")
def test_what_is_spent_adds_up_by_provider(shell: Shell, acme: Organization) -> None:
    table = people(shell, 60)
    price = shell(fill("tool's price", tool=HUNTER)).out
    assert Decimal(price) == Tool.objects.get(pk=HUNTER).price
    run = shell(fill("background", table=table, column="email")).data
    assert (run["items"]["total"], run["max_credits"], run["reserved"]) == (50, 50, 50)
    shell.until(fill("run", run=run["id"]), lambda read: read["status"] == "succeeded")
    shell(f"oxygen columns add {table} summary --tool openai.ai_column --json")
    shell(f"oxygen columns run {table} summary --limit 5 --max-credits 20 --json")

    entries = shell(fill("usage")).data["entries"]
    assert len(entries) == 50
    newest = entries[0]
    assert (newest["tool"], newest["mode"], newest["outcome"]) == ("openai.ai_column", "managed", "succeeded")
    summed = {each["provider"]: round(Decimal(str(each["total"])), 4) for each in shell(fill("usage by provider")).json}
    (tie_out,) = [books.tie_out(acme.pk)]
    assert summed["hunter"] == 50
    assert sum(summed.values()) == tie_out.captured
    assert shell("oxygen billing usage --by provider --json | jq '.total.credits'").out.strip() == str(
        (tie_out.captured).normalize()
    )


# ------------------------------------------------------------------ other ways to fill a column


@pytest.mark.usefixtures("worker")
def test_an_estimate_calls_nothing_and_a_capability_fills_its_own_column(shell: Shell, providers: Providers) -> None:
    table = people(shell, 12)
    estimate = shell(fill("estimate", table=table, column="email"))
    assert (estimate.data["rows"], estimate.data["credits"]["estimated_max"]) == (1, 1)
    assert balance(shell) == (100, 0)
    assert shell(fill("runs")).data["runs"] == []

    run = shell(fill("enrich", table=table)).data
    assert (run["status"], run["column"], run["items"]["succeeded"]) == ("succeeded", "work_email", 12)
    assert balance(shell) == (100 - run["captured"], 0)

    rows = shell(fill("query", table=table)).data["rows"]
    assert len(rows) == 12
    first = rows[0]
    assert (first["number"], first["data"]["first_name"]) == (1, "Given0")
    found = first["results"]["work_email"]
    cell = shell(fill("inspect", table=table, row=first["id"], column="work_email")).data
    assert (cell["value"], cell["run"], cell["credits"]) == (found["value"], run["id"], found["credits"])
    assert sum(each["credits"] for each in cell["attempts"]) == found["credits"]
    (event,) = shell(fill("history", table=table, row=first["id"])).data["events"]
    assert (event["run"], event["column"], event["credits"]) == (run["id"], "work_email", found["credits"])


@pytest.mark.usefixtures("worker")
def test_a_template_is_foreseen_approved_and_run(shell: Shell) -> None:
    table = people(shell, 4)
    template = shell("oxygen workflows templates list --json").data["templates"][0]["id"]
    asked = f'{{"table_id": "{table}", "limit": 3}}'
    foreseen = shell(f"{fill('preflight', template=template, input=asked)} | jq '.data.credits.estimated_max'")
    assert balance(shell) == (100, 0)
    run = shell(fill("template", template=template, input=asked)).data
    assert (run["status"], run["items"]["total"]) == ("succeeded", 3)
    assert run["estimated_max"] == Decimal(foreseen.out)
    assert run["approval"]["approved_by"]["name"] == "Alice"

    rest = f'{{"table_id": "{table}"}}'
    waits = shell.run(f"oxygen workflows templates run {template} --input-json '{rest}' --max-credits 100 --json")
    assert (waits.code, waits.data["status"], waits.data["reserved"]) == (5, "awaiting_approval", 0)
    shell(fill("approve", run=waits.data["id"]))
    done = shell.until(fill("run", run=waits.data["id"]), lambda read: read["status"] == "succeeded")
    assert done["items"]["total"] == 1


@pytest.mark.usefixtures("worker")
def test_a_run_is_left_to_itself_paused_and_resumed(shell: Shell, acme: Organization, providers: Providers) -> None:
    give(acme, 100)
    table = people(shell, 120)
    providers.script(hold=True)
    run = shell(fill("create", table=table, column="email")).data
    assert (run["items"]["total"], run["max_credits"], run["reserved"]) == (100, 100, 100)
    shell.until(fill("run", run=run["id"]), lambda read: read["items"]["running"] == 20)
    assert shell(fill("pause", run=run["id"])).data["status"] == "paused"
    providers.script(hold=False)
    shell.until(fill("run", run=run["id"]), lambda read: read["items"]["running"] == 0)
    assert shell(fill("resume", run=run["id"])).data["status"] in ("queued", "running")
    done = shell.until(fill("run", run=run["id"]), lambda read: read["status"] == "succeeded")
    assert (done["captured"], done["items"]["succeeded"]) == (100, 100)
    assert shell.run(f"oxygen table-runs create {table} --column email --json").refusal == "cap_required"


@pytest.mark.usefixtures("worker")
def test_a_tool_is_found_and_tried_for_nothing(shell: Shell) -> None:
    tools = shell(fill("search", QUERY="hunter")).data["tools"]
    assert HUNTER in [each["id"] for each in tools]
    asked = '{"first_name": "Ada", "last_name": "Lovelace", "domain": "example.com"}'
    run = shell(fill("test", tool=HUNTER, input=asked)).data
    assert (run["status"], run["mode"], run["captured"], run["reserved"]) == ("succeeded", "smoke_test", 0, 0)
    assert balance(shell) == (100, 0)


def test_tables_and_integrations_are_read_and_renamed(shell: Shell) -> None:
    table = people(shell, 7)
    assert shell(fill("rows of a table", table=table)).out == "7\n"
    assert shell(fill("rename", table=table, NAME="'Leads of November'")).json["name"] == "Leads of November"
    modes = {each["provider"]: each["mode"] for each in shell(fill("integrations")).data["integrations"]}
    assert (modes["hunter"], modes["openai"], modes["hubspot"]) == ("managed", "managed", "byok")
