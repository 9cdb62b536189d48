"""The sandbox providers over real HTTP: what they answer, what they bill, and that their books are honest."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

ROW = {"first_name": "Zoë", "last_name": "Großkopf", "company": "Hanse Spedition GmbH", "domain": "hanse.example"}
SURE = {"latency": 0, "rates": {}, "finds": 1}


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    command = [sys.executable, "-m", "sandbox.providers", "--port", "0", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def desk(process: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=process, timeout=20) as client:
        client.delete("/control")
        client.post("/control", json=SURE)
        yield client
        client.delete("/control")


def ask(
    desk: httpx2.Client, key: str, tool: str = "hunter.email_finder", row: dict[str, Any] | None = None
) -> httpx2.Response:
    body = {"tool": tool, "input": ROW if row is None else row}
    return desk.post("/" + tool.replace(".", "/"), json=body, headers={"Idempotency-Key": key})


def charges(desk: httpx2.Client, prefix: str) -> dict[str, Any]:
    statement: dict[str, Any] = desk.get("/control/charges", params={"prefix": prefix}).json()
    return statement


def test_a_result_is_made_of_the_row_and_billed_once(desk: httpx2.Client) -> None:
    answer = ask(desk, "one:1").json()
    assert answer["result"]["email"].endswith("@hanse.example")
    assert "grosskopf" in answer["result"]["email"]
    assert Decimal(answer["cost"]) == 1
    assert charges(desk, "one:")["by_key"] == {
        "one:1": {"tool": "hunter.email_finder", "charges": 1, "cost": "1.0000", "calls": 1}
    }


def test_the_same_key_is_answered_again_and_not_charged_again(desk: httpx2.Client) -> None:
    first, second = ask(desk, "twice:1"), ask(desk, "twice:1")
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (charges(desk, "twice:")["charges"], charges(desk, "twice:")["calls"]) == (1, 2)


def test_some_say_what_they_did_in_a_manner_of_their_own(desk: httpx2.Client) -> None:
    assert ask(desk, "manner:1", "leadmagic.mobile_finder").json()["credits_consumed"] == 5
    found = ask(desk, "manner:2", "peopledatalabs.person_enrich")
    assert ("cost" in found.json(), found.headers["X-Call-Credits-Spent"]) == (False, "2.2000")
    desk.post("/control", json={"finds": 0})
    assert ask(desk, "manner:3", "peopledatalabs.person_enrich").status_code == 404
    assert set(charges(desk, "manner:")["by_key"]) == {"manner:1", "manner:2"}


def test_the_same_key_for_another_row_is_refused(desk: httpx2.Client) -> None:
    ask(desk, "other:1")
    refused = ask(desk, "other:1", row={"first_name": "Ada"})
    assert (refused.status_code, refused.json()["charged"]) == (409, "0")


def test_the_same_row_gives_the_same_result_under_another_key(desk: httpx2.Client) -> None:
    answers = [ask(desk, f"same:{n}", "apollo.company_enrich").json()["result"] for n in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["industry"] == "Logistics"


def test_a_call_without_key_or_for_an_unknown_tool_is_refused_uncharged(desk: httpx2.Client) -> None:
    body = {"tool": "hunter.email_finder", "input": ROW}
    assert desk.post("/hunter/email_finder", json=body).status_code == 400
    assert desk.post("/hunter/email_finder", content=b"nonsense", headers={"Idempotency-Key": "k"}).status_code == 404
    assert ask(desk, "k", "hunter.mind_reader").status_code == 404


@pytest.mark.parametrize(
    ("behaviour", "status", "charged"),
    [
        ("unauthorized", 401, 0),
        ("invalid", 422, 0),
        ("throttled", 429, 0),
        ("unavailable", 503, 0),
        ("failed_after", 500, 1),
    ],
)
def test_a_failure_says_whether_it_was_charged(desk: httpx2.Client, behaviour: str, status: int, charged: int) -> None:
    desk.post("/control", json={"rates": {behaviour: 1}})
    answer = ask(desk, f"{behaviour}:1")
    assert (answer.status_code, Decimal(answer.json()["charged"])) == (status, Decimal(charged))
    assert charges(desk, f"{behaviour}:")["charges"] == charged


def test_who_was_throttled_may_ask_again_with_the_same_key(desk: httpx2.Client) -> None:
    desk.post("/control", json={"rates": {"throttled": 1}, "retry_after": 7})
    assert ask(desk, "throttle:1").headers["Retry-After"] == "7"
    desk.post("/control", json={"rates": {}})
    assert ask(desk, "throttle:1").status_code == 200


def test_some_bill_a_call_that_finds_nothing_and_some_do_not(desk: httpx2.Client) -> None:
    desk.post("/control", json={"finds": 0})
    hunter, icypeas = ask(desk, "miss:1").json(), ask(desk, "miss:2", "icypeas.email_finder").json()
    assert (hunter["result"], hunter["cost"]) == (None, "0.0000")
    assert (icypeas["result"], icypeas["cost"]) == (None, "0.1000")
    assert charges(desk, "miss:")["total"] == "0.1000"


def test_one_tool_may_bill_three_times_its_price(desk: httpx2.Client) -> None:
    desk.post("/control", json={"tool": "hunter.email_finder", "cost_times": "3"})
    assert ask(desk, "thrice:1").json()["cost"] == "3.0000"
    assert ask(desk, "thrice:2", "prospeo.email_finder").json()["cost"] == "1.0000"


def test_a_held_call_is_charged_before_it_is_answered(desk: httpx2.Client) -> None:
    desk.post("/control", json={"hold": True})
    answers: list[httpx2.Response] = []
    caller = threading.Thread(target=lambda: answers.append(ask(desk, "held:1")))
    caller.start()
    while not charges(desk, "held:")["charges"]:
        pass
    assert not answers
    desk.post("/control", json={"hold": False})
    caller.join(10)
    assert answers[0].status_code == 200


@pytest.mark.parametrize(
    "wishes", [{"tool": "hunter.mind_reader"}, {"mood": "bad"}, {"rates": {"sulks": 1}}, {"cost_times": "much"}, []]
)
def test_a_script_it_cannot_follow_is_refused(desk: httpx2.Client, wishes: object) -> None:
    before = desk.get("/control").json()
    assert desk.post("/control", json=wishes).status_code == 422
    assert desk.get("/control").json() == before


def test_the_usual_temper_finds_fails_and_throttles_at_its_rates(desk: httpx2.Client) -> None:
    desk.delete("/control")
    desk.post("/control", json={"latency": 0})
    seen = [ask(desk, f"usual:{n}", row=ROW | {"n": n}) for n in range(200)]
    found = sum(answer.status_code == 200 and answer.json()["result"] is not None for answer in seen)
    assert 85 < found < 145
    assert 0 < sum(answer.status_code != 200 for answer in seen) < 20


def test_a_taken_port_is_said_in_one_sentence(process: str) -> None:
    port = process.rpartition(":")[2]
    command = [sys.executable, "-m", "sandbox.providers", "--port", port]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Port {port} cannot be used")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("tool", ["prospeo.mobile_finder", "datagma.mobile_finder", "leadmagic.mobile_finder"])
def test_telephone_numbers_are_those_kept_for_fiction(desk: httpx2.Client, tool: str) -> None:
    for country, prefix in (("GB", "+44 7700 900"), ("US", "+1 202 555 01"), ("DE", "+49 30 23125 ")):
        phone = ask(desk, f"{tool}:{country}", tool, ROW | {"country": country}).json()["result"]["phone"]
        assert phone.startswith(prefix)


def test_a_name_in_another_script_is_spelt_as_in_its_profile(desk: httpx2.Client) -> None:
    row = {
        "first_name": "结衣",
        "last_name": "欧阳",
        "profile": "people.example/in/yui-12ab-ouyang",
        "domain": "x.example",
    }
    assert "yui" in ask(desk, "script:1", row=row).json()["result"]["email"]
