"""What this Stripe says no with: Stripe's error envelope, its codes and its words."""

from typing import Any

DOCS = "https://stripe.com/docs/error-codes"


class Refusal(Exception):
    """An answer other than success. `keeps` says whether an idempotency key keeps it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str = "",
        param: str = "",
        keeps: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.keeps = status, keeps
        self.error: dict[str, Any] = {"message": message, "type": kind}
        if code:
            self.error |= {"code": code, "doc_url": f"{DOCS}/{code.replace('_', '-')}"}
        if param:
            self.error["param"] = param
        self.error |= {name: value for name, value in more.items() if value is not None}


WORDS = {
    "checkout.session": "checkout.session",
    "test_helpers.test_clock": "testclock",
    "payment_intent": "payment_intent",
    "payment_method": "PaymentMethod",
}


def missing(kind: str, id: str, param: str) -> Refusal:
    word = WORDS.get(kind, kind.replace("_", " "))
    return Refusal(
        f"No such {word}: '{id}'", status=404 if param == "id" else 400, code="resource_missing", param=param
    )


def unknown_to_the_sandbox(what: str, param: str = "") -> Refusal:
    """Refuse what Stripe may know and this sandbox does not: better no answer than an invented one."""
    return Refusal(f"The Stripe sandbox does not know {what}.", code="not_in_the_sandbox", param=param)


def declined(decline_code: str, **more: Any) -> Refusal:
    """A card was declined: 402, in Stripe's words."""
    message = DECLINES.get(decline_code, "Your card was declined.")
    code = decline_code if decline_code in NAMED else "card_declined"
    return Refusal(
        message,
        status=402,
        kind="card_error",
        code=code,
        decline_code=decline_code if code in ("card_declined", "authentication_required") else None,
        advice_code="try_again_later" if decline_code == "insufficient_funds" else None,
        **more,
    )


DECLINES = {
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
}
NAMED = ("authentication_required", "expired_card", "incorrect_cvc", "processing_error")
