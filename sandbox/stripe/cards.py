"""Stripe's test cards, by number and by `pm_card_…` name, and how each behaves."""

from typing import NamedTuple


class Card(NamedTuple):
    number: str
    name: str
    brand: str = "visa"
    attach: str = ""  # decline code when it is attached to a customer
    charge: str = ""  # decline code when it is charged
    authentication: str = ""  # "always", or "first": until it has been set up for later use
    disputed: str = ""  # the reason with which every charge is disputed at once
    inquiry: bool = False  # such a dispute is a question of the bank's as yet: no money moves


CARDS = (
    Card("4242424242424242", "visa"),
    Card("5555555555554444", "mastercard", "mastercard"),
    Card("4000000000000002", "chargeDeclined", attach="generic_decline", charge="generic_decline"),
    Card(
        "4000000000009995", "chargeDeclinedInsufficientFunds", attach="insufficient_funds", charge="insufficient_funds"
    ),
    Card("4000000000000069", "chargeDeclinedExpiredCard", attach="expired_card", charge="expired_card"),
    Card("4000000000000341", "chargeCustomerFail", charge="generic_decline"),
    Card("4000002500003155", "authenticationRequiredOnSetup", authentication="first"),
    Card("4000002760003184", "authenticationRequired", authentication="always"),
    Card("4000000000003220", "threeDSecure2Required", authentication="always"),
    Card("4000000000000259", "createDispute", disputed="fraudulent"),
    Card("4000000000001976", "createDisputeInquiry", disputed="general", inquiry=True),
)
BY_NUMBER = {card.number: card for card in CARDS}
BY_NAME = {f"pm_card_{card.name}": card for card in CARDS}
BY_NAME["pm_card_visa_chargeDeclined"] = BY_NAME["pm_card_chargeDeclined"]  # Stripe has two names for it
BY_TOKEN = {f"tok_{card.name}": card for card in CARDS}
