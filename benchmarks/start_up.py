"""Does the command start quickly? `make bench`, or `--quick` with fewer rounds.

One side is `oxygen billing balance --json`, from nothing to the printed answer of a small server on this machine; the
other is Python importing the HTTP client and nothing else. Both by turns, in CPU seconds of the process.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.bars import Bar, is_quick, judge, ratios

ROUNDS = 40
OXYGEN = [sys.executable, "-m", "oxygen_cli"]
BALANCE = json.dumps({"data": {"available": 100, "reserved": 0, "captured": 0}}).encode()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BALANCE)))
        self.end_headers()
        self.wfile.write(BALANCE)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def cpu(command: list[str], env: dict[str, str]) -> float:
    """Run a command to its end; answer the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: list[str]) -> int:
    times = 10 if is_quick("start_up", __doc__, "10 rounds instead of 40", arguments) else ROUNDS
    with served() as url:
        env = os.environ | {"OXYGEN_API_URL": url, "OXYGEN_API_KEY": "a-key"}
        commands = {
            "client": [sys.executable, "-c", "import httpx2"],
            "balance": [*OXYGEN, "billing", "balance", "--json"],
            "table": [*OXYGEN, "billing", "balance"],
            "help": [*OXYGEN, "--help"],
        }
        for command in commands.values():
            cpu(command, env)
        rounds = [{name: cpu(command, env) for name, command in commands.items()} for _ in range(times)]
    base = [each["client"] for each in rounds]

    def bar(name: str, side: str) -> Bar:
        return Bar(f"{name} ÷ importing its HTTP client", ratios([each[side] for each in rounds], base), most=2)

    whole = {"balance": "oxygen billing balance --json", "table": "the same, drawn", "help": "oxygen --help"}
    return judge([bar(name, side) for side, name in whole.items()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
