"""Business time only grows; the demo begins behind and ends at exactly the real time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.test import override_settings

from oxygen_site import clock

WEEK = timedelta(weeks=1)
SOON = timedelta(seconds=5)


def behind() -> timedelta:
    return datetime.now(UTC) - clock.clock()


@pytest.mark.django_db
def test_business_time_is_real_time_where_nobody_moved_it() -> None:
    assert abs(behind()) < SOON


@pytest.mark.django_db
def test_advancing_moves_it_forward_and_never_back() -> None:
    clock.advance(WEEK)
    clock.advance(-WEEK)

    assert abs(behind() + WEEK) < SOON


@pytest.mark.django_db
def test_the_demo_begins_behind_and_catches_up_to_the_real_time() -> None:
    clock.begin(6 * WEEK)
    clock.advance(WEEK)
    assert abs(behind() - 5 * WEEK) < SOON

    clock.catch_up()
    assert abs(behind()) < SOON


@pytest.mark.django_db
def test_catching_up_does_not_turn_back_time_that_is_ahead() -> None:
    clock.advance(WEEK)

    clock.catch_up()

    assert abs(behind() + WEEK) < SOON


@pytest.mark.django_db
def test_ids_are_of_business_time() -> None:
    clock.advance(520 * WEEK)

    made = clock.new_id()

    assert isinstance(made, UUID)
    assert made.version == 7
    milliseconds = made.int >> 80
    assert abs(datetime.fromtimestamp(milliseconds / 1000, UTC) - clock.clock()) < SOON


@pytest.mark.django_db
@override_settings(MOVABLE_CLOCK=False)
def test_production_refuses_to_move_it() -> None:
    with pytest.raises(RuntimeError, match="demo and in tests only"):
        clock.advance(WEEK)
