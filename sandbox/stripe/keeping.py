"""What this Stripe writes down, so that it still knows it after a stop: one JSON file, replaced whole at each change.

For `--keep FILE`. The file is either what it was or what it is now, whenever the process dies; killed, that loses the
last fifth of a second. What only a running process has is not in it: the log of requests, and waits between tries.
"""

import asyncio
import json
import logging
import os
import time
from dataclasses import asdict
from pathlib import Path

from sandbox.stripe import API_VERSION
from sandbox.stripe.cards import BY_NAME
from sandbox.stripe.desk import Desk, Kept
from sandbox.stripe.faults import Fault
from sandbox.stripe.state import Json, Settings
from sandbox.stripe.webhooks import Habits, Letter

log = logging.getLogger("uvicorn.error")
SHAPE = f"oxygen stripe sandbox 1, API {API_VERSION}"  # count up where an older file could not be read rightly
PAUSE = 0.2  # seconds between two writings


class Unreadable(Exception):
    """The file is no state of this Stripe; the message says so."""


def noted(desk: Desk) -> Json:
    """All that is to be kept of a desk, as JSON."""
    world = desk.world
    return {
        "shape": SHAPE,
        "base": desk.base,
        "offset": world.offset,
        "kinds": world.kinds,
        "cards": {method: f"pm_card_{card.name}" for method, card in world.cards.items()},
        "set_up": sorted(world.set_up),
        "hidden": world.hidden,
        "secrets": world.secrets,
        "settings": asdict(world.settings),
        "keys": {key: asdict(kept) | {"body": kept.body.decode()} for key, kept in desk.keys.items() if kept.status},
        "faults": [asdict(each) for each in desk.faults],
        "habits": asdict(desk.post.habits),
        "letters": [asdict(each) for each in desk.post.letters],
    }


def take_up(desk: Desk, kept: Json) -> None:
    """Put what was noted back on an empty desk. What is still to be delivered goes out at once."""
    world = desk.world
    world.offset = int(kept["offset"])
    world.kinds = kept["kinds"]
    items = world.kinds.get("subscription_item", {})
    for subscription in world.all("subscription"):
        items |= {each["id"]: each for each in subscription["items"]["data"] if each["id"] in items}  # one and the same
    world.cards = {method: BY_NAME[name] for method, name in kept["cards"].items()}
    world.set_up = set(kept["set_up"])
    world.hidden = kept["hidden"]
    world.secrets = kept["secrets"]
    world.settings = Settings(**kept["settings"])
    desk.keys = {
        key: Kept(**(each | {"body": each["body"].encode(), "busy": False})) for key, each in kept["keys"].items()
    }
    desk.faults[:] = [Fault(**each) for each in kept["faults"]]
    desk.post.habits = Habits(**kept["habits"])
    desk.post.letters = [Letter(**(each | {"not_before": time.monotonic()})) for each in kept["letters"]]


class Book:
    """The file in which one desk is kept."""

    def __init__(self, desk: Desk, file: Path) -> None:
        self.desk, self.file = desk, file
        self._closing = False

    def open(self) -> None:
        """Take up what the file holds, if there is one; Unreadable where it is none of ours."""
        try:
            text = self.file.read_text("utf-8")
        except FileNotFoundError:
            return
        try:
            kept = json.loads(text)
            if kept["shape"] != SHAPE:
                raise ValueError
            if kept["base"] != self.desk.base:  # this time at another address, and so are its pages
                kept = json.loads(text.replace(f"{kept['base']}/", f"{self.desk.base}/"))
            take_up(self.desk, kept)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Unreadable(
                f"{self.file} is not the state of a local Stripe of this version ({SHAPE}). Move it out of the way to"
                " begin with an empty one."
            ) from None

    async def write(self) -> None:
        """Write down each change soon after it, until the book is closed."""
        changed = self.desk.post.changed
        while not self._closing:
            await changed.wait()
            changed.clear()
            try:
                await asyncio.to_thread(self._replace, self._text())
            except OSError as error:
                log.error("%s could not be written: %s", self.file, error)
                changed.set()
            await asyncio.sleep(PAUSE)

    async def close(self, writing: asyncio.Task[None]) -> None:
        """Let the last writing end, and write what has changed since."""
        self._closing = True
        self.desk.post.changed.set()
        await writing
        self._replace(self._text())

    def _text(self) -> str:
        return json.dumps(noted(self.desk), ensure_ascii=False, separators=(",", ":"))

    def _replace(self, text: str) -> None:
        fresh = self.file.with_name(f"{self.file.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.file)
