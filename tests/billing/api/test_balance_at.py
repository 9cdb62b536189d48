"""GET /balance/at: what was there at an instant, as it was shown then."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from billing import orgs
from billing.models import Organization, User
from oxygen_site.clock import advance, clock
from tests.billing.moves import attempt, close, open_run, settle
from tests.billing.test_api import instant, key
from tests.conftest import give
from tests.contract import ask


def test_the_balance_at_an_instant_is_what_was_shown_then(acme: Organization, alice: User) -> None:
    secret, shown = key(acme, alice), []
    run = open_run(acme.pk, 10, begin=4)
    for step in range(4):
        if step:
            settle(acme.pk, run, attempt(step))
        shown.append(ask("/balance", secret).data)
        advance(timedelta(hours=20))
    settle(acme.pk, run, attempt(4))
    close(acme.pk, run)
    for then in shown:
        again = ask(f"/balance/at?instant={then['as_of']}", secret).data
        for figure in ("as_of", "available", "reserved", "tie_out"):
            assert again[figure] == then[figure]
        assert again["captured"] == then["tie_out"]["captured"]
        assert again["tie_out"]["ties"]


def test_what_was_booked_at_the_instant_counts(acme: Organization, alice: User) -> None:
    secret = key(acme, alice)
    give(acme, 7)
    newest, first = ask("/ledger?kind=granted", secret).data["entries"]
    assert ask(f"/balance/at?instant={newest['timestamp']}", secret).data["available"] == 107
    assert ask(f"/balance/at?instant={first['timestamp']}", secret).data["available"] == 100


@pytest.mark.parametrize("text", ["2001-01-01T00:00:00Z", "0001-01-01T00:00:01+05:01", "0001-01-03T00:00:00-12:00"])
def test_before_the_beginning_there_was_nothing(acme: Organization, alice: User, text: str) -> None:
    shown = ask(f"/balance/at?instant={quote(text)}", key(acme, alice)).data
    assert {shown[figure] for figure in ("available", "reserved", "captured")} == {0}
    assert shown["tie_out"]["ties"]


def test_another_zone_is_read_and_answered_in_utc(acme: Organization, alice: User) -> None:
    asked = quote("2001-01-01T01:30:00+01:30")
    assert ask(f"/balance/at?instant={asked}", key(acme, alice)).data["as_of"] == "2001-01-01T00:00:00Z"


@pytest.mark.usefixtures("acme")
def test_an_instant_to_come_is_refused(acme: Organization, alice: User) -> None:
    later = (clock() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = ask(f"/balance/at?instant={later}", key(acme, alice))
    assert (answer.status, answer.code) == (422, "instant_to_come")


@pytest.mark.parametrize("text", ["", "now", "1764000000", "2026-11-25", "2026-11-25T09:30:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_instant_is_told_by_its_parameter(acme: Organization, alice: User, text: str) -> None:
    answer = ask(f"/balance/at?instant={text}", key(acme, alice))
    assert (answer.status, answer.code) == (422, "invalid")
    assert answer.body["errors"][0]["parameter"] == "instant"


def test_a_change_of_zone_changes_no_balance_of_the_past(acme: Organization, alice: User) -> None:
    secret = key(acme, alice)
    run = open_run(acme.pk, 10, begin=8)
    instants = []
    for item in range(1, 9):
        settle(acme.pk, run, attempt(item))
        instants.append(clock())
        advance(timedelta(hours=5))
    orgs.change_zone(acme, "Pacific/Kiritimati")
    for n, at in enumerate(instants, 1):
        shown = ask(f"/balance/at?instant={at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}", secret).data
        assert (shown["captured"], shown["reserved"], instant(shown["as_of"])) == (n, 10 - n, at)
