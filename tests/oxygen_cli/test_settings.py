"""Signing in: which server, key and organization are used, and who can read what is stored."""

import tomllib

import pytest

from tests.oxygen_cli.conftest import BALANCE, KEY, Oxygen, Server, data, no

OTHER = KEY.replace("k3v0", "0v3k")
NONE: dict[str, str | None] = {"OXYGEN_API_URL": None, "OXYGEN_API_KEY": None}


@pytest.fixture(autouse=True)
def welcoming(server: Server) -> None:
    server.says("GET /balance", data(BALANCE))


def signed_in(oxygen: Oxygen, server: Server, *more: str) -> None:
    done = oxygen("login", "--url", server.url, *more, input=f"{KEY}\n", env=NONE)
    assert done.returncode == 0, done.stderr


def sent(server: Server) -> tuple[str, str | None]:
    headers = server.asked[-1].headers
    return headers["authorization"].removeprefix("Bearer "), headers.get("oxygen-organization")


def test_a_key_is_stored_where_only_its_owner_can_read_it(oxygen: Oxygen, server: Server) -> None:
    signed_in(oxygen, server)
    assert oxygen.config.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(oxygen.config.read_text())["profiles"]["default"] == {"url": server.url, "key": KEY}
    assert oxygen("billing", "balance", env=NONE).returncode == 0
    assert sent(server) == (KEY, None)


def test_a_file_that_all_could_read_is_closed_by_the_next_login(oxygen: Oxygen, server: Server) -> None:
    signed_in(oxygen, server)
    oxygen.config.chmod(0o644)
    signed_in(oxygen, server)
    assert oxygen.config.stat().st_mode & 0o777 == 0o600


def test_a_key_typed_at_a_terminal_is_not_shown(oxygen: Oxygen, server: Server) -> None:
    terminal = oxygen.on_a_terminal("login", "--url", server.url, columns=100).until("API key:")
    terminal.press(f"{KEY}\n")
    assert terminal.end() == 0
    assert "Signed in." in terminal.shown
    assert KEY not in terminal.shown
    assert f"{KEY[:17]}…{KEY[-4:]}" in terminal.shown


def test_a_key_that_the_server_does_not_know_is_not_stored(oxygen: Oxygen, server: Server) -> None:
    server.says("GET /balance", no(401, "invalid_key", "There is no such API key."))
    done = oxygen("login", "--url", server.url, input=KEY, env=NONE)
    assert done.returncode == 3
    assert not oxygen.config.exists()


def test_who_is_not_signed_in_is_told_how_to(oxygen: Oxygen) -> None:
    done = oxygen("billing", "balance", env=NONE)
    assert (done.returncode, done.stdout) == (3, "")
    assert "`oxygen login`" in done.stderr


def test_the_environment_goes_before_the_file_and_flags_before_both(oxygen: Oxygen, server: Server) -> None:
    signed_in(oxygen, server, "--org", "bluefin")
    oxygen("billing", "balance", env=NONE)
    assert sent(server) == (KEY, "bluefin")
    oxygen("billing", "balance", env={"OXYGEN_API_URL": server.url, "OXYGEN_API_KEY": OTHER, "OXYGEN_ORG": "acme"})
    assert sent(server) == (OTHER, "acme")
    oxygen("billing", "balance", "--org", "globex", env=NONE | {"OXYGEN_ORG": "acme"})
    assert sent(server) == (KEY, "globex")


def test_a_stored_key_is_sent_to_its_own_server_only(oxygen: Oxygen, server: Server) -> None:
    signed_in(oxygen, server)
    asked = len(server.asked)
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    done = oxygen("billing", "balance", env=NONE | {"OXYGEN_API_URL": elsewhere})
    assert done.returncode == 3
    assert elsewhere in done.stderr
    assert len(server.asked) == asked
    assert (
        oxygen("billing", "balance", env={"OXYGEN_API_URL": f"{server.url}/api/v1/", "OXYGEN_API_KEY": None}).returncode
        == 0
    )


def test_profiles_stand_side_by_side(oxygen: Oxygen, server: Server) -> None:
    signed_in(oxygen, server)
    signed_in(oxygen, server, "--profile", 'Ein "anderes"', "--org", "bluefin")
    oxygen("billing", "balance", "--profile", 'Ein "anderes"', env=NONE)
    assert sent(server) == (KEY, "bluefin")
    oxygen("logout", "--profile", 'Ein "anderes"', env=NONE)
    assert list(tomllib.loads(oxygen.config.read_text())["profiles"]) == ["default"]


def test_signed_out_is_signed_out(oxygen: Oxygen, server: Server) -> None:
    signed_in(oxygen, server)
    assert "forgotten" in oxygen("logout", env=NONE).stderr
    assert KEY not in oxygen.config.read_text()
    assert oxygen("billing", "balance", env=NONE).returncode == 3


def test_whoami_names_the_key_and_does_not_give_it_away(oxygen: Oxygen, server: Server) -> None:
    me = oxygen.json("whoami")["data"]
    assert me["organization"] == {"slug": "acme", "name": "Acme"}
    assert (me["key"], me["source"]) == (f"{KEY[:17]}…{KEY[-4:]}", "OXYGEN_API_KEY")
    assert KEY not in oxygen("whoami").stdout


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://here.example", "http://", "https://a.example/?x=1"])
def test_what_is_no_address_is_wrong_usage(oxygen: Oxygen, url: str) -> None:
    done = oxygen("billing", "balance", env={"OXYGEN_API_URL": url})
    assert done.returncode == 2
    assert "is no server's address" in done.stderr


@pytest.mark.parametrize("key", [f"{KEY}\nX-Other: 1", f"{KEY} x", "ключ"])
def test_a_key_that_no_request_can_carry_is_neither_sent_nor_shown(oxygen: Oxygen, server: Server, key: str) -> None:
    done = oxygen("billing", "balance", env={"OXYGEN_API_KEY": key})
    assert (done.returncode, done.stderr) == (
        2,
        "The API key holds a space or another sign that no request can carry.\n",
    )
    assert server.asked == []
