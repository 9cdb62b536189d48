"""How hard the suites try: `make test` a fixed tenth, `make soak` the whole. One setting, one seed."""

import os
import random

SOAK = os.environ.get("OXYGEN_SOAK") == "1"
# Put back into the environment, so that all workers of one run share it.
SEED = int(os.environ.setdefault("SEED", str(random.SystemRandom().randrange(2**32))))


def effort(full: int) -> int:
    """Say how many of the `full` number of steps, kills or runs this run makes; at least one."""
    return full if SOAK else max(1, full // 10)
