"""GET /orgs/<slug>/billing/: what there is, what waits, where it went."""

from django.test import Client
from django.urls import reverse

from billing.models import Organization, User


def page_of(user: User, org: Organization, **query: str) -> tuple[int, str]:
    client = Client()
    client.force_login(user)
    answer = client.get(reverse("billing:overview", args=[org.slug]), query)
    return answer.status_code, answer.content.decode()


def test_it_opens(alice: User, acme: Organization) -> None:
    status, html = page_of(alice, acme)
    assert status == 200
    assert ">100</p>" in html
    assert "It ties out." in html
