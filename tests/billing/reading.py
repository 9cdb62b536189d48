"""A page as somebody reads it: whole, or the fragment that htmx asks for."""

from collections.abc import Callable
from typing import Any

from django.test import Client

from billing.models import User

type Read = Callable[..., str]


def reader(client: Client, user: User, address: str) -> Read:
    """Sign in, and give back what reads the page at an address with a query."""
    client.force_login(user)

    def html(fragment: str = "", status: int = 200, **query: Any) -> str:
        headers = {"HX-Request": "true", "HX-Target": fragment} if fragment else {}
        answer = client.get(address, query, headers=headers)
        assert answer.status_code == status
        return answer.content.decode()

    return html
