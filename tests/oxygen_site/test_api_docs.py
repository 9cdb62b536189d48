"""/api/docs says what the API's description of itself says, to anybody, without a script."""

import re
from html import unescape

import pytest
from django.test import Client

from tests.contract import served

pytestmark = pytest.mark.django_db


def shown(name: str = "") -> str:
    response = Client().get(f"/api/docs{name and '/'}{name}")
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_every_operation_stands_in_the_list_and_has_a_page_with_its_address_and_scopes() -> None:
    text = shown()
    for path, methods in served()["paths"].items():
        for operation in methods.values():
            name = operation["operationId"]
            line = text.partition(f'<a id="{name}" href="/api/docs/{name}">')[2].partition("</a>")[0]
            assert f"<code>{path}</code>" in line
            own = shown(name)
            assert f"<h1>{operation['summary']}</h1>" in own
            assert f"<code>{path}</code>" in own
            assert re.search(f"For keys with [a-z ]+ {', '.join(operation['x-scopes'])}\\b", own)


def test_every_field_that_is_answered_stands_on_its_page() -> None:
    text = shown("balance")
    balance = served()["components"]["schemas"]["Balance"]["properties"]
    assert [name for name in balance if f"<code>{name}</code>" not in text] == []
    assert ">Answer 200: data</h2>" in text


def test_what_an_operation_refuses_with_stands_on_its_page() -> None:
    text = shown("start_run")
    refused = [status for status in served()["paths"]["/api/v1/runs"]["post"]["responses"] if int(status) >= 400]
    assert [status for status in refused if f'<span class="num">{status}</span>' not in text] == []


def test_an_operation_that_is_not_there_is_404() -> None:
    assert Client().get("/api/docs/delete_everything").status_code == 404


@pytest.mark.parametrize("name", ["", "start_run"])
def test_it_needs_no_script_and_links_to_what_is_there(name: str) -> None:
    text = shown(name).partition("<main")[2]
    assert "<script" not in text
    for address in re.findall(r'href="(/api/[^"#]+)', text):
        assert Client().get(address).status_code == 200, address
