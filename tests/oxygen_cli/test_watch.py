"""Waiting for a run: its progress, how it ends, and Ctrl-C."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.oxygen_cli.conftest import HANGS_UP, SILENT, Oxygen, Server, a_run, data, heeds_ctrl_c
from tests.oxygen_cli.test_shown import lines

ID = a_run()["id"]
RUN = f"GET /runs/{ID}"
START = ["columns", "run", "t1", "email", "--max-credits", "50"]
DONE = {"total": 50, "pending": 0, "running": 0, "succeeded": 48, "failed": 2, "cancelled": 0, "unknown": 0}


@pytest.fixture(autouse=True)
def started(server: Server) -> None:
    server.says("POST /runs", data(a_run("queued"), 201))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("succeeded", 0),
        ("completed_with_errors", 0),
        ("paused", 5),
        ("failed", 5),
        ("cancelled", 5),
        ("awaiting_approval", 5),
    ],
)
def test_the_end_of_the_run_is_the_exit_code_and_the_run_is_still_printed(
    oxygen: Oxygen, server: Server, status: str, code: int
) -> None:
    server.says(RUN, data(a_run()), data(a_run(status, items=DONE)))
    done = oxygen(*START, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    assert json.loads(done.stdout)["data"]["status"] == status


def test_in_the_background_nothing_is_waited_for(oxygen: Oxygen, server: Server) -> None:
    assert oxygen.json(*START, "--background")["data"]["status"] == "queued"
    assert [asked.method for asked in server.asked] == ["POST"]


def test_without_a_terminal_progress_is_lines_on_standard_error(oxygen: Oxygen, server: Server) -> None:
    server.says(RUN, data(a_run()), data(a_run("succeeded", items=DONE, captured=50)))
    done = oxygen(*START)
    assert done.stderr.splitlines()[:3] == [
        f"Run {ID}",
        "15 of 50 rows, 15 of 50 credits, queued",
        "50 of 50 rows, 50 of 50 credits, succeeded",
    ]
    assert "of 50 credits, " not in done.stdout
    assert "Captured" in done.stdout


def test_on_a_terminal_progress_is_a_bar_of_one_line(oxygen: Oxygen, server: Server) -> None:
    server.says(RUN, *[data(a_run(captured=spent)) for spent in (15, 20, 25)], data(a_run("succeeded", items=DONE)))
    terminal = oxygen.on_a_terminal(*START)
    assert terminal.end() == 0
    assert "━" in terminal.shown
    assert "15 of 50 rows, 25 of 50 credits" in terminal.shown
    assert all(len(line) <= 60 for line in lines(terminal.shown.replace("\r", "\n")) if "oxygen" not in line)


def test_a_run_that_has_not_changed_is_asked_for_by_its_tag(oxygen: Oxygen, server: Server) -> None:
    still = data("", 304)._replace(body=b"")
    server.says(RUN, data(a_run()), data(a_run(), ETag='"one"'), still, still, data(a_run("succeeded", items=DONE)))
    assert oxygen("runs", "watch", ID).returncode == 0
    first, second, *later = [asked.headers.get("if-none-match") for asked in server.asked]
    assert (first, second, later) == (None, None, ['"one"'] * 3)


def interrupted(oxygen: Oxygen, server: Server, command: list[str], asked: int) -> tuple[int, str, str]:
    """Start a command, and press Ctrl-C once it has asked the server so often."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=oxygen.home, env=oxygen.env, stdout=pipe, stderr=pipe, text=True, preexec_fn=heeds_ctrl_c
    )
    deadline = time.monotonic() + 20
    while len(server.asked) < asked and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.mark.parametrize("json_", [True, False])
def test_ctrl_c_stops_the_watching_and_not_the_run(oxygen: Oxygen, server: Server, json_: bool) -> None:
    server.says(RUN, data(a_run()))
    command = [*oxygen.command, "runs", "watch", ID, *(["--json"] if json_ else [])]
    code, out, err = interrupted(oxygen, server, command, asked=3)
    assert (code, out) == (130, "")
    said = json.loads(err)["detail"] if json_ else err
    assert "The run goes on." in said
    assert f"oxygen runs watch {ID}" in said
    assert f"oxygen table-runs cancel {ID}" in said
    assert {asked.method for asked in server.asked} == {"GET"}


def test_ctrl_c_while_a_write_is_under_way_says_how_to_find_out(oxygen: Oxygen, server: Server) -> None:
    server.says("POST /runs/r1/cancel", SILENT)
    code, out, err = interrupted(oxygen, server, [*oxygen.command, "table-runs", "cancel", "r1"], asked=1)
    assert (code, out) == (130, "")
    assert f"--idempotency-key {server.asked[0].headers['idempotency-key']} finds out" in err


def test_ctrl_c_at_a_terminal_leaves_it_as_it_was(oxygen: Oxygen, server: Server) -> None:
    server.says(RUN, data(a_run()))
    terminal = oxygen.on_a_terminal(*START).until("15 of 50 rows")
    terminal.press("\x03")
    assert terminal.end() == 130
    assert "The run goes on." in terminal.shown
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")  # the cursor is back


def test_a_network_that_goes_while_watching_says_that_the_run_goes_on(oxygen: Oxygen, server: Server) -> None:
    server.says(RUN, data(a_run()), HANGS_UP)
    done = oxygen(*START)
    assert (done.returncode, done.stdout) == (6, "")
    assert "The run goes on." in done.stderr


def test_a_run_that_waits_for_approval_says_who_lets_it_go_on(oxygen: Oxygen, server: Server) -> None:
    approval = {"needed": True, "reason": "Template runs need approval.", "approved_by": None}
    server.says("POST /runs", data(a_run("awaiting_approval", approval=approval, next=["approve", "cancel"]), 201))
    done = oxygen(*START)
    assert done.returncode == 5
    assert "Template runs need approval." in done.stderr
    assert f"oxygen runs approve {ID}" in done.stderr
