"""The control API: what a test or the demo makes happen that Stripe's own API cannot. JSON in, JSON out, no key.

`GET /_emu` tells the state: the time, when something comes due next, how many webhooks are on their way. `POST
/_emu/…`: `begin` {at} sets the main time while nobody is a customer · `clock` {to | by} moves it forwards and does what
comes due · `settings` {fail_next_payments: [decline codes], tax_percent, after_retries} · `disputes` {charge, reason,
amount, inquiry} opens one, {dispute, outcome: won | lost} closes it · `refunds` {charge, amount} as from the dashboard,
{fail: refund} · `customers` {delete} · `webhook` {url, secret, enabled_events} · `post` {any of webhooks.Habits} ·
`redeliver` {event, times} · `faults` {kind, times, path, method, seconds} (faults.py says which kinds) · `reset` {to}:
to nothing, or to what `GET /_emu/kept` told once, its time too. `GET /_emu/requests` is the log of requests, `GET
/_emu/deliveries` what the post did, `GET /_emu/objects` all there is.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, fields
from fractions import Fraction
from typing import Any

from sandbox.stripe import clocks, disputes, events, keeping
from sandbox.stripe.answers import rendered
from sandbox.stripe.desk import Desk
from sandbox.stripe.faults import Fault
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, Settings

type Verb = Callable[[Desk, Json], Json]


def clock(desk: Desk, asked: Json) -> Json:
    world = desk.world
    now = world.real()
    until = int(asked["to"]) if "to" in asked else now + int(asked["by"])
    if until < now:
        raise Refusal("Time only moves forwards.", param="to")
    clocks.catch_up(world, None, until)
    world.offset = until - int(time.time())
    return {"now": until}


def begin(desk: Desk, asked: Json) -> Json:
    """Choose what time it is, also an earlier one, while nobody is a customer yet."""
    if desk.world.all("customer"):
        raise Refusal("Somebody is a customer already: time only moves forwards.", param="at")
    desk.world.offset = int(asked["at"]) - int(time.time())
    return {"now": desk.world.real()}


def settings(desk: Desk, asked: Json) -> Json:
    known = {each.name for each in fields(Settings)}
    if strange := asked.keys() - known:
        raise Refusal(f"no such setting: {', '.join(sorted(strange))}")
    if asked.get("after_retries", "cancel") not in ("cancel", "unpaid", "past_due"):
        raise Refusal("after_retries is cancel, unpaid or past_due.")
    wished = Settings(**(asdict(desk.world.settings) | asked))
    if Fraction(wished.tax_percent) < 0 or not isinstance(wished.fail_next_payments, list):
        raise Refusal("tax_percent is a number as text, fail_next_payments a list.")
    desk.world.settings = wished
    return asdict(desk.world.settings)


def dispute(desk: Desk, asked: Json) -> Json:
    world = desk.world
    if "dispute" in asked:
        if asked["outcome"] not in ("won", "lost"):
            raise Refusal("outcome is won or lost.")
        return disputes.close_dispute(world, world.get("dispute", asked["dispute"]), asked["outcome"])
    charge = world.get("charge", asked["charge"], "charge")
    return disputes.open_dispute(
        world, charge, asked.get("reason", "fraudulent"), asked.get("amount"), inquiry=bool(asked.get("inquiry"))
    )


def refund(desk: Desk, asked: Json) -> Json:
    world = desk.world
    if "fail" in asked:
        return disputes.fail_refund(world, asked["fail"])
    charge = world.get("charge", asked["charge"], "charge")
    return disputes.refund(world, charge, asked.get("amount"), "requested_by_customer", {})


def customer(desk: Desk, asked: Json) -> Json:
    return clocks.delete_customer(desk.world, {}, asked["delete"])


def webhook(desk: Desk, asked: Json) -> Json:
    """Open an endpoint whose secret the caller chooses, as `stripe listen` has one."""
    world = desk.world
    endpoint = events.open_endpoint(world, {"url": asked["url"], "enabled_events": asked.get("enabled_events", ["*"])})
    world.secrets[endpoint["id"]] = str(asked.get("secret", endpoint["secret"]))
    return endpoint | {"secret": world.secrets[endpoint["id"]]}


def post(desk: Desk, asked: Json) -> Json:
    desk.post.follow(asked)
    return asdict(desk.post.habits)


def redeliver(desk: Desk, asked: Json) -> Json:
    desk.post.redeliver(events.event_named(desk.world, asked["event"])["id"], int(asked.get("times", 1)))
    return desk.post.account()


def fault(desk: Desk, asked: Json) -> Json:
    desk.faults.append(Fault(**asked))
    return {"faults": [asdict(each) for each in desk.faults]}


def reset(desk: Desk, asked: Json) -> Json:
    desk.reset()
    if "to" in asked:
        keeping.take_up(desk, asked["to"])
    return state(desk)


def state(desk: Desk) -> Json:
    """What there is, in numbers, and how things are set."""
    world = desk.world
    return {
        "now": world.real(),
        "next_due": clocks.next_due(world),
        "pending": desk.post.pending(),
        "objects": {kind: len(objects) for kind, objects in world.kinds.items()},
        "settings": asdict(world.settings),
        "post": asdict(desk.post.habits),
        "faults": [asdict(each) for each in desk.faults],
    }


def kept(desk: Desk) -> Json:
    """All that is needed to come back to how things stand."""
    return keeping.noted(desk)


def objects(desk: Desk) -> Json:
    """All objects as the API would show them, for a judge."""
    return {"objects": [rendered(each) for kind in desk.world.kinds for each in desk.world.all(kind)]}


VERBS: dict[str, Verb] = {
    "begin": begin,
    "clock": clock,
    "settings": settings,
    "disputes": dispute,
    "refunds": refund,
    "customers": customer,
    "webhook": webhook,
    "post": post,
    "redeliver": redeliver,
    "faults": fault,
    "reset": reset,
}


def obeyed(desk: Desk, verb: str, asked: Any) -> Json:
    """Do what was asked of the control API; a Refusal says what was wrong with it."""
    if verb not in VERBS or not isinstance(asked, dict):
        raise Refusal(f"There is no /_emu/{verb} here, or the body is no JSON object.", status=404)
    try:
        return VERBS[verb](desk, asked)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise Refusal(f"{verb}: {error!r}", status=422) from error
