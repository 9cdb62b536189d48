"""Speaking to a server that is slow, away, busy, or no Oxygen at all."""

import json
import socket

import pytest

from tests.oxygen_cli.conftest import BALANCE, HANGS_UP, KEY, Answer, Oxygen, Server, a_run, data, no

PAUSE = "POST /runs/r1/pause"


def keys(server: Server) -> list[str]:
    return [asked.headers["idempotency-key"] for asked in server.asked]


@pytest.mark.parametrize("lost", [HANGS_UP, *(no(status, "busy", Retry_After="0") for status in (429, 502, 503, 504))])
def test_a_write_whose_answer_is_lost_is_sent_again_with_the_same_key(
    oxygen: Oxygen, server: Server, lost: Answer
) -> None:
    server.says(PAUSE, lost, lost, data(a_run("paused")))
    assert oxygen.json("table-runs", "pause", "r1")["data"]["status"] == "paused"
    assert len(keys(server)) == 3
    assert len(set(keys(server))) == 1


def test_each_invocation_has_a_key_of_its_own_unless_one_is_given(oxygen: Oxygen, server: Server) -> None:
    server.says(PAUSE, data(a_run("paused")))
    for given in ([], [], ["--idempotency-key", "mine"]):
        oxygen.json("table-runs", "pause", "r1", *given)
    first, second, third = keys(server)
    assert first != second
    assert third == "mine"


def test_a_first_try_that_the_server_is_still_at_is_waited_for(oxygen: Oxygen, server: Server) -> None:
    server.says(PAUSE, HANGS_UP, no(409, "in_progress"), data(a_run("paused")))
    assert oxygen.json("table-runs", "pause", "r1")["data"]["status"] == "paused"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_what_will_not_pass_is_not_tried_again(oxygen: Oxygen, server: Server, status: int) -> None:
    server.says(PAUSE, no(status, "some_rule"))
    assert oxygen("table-runs", "pause", "r1").returncode != 0
    assert len(server.asked) == 1


def test_too_many_calls_are_waited_out_as_long_as_the_server_asks(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /balance", no(429, "too_many", Retry_After="3"), data(BALANCE))
    done = oxygen("billing", "balance")
    assert done.returncode == 0
    assert "The server asks to wait 3 seconds." in done.stderr


def test_a_wait_of_minutes_is_left_to_the_caller(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /balance", no(429, "too_many", "Try again in an hour.", Retry_After="3600"))
    done = oxygen("billing", "balance")
    assert (done.returncode, done.stdout, len(server.asked)) == (6, "", 1)
    assert "Try again in an hour." in done.stderr


def test_without_a_network_it_says_so_and_what_to_look_at(oxygen: Oxygen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    done = oxygen("billing", "balance", "--json", env={"OXYGEN_API_URL": url})
    assert (done.returncode, done.stdout) == (6, "")
    problem = json.loads(done.stderr)
    assert problem["code"] == "no_connection"
    assert f"{url} cannot be reached" in problem["detail"]


def test_a_write_that_was_never_answered_says_how_to_find_out(oxygen: Oxygen, server: Server) -> None:
    server.says(PAUSE, HANGS_UP)
    done = oxygen("table-runs", "pause", "r1")
    assert done.returncode == 6
    assert f"--idempotency-key {keys(server)[0]} finds out" in done.stderr


def test_a_wrong_key_is_told_with_the_way_on_and_never_shown(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /balance", no(401, "invalid_key", "There is no such API key."))
    done = oxygen("billing", "balance")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "There is no such API key.\n`oxygen login` stores another.\n"
    assert KEY not in done.stderr + oxygen("billing", "balance", "--json").stderr


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>Welcome</html>", {}),
        Answer(404, b"<html>Not here</html>", {}),
        Answer(200, b'{"available": 1}', {}),
        Answer(200, b'{"data": {"available": NaN}}', {}),
    ],
)
def test_what_is_no_oxygen_is_told_from_it(oxygen: Oxygen, server: Server, answer: Answer) -> None:
    server.says("GET /balance", answer)
    done = oxygen("billing", "balance")
    assert done.returncode in (1, 4)
    assert "not in the way of Oxygen" in done.stderr


def test_a_server_that_moved_is_not_followed_with_the_key(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /balance", Answer(301, b"", {"Location": "https://elsewhere.example/"}))
    done = oxygen("billing", "balance")
    assert done.returncode == 1
    assert "set OXYGEN_API_URL" in done.stderr


def test_lists_beyond_a_page_are_read_page_by_page(oxygen: Oxygen, server: Server) -> None:
    entries = [{"id": number, "credits": 1, "provider": "hunter"} for number in range(250)]
    server.says(
        "GET /usage",
        data({"entries": entries[:200], "next_cursor": "second"}),
        data({"entries": entries[200:], "next_cursor": "third"}),
    )
    read = oxygen.json("billing", "usage", "--limit", "250")["data"]
    assert [each["id"] for each in read["entries"]] == list(range(250))
    assert read["next_cursor"] == "third"
    assert [asked.query for asked in server.asked] == [{"limit": "200"}, {"limit": "50", "cursor": "second"}]


def test_credits_are_printed_digit_by_digit(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /balance", data('{"available": 99999999.0001, "reserved": 0.1000, "captured": 12345678901234567}'))
    printed = oxygen("billing", "balance", "--json").stdout
    for number in ("99999999.0001", "0.1000", "12345678901234567"):
        assert printed.count(number) == 2  # at the top and under .data


def test_a_cap_is_sent_digit_by_digit(oxygen: Oxygen, server: Server) -> None:
    server.says("POST /runs/r1/continue", data(a_run("queued")))
    oxygen.json("table-runs", "continue", "r1", "--max-credits", "99999999.0001")
    assert server.asked[0].body.split() == [b"{", b'"max_credits":', b"99999999.0001", b"}"]
