"""An invoice's life: draft, open, then paid, void or uncollectible; and the payment that is asked for it."""

from typing import Any

from sandbox.stripe import disputes, payments, standing
from sandbox.stripe.customers import change_balance
from sandbox.stripe.events import tell, told
from sandbox.stripe.lines import add_up, remember_debits
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.state import Json, World

DAY = 24 * 3600
FINALIZES_AFTER = 3600
RETRIES_AFTER = (3 * DAY, 5 * DAY, 7 * DAY)


def draft(
    world: World,
    customer: Json,
    lines: list[Json],
    reason: str,
    *,
    subscription: Json | None = None,
    period: tuple[int, int] | None = None,
    preview: bool = False,
    counts: bool = True,
    **fields: Any,
) -> Json:
    """Make a draft; a preview is the same, not kept. What it debits counts at once, or not before it is paid."""
    now = world.now(customer["test_clock"])
    currency = next((each["currency"] for each in lines), customer["currency"] or "usd")
    invoice = world.draft(
        "invoice",
        now,
        currency=currency,
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_address=customer["address"],
        customer_phone=customer["phone"],
        billing_reason=reason,
        period_start=(period or (now, now))[0],
        period_end=(period or (now, now))[1],
        starting_balance=customer["balance"],
        test_clock=customer["test_clock"],
        **fields,
    )
    if preview:
        invoice["id"] = f"upcoming_{invoice['id']}"
    if subscription:
        invoice["parent"] = {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
        }
    invoice["lines"] |= {"data": list(lines), "url": f"/v1/invoices/{invoice['id']}/lines"}
    add_up(world, invoice)
    if not preview:
        customer["currency"] = customer["currency"] or currency
        world.kinds.setdefault("invoice", {})[invoice["id"]] = invoice
        for each in lines:
            world.keep(each["id"])["invoice"] = invoice["id"]
        if counts:
            remember_debits(world, invoice)
        if subscription:
            subscription["latest_invoice"] = invoice["id"]
        tell(world, "invoice.created", invoice)
    return invoice


def must_be(invoice: Json, status: str, act: str) -> None:
    if invoice["status"] != status:
        raise Refusal(
            f"You can only {act} an invoice that is {status}. This invoice is {invoice['status']}.",
            code="invoice_not_editable" if status == "draft" else "",
        )


def finalize(world: World, invoice: Json, metadata: Json | None = None, **intent: Any) -> None:
    """Fix the sums, use the customer's balance, and ask for what is left; what is nothing is paid."""
    must_be(invoice, "draft", "finalize")
    customer = world.get("customer", invoice["customer"])
    now = world.now(invoice["test_clock"])
    invoice["starting_balance"] = customer["balance"]
    add_up(world, invoice)
    left = invoice["total"] + customer["balance"]
    invoice |= {
        "status": "open",
        "number": f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}",
        "ending_balance": 0 if invoice["amount_due"] else left,
        "hosted_invoice_url": f"{world.base}/i/{invoice['id']}",
        "invoice_pdf": f"{world.base}/i/{invoice['id']}/pdf",
        "automatically_finalizes_at": None,
        "effective_at": now,
    }
    invoice["status_transitions"]["finalized_at"] = now
    customer["next_invoice_sequence"] += 1
    moved = invoice["ending_balance"] - customer["balance"]
    if moved:
        change_balance(world, customer, moved, "applied_to_invoice", invoice=invoice["id"])
    tell(world, "invoice.finalized", invoice)
    if not invoice["amount_due"]:
        _paid(world, invoice)
        return
    pay = payments.intend(
        world,
        invoice["amount_due"],
        invoice["currency"],
        customer,
        description=f"Invoice {invoice['number']}",
        metadata=metadata or {},
        setup_future_usage=intent.get("setup_future_usage"),
    )
    world.keep(pay["id"])["invoice"] = invoice["id"]
    world.make(
        "invoice_payment",
        now,
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        payment={"type": "payment_intent", "payment_intent": pay["id"]},
    )


def method_for(world: World, invoice: Json) -> str | None:
    """The card that pays an invoice when none is named: the invoice's, the subscription's, the customer's."""
    subscription = standing.subscription_of(world, invoice)
    customer = world.get("customer", invoice["customer"])
    mine = subscription["default_payment_method"] if subscription else None
    return (
        invoice["default_payment_method"] or mine or customer.get("invoice_settings", {}).get("default_payment_method")
    )


def intent_of(world: World, invoice: Json) -> Json:
    asked = next(world.where("invoice_payment", invoice=invoice["id"], status="open"))
    return world.get("payment_intent", asked["payment"]["payment_intent"])


def pay(
    world: World,
    invoice: Json,
    method: str | None = None,
    *,
    off_session: bool = False,
    authenticated: bool = False,
) -> Refusal | None:
    """Try to be paid. Returns why the card was declined; without that, it is paid or waits for authentication."""
    must_be(invoice, "open", "pay")
    intent = intent_of(world, invoice)
    refusal = payments.confirm(
        world, intent, method or method_for(world, invoice), off_session=off_session, authenticated=authenticated
    )
    after_attempt(world, intent, refusal)
    return refusal


def after_attempt(world: World, intent: Json, refusal: Refusal | None) -> None:
    """Say what an attempt to pay means for the invoice, if it was for one, and for what the invoice is about."""
    charge = world.find(intent["latest_charge"] or "")
    invoice = world.find(world.keep(intent["id"]).get("invoice", ""))
    if invoice:
        invoice["attempted"] = True
        if intent["status"] == "succeeded":
            _paid(world, invoice)
        elif intent["status"] == "requires_action":
            tell(world, "invoice.payment_action_required", invoice)
            standing.unpaid(world, invoice)
        elif refusal:
            _failed(world, invoice)
    if charge and (dispute := world.keep(charge["id"]).pop("to_be_disputed", None)):
        disputes.open_dispute(world, charge, dispute[0], inquiry=dispute[1])


def _paid(world: World, invoice: Json) -> None:
    now = world.now(invoice["test_clock"])
    invoice |= {
        "status": "paid",
        "attempted": True,
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "next_payment_attempt": None,
    }
    invoice["status_transitions"]["paid_at"] = now
    for each in world.where("invoice_payment", invoice=invoice["id"], status="open"):
        each |= {"status": "paid", "amount_paid": each["amount_requested"]}
        each["status_transitions"]["paid_at"] = now
        tell(world, "invoice_payment.paid", each)
    if invoice["amount_due"]:
        invoice["attempt_count"] += 1
    tell(world, "invoice.paid", invoice)
    tell(world, "invoice.payment_succeeded", invoice)
    standing.paid(world, invoice)


def _failed(world: World, invoice: Json) -> None:
    _dun(world, invoice, "invoice.payment_failed")


def _dun(world: World, invoice: Json, event: str = "") -> None:
    """Count a try that failed, and say when the next one is; after the last the subscription is given up."""
    invoice["attempt_count"] += 1
    retries = list(RETRIES_AFTER) if standing.is_dunned(world, invoice) else []
    left = retries[invoice["attempt_count"] - 1 :]
    now = world.now(invoice["test_clock"])
    invoice["next_payment_attempt"] = now + left[0] if left and invoice["auto_advance"] else None
    if event:
        tell(world, event, invoice)
    standing.unpaid(world, invoice)
    if retries and not left:
        standing.given_up(world, invoice)


def pay_or_wait(world: World, invoice: Json) -> None:
    """Finalize a draft whose hour has come, or try again; nobody is there to authenticate."""
    if invoice["status"] == "draft":
        with told(world, "invoice.updated", invoice):
            invoice["automatically_finalizes_at"] = None
        finalize(world, invoice)
    if invoice["status"] == "open":
        invoice["next_payment_attempt"] = None
        tries = invoice["attempt_count"]
        pay(world, invoice)
        if invoice["status"] == "open" and invoice["attempt_count"] == tries:
            _dun(world, invoice)  # it waits for authentication, which counts as a try


def void(world: World, invoice: Json) -> None:
    if invoice["status"] not in ("open", "uncollectible"):
        must_be(invoice, "open", "void")
    _close(world, invoice, "void", "voided_at", "invoice.voided")
    standing.voided(world, invoice)


def write_off(world: World, invoice: Json) -> None:
    must_be(invoice, "open", "mark as uncollectible")
    invoice["status_details"] = {"uncollectible": {"reason": "user_forgiven"}}
    _close(world, invoice, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")


def _close(world: World, invoice: Json, status: str, transition: str, event: str) -> None:
    now = world.now(invoice["test_clock"])
    invoice |= {"status": status, "next_payment_attempt": None, "auto_advance": False}
    invoice["status_transitions"][transition] = now
    if status == "void":
        invoice["amount_remaining"] = 0
        for each in world.where("invoice_payment", invoice=invoice["id"], status="open"):
            each["status"] = "canceled"
            each["status_transitions"]["canceled_at"] = now
            payments.cancel(world, world.get("payment_intent", each["payment"]["payment_intent"]), "void_invoice")
        _give_back_balance(world, invoice)
    tell(world, event, invoice)


def _give_back_balance(world: World, invoice: Json) -> None:
    customer = world.get("customer", invoice["customer"])
    used = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
    if used and not customer.get("deleted"):
        change_balance(world, customer, -used, "unapplied_from_invoice", invoice=invoice["id"])
