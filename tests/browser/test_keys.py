"""A key's life in a browser: made, seen once, used, rotated, revoked. With and without scripts."""

import re
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from billing.models import Organization, User
from tests.browser.conftest import Open


def status(url: str, secret: str) -> int:
    try:
        with urlopen(Request(f"{url}/api/v1/balance", headers={"Authorization": f"Bearer {secret}"})) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_key_is_made_used_and_revoked(window: Open, acme: Organization, alice: User, scripts: bool) -> None:
    page = window(alice, java_script_enabled=scripts)
    page.goto("/orgs/acme/billing/")
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="API keys").click()
    page.get_by_label("Name").fill("My script")
    page.get_by_role("button", name="Make the key").click()
    lines = page.get_by_label("Two lines to paste into a shell").inner_text()
    url, secret = re.fullmatch(r"export OXYGEN_API_URL=(\S+)\nexport OXYGEN_API_KEY=(\S+)", lines).groups()  # type: ignore[union-attr]
    assert status(url, secret) == 200
    page.goto("/orgs/acme/settings/keys/")
    assert secret not in page.content()

    page.get_by_role("link", name="Revoke My script").click()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.locator("#list")).to_contain_text("Revoked")
    assert status(url, secret) == 401
