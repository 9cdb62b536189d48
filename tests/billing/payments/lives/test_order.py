"""Whatever the order in which Stripe tells of a year, however often and from how many sides: the same comes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from random import Random
from typing import Any

import pytest
from django.core.management import call_command

from billing import books
from billing.models import StripeEvent
from oxygen_site.clock import clock
from tests import cluster
from tests.billing.payments.conftest import set_up_with
from tests.billing.payments.lives.year import Wire, live, next_new_year
from tests.conftest import person
from tests.effort import SEED, effort
from tests.sandbox.stripe.local import Sandbox, running
from tests.tally import Tally

ORDERS = 20


@contextmanager
def a_new_world(name: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A Stripe and a database in which nothing has happened yet, at the real time."""
    database = cluster.clone(name)
    with running() as local, cluster.pointed_at(database):
        local.products = Wire()
        with set_up_with(local, settings, monkeypatch):
            call_command("sync_plans", stdout=StringIO())
            yield local
    cluster.drop(database)


def test_a_year_comes_to_the_same_in_whatever_order_it_is_told(
    fresh_database: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    begins, first = next_new_year(clock()), None
    for n in range(effort(ORDERS)):
        with a_new_world(f"{fresh_database.rpartition('_')[2]}_order_{n}", settings, monkeypatch) as local:
            life = live(local, person("Alice"), begins, Random(f"{SEED}:{n}"))
            stuck = StripeEvent.objects.exclude(state__in=("applied", "ignored"))
            assert list(stuck.values_list("type", "state", "why")) == [], f"order {n}, SEED={SEED}"
            assert books.drifts(life.org.pk) == [], f"order {n}, SEED={SEED}"
        tally("deliveries from Stripe", life.deliveries)
        first = first or life.story
        for instant, (came, before) in enumerate(zip(life.story, first, strict=True)):
            for what, rows in came.items():
                assert rows == before[what], f"{what} after instant {instant} of order {n}, SEED={SEED}"
