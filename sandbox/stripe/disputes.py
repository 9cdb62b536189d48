"""Money that goes back: refunds, and disputes that are opened, won or lost."""

from sandbox.stripe.answers import LISTING, page
from sandbox.stripe.events import tell
from sandbox.stripe.operations import merged, operation, retrieval
from sandbox.stripe.payments import book
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

REASONS = "(duplicate|fraudulent|requested_by_customer)"
DAYS_TO_ANSWER = 7 * 24 * 3600


@operation("POST", "/v1/refunds", f"charge payment_intent amount:int reason:{REASONS} metadata:map")
def make_refund(world: World, asked: Json) -> Json:
    if ("charge" in asked) == ("payment_intent" in asked):
        raise Refusal("One of the following params should be provided for this request: payment_intent or charge.")
    id = asked.get("charge")
    if id is None:
        id = world.get("payment_intent", asked["payment_intent"], "payment_intent")["latest_charge"]
    charge = world.get("charge", id, "charge")
    if not charge["paid"]:
        raise Refusal(f"Charge {charge['id']} has not been paid and cannot be refunded.", param="charge")
    return refund(world, charge, asked.get("amount"), asked.get("reason"), asked.get("metadata", {}))


def refund(world: World, charge: Json, amount: int | None, reason: str | None, metadata: Json) -> Json:
    """Give back a charge, or a part of it."""
    left = charge["amount"] - charge["amount_refunded"]
    if charge["disputed"]:
        raise Refusal(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    if not left:
        raise Refusal(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if amount is None else amount
    if amount < 1:
        raise Refusal("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        raise Refusal(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", code="", param="amount"
        )
    made = world.make(
        "refund",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        customer=charge["customer"],
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        reason=reason,
        metadata=metadata,
        status="succeeded",
    )
    made["balance_transaction"] = book(world, made, -amount, "refund", "refund")["id"]
    _set_refunded(charge, charge["amount_refunded"] + amount)
    tell(world, "charge.refunded", charge)
    tell(world, "refund.created", made)
    return made


def fail_refund(world: World, id: str) -> Json:
    """The bank could not give the money back: it returns."""
    refund = world.get("refund", id)
    if refund["status"] != "succeeded":
        raise Refusal(f"Refund {id} is {refund['status']}.")
    charge = world.get("charge", refund["charge"])
    back = book(world, refund, refund["amount"], "refund_failure", "refund_failure")
    refund |= {"status": "failed", "failure_reason": "unknown", "failure_balance_transaction": back["id"]}
    _set_refunded(charge, charge["amount_refunded"] - refund["amount"])
    tell(world, "refund.failed", refund)
    tell(world, "charge.refund.updated", refund)
    return refund


def _set_refunded(charge: Json, amount: int) -> None:
    charge |= {"amount_refunded": amount, "refunded": amount == charge["amount"]}


@operation("POST", "/v1/refunds/{refund}", "metadata:map")
def change_refund(world: World, asked: Json, id: str) -> Json:
    refund = world.get("refund", id)
    merged(refund, asked)
    return refund


retrieval("refund", "/v1/refunds/{refund}")


@operation("GET", "/v1/refunds", f"{LISTING} charge payment_intent created:range")
def refunds(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("charge", "payment_intent") if name in asked}
    return page(world.where("refund", **facts), asked, "/v1/refunds")


def open_dispute(
    world: World, charge: Json, reason: str = "fraudulent", amount: int | None = None, *, inquiry: bool = False
) -> Json:
    """The cardholder takes the money back through the bank; an inquiry only asks, and takes nothing yet."""
    if charge["disputed"] or not charge["paid"]:
        raise Refusal(f"Charge {charge['id']} cannot be disputed.", code="charge_disputed")
    method = charge["payment_method_details"]["card"]
    dispute = world.make(
        "dispute",
        amount=amount or charge["amount"] - charge["amount_refunded"],
        charge=charge["id"],
        currency=charge["currency"],
        payment_intent=charge["payment_intent"],
        reason=reason,
        payment_method_details={
            "type": "card",
            "card": {
                "brand": method["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": method["network"],
            },
        },
    )
    dispute["payment_method_details"]["card"]["network_reason_code"] = "10"
    dispute["evidence_details"]["due_by"] = dispute["created"] + DAYS_TO_ANSWER
    if inquiry:
        dispute |= {"status": "warning_needs_response", "is_charge_refundable": True}
        tell(world, "charge.dispute.created", dispute)
        return dispute
    entry = book(world, dispute, -dispute["amount"], "adjustment", "dispute")
    dispute["balance_transactions"].append(dict(entry))
    charge["disputed"] = True
    tell(world, "charge.dispute.created", dispute)
    tell(world, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def close_dispute(world: World, dispute: Json, outcome: str) -> Json:
    """The bank has decided: won, and the money returns, or lost."""
    if dispute["status"] in ("won", "lost", "warning_closed"):
        raise Refusal(f"This dispute is already closed ({dispute['status']}).")
    before = dict(dispute)
    inquired = dispute["status"].startswith("warning")
    dispute["status"] = "warning_closed" if inquired else outcome
    if outcome == "won" and not inquired:
        entry = book(world, dispute, dispute["amount"], "adjustment", "dispute_reversal")
        dispute["balance_transactions"] = [*dispute["balance_transactions"], dict(entry)]
        tell(world, "charge.dispute.funds_reinstated", dispute)
    tell(world, "charge.dispute.closed", dispute, before)
    return dispute


@operation(
    "POST", "/v1/disputes/{dispute}", "metadata:map submit:bool evidence{uncategorized_text product_description}"
)
def answer_dispute(world: World, asked: Json, id: str) -> Json:
    """Send evidence. The bank of the sandbox decides by Stripe's words `winning_evidence` and `losing_evidence`."""
    dispute = world.get("dispute", id)
    before = {**dispute, "evidence": dict(dispute["evidence"])}
    merged(dispute, asked)
    evidence = asked.get("evidence") or {}
    dispute["evidence"] |= evidence
    dispute["evidence_details"] |= {"has_evidence": bool(evidence) or dispute["evidence_details"]["has_evidence"]}
    if evidence and asked.get("submit", True):
        dispute["evidence_details"]["submission_count"] += 1
        dispute["status"] = "warning_under_review" if dispute["status"].startswith("warning") else "under_review"
    tell(world, "charge.dispute.updated", dispute, before)
    decides = {"winning_evidence": "won", "losing_evidence": "lost"}.get(evidence.get("uncategorized_text", ""))
    return close_dispute(world, dispute, decides) if decides else dispute


@operation("POST", "/v1/disputes/{dispute}/close")
def give_in(world: World, asked: Json, id: str) -> Json:
    return close_dispute(world, world.get("dispute", id), "lost")


retrieval("dispute", "/v1/disputes/{dispute}")


@operation("GET", "/v1/disputes", f"{LISTING} charge payment_intent created:range")
def disputes(world: World, asked: Json) -> Json:
    facts = {name: asked[name] for name in ("charge", "payment_intent") if name in asked}
    return page(world.where("dispute", **facts), asked, "/v1/disputes")


retrieval("balance_transaction", "/v1/balance_transactions/{id}")
