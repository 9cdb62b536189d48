"""What a call does not need, it does not load. How long that takes: benchmarks/start_up.py."""

import subprocess
import sys

import pytest

from tests.oxygen_cli.conftest import BALANCE, Oxygen, Server, data

LOADED = """
import sys
from oxygen_cli.__main__ import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({"rich", "httpx2", "platformdirs", "django"} & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        (["--help"], ""),
        (["columns", "run", "--help"], ""),
        (["billing", "balance", "--json"], "httpx2"),
        (["billing", "balance"], "httpx2 rich"),
    ],
)
def test_only_what_is_needed_is_loaded(oxygen: Oxygen, server: Server, command: list[str], needs: str) -> None:
    server.says("GET /balance", data(BALANCE))
    process = [sys.executable, "-c", LOADED, *command]
    done = subprocess.run(process, env=oxygen.env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, needs)
