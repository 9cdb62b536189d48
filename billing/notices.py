"""What an org must hear before anything else on its pages. Pure: from how it stands, the most severe first."""

from dataclasses import dataclass

from django.urls import reverse

from billing.models import AutoTopUp, Organization, PlanChange, Purchase
from billing.plans import Standing

MOST = 2


@dataclass(frozen=True)
class Notice:
    """One sentence and one way on: a link, or a page of the portal (`flow`), which takes a button."""

    level: str  # bad: money failed; warn: a person must decide
    text: str
    label: str = ""
    href: str = ""
    flow: str = ""
    leaves: bool = False  # the link leads to Stripe


def notices(
    org: Organization,
    standing: Standing,
    *,
    may_buy: bool,
    wish: AutoTopUp | None = None,
    asked: Purchase | None = None,
) -> list[Notice]:
    """Say what is wrong, at most two, most severe first.

    `wish` is the org's automatic top-up, `asked` one of these that waits for a person.
    """
    found = [_past_due(standing), _unpaid(standing), _waiting(asked), _switched_off(org, wish)]
    told = [notice for notice in found if notice][:MOST]
    return told if may_buy else [Notice(notice.level, f"{notice.text} {ASK}") for notice in told]


ASK = "An admin or owner of the organization can change that."


def _past_due(standing: Standing) -> Notice | None:
    subscription = standing.subscription
    if subscription is None or not standing.past_due:
        return None
    text = (
        f"The payment of {subscription.plan.name} failed. No new credits are added until it is paid; those that are"
        " left stay to their dates."
    )
    if subscription.pay_url:
        return Notice("bad", text, "Pay the invoice", href=subscription.pay_url, leaves=True)
    return Notice("bad", text, "Change the card", flow="payment_method_update")


def _unpaid(standing: Standing) -> Notice | None:
    change = standing.change
    if change is None or change.state != PlanChange.State.UNPAID or change.new is None or change.new.plan is None:
        return None
    text = f"The change to {change.new.plan.name} waits for its payment. Until then the plan stays as it is."
    if change.pay_url:
        return Notice("warn", text, "Finish the payment", href=change.pay_url, leaves=True)
    return Notice("warn", text, "Change the card", flow="payment_method_update")


def _waiting(asked: Purchase | None) -> Notice | None:
    if asked is None or not asked.url:
        return None
    text = "Your bank asks you to confirm an automatic top-up. Its credits are added once it is paid."
    return Notice("warn", text, "Confirm it", href=asked.url, leaves=True)


def _switched_off(org: Organization, wish: AutoTopUp | None) -> Notice | None:
    if wish is None or wish.on or not wish.why:
        return None
    way = reverse("billing:auto_top_up", args=[org.slug])
    return Notice("warn", f"Automatic top-up is off. {wish.why}", "See why", href=way)
