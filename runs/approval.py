"""Which runs wait for somebody's approval, and who may give it.

For `lifecycle.py`, which keeps it, and for the pages, which say it beforehand. Reads only.
"""

from decimal import Decimal

from billing import access
from billing.models import ApiKey, Organization, User
from oxygen_site.transactions import Refused
from runs.cascade import plain
from runs.models import Run


def reason(org: Organization, kind: str, to_hold: Decimal, mode: str = Run.Mode.LIVE) -> str:
    """Say why a run of this kind, holding so much, needs approval; nothing where it needs none, as a smoke test."""
    if mode == Run.Mode.SMOKE_TEST:
        return ""
    if kind == Run.Kind.WORKFLOW:
        return "Runs of a workflow template need approval."
    threshold = org.approval_threshold
    if threshold is not None and to_hold > threshold:
        return f"It would hold {plain(to_hold)} credits, and here more than {plain(threshold)} need approval."
    return ""


def require(org: Organization, by: User, key: ApiKey | None = None, why: str = "") -> None:
    """Refused, naming who may, where this person, or the key they came with, may not approve runs of the org."""
    if not access.has_right(by, org, "approve", key):
        raise Refused("not_allowed", f"{why} {access.who_may('approve', key)}".strip(), 403)
