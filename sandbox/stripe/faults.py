"""What goes wrong with the next requests: said through the control API, one fault for so many requests."""

from dataclasses import dataclass

from sandbox.stripe.refusals import Refusal

KINDS = {
    "error": "500, and nothing was done",
    "rate_limit": "429, and nothing was done",
    "lost": "it was done, and the connection breaks before the answer",
    "slow": "it was done, and the answer comes so many seconds later",
}


@dataclass
class Fault:
    kind: str
    times: int = 1
    path: str = ""  # only requests whose path contains this
    method: str = "POST"
    seconds: float = 30

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")


def of(faults: list[Fault], method: str, path: str) -> Fault | None:
    """Take the fault that meets a request, if one does."""
    for each in faults:
        if each.times > 0 and each.method == method and each.path in path:
            each.times -= 1
            if not each.times:
                faults.remove(each)
            return each
    return None


def raised(fault: Fault | None) -> None:
    """Refuse where the fault says that nothing was done."""
    if fault and fault.kind == "error":
        raise Refusal("An unknown error occurred.", status=500, kind="api_error", keeps=False)
    if fault and fault.kind == "rate_limit":
        raise Refusal("Request rate limit exceeded.", status=429, code="rate_limit", keeps=False)
