"""The same write, sent sixteen times at once with one Idempotency-Key: one effect, sixteen equal answers."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx2

from billing import books, keys
from billing.models import Entry, Organization, Scope, User
from runs.models import Run
from tests.conftest import give
from tests.effort import effort
from tests.runs.conftest import column_of, table_of
from tests.tally import Tally

ROUNDS = 500
AT_ONCE = 16
HUNTER = "hunter.email_finder"


def test_the_same_write_sent_sixteen_times_at_once_happens_once(
    site: str, catalog: None, acme: Organization, alice: User, settings: object, tally: Tally
) -> None:
    settings.API_CALLS_PER_MINUTE = 10**6  # type: ignore[attr-defined]
    give(acme, 10_000)
    rounds = effort(ROUNDS)
    column = column_of(table_of(acme, rows=rounds), HUNTER)
    body = {"table": str(column.table_id), "column": column.key, "limit": 1, "max_credits": 3}
    secret = keys.make(acme, alice, "Sixteen", [Scope.RUN])[1]
    together = Barrier(AT_ONCE)

    def sent(number: int) -> list[tuple[int, bytes]]:
        answers = []
        with httpx2.Client(base_url=f"{site}/api/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=60) as it:
            for each in range(rounds):
                together.wait()
                response = it.post("/runs", json=body, headers={"Idempotency-Key": f"round-{each}"})
                answers.append((response.status_code, response.content))
        return answers

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answered = list(zip(*pool.map(sent, range(AT_ONCE)), strict=True))
    tally("writes sent 16 times", len(answered))
    assert [{status for status, _ in answers} for answers in answered] == [{201}] * rounds
    assert [len(set(answers)) for answers in answered] == [1] * rounds
    assert Run.objects.count() == rounds
    assert Entry.objects.filter(org=acme.pk, kind="reserved").count() == rounds
    assert books.prove() == []
