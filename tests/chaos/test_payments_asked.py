"""A process killed anywhere in what people and jobs ask of Stripe: nothing happens twice, nothing is stuck."""

import pytest

from tests.billing.payments.conftest import _local, local, sold  # noqa: F401
from tests.chaos.mortal import killed_anywhere
from tests.chaos.payments import ASKED
from tests.sandbox.stripe.local import Sandbox
from tests.tally import Tally


@pytest.mark.parametrize("name", ASKED)
def test_a_process_killed_anywhere_charges_and_gives_nothing_twice(name: str, sold: Sandbox, tally: Tally) -> None:  # noqa: F811
    killed_anywhere(name, sold, tally)
