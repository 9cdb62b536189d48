"""API keys: made once, shown once, kept as a digest, and stopped at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing import keys, orgs
from billing.models import Agency, ApiKey, Organization, Role, User
from oxygen_site.clock import advance, clock
from oxygen_site.transactions import Refused


def made(acme: Organization, alice: User, **facts: Any) -> tuple[ApiKey, str]:
    return keys.make(acme, alice, **{"name": "A script", "scopes": ["read"], **facts})


def presented(secret: str) -> ApiKey:
    return keys.presented(f"Bearer {secret}")


def refusal(authorization: str) -> str:
    with pytest.raises(Refused) as refused:
        keys.presented(authorization)
    assert refused.value.status == 401
    return refused.value.code


def test_a_key_is_known_by_its_beginning_and_its_end(acme: Organization, alice: User) -> None:
    key, secret = made(acme, alice)
    assert secret.startswith(f"{key.prefix}_")
    assert secret.endswith(key.last_four)
    assert str(key) == f"A script, {key.prefix}…{key.last_four}"
    assert presented(secret) == key


def test_no_row_holds_what_would_open_anything(acme: Organization, alice: User) -> None:
    _, secret = made(acme, alice)
    row = ApiKey.objects.values().get()
    hidden = secret.rpartition("_")[2]
    assert all(hidden not in str(value) for value in row.values())
    with pytest.raises(Refused):
        presented(row["digest"])


def test_two_keys_share_nothing_that_could_be_guessed(acme: Organization, alice: User) -> None:
    one, other = (made(acme, alice)[1] for _ in range(2))
    assert len(one) == len(other) == 67
    assert sum(a == b for a, b in zip(one[18:], other[18:], strict=True)) < 12


def test_scopes_are_kept_in_one_order_each_once(acme: Organization, alice: User) -> None:
    key, _ = made(acme, alice, scopes=["admin", "run", "run"])
    assert ApiKey.objects.get(pk=key.pk).scopes == ["run", "admin"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 81])
def test_a_key_needs_a_name(acme: Organization, alice: User, name: str) -> None:
    with pytest.raises(Refused, match="at most 80") as refused:
        made(acme, alice, name=name)
    assert (refused.value.code, refused.value.field) == ("invalid_name", "name")


@pytest.mark.parametrize("scopes", [[], ["rule"], ["read", "owner"]])
def test_a_key_needs_scopes_that_there_are(acme: Organization, alice: User, scopes: list[str]) -> None:
    with pytest.raises(Refused, match="read, run, steer, approve, admin"):
        made(acme, alice, scopes=scopes)


def test_a_key_cannot_be_made_for_the_past(acme: Organization, alice: User) -> None:
    with pytest.raises(Refused, match="later than now"):
        made(acme, alice, expires_at=clock())


def test_a_typing_mistake_is_told_from_a_wrong_key(acme: Organization, alice: User) -> None:
    _, secret = made(acme, alice)
    another = "oxy_live_00000000_" + "0" * 43
    assert refusal(f"Bearer {another}{keys._check(another)}") == "invalid_key"
    for n in range(len(secret)):
        swapped = "1" if secret[n] != "1" else "2"
        assert refusal(f"Bearer {secret[:n]}{swapped}{secret[n + 1 :]}") == "mistyped_key"
    for cut in (secret[:-1], secret[1:], f"{secret}x", secret.upper(), "sk_live_123", "ключ", "\0"):
        assert refusal(f"Bearer {cut}") == "mistyped_key"


def test_the_right_beginning_with_another_secret_opens_nothing(acme: Organization, alice: User) -> None:
    key, _ = made(acme, alice)
    guess = f"{key.prefix}_{'0' * 43}"
    assert refusal(f"Bearer {guess}{keys._check(guess)}") == "invalid_key"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "Basic YWxpY2U6eA==", "oxy_live_12345678"])
def test_who_presents_no_key_is_not_signed_in(ground: None, header: str) -> None:
    assert refusal(header) == "not_signed_in"


def test_the_word_bearer_is_read_in_any_case(acme: Organization, alice: User) -> None:
    key, secret = made(acme, alice)
    assert keys.presented(f"bearer {secret}") == key


def test_a_key_expires_by_business_time(acme: Organization, alice: User) -> None:
    _, secret = made(acme, alice, expires_at=clock() + timedelta(days=1))
    presented(secret)
    advance(timedelta(days=1))
    assert refusal(f"Bearer {secret}") == "expired_key"


def test_a_revoked_key_stops_at_once_and_says_by_whom(acme: Organization, alice: User, mallory: User) -> None:
    key, secret = made(acme, alice)
    keys.revoke(key, by=alice)
    assert refusal(f"Bearer {secret}") == "revoked_key"
    when = key.revoked_at
    keys.revoke(key, by=mallory)
    assert (key.revoked_at, key.revoked_by) == (when, alice)


def test_use_is_noted_to_the_minute_and_written_once_a_minute(
    acme: Organization, alice: User, django_assert_num_queries: Any
) -> None:
    key, secret = made(acme, alice)
    presented(secret)
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert (key.last_used_at.second, key.last_used_at.microsecond) == (0, 0)
    assert timedelta(0) <= clock() - key.last_used_at < timedelta(minutes=1)
    advance(timedelta(minutes=1))
    presented(secret)
    noted = ApiKey.objects.get().last_used_at
    assert noted is not None
    assert noted > key.last_used_at
    if clock() - noted < timedelta(seconds=55):  # else the minute may turn meanwhile
        with django_assert_num_queries(2):
            presented(secret)


def test_a_wrong_key_is_no_use(acme: Organization, alice: User) -> None:
    key, _ = made(acme, alice, expires_at=clock() + timedelta(days=1))
    guess = f"{key.prefix}_{'0' * 43}"
    refusal(f"Bearer {guess}{keys._check(guess)}")
    assert ApiKey.objects.get().last_used_at is None


def test_an_agencys_key_belongs_to_no_org(harbor: Agency, harriet: User) -> None:
    key, secret = keys.make(harbor, harriet, "The board", ["read"])
    assert (key.org, key.agency) == (None, harbor)
    assert presented(secret) == key


def test_many_at_once_with_one_key_are_all_let_in(site: str, acme: Organization, alice: User) -> None:
    _, secret = made(acme, alice)
    asked = Request(f"{site}/api/v1/balance", headers={"Authorization": f"Bearer {secret}"})

    def available(_: int) -> int:
        with urlopen(asked) as answer:
            return json.load(answer)["data"]["available"]

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(available, range(32))) == {100}
    assert ApiKey.objects.get().last_used_at is not None


# ------------------------------------------------------------------ another in its place

DAY = timedelta(days=1)


def test_rotating_makes_a_like_key_and_ends_the_old_one_after_the_overlap(acme: Organization, alice: User) -> None:
    old, first = made(acme, alice, scopes=["run", "approve"])
    new, second = keys.rotate(old, alice, DAY)
    assert (new.name, new.scopes, new.org, new.replaces) == (old.name, ["run", "approve"], acme, old)
    assert (presented(first), presented(second)) == (old, new)
    assert new.expires_at is None
    advance(DAY)
    assert refusal(f"Bearer {first}") == "expired_key"
    assert presented(second) == new


def test_a_key_that_expires_is_replaced_by_one_that_is_good_for_as_long(acme: Organization, alice: User) -> None:
    old, _ = made(acme, alice, expires_at=clock() + timedelta(days=30))
    length, ends = old.expires_at - old.created_at, old.expires_at  # type: ignore[operator]
    advance(timedelta(days=29))
    new, _ = keys.rotate(old, alice, timedelta(days=7))
    assert new.expires_at == new.created_at + length
    assert old.expires_at == ends  # sooner than the overlap would


def test_the_new_key_reaches_as_far_as_whoever_rotated(harbor: Agency, harriet: User, mallory: User) -> None:
    old, _ = keys.make(harbor, harriet, "The board", ["read"])
    new, _ = keys.rotate(old, mallory, DAY)
    assert (new.agency, new.org, new.made_by) == (harbor, None, mallory)


@pytest.mark.parametrize("ended", ["revoked", "expired", "replaced"])
def test_what_has_ended_or_was_replaced_is_not_rotated(acme: Organization, alice: User, ended: str) -> None:
    key, _ = made(acme, alice, expires_at=clock() + DAY)
    match ended:
        case "revoked":
            keys.revoke(key, by=alice)
        case "expired":
            advance(DAY)
        case "replaced":
            keys.rotate(key, alice, timedelta(hours=1))
    count = ApiKey.objects.count()
    with pytest.raises(Refused) as refused:
        keys.rotate(key, alice, DAY)
    assert refused.value.code == ("key_replaced" if ended == "replaced" else "key_ended")
    assert ApiKey.objects.count() == count


def test_rotated_many_times_at_once_a_key_is_replaced_once(
    fresh_database: str, acme: Organization, alice: User
) -> None:
    key, _ = made(acme, alice)

    def rotate(_: int) -> str:
        try:
            return keys.rotate(key, alice, DAY)[0].prefix
        except Refused as refused:
            return refused.code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(rotate, range(8)))
    assert answers[:7] == ["key_replaced"] * 7
    assert ApiKey.objects.get(replaces=key).prefix == answers[7]


# ------------------------------------------------------------------ the command


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("make_key", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def test_the_command_prints_a_key_of_an_owners(acme: Organization, alice: User) -> None:
    key = presented(command("acme", "--name", "Demo", "--scope", "read", "--scope", "run", "--days", "3"))
    assert (key.org, key.made_by, key.scopes, key.name) == (acme, alice, ["read", "run"], "Demo")
    assert key.expires_at is not None


def test_the_command_makes_a_key_in_a_members_name(acme: Organization, mallory: User) -> None:
    orgs.add_member(acme, mallory, Role.VIEWER)
    key = presented(command("acme", "--name", "Demo", "--scope", "read", "--by", "Mallory@oxygen.example"))
    assert (key.made_by, key.expires_at) == (mallory, None)


def test_the_command_makes_a_key_of_an_agencys_staff(harbor: Agency, harriet: User) -> None:
    key = presented(command("--agency", "harbor", "--name", "The board", "--scope", "read"))
    assert (key.agency, key.org, key.made_by) == (harbor, None, harriet)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--agency", "Nowhere", "--name", "x", "--scope", "read"), "no agency Nowhere"),
        (("--agency", "Harbor", "--name", "x", "--scope", "read", "--by", "mallory@oxygen.example"), "not in Harbor"),
        (("acme", "--agency", "Harbor", "--name", "x", "--scope", "read"), "not allowed with"),
        (("--name", "x", "--scope", "read"), "is required"),
        (("nowhere", "--name", "x", "--scope", "read"), "no organization nowhere"),
        (("acme", "--name", "x", "--scope", "read", "--by", "mallory@oxygen.example"), "not in Acme"),
        (("acme", "--name", "x", "--scope", "read", "--by", "nobody@oxygen.example"), "not in Acme"),
        (("bluefin", "--name", "x", "--scope", "read"), "--by names who"),
        (("acme", "--name", " ", "--scope", "read"), "at most 80"),
        (("acme", "--name", "x", "--scope", "rule"), "invalid choice"),
        (("acme", "--name", "x", "--scope", "read", "--days", "-1"), "later than now"),
    ],
)
def test_the_command_says_what_is_wrong(
    acme: Organization, harbor: Agency, mallory: User, arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        command(*arguments)
    assert not ApiKey.objects.exists()
