"""The assets of other people are what was locked, byte for byte."""

import json
from pathlib import Path

import pytest

import vendor


def test_the_tree_holds_what_was_locked() -> None:
    assert vendor.check() == []


def test_the_lock_names_no_index() -> None:
    assert "http" not in vendor.LOCK.read_text()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small tree with one locked file."""
    (tmp_path / "a.css").write_text("a")
    facts = {"version": "1", "licence": "MIT"}
    (tmp_path / "wanted").write_text(json.dumps({"a": facts | {"files": {"in.css": "a.css"}}}))
    (tmp_path / "lock").write_text(json.dumps({"a": facts | {"sha256": {"a.css": vendor._digest(tmp_path / "a.css")}}}))
    for name, path in (("HERE", tmp_path), ("WANTED", tmp_path / "wanted"), ("LOCK", tmp_path / "lock")):
        monkeypatch.setattr(vendor, name, path)
    return tmp_path


def strays(faults: list[str]) -> list[str]:
    return [fault for fault in faults if not fault.startswith(("wanted:", "lock:"))]


def test_a_changed_file_is_noticed(copy: Path) -> None:
    (copy / "a.css").write_text("b")
    assert strays(vendor.check()) == ["a.css: not what was locked"]


def test_a_missing_file_is_noticed(copy: Path) -> None:
    (copy / "a.css").unlink()
    assert strays(vendor.check()) == ["a.css: missing"]


def test_a_stray_file_is_noticed(copy: Path) -> None:
    (copy / "b.css").write_text("b")
    assert strays(vendor.check()) == ["b.css: not in the lock"]


def test_a_version_that_was_not_fetched_is_noticed(copy: Path) -> None:
    (copy / "wanted").write_text((copy / "wanted").read_text().replace('"1"', '"2"'))
    assert len(strays(vendor.check())) == 1
