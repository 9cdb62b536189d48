"""`pip install .` gives the command, and nothing of the server."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from oxygen_cli import VERSION
from tests.oxygen_cli.conftest import ROOT


def test_the_command_installs_alone(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(tmp_path), str(ROOT)], check=True, timeout=120)
    assert {path.name for path in tmp_path.iterdir() if path.name != "bin"} == {
        "oxygen_cli",
        f"oxygen_billing-{VERSION}.dist-info",
    }
    env = {"PYTHONPATH": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [tmp_path / "bin" / "oxygen", "--version"], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"oxygen {VERSION}\n", "")


def test_its_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION


def test_what_it_needs_is_what_it_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {each.partition("~")[0] for each in project["dependencies"]}
    assert named == {"click", "httpx2", "platformdirs", "rich"}
    assert all(metadata.version(each) for each in named)
