"""Changes of plan: quoted, confirmed, scheduled, undone. What we ask of Stripe for an org that has a subscription.

For the plan page, the API and `billing/jobs.py`. The laws: what is charged is what a quote showed, at the same instant
T for money and credits; first it is written down what is asked, then Stripe is asked under a key made from that row, so
that a process may die anywhere and `carry_on_due` goes on; nothing is paid for here, only asked for: a change has
happened when the inbox has read its paid invoice, or the renewal. Every verb may raise Refused with these codes:
not_set_up, not_subscribed, stripe_unreachable, and what it names itself.
"""

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID, uuid4

from django.db.models import Max, Q

from billing import plans
from billing.models import Customer, Organization, PaidPeriod, PlanChange, Price, Subscription, User
from billing.payments import facts, gateway, inbox, months
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention

log = logging.getLogger("oxygen.billing")

HOLDS = timedelta(minutes=15)
STALE = timedelta(minutes=1)  # after which a change that stayed asked is taken up again
NEW_KEY = timedelta(hours=1)  # after which it is asked under another key, in case Stripe kept an error for the first
State, When = PlanChange.State, PlanChange.When


# ------------------------------------------------------------------ quoting


def quote(org: Organization, by: User, plan: str, interval: str, when: PlanChange.When) -> PlanChange:
    """Say what a change would cost and add, and keep that as a quote. Asks Stripe where it would start now.

    Refused: unknown_plan, downgrade_now, interval_now, other_currency (422); already_there, past_due, change_open,
    renewing, not_possible (409).
    """
    price = price_on_sale(plan, interval)
    now = clock()
    standing = _standing(org, now)
    change = _drafted(standing, by, price, when, now)
    _check(change, _open_change(org))
    if when == When.RENEWAL:
        assert price.plan is not None
        change.at, change.until = standing.period_end, min(now + HOLDS, standing.period_end)
        change.lines = [[f"{price.plan.name}, each {price.interval}", price.amount]]
    else:
        # Stripe counts seconds, and its clock may be ahead of ours when the period has just begun.
        change.at = max(now.replace(microsecond=0), standing.period_start)
        month = plans.month(org, standing, change.at)
        change.until = min(change.at + HOLDS, month[1])
        change.credits = _credits(change, month)
        shown = _preview(change)
        change.due, change.tax, change.currency, change.lines = shown.due, shown.tax, shown.currency, _lines(shown)
    intention(lambda: PlanChange.objects.bulk_create([change]))
    return change


def _drafted(standing: Subscription, by: User, new: Price | None, when: str, now: datetime) -> PlanChange:
    return PlanChange(
        id=uuid4(),
        org=standing.org,
        subscription=standing,
        by=by,
        old=standing.price,
        new=new,
        when=when,
        state=State.QUOTED,
        quoted_at=now,
        currency=standing.price.currency,
    )


def must_be_set_up() -> None:
    """Refuse, not_set_up, where there is no key to ask Stripe with."""
    if not gateway.configured():
        raise Refused("not_set_up", "Payment is not set up here.")


def price_on_sale(plan: str, interval: str) -> Price:
    """Find what a plan on sale costs by an interval. Refused: not_set_up; unknown_plan (422)."""
    must_be_set_up()
    price = Price.objects.filter(plan__key=plan, plan__on_sale=True, interval=interval).select_related("plan").first()
    if price is None or not price.stripe_id:
        raise Refused("unknown_plan", "There is no such plan, or it cannot be paid like that.", 422)
    return price


def _standing(org: Organization, now: datetime) -> Subscription:
    """Read the subscription that is to change."""
    standing = plans.subscription(org)
    if standing is None:
        raise Refused("not_subscribed", "There is no subscription to change. Subscribe first.")
    if now >= standing.period_end:
        raise Refused("renewing", "The subscription is being renewed. Try again in an hour or two.")
    return standing


def _check(change: PlanChange, waiting: PlanChange | None) -> None:
    old, new = change.old, change.new
    assert new
    assert new.plan
    assert old.plan
    if change.subscription.is_past_due:
        raise Refused("past_due", "The last payment failed. Pay it first, then change the plan.")
    if waiting and waiting.state != State.SCHEDULED:
        raise _is_open(waiting)
    planned = waiting.new_id if waiting and change.when == When.RENEWAL else None
    if new.pk in (old.pk, planned):
        raise Refused("already_there", f"{new.plan.name} is your plan already, or will be from the renewal.")
    if new.currency != old.currency:
        raise Refused("other_currency", "A subscription keeps the currency it was begun in.", 422)
    if change.when == When.NOW and new.interval != old.interval:
        raise Refused("interval_now", "Monthly and yearly change places at a renewal only.", 422)
    if change.when == When.NOW and new.plan.rank <= old.plan.rank:
        raise Refused("downgrade_now", "Only upgrades can start before the renewal.", 422)


def _is_open(change: PlanChange) -> Refused:
    if change.state == State.UNPAID:
        return Refused("change_open", "A change waits for its payment already. Pay it, or drop it first.")
    return Refused("change_open", "Another change is being made. Wait until it is done.")


def _open_change(org: Organization) -> PlanChange | None:
    return PlanChange.objects.filter(org=org, state__in=PlanChange.OPEN).first()


def _credits(change: PlanChange, month: tuple[datetime, datetime]) -> Decimal:
    """What the inbox will give for it: the new plan's credits over the most this month was at, for the time left."""
    assert change.new
    assert change.new.plan
    spanning = PaidPeriod.objects.filter(
        org=change.org, item=change.subscription.item, start__lte=change.at, end__gt=change.at
    )
    level = spanning.aggregate(most=Max("level"))["most"]
    return months.added(
        change.subscription.plan.credits if level is None else level, change.new.plan.credits, change.at, month
    )


def _preview(change: PlanChange, step: str = "") -> facts.Preview:
    standing, new = change.subscription, change.new
    assert new
    try:
        return gateway.preview(
            standing.pk, standing.item, str(new.stripe_id), at=change.at, key=f"preview:{change.pk}{step}"
        )
    except gateway.Unreachable as error:
        raise Refused(
            "stripe_unreachable", "Stripe does not answer just now, so nothing was changed. Try again in a moment."
        ) from error
    except gateway.Rejected as no:
        log.error("no preview of %s: %s", change, no)
        raise Refused("not_possible", f"Stripe does not allow this change: {no.why}") from no


def _lines(shown: facts.Preview) -> list[list[str | int]]:
    return [[line.text, line.amount] for line in shown.lines]


# ------------------------------------------------------------------ confirming


def confirm(org: Organization, by: User, change: UUID) -> PlanChange:
    """Make the change of a quote, at what it says; twice is once. What was scheduled before it is undone.

    Refused: quote_gone, quote_expired, quote_changed (ask for a new one), change_open, past_due (409).
    """
    quoted = PlanChange.objects.filter(org=org, pk=change).select_related("subscription", "old", "new__plan").first()
    if quoted is None:
        raise Refused("quote_gone", "There is no such quote. Look at what the change costs first.")
    if quoted.state != State.QUOTED:
        return quoted
    _must_hold(quoted)
    if quoted.when == When.NOW:
        shown = _preview(quoted, f":{int(clock().timestamp())}")
        if [shown.due, shown.tax, _lines(shown)] != [quoted.due, quoted.tax, quoted.lines]:
            raise Refused("quote_changed", "What this costs has changed. Here is a new quote.")
    return intention(partial(_ask, quoted)) or _carried_on(quoted)


def _must_hold(quoted: PlanChange) -> None:
    """Refuse a quote that is too old, or of a subscription that is not as it was."""
    standing = plans.subscription(quoted.org)
    as_it_was = standing is not None and (
        (standing.pk, standing.price_id) == (quoted.subscription_id, quoted.old_id)
        and standing.period_start <= quoted.at <= standing.period_end
        and (quoted.when == When.NOW or quoted.at == standing.period_end)
    )
    if clock() >= quoted.until or not as_it_was:
        raise Refused("quote_expired", "This quote does not hold any more. Here is a new one.")
    if standing and standing.is_past_due:
        raise Refused("past_due", "The last payment failed. Pay it first, then change the plan.")


def _ask(change: PlanChange) -> PlanChange | None:
    """Write down that it is asked for, in place of what was scheduled; answers what was asked before, if the same."""
    _lock(change.org)
    asked = {"state": State.ASKED, "tried_at": clock()}
    kept = PlanChange.objects.filter(pk=change.pk).first()
    if kept:
        if kept.state != State.QUOTED:
            return kept
        _must_hold(change)
    if waiting := _open_change(change.org):
        if change.new is None and waiting.new is None and not waiting.undoing:
            return waiting
        if waiting.state != State.SCHEDULED or waiting.undoing:
            raise _is_open(waiting)
        PlanChange.objects.filter(pk=waiting.pk).update(state=State.UNDONE, why="Another change took its place.")
    if kept:
        PlanChange.objects.filter(pk=change.pk).update(**asked)
    else:
        for name, value in asked.items():
            setattr(change, name, value)
        PlanChange.objects.bulk_create([change])
    return None


def _lock(org: Organization) -> None:
    """Take the customer's row: one at a time changes what an org has at Stripe."""
    if Customer.objects.select_for_update().filter(org=org, closed_at=None).first() is None:
        raise Refused("not_subscribed", "There is no subscription to change. Subscribe first.")


def cancel(org: Organization, by: User) -> PlanChange:
    """Have the subscription end with its period; twice is once. Refused: change_open, renewing (409)."""
    must_be_set_up()
    now = clock()
    standing = _standing(org, now)
    change = _drafted(standing, by, None, When.RENEWAL, now)
    change.at, change.until = standing.period_end, now
    return intention(partial(_ask, change)) or _carried_on(change)


# ------------------------------------------------------------------ asking Stripe


def _carried_on(change: PlanChange) -> PlanChange:
    try:
        carry_on(change)
    except gateway.Unreachable as error:
        raise Refused(
            "stripe_unreachable",
            "Stripe does not answer just now. Nothing is lost: it goes on by itself, and is shown here when done.",
        ) from error
    return PlanChange.objects.get(pk=change.pk)


def carry_on(change: PlanChange) -> None:
    """Ask Stripe for what was confirmed, or for its undoing: under the same keys however often. Raises Unreachable."""
    if change.undoing:
        return _take_back(change)
    if change.invoice:
        return intention(partial(inbox.wake, "invoice", change.invoice))
    attempt = (clock() - change.quoted_at) // NEW_KEY
    key = f"change:{change.pk}:{attempt}" if attempt else f"change:{change.pk}"
    try:
        standing = _made_room(change, key)
        if change.new is None:
            gateway.cancel_at_period_end(standing.id, True, key=key)
        elif change.when == When.RENEWAL:
            interval, price = change.new.interval, str(change.new.stripe_id)
            gateway.schedule_change(standing, price, interval, change=change.pk, key=key)
        else:
            item, price = standing.item, str(change.new.stripe_id)
            _, invoice = gateway.change_now(standing.id, item, price, at=change.at, change=change.pk, key=key)
            return intention(partial(_charged, change, invoice))
    except (gateway.Rejected, gateway.Declined) as no:
        log.error("%s was refused: %s", change, no)
        return intention(partial(_record, change, state=State.FAILED, why=no.why[:400]))
    # Looked at before it is called scheduled: a look that began while it was not must not take it for undone.
    inbox.look("subscription", standing.id)
    return intention(partial(_record, change, state=State.SCHEDULED))


def _made_room(change: PlanChange, key: str) -> facts.Subscription:
    """Let the subscription go on by itself, where something else was to happen to it. Who changes, stays.

    A change that is to be scheduled itself keeps the schedule, and rewrites it: it may be the half of its own.
    """
    standing = gateway.subscription(change.subscription_id)
    scheduling = change.when == When.RENEWAL and change.new is not None
    releasing, staying = bool(standing.schedule) and not scheduling, standing.cancel_at_period_end and bool(change.new)
    if releasing:
        gateway.release_schedule(standing.schedule, key=f"{key}:release")
    if staying:
        gateway.cancel_at_period_end(standing.id, False, key=f"{key}:stay")
    return gateway.subscription(standing.id) if releasing or staying else standing


def _charged(change: PlanChange, invoice: facts.Invoice | None) -> None:
    """Write down the invoice of a change that starts now. Paid or not, what follows is the inbox's."""
    if invoice is None:
        _record(change, state=State.FAILED, why="Stripe made no invoice for it, so the plan stayed as it was.")
        inbox.wake("subscription", change.subscription_id)
        return
    state = State.UNPAID if invoice.status == "open" else State.ASKED
    why, url = invoice.unpaid_because[:400], invoice.url if state == State.UNPAID else ""
    _record(change, state=state, invoice=invoice.id, why=why, pay_url=url)
    inbox.wake("invoice", invoice.id)


def _record(change: PlanChange, **facts: object) -> None:
    PlanChange.objects.filter(pk=change.pk, state=State.ASKED).update(**facts)


# ------------------------------------------------------------------ undoing


def undo(org: Organization, by: User, change: UUID) -> PlanChange:
    """Take back a change that is scheduled, or drop one that waits for its payment; twice is once.

    Refused: unknown_change, change_open, too_late (409).
    """
    undone = intention(partial(_ask_back, org, change))
    return undone if undone.state == State.UNDONE else _carried_on(undone)


def _ask_back(org: Organization, id: UUID) -> PlanChange:
    _lock(org)
    change = PlanChange.objects.filter(org=org, pk=id).select_related("new").first()
    if change is None or change.state == State.QUOTED:
        raise Refused("unknown_change", "There is no such change to undo.")
    if change.state == State.UNDONE:
        return change
    if change.state == State.ASKED:
        raise Refused("change_open", "This change is being made. Wait until it is done.")
    if change.state not in PlanChange.OPEN or (change.state == State.SCHEDULED and clock() >= change.at):
        raise _too_late()
    change.undoing, change.tried_at = True, clock()
    change.save(update_fields=["undoing", "tried_at"])
    return change


def _too_late() -> Refused:
    return Refused("too_late", "It cannot be undone any more: it has happened, or is happening now.")


def _take_back(change: PlanChange) -> None:
    key = f"undo:{change.pk}"
    try:
        if change.state == State.UNPAID:
            gateway.void_invoice(change.invoice, key=key)
            inbox.look("invoice", change.invoice)
        elif change.new is None:
            gateway.cancel_at_period_end(change.subscription_id, False, key=key)
            inbox.look("subscription", change.subscription_id)
        else:
            standing = gateway.subscription(change.subscription_id)
            if standing.schedule and standing.change == str(change.pk):
                gateway.release_schedule(standing.schedule, key=key)
            inbox.look("subscription", change.subscription_id)
    except gateway.Rejected as no:
        log.error("%s cannot be undone: %s", change, no)
        intention(lambda: PlanChange.objects.filter(pk=change.pk).update(undoing=False))
        raise _too_late() from no
    if not intention(partial(_taken_back, change)):
        raise _too_late()


def _taken_back(change: PlanChange) -> bool:
    """Call it undone, unless what was just read says that it has happened."""
    mine = PlanChange.objects.filter(pk=change.pk)
    if mine.exclude(state=State.APPLIED).update(state=State.UNDONE, why="", undoing=False, pay_url=""):
        return True
    mine.update(undoing=False)
    return False


# ------------------------------------------------------------------ what stayed behind


def carry_on_due() -> None:
    """Go on with every change that was asked for more than a minute ago and has no answer yet."""
    now = clock()
    left = Q(state=State.ASKED) | Q(state__in=(State.UNPAID, State.SCHEDULED), undoing=True)
    old = PlanChange.objects.filter(left, Q(tried_at=None) | Q(tried_at__lt=now - STALE))
    for change in old.select_related("subscription", "new"):
        intention(partial(PlanChange.objects.filter(pk=change.pk).update, tried_at=now))
        try:
            carry_on(change)
        except gateway.Unreachable as reason:
            log.warning("%s waits for Stripe: %s", change.pk, reason)
        except Refused as refusal:
            log.info("%s: %s", change.pk, refusal)
        except Exception:  # a bug in one is loud, and does not keep the others waiting
            log.exception("%s cannot be carried on", change.pk)
