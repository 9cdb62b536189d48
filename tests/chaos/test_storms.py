"""Workers killed, frozen and cut off from the database while runs go on: nothing is charged twice, nothing is lost."""

from pathlib import Path

import pytest

from billing.models import Organization, User
from tests.chaos.storm import Storm
from tests.conftest import give
from tests.effort import effort
from tests.runs.conftest import Providers
from tests.tally import Tally


@pytest.mark.usefixtures("fresh_database", "soon", "catalog")
def test_no_credit_is_lost_whatever_happens_to_the_workers(
    acme: Organization,
    alice: User,
    globex: Organization,
    mallory: User,
    providers: Providers,
    tally: Tally,
    tmp_path: Path,
) -> None:
    for org in (acme, globex):
        give(org, 100_000)
    storm = Storm("workers", {acme: alice, globex: mallory}, providers, tmp_path / "workers.log")
    try:
        storm.rage(*[storm.kill] * effort(50), *[storm.cut] * effort(100), zombies=effort(30))
        storm.calm_down()
    finally:
        storm.crew.send_home()
    storm.reckon(tally)
    assert storm.looks > 5
