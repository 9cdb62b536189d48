"""The local Stripe of the demo, from outside: its control API, its file, and whether it fits the database.

For `up` and the page that moves time. `base` is its address. The key and the secret are known to everybody: they open
nothing but a process on this machine.
"""

import json
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from django.conf import settings

from billing.models import Customer, Organization
from oxygen_site import postgres

HOST = "127.0.0.1"
USUAL_PORT = 12111  # below the ports that connections out take, so that it is free at the next start too
KEY = "sk_test_known_to_everybody_for_the_demo_only"
SECRET = "whsec_known_to_everybody_for_the_demo_only"  # noqa: S105
WEBHOOK = "/stripe/webhook/"


class Silent(Exception):
    """The local Stripe does not answer."""


class Apart(Exception):
    """The database and the local Stripe do not belong together; the message says what to do."""


class There(NamedTuple):
    """How it stands with the local Stripe."""

    now: datetime
    next_due: datetime | None  # the next instant at which it has something to do
    pending: int  # webhooks on their way


def in_use() -> bool:
    """Say whether this process pays at a local Stripe."""
    return bool(settings.MOVABLE_CLOCK and settings.STRIPE_ALLOW_SANDBOX and settings.STRIPE_API_BASE)


def ask(base: str, path: str, asked: dict[str, Any] | None = None) -> Any:
    """Ask the control API, or Stripe's own; with `asked`, a POST. Raises Silent, and HTTPError for a refusal."""
    body = None
    if asked is not None:
        body = (json.dumps(asked) if path.startswith("/_emu") else urlencode(asked)).encode()
    request = Request(f"{base}{path}", body, {"Authorization": f"Bearer {KEY}"})  # noqa: S310
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError:
        raise
    except (URLError, OSError, ValueError) as error:
        raise Silent(str(error)) from error


def read(base: str) -> There:
    state = ask(base, "/_emu")
    due = state["next_due"]
    return There(_instant(state["now"]), _instant(due) if due is not None else None, state["pending"])


def move(base: str, at: datetime) -> None:
    """Bring its clock to a whole second, doing what comes due; where it is there already, nothing."""
    if at > read(base).now:
        with suppress(HTTPError):  # it has just got there by itself
            ask(base, "/_emu/clock", {"to": int(at.timestamp())})


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ---------------------------------------------------------------- beside the demo's database


def file() -> Path:
    """Say where it is kept: beside the demo's data."""
    data = postgres.demo()
    return data.with_name(f"{data.name}.stripe.json")


def port() -> int:
    """Choose a port: that of the last time, because rows name its pages, else the usual one, else any that is free."""
    wished = [USUAL_PORT]
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        wished.insert(0, int(urlsplit(json.loads(file().read_text("utf-8"))["base"]).port or USUAL_PORT))
    for number in wished:
        with suppress(OSError), socket.create_server((HOST, number)):
            return number
    with socket.create_server((HOST, 0)) as listener:
        free: int = listener.getsockname()[1]
    return free


def begin() -> None:
    """Forget the file where the database is new: a new database begins with an empty Stripe."""
    if not Organization.objects.exists():
        file().unlink(missing_ok=True)


def check(base: str) -> None:
    """Refuse a local Stripe that does not know the database's customers."""
    for customer in Customer.objects.filter(closed_at=None).order_by("-pk"):
        try:
            ask(base, f"/v1/customers/{quote(customer.stripe_id)}")
        except HTTPError:
            raise Apart(
                f"The database knows {customer.stripe_id}, a customer at a Stripe that is not this one: {file()} is"
                " gone or of another database, or a key of Stripe's was in use. Bring back what is missing, or begin"
                " anew with `make clean`."
            ) from None


def register(base: str, site: str) -> None:
    """Have webhooks sent to the site: by one endpoint, which moves with the site's address."""
    url = f"{site}{WEBHOOK}"
    endpoints = ask(base, "/v1/webhook_endpoints?limit=100")["data"]
    ours = next((each for each in endpoints if urlsplit(each["url"]).path == WEBHOOK), None)
    if ours is None:
        ask(base, "/_emu/webhook", {"url": url, "secret": SECRET})
    elif ours["url"] != url:
        ask(base, f"/v1/webhook_endpoints/{ours['id']}", {"url": url})
