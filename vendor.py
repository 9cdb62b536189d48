"""The assets other people made: fonts, icons and Plotly's script, kept in the tree at the versions of `vendor.json`.

`vendor.py fetch` packs each package with npm (which verifies its integrity), takes the named files and the licence out,
and writes `vendor.lock.json`. `vendor.py check` needs no network: every locked file is there, byte for byte, and
nothing else is.
Node is needed by whoever changes a version, never to build or to run.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WANTED, LOCK = HERE / "vendor.json", HERE / "vendor.lock.json"


def fetch() -> dict[str, Any]:
    """Take the wanted files out of their packages and return the lock that describes them."""
    lock = {}
    for name, package in json.loads(WANTED.read_text()).items():
        with tempfile.TemporaryDirectory() as folder:
            packed = subprocess.run(
                ["npm", "pack", f"{name}@{package['version']}", "--json", "--pack-destination", folder],
                check=True,
                capture_output=True,
                text=True,
            )
            facts = json.loads(packed.stdout)[0]
            with tarfile.open(Path(folder) / facts["filename"]) as archive:
                for inside, target in package["files"].items():
                    _take(archive, f"package/{inside}", HERE / target)
        lock[name] = {
            "version": package["version"],
            "licence": package["licence"],
            "integrity": facts["integrity"],
            "sha256": {target: _digest(HERE / target) for target in package["files"].values()},
        }
    return lock


def check() -> list[str]:
    """Say what is missing, changed, not locked, or locked at another version than wanted."""
    wanted, lock = json.loads(WANTED.read_text()), json.loads(LOCK.read_text())
    faults = [
        f"{name}: vendor.json and vendor.lock.json disagree, run `vendor.py fetch`"
        for name in wanted.keys() | lock.keys()
        if name not in wanted
        or name not in lock
        or any(wanted[name][fact] != lock[name][fact] for fact in ("version", "licence"))
        or set(wanted[name]["files"].values()) != set(lock[name]["sha256"])
    ]
    locked = {target: digest for package in lock.values() for target, digest in package["sha256"].items()}
    for target, digest in locked.items():
        if not (HERE / target).is_file():
            faults.append(f"{target}: missing")
        elif _digest(HERE / target) != digest:
            faults.append(f"{target}: not what was locked")
    folders = {(HERE / target).parent for target in locked}
    strays = {str(path.relative_to(HERE)) for folder in folders for path in folder.iterdir() if path.is_file()}
    return faults + [f"{stray}: not in the lock" for stray in sorted(strays - locked.keys())]


def _take(archive: tarfile.TarFile, inside: str, target: Path) -> None:
    source = archive.extractfile(inside)
    if source is None:
        raise SystemExit(f"{inside} is not a file of its package")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fetch"]:
            LOCK.write_text(json.dumps(fetch(), indent=2, sort_keys=True) + "\n")
        case ["check"]:
            if faults := check():
                raise SystemExit("\n".join(faults))
        case _:
            raise SystemExit("usage: vendor.py fetch|check")
