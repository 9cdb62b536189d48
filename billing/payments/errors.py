"""What can go wrong with Stripe, in five words. The gateway raises them, and its callers name them by it."""

NEEDS_PERSON = ("authentication_required", "invoice_payment_intent_requires_action")


class NotSetUp(Exception):
    """There is no key: payments are switched off here."""


class Unreachable(Exception):
    """Stripe is down, slow, or limits us, or its answer broke on the way. Asking again with the same key is safe."""


class Declined(Exception):
    """The card said no. `why` is the bank's sentence; `invoice` the one that stays open, where there is one."""

    def __init__(self, why: str, code: str, *, invoice: str = "") -> None:
        super().__init__(why)
        self.why, self.code, self.invoice = why, code, invoice
        self.needs_person = code in NEEDS_PERSON


class Rejected(Exception):
    """Stripe's rules do not allow it, or we asked wrongly."""

    def __init__(self, why: str, code: str, param: str = "") -> None:
        super().__init__(f"{why} ({code or 'no code'})")
        self.why, self.code, self.param = why, code, param


class BadEvent(Exception):
    """What came to the webhook is not Stripe's, or not as Stripe sends it."""
