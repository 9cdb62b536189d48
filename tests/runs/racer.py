"""One of several processes that race for the same runs: `python -m tests.runs.racer SEED RUN…`.

Claims and settles at random through `dispatch`, as a worker does, with answers of its own making: mixed outcomes, costs
from nothing to twice the maximum. Prints what it settled, and the credits that should have been captured for it.
"""

import json
import os
import random
import sys
from decimal import Decimal
from uuid import UUID, uuid4

import django


def main(seed: str, *ids: str) -> None:
    from runs import dispatch, standing
    from runs.cascade import place
    from runs.models import Run
    from runs.providers.outcomes import Outcome

    dice = random.Random(seed)
    owner = uuid4()
    runs = {UUID(run): Run.objects.get(id=run) for run in ids}
    settled, captured = 0, Decimal(0)

    def answer(run: Run, call: dispatch.Call) -> dispatch.Answer:
        nonlocal captured
        step = run.cascade[place(call.number)[0]]
        outcome = dice.choice(("succeeded", "succeeded", "no_result", "failed_after_billing", "failed_before_billing"))
        cost = Decimal(dice.randrange(20_001)) / 10_000 * step.maximum
        cost = Decimal(0) if outcome == "failed_before_billing" else cost.quantize(Decimal("0.0001"))
        captured += min(cost, step.maximum)
        return dispatch.Answer(call, Outcome(outcome, cost, "", {"a": 1} if outcome == "succeeded" else None), 1)

    while runs:
        run = dice.choice(list(runs.values()))
        standing.begin(run)
        calls = dispatch.claim(run, owner, dice.randint(1, 6))
        while calls:
            batch = [calls.pop() for _ in range(dice.randint(1, len(calls)))]
            calls += dispatch.settle(run, owner, [answer(run, call) for call in batch])
            settled += len(batch)
        if dice.random() < 0.2:
            standing.give_back(run)
        if standing.rest(run) is None:
            del runs[run.id]
    print(json.dumps({"settled": settled, "captured": str(captured)}))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxygen_site.settings")
    django.setup()
    main(*sys.argv[1:])
