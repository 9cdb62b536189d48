"""ARCHITECTURE.md's table of who may do what, kept by reading the code.

Each rule reads one file and says what breaks it. Each is run over the whole house, and over a line that breaks it, so
that none of them can fall asleep. When a rule itches, change the rule, its test and the code in one commit.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("billing", "runs", "oxygen_site", "oxygen_cli", "sandbox")
LONGEST = 420  # lines; "past about 400 a file has a second subject"


class Source(NamedTuple):
    """One file of the house, by its path from the root."""

    path: str
    text: str

    @property
    def room(self) -> str:
        return self.path.partition("/")[0]

    @property
    def tree(self) -> ast.Module:
        return parsed(self.text)


@cache  # each rule reads the house anew
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


type Rule = Callable[[Source], Iterator[str]]

RULES: dict[Rule, tuple[str, str]] = {}  # each with a path and a text that break it


def rule(path: str, text: str) -> Callable[[Rule], Rule]:
    def declare(check: Rule) -> Rule:
        RULES[check] = (path, text)
        return check

    return declare


def house() -> Iterator[Source]:
    """Read every file the rules are about; migrations are what was, not what is."""
    for room in (*ROOMS, "templates"):
        for file in sorted((ROOT / room).rglob("*")):
            path = file.relative_to(ROOT).as_posix()
            if file.suffix in (".py", ".html") and "/migrations/" not in path:
                yield Source(path, file.read_text("utf-8"))


# ------------------------------------------------------------------ reading code


def imports(source: Source) -> Iterator[str]:
    """Name what a file imports, wherever it does: `from a import b` as a.b."""
    package = source.path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def chain(node: ast.AST) -> str:
    """Write names, attributes and calls as dotted words, without arguments: Grant.objects.filter.update."""
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return chain(inner)
        case ast.Attribute(value=inner, attr=attr):
            return f"{chain(inner)}.{attr}"
        case ast.Name(id=name):
            return name
    return ""


def calls(source: Source) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield chain(node.func), node


def in_rooms(source: Source, *rooms: str) -> bool:
    return source.path.endswith(".py") and source.room in rooms


# ------------------------------------------------------------------ who imports whom

# What only the named files may import.
ONLY = {
    "billing.ledger": (
        "runs/lifecycle.py",
        "runs/dispatch.py",
        "runs/standing.py",  # how a run as a whole begins, gives back and ends
        "runs/planes.py",  # dispatch for whoever works on items elsewhere
        "billing/payments/effects.py",
        "billing/jobs.py",
        "billing/orgs.py",  # opens accounts, changes zones
        "billing/admin.py",  # grants and adjusts with a reason
        "runs/management/commands/seed_demo.py",
        "runs/management/demo/story.py",
    ),
    "stripe": ("billing/payments/gateway.py",),
    "procrastinate": ("oxygen_site/jobs.py",),
    # production has no demo: only the addresses, put together, ask whether it is there
    "oxygen_site.demo": ("oxygen_site/demo/", "oxygen_site/urls.py", "oxygen_site/management/commands/up.py"),
    "httpx2": ("runs/providers/http.py", "oxygen_cli/"),
    "oxygen_site.sql": (
        "oxygen_site/transactions.py",
        "runs/dispatch.py",
        "runs/standing.py",
        "runs/planes.py",
        "runs/providers/limits.py",
        "billing/payments/inbox.py",  # numbers its looks
        "oxygen_site/api/rates.py",  # counts every call
    ),
}

# What a room, or a part of one, may import of the others.
FLOORS = {
    "billing": ("billing", "oxygen_site"),
    "runs": ("runs", "oxygen_site", "billing.models", "billing.ledger", "billing.access", "billing.balance"),
    "oxygen_site": ("oxygen_site",),
    "oxygen_cli": ("oxygen_cli",),
    "sandbox": ("sandbox",),
}
HALL = tuple(f"oxygen_site.{name}" for name in ("clock", "transactions", "jobs", "htmx", "sql", "api"))
PUTS_TOGETHER = ("oxygen_site/urls.py", "oxygen_site/api/", "oxygen_site/demo/")  # the hall's own work
LIVES_IN_BOTH = "runs/management/"  # the demo goes through every floor
MOVES_TIME = (LIVES_IN_BOTH, "oxygen_site/demo/")  # the story of its past, and the page of its present


@rule("billing/views/overview.py", "from billing import ledger")
def only_the_named_import_what_moves_credits_money_or_jobs(source: Source) -> Iterator[str]:
    if not in_rooms(source, *ROOMS) or source.room == "sandbox":
        return
    for name in imports(source):
        for module, allowed in ONLY.items():
            if within(name, module) and not source.path.startswith(allowed):
                yield f"imports {name}; only {', '.join(allowed)} may"


@rule("billing/usage.py", "def f():\n    from runs.models import Run")
def each_floor_imports_only_what_is_below_it(source: Source) -> Iterator[str]:
    if not in_rooms(source, *ROOMS) or source.path.startswith((*PUTS_TOGETHER, LIVES_IN_BOTH)):
        return
    for name in imports(source):
        if name.partition(".")[0] in ROOMS and not any(within(name, floor) for floor in FLOORS[source.room]):
            yield f"imports {name}"


@rule("runs/queries.py", "from oxygen_site import settings")
def the_floors_take_of_the_hall_only_what_it_offers(source: Source) -> Iterator[str]:
    if in_rooms(source, "billing", "runs"):
        for name in imports(source):
            if within(name, "oxygen_site") and not any(within(name, offered) for offered in HALL):
                yield f"imports {name}"


# What an operation is made of; how the API is put together is the hall's own matter.
OPERATIONS = re.compile(r"/api(/|\.py$)")
SHARED = {
    f"oxygen_site.api.{name}"
    for name in (
        *("may", "write", "written", "Data", "Shown", "Credits", "Instant"),
        *("Taken", "WHOLE", "CreditsIn", "CostIn", "Count", "Whole", "Limit", "Cursor", "read_cursor", "write_cursor"),
    )
}


@rule("runs/api/runs.py", "from oxygen_site.api import api")
def operations_take_of_the_api_only_what_is_shared(source: Source) -> Iterator[str]:
    if in_rooms(source, "billing", "runs"):
        for name in imports(source):
            if within(name, "oxygen_site.api") and (name not in SHARED or not OPERATIONS.search(source.path)):
                yield f"imports {name}"


# ------------------------------------------------------------------ who writes

WRITES = {"create", "bulk_create", "update", "bulk_update", "update_or_create", "get_or_create", "delete", "save"}
LEDGER_TABLES = {"Account", "Grant", "Reservation", "Draw", "Entry", "UsageByTool", "UsageByRun", "Proof"}


@rule("runs/dispatch.py", "Grant.objects.filter(org=org).update(remaining=5)")
def only_the_ledger_writes_its_tables(source: Source) -> Iterator[str]:
    if not in_rooms(source, "billing", "runs", "oxygen_site"):
        return
    for name, call in calls(source):
        table, _, rest = name.partition(".")
        if table not in LEDGER_TABLES or (table, source.path) == ("Proof", "billing/books.py"):
            continue
        if not rest or (rest.startswith("objects") and name.rpartition(".")[2] in WRITES):
            yield f"line {call.lineno}: writes {name}"


@rule("runs/views.py", "run.status = Run.Status.PAUSED")
def only_lifecycle_and_standing_change_the_state_of_a_run(source: Source) -> Iterator[str]:
    if not in_rooms(source, "billing", "runs") or source.path in ("runs/lifecycle.py", "runs/standing.py"):
        return
    for name, call in calls(source):
        if name.rpartition(".")[2] in WRITES | {"Run"} and any(word.arg == "status" for word in call.keywords):
            yield f"line {call.lineno}: {name}(status=…)"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and any(chain(target).endswith(".status") for target in node.targets):
            yield f"line {node.lineno}: sets a status"


@rule("runs/templatetags/runs.py", "Run.objects.filter(id=1).delete()")
def no_view_and_no_template_tag_writes(source: Source) -> Iterator[str]:
    if in_rooms(source, "billing", "runs") and re.search(r"/(views|templatetags)[./]", source.path):
        for name, call in calls(source):
            verb = name.rpartition(".")[2]
            if verb == "save" or (verb in WRITES and ".objects." in name):
                yield f"line {call.lineno}: {name}"


@rule("billing/orgs.py", "with transaction.atomic(): pass")
def only_an_intention_opens_a_transaction(source: Source) -> Iterator[str]:
    opens = {
        "oxygen_site/transactions.py": "the intention itself, and one snapshot, read only",
        "oxygen_site/jobs.py": "a savepoint, so that asking twice breaks nothing",
    }
    if in_rooms(source, "billing", "runs", "oxygen_site") and source.path not in opens:
        for node in ast.walk(source.tree):
            if chain(node) in ("transaction.atomic", "transaction.set_autocommit", "transaction.commit", "atomic"):
                yield f"line {node.lineno}: {chain(node)}"  # type: ignore[attr-defined]


@rule("billing/usage.py", "connection.cursor().execute('SELECT 1')")
def raw_sql_stands_in_named_files_only(source: Source) -> Iterator[str]:
    named = (
        "billing/ledger.py",
        "billing/books.py",
        "runs/dispatch.py",
        "runs/standing.py",
        "runs/providers/limits.py",
        "oxygen_site/",
    )
    if in_rooms(source, "billing", "runs", "oxygen_site") and not source.path.startswith(named):
        for name, call in calls(source):
            if name.rpartition(".")[2] in ("cursor", "raw", "RawSQL", "extra"):
                yield f"line {call.lineno}: {name}"


# ------------------------------------------------------------------ time and numbers

CLOCKS = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "datetime.datetime.now", "date.today", "timezone.now"),
    *("timezone.localtime", "timezone.localdate", "time.time", "time.time_ns", "time.localtime", "time.gmtime", "Now"),
}


@rule("billing/usage.py", "start = datetime.now(UTC)")
def time_is_read_through_clock_alone(source: Source) -> Iterator[str]:
    machine_time = ("oxygen_site/jobs.py",)
    if in_rooms(source, "billing", "runs", "oxygen_site") and source.path not in machine_time:
        for name, call in calls(source):
            if name in CLOCKS:
                yield f"line {call.lineno}: {name}()"


@rule("runs/lifecycle.py", "from oxygen_site import clock\nclock.advance(by)")
def only_the_demo_moves_the_clock(source: Source) -> Iterator[str]:
    if in_rooms(source, "billing", "runs", "oxygen_site") and not source.path.startswith(MOVES_TIME):
        moved = {f"oxygen_site.clock.{verb}" for verb in ("begin", "advance", "catch_up")}
        yield from (f"imports {name}" for name in imports(source) if name in moved)
        yield from (f"line {call.lineno}: {name}" for name, call in calls(source) if f"oxygen_site.{name}" in moved)


@rule("billing/models/plans.py", "price = models.FloatField()")
def no_binary_floats_near_credits(source: Source) -> Iterator[str]:
    seconds_of_machine_time = ("runs/worker.py", "runs/jobs.py")
    if in_rooms(source, "billing", "runs") and source.path not in seconds_of_machine_time:
        for name, call in calls(source):
            if name == "float" or name.endswith("FloatField"):
                yield f"line {call.lineno}: {name}()"


# ------------------------------------------------------------------ style


@rule("billing/views/utils.py", "")
def no_module_has_a_name_that_lets_anything_in(source: Source) -> Iterator[str]:
    anything = {"utils", "util", "helpers", "common", "core", "services", "managers", "constants", "misc"}
    for word in source.path.removesuffix(".py").split("/"):
        if word in anything:
            yield f"is called {word}"


@rule("runs/queries.py", "\n" * (LONGEST + 1))
def no_file_has_a_second_subject(source: Source) -> Iterator[str]:
    if (length := source.text.count("\n")) > LONGEST:
        yield f"has {length} lines"


@rule("runs/views.py", "class Detail(generic.DetailView): pass")
def no_class_is_a_view_a_service_a_mixin_or_a_repository(source: Source) -> Iterator[str]:
    if in_rooms(source, "billing", "runs", "oxygen_site"):
        for node in [node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]:
            if node.name.endswith(LAYERS) or any(chain(base).endswith("View") for base in node.bases):
                yield f"line {node.lineno}: {node.name}"


LAYERS = ("View", "Service", "Repository", "Helper", "Mixin")


@rule("billing/models/plans.py", "from django.db.models.signals import post_save")
def our_own_logic_hides_in_no_signal_and_no_save(source: Source) -> Iterator[str]:
    if in_rooms(source, "billing", "runs", "oxygen_site"):
        signals = ("django.dispatch", "django.db.models.signals")
        yield from (f"imports {name}" for name in imports(source) if any(within(name, module) for module in signals))
    if "/models/" in source.path:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef) and node.name in ("save", "delete"):
                yield f"line {node.lineno}: {node.name}()"


INLINE = re.compile(r"<style|\sstyle=|\shx-on|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", re.IGNORECASE)


@rule("templates/billing/overview.html", '<p style="color: red">')
def no_template_holds_a_style_or_a_script(source: Source) -> Iterator[str]:
    if source.path.endswith(".html"):
        for number, line in enumerate(source.text.splitlines(), 1):
            yield from (f"line {number}: {found.group().strip()}" for found in INLINE.finditer(line))


# ------------------------------------------------------------------ the tests


def broken(check: Rule, sources: Iterator[Source]) -> list[str]:
    return [f"{source.path} {complaint}" for source in sources for complaint in check(source)]


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_the_house_keeps(check: Rule) -> None:
    assert broken(check, house()) == []


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_a_line_that_breaks_it_is_seen_by(check: Rule) -> None:
    assert broken(check, iter([Source(*RULES[check])])) != []


def test_every_file_a_rule_names_is_there() -> None:
    named = {path for allowed in ONLY.values() for path in allowed} | set(PUTS_TOGETHER)
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_rules_read_the_whole_house() -> None:
    read = {source.path for source in house()}
    assert {"billing/ledger.py", "runs/dispatch.py", "oxygen_site/clock.py", "templates/base.html"} <= read


# More lines that must be seen, and lines that must not, where a rule could easily see too little or too much.
MORE = [
    (only_the_named_import_what_moves_credits_money_or_jobs, "billing/views/a.py", "import billing.ledger as door", 1),
    (only_the_named_import_what_moves_credits_money_or_jobs, "billing/a.py", "from . import ledger", 1),
    (only_the_named_import_what_moves_credits_money_or_jobs, "billing/payments/purchases.py", "import stripe", 1),
    (only_the_named_import_what_moves_credits_money_or_jobs, "billing/payments/gateway.py", "import stripe", 0),
    (each_floor_imports_only_what_is_below_it, "sandbox/providers/app.py", "from billing.models import User", 1),
    (each_floor_imports_only_what_is_below_it, "runs/worker.py", "import sandbox.providers", 1),
    (each_floor_imports_only_what_is_below_it, "runs/views.py", "from billing import usage", 1),
    (each_floor_imports_only_what_is_below_it, "runs/views.py", "from billing import access, balance", 0),
    (each_floor_imports_only_what_is_below_it, "oxygen_site/demo/views.py", "from billing.access import org_page", 0),
    (each_floor_imports_only_what_is_below_it, "oxygen_site/health.py", "from billing.access import org_page", 1),
    (only_the_demo_moves_the_clock, "oxygen_site/demo/moving.py", "from oxygen_site.clock import advance", 0),
    (only_the_demo_moves_the_clock, "oxygen_site/jobs.py", "from oxygen_site.clock import advance", 1),
    (
        only_the_named_import_what_moves_credits_money_or_jobs,
        "billing/jobs.py",
        "from oxygen_site.demo import moving",
        1,
    ),
    (each_floor_imports_only_what_is_below_it, "oxygen_cli/main.py", "from oxygen_site.clock import clock", 1),
    (operations_take_of_the_api_only_what_is_shared, "runs/views.py", "from oxygen_site.api import Data", 1),
    (operations_take_of_the_api_only_what_is_shared, "runs/api.py", "from oxygen_site.api import Data, may", 0),
    (only_the_ledger_writes_its_tables, "billing/admin.py", "Entry(org=org).save()", 1),
    (only_the_ledger_writes_its_tables, "billing/books.py", "Account.objects.all().delete()", 1),
    (only_the_ledger_writes_its_tables, "billing/books.py", "Proof.objects.bulk_create([])", 0),
    (only_the_ledger_writes_its_tables, "billing/usage.py", "Entry.objects.filter(org=org)", 0),
    (only_lifecycle_and_standing_change_the_state_of_a_run, "runs/admin.py", "run.update(status='failed')", 1),
    (
        only_lifecycle_and_standing_change_the_state_of_a_run,
        "runs/queries.py",
        "Run.objects.filter(status='failed')",
        0,
    ),
    (no_view_and_no_template_tag_writes, "billing/views/orgs.py", "orgs.create(name='Acme')", 0),
    (no_view_and_no_template_tag_writes, "billing/views/orgs.py", "form.save()", 1),
    (only_an_intention_opens_a_transaction, "runs/tables.py", "@transaction.atomic\ndef f(): pass", 1),
    (
        no_template_holds_a_style_or_a_script,
        "templates/a.html",
        "<script src=\"{% static 'a.js' %}\" defer></script>",
        0,
    ),
    (no_template_holds_a_style_or_a_script, "templates/a.html", "<script>alert(1)</script>", 1),
    (no_template_holds_a_style_or_a_script, "templates/a.html", '<button onclick="x()">', 1),
    (no_template_holds_a_style_or_a_script, "templates/a.html", "<p data-on=1>Based on = this</p>", 0),
]


@pytest.mark.parametrize(("check", "path", "text", "complaints"), MORE)
def test_a_rule_sees_neither_too_little_nor_too_much(check: Rule, path: str, text: str, complaints: int) -> None:
    assert len(broken(check, iter([Source(path, text)]))) == complaints
