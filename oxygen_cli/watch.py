"""Waiting for a run, with its progress on standard error.

A bar where that is a terminal, else a line now and then; with --json and no terminal, nothing. Ctrl-C ends the
watching and not the run, and says so.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from oxygen_cli import problems, receipts
from oxygen_cli.command import Session

GOES_ON = {"queued", "running", "cancelling"}
WELL = {"succeeded", "completed_with_errors"}
SHORTEST, LONGEST = 0.25, 2.0  # seconds between two looks
LINES = 5.0  # seconds between two lines


class Tell(Protocol):
    def __call__(self, run: dict[str, Any]) -> None: ...


def started(session: Session, run: dict[str, Any], background: bool) -> int:
    """Show what came of starting a run: at once for a dry run or in the background, else once it rests."""
    if background or "id" not in run:
        session.show(run, receipts.run)
        return 0
    return follow(session, run)


def follow(session: Session, run: dict[str, Any]) -> int:
    """Wait until a run rests, and show its receipt; answer the exit code."""
    run = wait(session, run)
    session.show(run, receipts.run)
    return 0 if run["status"] in WELL else problems.REFUSED


def wait(session: Session, run: dict[str, Any]) -> dict[str, Any]:
    """Look at a run until it rests. Problem: interrupted."""
    session.say(f"Run {run['id']}")
    path, tag, pause = f"/runs/{run['id']}", None, SHORTEST
    try:
        with _telling(session) as tell:
            tell(run)
            while run["status"] in GOES_ON:
                time.sleep(pause)
                seen, tag = session.api.get_if_changed(path, tag)
                pause = min(LONGEST, pause * 1.5) if seen is None else SHORTEST * 2
                if seen is not None:
                    run = seen
                    tell(run)
    except KeyboardInterrupt:
        raise problems.ours("interrupted", "Interrupted", _goes_on(run), problems.INTERRUPTED) from None
    except problems.Problem as problem:
        problem.note = _goes_on(run)
        raise
    return run


def _goes_on(run: dict[str, Any]) -> str:
    id = run["id"]
    return f"The run goes on. `oxygen runs watch {id}` watches it, `oxygen table-runs cancel {id}` cancels it."


@contextmanager
def _telling(session: Session) -> Iterator[Tell]:
    if sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    elif session.as_json:
        yield lambda run: None
    else:
        yield _lines()


def _lines() -> Tell:
    last, at = "", 0.0

    def tell(run: dict[str, Any]) -> None:
        nonlocal last, at
        line, now = receipts.progress(run), time.monotonic()
        if line != last and (now - at >= LINES or run["status"] not in GOES_ON):
            print(line, file=sys.stderr, flush=True)
            last, at = line, now

    return tell


@contextmanager
def _bar() -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, TextColumn

    from oxygen_cli.shown import console

    columns = (BarColumn(bar_width=14), TextColumn("{task.fields[said]}", markup=False))
    with Progress(*columns, console=console(error=True), transient=True) as progress:
        task = progress.add_task("", total=1, said="")

        def tell(run: dict[str, Any]) -> None:
            items = run.get("items") or {}
            total = items.get("total") or None
            progress.update(task, total=total, completed=receipts.done(items), said=receipts.progress(run))

        yield tell
