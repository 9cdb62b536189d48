"""One of an execution plane's clients, HTTP only: `python -m tests.runs.plane JOURNAL URL KEY RESERVATION SEED`.

Takes holds until the cap is reached, and settles what `outcomes` says came of them, some batches twice, or twice at
once. What it is about to do stands in its journal first: killed and started again, it asks for the same holds under the
same keys and settles the same outcomes. Prints what it was told: how many settled, and the credits captured for them.
"""

import json
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

CHEAP, DEAR = "hunter.email_finder", "openai.ai_column"  # at most 1 and 3.5 credits
AT_ONCE = 200  # items
BATCH = 500  # outcomes, at most


def outcomes(seed: str, item: int) -> list[dict[str, Any]]:
    """What comes of an item, by the seed alone; costs are ten-thousandths of credits, up to twice the maximum."""
    dice = random.Random(f"{seed}:{item}")
    cost = Decimal(dice.randrange(20_000)) / 10_000
    first = {"item": item, "tool": CHEAP, "outcome": "succeeded", "cost": cost}
    if dice.random() < 0.5:
        return [first]
    first |= dice.choice(({"outcome": "no_result", "cost": Decimal(0)}, {"outcome": "failed_after_billing"}))
    last = {"outcome": "succeeded", "cost": cost * 2} if dice.random() < 0.9 else {"outcome": "failed_before_billing"}
    return [first, {"item": item, "tool": DEAR, "cost": Decimal(0)} | last]


class Plane:
    def __init__(self, journal: str, url: str, key: str, reservation: str, seed: str) -> None:
        self.journal, self.seed = Path(journal), seed
        headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx2.Client(
            base_url=f"{url}/api/v1/reservations/{reservation}", headers=headers, timeout=60, trust_env=False
        )
        self.dice = random.Random()  # which batches are sent twice need not be the same again
        self.told: Counter[str] = Counter()
        self.captured = Decimal(0)

    def work(self) -> None:
        for key in self._unfinished():
            self._take(key)
        while True:
            key = uuid4().hex
            self._note("take", key)
            if not self._take(key):
                return

    def _unfinished(self) -> list[str]:
        """The holds that may have been taken, and of which not all is known to have settled."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        noted = [line.split() for line in lines if line.count(" ") == 1]
        done = {key for what, key in noted if what == "done"}
        return [key for what, key in noted if what == "take" and key not in done]

    def _note(self, what: str, key: str) -> None:
        with self.journal.open("a") as file:
            file.write(f"{what} {key}\n")

    def _take(self, key: str) -> bool:
        """Take holds under a key, and settle them; say whether there may be more."""
        held = self.client.post("/holds", json={"items": AT_ONCE}, headers={"Idempotency-Key": key})
        if held.status_code == 409:
            assert held.json()["code"] in ("cap_reached", "nothing_left"), held.text
            self._note("done", key)
            return False
        assert held.status_code == 201, held.text
        items = held.json()["data"]["items"]
        if not items:  # others have to settle first
            time.sleep(0.05)
        steps = [outcomes(self.seed, item) for item in items]
        if self.dice.random() < 0.5:
            self._settle([each for cascade in steps for each in cascade])
        else:
            for n in range(2):
                self._settle([cascade[n] for cascade in steps if n < len(cascade)])
        self._note("done", key)
        return True

    def _settle(self, batch: list[dict[str, Any]]) -> None:
        self.dice.shuffle(batch)
        for n in range(0, len(batch), BATCH):
            part = json.dumps({"outcomes": batch[n : n + BATCH]}, default=float).encode()
            sending = self.dice.choice((1, 1, 1, 2))
            with ThreadPoolExecutor(sending) as threads:
                for answer in list(threads.map(self._send, [part] * sending)):
                    self._hear(answer)
            if self.dice.random() < 0.2:
                self._hear(self._send(part))

    def _send(self, part: bytes) -> httpx2.Response:
        return self.client.post("/settle", content=part, headers={"Content-Type": "application/json"})

    def _hear(self, answer: httpx2.Response) -> None:
        assert answer.status_code == 200, answer.text
        for verdict in json.loads(answer.text, parse_float=Decimal)["data"]["outcomes"]:
            self.told[verdict["verdict"]] += 1
            if verdict["verdict"] == "settled":
                self.captured += verdict["credits"]


if __name__ == "__main__":
    plane = Plane(*sys.argv[1:])
    plane.work()
    print(json.dumps({"told": plane.told, "captured": str(plane.captured)}))
