"""An intention happens whole or not at all, and is repeated only when the database failed it."""

import contextlib
import threading

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from oxygen_site import transactions
from oxygen_site.transactions import TRIES, Refused, Undecided, intention, one_snapshot
from tests.chaos.driver import AFTER, BEFORE, Fault, planted


class Tally:
    def __init__(self, url: str) -> None:
        self.url = url
        self.attempts = 0

    def mark(self, number: int = 1) -> None:
        self.attempts += 1
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO tally VALUES (%s)", [number])

    def read(self) -> list[int]:
        with psycopg.connect(self.url) as other:
            return [mark for (mark,) in other.execute("SELECT mark FROM tally ORDER BY 1")]


@pytest.fixture
def tally(fresh_database: str) -> Tally:
    """A table of marks: what was committed is what `read` finds, over a connection of its own."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE tally (mark int PRIMARY KEY)")
    return Tally(fresh_database)


def fail_in_the_database(sqlstate: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{sqlstate}'; END $$")


@pytest.mark.django_db
def test_an_intention_returns_what_its_verb_returns() -> None:
    assert intention(lambda: 42) == 42


@pytest.mark.django_db
def test_an_intention_inside_another_fails_loudly() -> None:
    with pytest.raises(RuntimeError, match="durable"):
        intention(lambda: intention(lambda: 42))


def test_an_intention_inside_an_open_transaction_fails_loudly(fresh_database: str) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        intention(lambda: 42)


def test_what_an_intention_wrote_is_committed(tally: Tally) -> None:
    intention(tally.mark)

    assert tally.read() == [1]


def test_a_refusal_that_is_raised_leaves_nothing_behind_and_is_not_repeated(tally: Tally) -> None:
    def verb() -> None:
        tally.mark()
        raise Refused("cap_reached", "The cap is reached.")

    with pytest.raises(Refused, match="The cap is reached"):
        intention(verb)
    assert tally.read() == []
    assert tally.attempts == 1


def test_a_refusal_that_is_returned_keeps_what_was_booked_on_the_way(tally: Tally) -> None:
    def verb() -> Refused:
        tally.mark()
        return Refused("insufficient_credits", "12 credits are missing.", status=402, missing=12)

    with pytest.raises(Refused) as refusal:
        intention(verb)
    assert tally.read() == [1]
    assert (refusal.value.status, refusal.value.facts) == (402, {"missing": 12})


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "55P03", "57P01", "57P02", "57P03", "25P03", "08006"])
def test_what_the_database_failed_is_done_again_from_the_beginning(tally: Tally, sqlstate: str) -> None:
    def verb() -> str:
        tally.mark()
        if tally.attempts == 1:
            fail_in_the_database(sqlstate)
        return "done"

    assert intention(verb) == "done"
    assert tally.read() == [1]
    assert tally.attempts == 2


def test_a_connection_lost_half_way_is_replaced(tally: Tally) -> None:
    def verb() -> None:
        tally.mark()
        if tally.attempts == 1:
            with connection.cursor() as cursor, psycopg.connect(tally.url, autocommit=True) as other:
                cursor.execute("SELECT pg_backend_pid()")
                other.execute("SELECT pg_terminate_backend(%s, 5000)", cursor.fetchone())
        tally.mark(2)

    intention(verb)

    assert tally.read() == [1, 2]


def test_a_failure_that_stays_is_given_up(tally: Tally) -> None:
    def verb() -> None:
        tally.mark()
        fail_in_the_database("40001")

    with pytest.raises(OperationalError, match="on purpose"):
        intention(verb)
    assert tally.attempts == TRIES
    assert tally.read() == []


def test_a_broken_constraint_is_a_bug_and_is_not_repeated(tally: Tally) -> None:
    def verb() -> None:
        tally.mark(1)
        tally.mark(1)

    with pytest.raises(IntegrityError):
        intention(verb)
    assert tally.attempts == 2


def test_two_intentions_that_lock_each_other_out_both_get_through(tally: Tally) -> None:
    intention(tally.mark)
    intention(lambda: tally.mark(2))
    both_hold_one = threading.Barrier(2)

    def touch(first: int, second: int) -> None:
        first_try = True

        def verb() -> None:
            nonlocal first_try
            with connection.cursor() as cursor:
                cursor.execute("UPDATE tally SET mark = mark WHERE mark = %s", [first])
                if first_try:
                    first_try = False
                    both_hold_one.wait(10)
                cursor.execute("UPDATE tally SET mark = mark WHERE mark = %s", [second])

        try:
            intention(verb)
            through.append(first)
        finally:
            connection.close()

    through: list[int] = []
    threads = [threading.Thread(target=touch, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(through) == [1, 2]


def test_a_savepoint_inside_may_fail_without_harm(tally: Tally) -> None:
    def verb() -> None:
        tally.mark(1)
        with pytest.raises(DatabaseError), transaction.atomic():
            tally.mark(1)
        tally.mark(2)

    intention(verb)

    assert tally.read() == [1, 2]


def test_a_savepoint_that_cannot_be_rolled_back_to_is_no_silent_success(tally: Tally) -> None:
    """Django swallows that failure where the verb goes on, and would roll back at the end without a word."""

    def verb() -> str:
        tally.mark()
        with contextlib.suppress(IntegrityError), transaction.atomic():
            if tally.attempts == 1:
                with connection.cursor() as cursor, psycopg.connect(tally.url, autocommit=True) as other:
                    cursor.execute("SELECT pg_backend_pid()")
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", cursor.fetchone())
            raise IntegrityError("as the queue's, where a job waits already")
        return "done"

    assert intention(verb) == "done"
    assert tally.read() == [1]


@pytest.mark.parametrize(("how", "attempts"), [(BEFORE, 2), (AFTER, 1)])
def test_of_a_commit_without_an_answer_the_database_says_whether_it_happened(
    tally: Tally, how: str, attempts: int
) -> None:
    def verb() -> str:
        tally.mark(tally.attempts)
        return f"attempt {tally.attempts}"

    with psycopg.connect(tally.url, autocommit=True) as other, planted(Fault(2, how), other) as seen:
        assert intention(verb, certain=True) == f"attempt {attempts}"
    assert seen.struck == ("COMMIT", True)
    assert tally.read() == [attempts - 1]


def test_a_refusal_that_was_committed_without_an_answer_is_the_refusal(tally: Tally) -> None:
    def verb() -> Refused:
        tally.mark()
        return Refused("insufficient_credits", "12 credits are missing.", status=402)

    with (
        psycopg.connect(tally.url, autocommit=True) as other,
        planted(Fault(2, AFTER), other),
        pytest.raises(Refused, match="12 credits"),
    ):
        intention(verb, certain=True)
    assert tally.attempts == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_still_under_way_is_waited_for_and_given_up(
    tally: Tally, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(tally.url) as other:
        (number,) = other.execute("SELECT pg_current_xact_id()::text").fetchone() or [""]
        end = threading.Timer(0.2, other.commit if committed else other.rollback)
        monkeypatch.setattr(transactions, "PATIENCE", -1)
        with pytest.raises(Undecided):
            transactions._committed(number)
        monkeypatch.undo()
        end.start()
        assert transactions._committed(number) == committed
        end.join()


# ------------------------------------------------------------------ one snapshot


def marks() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT mark FROM tally ORDER BY 1")
        return [mark for (mark,) in cursor.fetchall()]


def test_what_is_committed_meanwhile_is_not_seen_in_a_snapshot(tally: Tally) -> None:
    with one_snapshot():
        assert marks() == []
        with psycopg.connect(tally.url) as other:
            other.execute("INSERT INTO tally VALUES (1)")
        assert marks() == []
    assert marks() == [1]


def test_a_snapshot_inside_another_is_the_same(tally: Tally) -> None:
    with one_snapshot():
        assert marks() == []
        with psycopg.connect(tally.url) as other:
            other.execute("INSERT INTO tally VALUES (1)")
        with one_snapshot():
            assert marks() == []


def test_nothing_is_written_in_a_snapshot(tally: Tally) -> None:
    with pytest.raises(DatabaseError, match="read-only"), one_snapshot():
        tally.mark()
    assert tally.read() == []


def test_only_a_patient_snapshot_has_no_time_limit(fresh_database: str) -> None:
    def limit() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    with one_snapshot():
        usual = limit()
    with one_snapshot(patient=True):
        assert limit() == "0" != usual
    assert limit() == usual
