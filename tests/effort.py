"""How hard the suites try: `make test` a fixed tenth, `make soak` the whole. One setting, one seed.

The tenth is the same each time, so that what it says is about the change under test; the soak looks for what is new.
"""

import os
import random

SOAK = os.environ.get("OXYGEN_SOAK") == "1"
SEED = int(os.environ.get("SEED") or (random.SystemRandom().randrange(2**32) if SOAK else 2026))
os.environ["SEED"] = str(SEED)  # all workers of one run share it


def effort(full: int) -> int:
    """Say how many of the `full` number of steps, kills or runs this run makes; at least one."""
    return full if SOAK else max(1, full // 10)
