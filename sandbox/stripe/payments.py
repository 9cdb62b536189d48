"""How money moves: one attempt to charge a card, its charge, and the balance it changes.

A payment intent is confirmed here and nowhere else. What being paid means to an invoice is said in `invoices`.
"""

import secrets

from sandbox.stripe.cards import Card
from sandbox.stripe.events import tell
from sandbox.stripe.refusals import Refusal, declined
from sandbox.stripe.state import Json, World

NEEDS_CARD = "requires_payment_method"


def intend(world: World, amount: int, currency: str, customer: Json | None, **fields: object) -> Json:
    """Make a payment intent that waits for a card."""
    clock = customer["test_clock"] if customer else None
    intent = world.make(
        "payment_intent",
        world.now(clock),
        amount=amount,
        currency=currency,
        customer=customer["id"] if customer else None,
        **fields,
    )
    intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(8)}"
    tell(world, "payment_intent.created", intent)
    return intent


def verdict(world: World, method: str, *, authenticated: bool = False) -> str:
    """Say how a charge of this card will go: "" for well, "authentication", or a decline code."""
    card = world.cards[method]
    if world.settings.fail_next_payments:
        return world.settings.fail_next_payments[0]
    if card.charge:
        return card.charge
    needed = card.authentication == "always" or (card.authentication == "first" and method not in world.set_up)
    return "authentication" if needed and not authenticated else ""


def confirm(
    world: World, intent: Json, method: str | None, *, off_session: bool = False, authenticated: bool = False
) -> Refusal | None:
    """Try to charge. Returns the refusal of a card that was declined; else it succeeded or waits for authentication."""
    if method is None:
        intent["status"] = NEEDS_CARD
        return Refusal(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the"
            " PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a"
            " payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    says = verdict(world, method, authenticated=authenticated)
    if world.settings.fail_next_payments:
        world.settings.fail_next_payments.pop(0)
    intent["payment_method"] = method
    if says == "authentication" and not off_session:
        intent["status"] = "requires_action"
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": None, "url": f"{world.base}/3ds/{intent['id']}"},
        }
        tell(world, "payment_intent.requires_action", intent)
        return None
    if says:
        return fail(world, intent, "authentication_required" if says == "authentication" else says)
    _succeed(world, intent, world.cards[method])
    if intent["setup_future_usage"]:
        world.set_up.add(method)
    return None


def fail(world: World, intent: Json, decline_code: str) -> Refusal:
    """Write down that the card was declined, and return the refusal that says so."""
    method = world.get("payment_method", intent["payment_method"])
    charge = _charge(world, intent, status="failed", paid=False, captured=False)
    refusal = declined(decline_code, charge=charge["id"], payment_method=dict(method))
    charge |= {
        "failure_code": refusal.error["code"],
        "failure_message": refusal.error["message"],
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "declined_by_network",
            "reason": decline_code,
            "risk_level": "normal",
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        },
    }
    back_to_the_card(intent, refusal)
    tell(world, "charge.failed", charge)
    tell(world, "payment_intent.payment_failed", intent)
    refusal.error["payment_intent"] = dict(intent)
    return refusal


def back_to_the_card(intent: Json, refusal: Refusal) -> None:
    intent |= {"status": NEEDS_CARD, "next_action": None, "payment_method": None}
    intent["last_payment_error"] = dict(refusal.error)


def refuse_authentication(world: World, intent: Json) -> Refusal:
    """The person failed, or refused, to authenticate."""
    refusal = Refusal(
        "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
        status=402,
        kind="card_error",
        code="payment_intent_authentication_failure",
    )
    back_to_the_card(intent, refusal)
    tell(world, "payment_intent.payment_failed", intent)
    return refusal


def cancel(world: World, intent: Json, reason: str | None) -> None:
    if intent["status"] in ("succeeded", "canceled"):
        raise Refusal(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    intent |= {"status": "canceled", "canceled_at": world.real(), "cancellation_reason": reason, "next_action": None}
    tell(world, "payment_intent.canceled", intent)


def _succeed(world: World, intent: Json, card: Card) -> None:
    charge = _charge(world, intent, amount_captured=intent["amount"])
    charge["outcome"] = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    charge["balance_transaction"] = book(world, charge, charge["amount"], "charge", "charge")["id"]
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "next_action": None,
        "last_payment_error": None,
    }
    tell(world, "charge.succeeded", charge)
    tell(world, "payment_intent.succeeded", intent)
    if card.disputed:
        world.keep(charge["id"])["to_be_disputed"] = (card.disputed, card.inquiry)


def _charge(world: World, intent: Json, **fields: object) -> Json:
    method = world.get("payment_method", intent["payment_method"])
    card, customer = method["card"], world.find(intent["customer"] or "")
    charge = world.make(
        "charge",
        world.now(customer["test_clock"] if customer else None),
        amount=intent["amount"],
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        metadata=dict(intent["metadata"]),
        payment_intent=intent["id"],
        payment_method=method["id"],
        **fields,
    )
    charge["payment_method_details"] = {
        "type": "card",
        "card": {
            **dict.fromkeys(("amount_authorized", "authorization_code", "installments", "mandate", "network_token")),
            **dict.fromkeys(("three_d_secure", "wallet", "network_transaction_id")),
            **{name: card[name] for name in ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint")},
            **{name: card[name] for name in ("funding", "last4", "regulated_status")},
            "network": card["brand"],
        },
    }
    intent["latest_charge"] = charge["id"]
    return charge


def book(world: World, source: Json, amount: int, why: str, category: str) -> Json:
    """Enter what money came or went in the account's own balance; the sandbox takes no fee."""
    return world.make(
        "balance_transaction",
        source["created"],
        amount=amount,
        available_on=source["created"],
        currency=source["currency"],
        net=amount,
        reporting_category=category,
        source=source["id"],
        type=why,
    )
