"""One owner at a time, nothing left behind, nobody's permissions changed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from oxygen_site import postgres


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data directory with a space in its name, on whose server nobody else is."""
    place = postgres.home() / f"test of {os.getpid()}"
    yield place
    postgres.throw_away(place)


def ask(server: postgres.Server, question: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}/cwd").is_symlink() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}/cwd").is_symlink()


def test_a_second_start_keeps_the_data_and_a_stop_leaves_nothing_behind(data: Path) -> None:
    server = postgres.start(data)
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert gone(server.process.pid)

    server = postgres.start(data)
    assert ask(server, "SELECT answer FROM kept") == 42
    assert ask(server, "SHOW listen_addresses") == ""
    server.stop()


def test_only_throw_away_clusters_skip_fsync(data: Path) -> None:
    durable = postgres.start(data)
    assert ask(durable, "SHOW fsync") == ask(durable, "SHOW synchronous_commit") == "on"
    durable.stop()

    throw_away = postgres.start(data, durable=False)
    assert ask(throw_away, "SHOW fsync") == "off"
    throw_away.stop()


def test_a_second_owner_is_refused(data: Path) -> None:
    server = postgres.start(data, durable=False)
    with pytest.raises(postgres.Unavailable, match="belongs to another running process"):
        postgres.start(data)
    server.stop()


def test_the_server_ends_when_its_owner_is_killed(data: Path) -> None:
    script = f"""
import time
from pathlib import Path
from oxygen_site import postgres
print(postgres.start(Path({str(data)!r}), durable=False).process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=postgres.CLONE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)

    postgres.start(data, durable=False).stop()
    assert gone(pid)


def test_a_server_that_was_killed_starts_again(data: Path) -> None:
    server = postgres.start(data, durable=False)
    server.process.kill()
    server.process.wait()

    server.start()

    assert ask(server, "SELECT 42") == 42
    server.stop()


def test_a_pid_file_that_names_a_stranger_is_stale_and_the_stranger_lives(data: Path) -> None:
    postgres.start(data, durable=False).stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n")

        postgres.start(data, durable=False).stop()

        assert stranger.poll() is None
        stranger.kill()


def test_a_half_made_directory_is_made_anew(data: Path) -> None:
    place = data.with_name(f"half made {os.getpid()}")
    half = place.with_name(f"{place.name}.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18")

    postgres.start(place, durable=False).remove()

    assert not half.exists()
    assert not place.exists()


def test_data_of_another_major_version_is_refused_in_plain_words(data: Path) -> None:
    postgres.start(data, durable=False).stop()
    (data / "PG_VERSION").write_text("17\n")

    with pytest.raises(postgres.Unavailable, match=r"written by PostgreSQL 17, and this is PostgreSQL \d+"):
        postgres.start(data)
    (data / "PG_VERSION").write_text("18\n")


def test_a_socket_folder_that_others_can_enter_is_not_trusted(data: Path) -> None:
    folder = postgres.socket_folder(data)
    folder.mkdir(mode=0o755)

    with pytest.raises(postgres.Unavailable, match="is in the way"):
        postgres.start(data, durable=False)
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for the server")
def test_as_root_the_server_is_another_user_and_its_folders_are_closed(data: Path) -> None:
    server = postgres.start(data, durable=False)

    assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0
    assert {folder.stat().st_mode & 0o077 for folder in (data, data.parent, postgres.socket_folder(data))} == {0}
    server.stop()
