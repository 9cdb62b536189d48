"""The soak's headline: what the suites did to the product, and what was lost by it. Printed at the end, with the seed.

Loaded with `-p`. A test counts through the fixture `tally`; the counts travel with its report, from whichever worker.
The law: what must be 0 is counted from what was found, and counted before it is asserted.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.effort import SEED, SOAK

# In the order they are told. What must be 0 stands last.
DONE = (
    "statement faults",
    "errors injected",
    "kill -9",
    "zombies",
    "backends killed",
    "PostgreSQL crashes",
    "graceful stops",
    "cap races",
    "bank operations",
    "connection kills",
    "bank reads",
    "model steps",
    "provider calls",
    "clock moves",
    "deliveries from Stripe",
    "lives of customers",
    "payments killed",
    "calls made up",
    "writes sent 16 times",
    "runs ended",
    "outcomes settled outside",
)
NEVER = (
    *("credits lost", "double captures", "cap overshoots", "runs that never end"),
    *("double charges", "double grants", "credits that nobody paid for"),
)
WORDS = {*DONE, *NEVER}

type Tally = Callable[[str, int], None]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Count what this test did, under one of the words above."""

    def count(what: str, number: int) -> None:
        assert what in WORDS, what
        request.node.user_properties.append((what, number))

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    counts: Counter[str] = Counter()
    for report in reports:
        if report.when == "call":
            for what, number in report.user_properties:
                if what in WORDS:
                    counts[what] += number
    if not counts:
        return
    terminalreporter.section(f"what the ledger went through: {'the whole' if SOAK else 'a tenth'}, SEED={SEED}")
    for what in DONE:
        if counts[what]:
            terminalreporter.line(f"{counts[what]:>9,}  {what}")
    for what in NEVER:
        terminalreporter.line(f"{counts[what]:>9,}  {what}", red=counts[what] > 0, green=not counts[what])
