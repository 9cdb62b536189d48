"""What people see: at 60 columns, in a pipe, without colours, in any script, however small or large the number."""

import re
from decimal import Decimal

import pytest
from rich.cells import cell_len

from oxygen_cli import exact, shown
from tests.oxygen_cli.conftest import BALANCE, Oxygen, Server, a_run, data

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


NO_COLORS: list[dict[str, str]] = [{}, {"NO_COLOR": "1"}]


def lines(text: str) -> list[str]:
    return ESCAPES.sub("", text).splitlines()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0.0001", "0.0001"),
        ("99999999", "99,999,999"),
        ("99999999.9999", "99,999,999.9999"),
        ("1200", "1,200"),
        ("12.5000", "12.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("0", "0"),
        ("-3.10", "-3.1"),
    ],
)
def test_numbers_are_grouped_and_keep_their_digits(value: str, written: str) -> None:
    assert shown.credits(Decimal(value)) == written


def test_numbers_go_through_json_without_a_binary_float() -> None:
    text = '{\n  "a": 0.1000,\n  "b": [\n    99999999.0001,\n    -0.0001\n  ],\n  "c": {}\n}'
    assert exact.write(exact.read(text)) == text


@pytest.mark.parametrize(
    "command", [["runs", "list"], ["runs", "get", "r1"], ["billing", "balance"], ["tables", "query", "t1"]]
)
def test_nothing_is_cut_off_on_a_terminal_of_60_columns(oxygen: Oxygen, server: Server, command: list[str]) -> None:
    long = "Worshipful Company of Cordwainers, Saddlers and Allied Leather Trades of Lower Wensleydale"
    run = a_run("paused", pause_reason="cap_reached", name=long, max_credits=99_999_999)
    server.says("GET /runs", data({"runs": [run, run | {"name": "x"}], "next_cursor": None}))
    server.says("GET /runs/r1", data(run))
    server.says("GET /balance", data(BALANCE | {"available": 99_999_999, "organization": {"slug": "w", "name": long}}))
    row = {"id": "01990000-0000-7000-8000-0000000000bb", "number": 1, "data": {"company": long}, "results": {}}
    server.says("GET /tables/t1/rows", data({"rows": [row], "next_cursor": None}))
    terminal = oxygen.on_a_terminal(*command)
    assert terminal.end() == 0
    told = [line for line in lines(terminal.shown) if not line.startswith(("  oxygen", "Next"))]
    assert max(map(cell_len, told)) <= 60
    words = " ".join(" ".join(told).split())
    assert "Wensleydale" in words
    if command != ["tables", "query", "t1"]:
        assert "99,999,999" in words
    assert "…" not in words


def test_in_a_pipe_each_row_is_a_line_without_colours(oxygen: Oxygen, server: Server) -> None:
    runs = [a_run("failed", name="A name of some length " * 6), a_run("paused", pause_reason="cap_reached")]
    server.says("GET /runs", data({"runs": runs, "next_cursor": None}))
    done = oxygen("runs", "list")
    assert len(done.stdout.splitlines()) == 3
    assert "\x1b" not in done.stdout
    assert "paused (cap reached)" in done.stdout


def test_a_terminal_gets_colours_unless_no_color_is_set(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /runs/r1", data(a_run("failed")))
    coloured, bare = (oxygen.on_a_terminal("runs", "get", "r1", env=env) for env in NO_COLORS)
    assert (coloured.end(), bare.end()) == (0, 0)
    assert "\x1b[31mfailed" in coloured.shown
    assert not re.search(r"\x1b\[3\d", bare.shown)


def test_a_name_from_right_to_left_keeps_to_its_place() -> None:
    assert shown.plain("واحة للخدمات") == "\u2068واحة للخدمات\u2069"
    assert shown.plain("Acme") == "Acme"
    assert shown.plain("a\u202eb\u2066c") == "abc"


def test_a_name_moves_no_cursor_and_is_no_markup(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /runs/r1", data(a_run(name="[red]Hot[/red]\x1b[2J\r\nleads :smile:")))
    printed = oxygen("runs", "get", "r1").stdout
    assert "\x1b" not in printed
    assert "[red]Hot[/red] [2J  leads :smile:" in printed


def test_whoever_reads_the_pipe_may_leave(oxygen: Oxygen, server: Server) -> None:
    entries = [{"id": number, "credits": 1, "tool": "hunter.email_finder"} for number in range(20_000)]
    server.says("GET /usage", data({"entries": entries, "next_cursor": None}))
    oxygen.command = ("sh", "-c", f'{" ".join(Oxygen.command)} "$@" | head -1', "sh")  # type: ignore[assignment]
    done = oxygen.started(["billing", "usage", "--json"], "", oxygen.env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_an_empty_list_is_told_beside_the_data(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /tables", data({"tables": [], "next_cursor": None}))
    done = oxygen("tables", "list")
    assert (done.stdout, done.stderr) == ("", "No tables. `oxygen tables import FILE.csv` makes one.\n")


def test_a_list_says_that_there_is_more(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /runs", data({"runs": [a_run()], "next_cursor": "abc"}))
    done = oxygen("runs", "list", "--limit", "1")
    assert "--cursor abc" in done.stderr
    assert "abc" not in done.stdout
