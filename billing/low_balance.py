"""The low-balance e-mail: an org's admins hear once that credits run low, with the one thing to do about it.

For the settings page and `billing/jobs.py`. Laws: one mail a crossing, however often it is looked at and by how many
processes; none again before the balance was seen above the threshold. In days it is measured at the pace of the last
seven; where too few were active to have a pace, nothing is known, so nothing is said and nothing has recovered.
"""

from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db.models import OuterRef, QuerySet, Subquery

from billing import balance, mails
from billing.models import Account, LowBalance, Organization
from billing.templatetags.credits import credits
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused, intention

MOST = {LowBalance.Unit.CREDITS: Decimal(10**9), LowBalance.Unit.DAYS: Decimal(365)}


def of(org: Organization) -> LowBalance | None:
    """Read when an org wishes to hear of it; None: never. One query."""
    return LowBalance.objects.filter(org=org).first()


def change(org: Organization, threshold: Decimal | None, unit: str) -> None:
    """Set below what the admins hear of it, in credits or in days; None: never. Another threshold is crossed anew.

    Refused: invalid_threshold.
    """
    if threshold is None:
        intention(lambda: LowBalance.objects.filter(org=org).delete())
        return
    if not _makes_sense(threshold, unit):
        sentence = "The threshold is a number of credits above 0, or whole days from 1 to 365."
        raise Refused("invalid_threshold", sentence, 422, "threshold")
    wish = {"threshold": threshold, "unit": unit}

    def verb() -> None:
        if not LowBalance.objects.filter(org=org, **wish).exists():
            LowBalance.objects.update_or_create(org=org, defaults={**wish, "told_at": None})

    intention(verb)


def _makes_sense(threshold: Decimal, unit: str) -> bool:
    if unit not in LowBalance.Unit or not threshold.is_finite():
        return False
    places = 4 if unit == LowBalance.Unit.CREDITS else 0
    return 0 < threshold <= MOST[LowBalance.Unit(unit)] and threshold == round(threshold, places)


def tell_due() -> None:
    """Tell where it is low and nobody was told; note where it has recovered. Three queries, however many orgs."""
    now = clock()
    wishes = list(_wishes())
    paces = balance.paces([wish.org for wish in wishes if wish.unit == LowBalance.Unit.DAYS], now)
    for wish in wishes:
        available, pace = wish.available, paces.get(wish.org_id)  # type: ignore[attr-defined]  # annotated
        low = _is_low(wish, available, pace)
        if low and wish.told_at is None:
            intention(partial(_tell, wish, now, _words(wish, available)))
        elif low is False and wish.told_at is not None:
            intention(partial(_recovered, wish))


def _wishes() -> QuerySet[LowBalance]:
    available = Account.objects.filter(org=OuterRef("org")).values("available")
    return LowBalance.objects.annotate(available=Subquery(available)).select_related("org")


def _is_low(wish: LowBalance, available: Decimal, pace: Decimal | None) -> bool | None:
    """Say whether it is low; None where nobody can know."""
    if wish.unit == LowBalance.Unit.CREDITS:
        return available < wish.threshold
    return None if pace is None else available < wish.threshold * pace


def _tell(wish: LowBalance, now: datetime, words: str) -> None:
    this = {"pk": wish.pk, "threshold": wish.threshold, "unit": wish.unit, "told_at": None}
    if LowBalance.objects.filter(**this).update(told_at=now):
        mails.tell(wish.org, "low", words)


def _recovered(wish: LowBalance) -> None:
    LowBalance.objects.filter(pk=wish.pk, told_at=wish.told_at).update(told_at=None)


def _words(wish: LowBalance, available: Decimal) -> str:
    if wish.unit == LowBalance.Unit.CREDITS:
        below = f"fewer than the {credits(wish.threshold)} set in its settings"
    else:
        days = f"{credits(wish.threshold)} day{'' if wish.threshold == 1 else 's'}"
        below = f"less than {days} of work at the pace of the last seven"
    return (
        f"{wish.org.name} has {credits(available)} credits available, {below}. A run that needs more than that cannot"
        f" start. Add credits here:\n\n{mails.link('billing:subscribe', wish.org.slug)}\n\n"
        "This is said once. You hear of it again when the balance has recovered and runs low another time."
    )
