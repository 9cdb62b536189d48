"""Who may call: every operation stands behind a gate of `billing/access.py`, and a key calls only so often."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from billing import access
from oxygen_site.api import rates


class ApiKey(HttpBearer):
    """The gate of one operation: whoever calls it needs a key with this right in the org it is about."""

    def __init__(self, right: str) -> None:
        super().__init__()
        self.right = right

    def __call__(self, request: HttpRequest) -> bool:
        access.enter_by_key(request, self.right)
        request.rate = rates.count(request.key.pk)  # type: ignore[attr-defined]
        rates.require(request.rate)  # type: ignore[attr-defined]
        return True

    def authenticate(self, request: HttpRequest, token: str) -> bool:
        raise AssertionError("unreachable: __call__ hands the request to the gate")


def may(right: str) -> ApiKey:
    """Gate an operation: `@router.get("/balance", auth=may("read"), …)`."""
    return ApiKey(right)
